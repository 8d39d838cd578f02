package wstest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"

	"example.com/websocket"
)

// A Frame is one that was sent, as it was on the wire but for its mask.
type Frame struct {
	websocket.FrameHeader
	Payload []byte // unmasked; compressed if RSV1 is set
}

// String returns the frame in one line, without what differs from run to run: the
// mask.
func (f Frame) String() string {
	var b strings.Builder
	b.WriteString(f.Opcode.String())
	if f.RSV1 {
		b.WriteString(" (compressed)")
	}
	if !f.Fin {
		b.WriteString(" (more follows)")
	}
	p := f.Payload
	if f.Opcode == websocket.OpClose && len(p) >= 2 {
		fmt.Fprintf(&b, " %v", websocket.StatusCode(uint16(p[0])<<8|uint16(p[1])))
		p = p[2:]
	}
	if len(p) > 0 || f.Opcode != websocket.OpClose {
		fmt.Fprintf(&b, " %q", p)
	}
	return b.String()
}

// Record begins to record the frames that are sent on the line, and forgets those
// recorded before. They are all kept until the end of the test.
func (l *Line) Record() {
	l.rec.mu.Lock()
	defer l.rec.mu.Unlock()
	l.rec.on, l.rec.frames = true, nil
}

// Frames returns the frames that were sent on the line since Record: those that are
// whole, though they may not have arrived. Their payloads must not be changed.
func (l *Line) Frames() []Frame {
	l.rec.mu.Lock()
	defer l.rec.mu.Unlock()
	return l.rec.frames[:len(l.rec.frames):len(l.rec.frames)]
}

// Transcript returns the frames as text, one a line, for golden tests.
func (l *Line) Transcript() string {
	var b strings.Builder
	for _, f := range l.Frames() {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// A recorder finds the frames in what is written on a line.
type recorder struct {
	mu     sync.Mutex
	opened bool   // the opening handshake is over
	rest   []byte // a frame that is not whole yet, or the handshake
	on     bool
	frames []Frame
}

// write takes the next bytes, whatever their borders are.
func (r *recorder) write(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = append(r.rest, p...)
	if !r.opened {
		end := bytes.Index(r.rest, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		r.opened, r.rest = true, r.rest[end+4:]
	}
	for {
		h, n, err := websocket.ParseFrameHeader(r.rest)
		if err == io.ErrUnexpectedEOF || err == nil && int64(len(r.rest)-n) < h.Length {
			return
		}
		if err != nil { // these are no frames
			r.rest = nil
			return
		}
		end := n + int(h.Length)
		if r.on {
			payload := bytes.Clone(r.rest[n:end])
			if h.Masked {
				websocket.Mask(payload, payload, h.MaskKey, 0)
			}
			r.frames = append(r.frames, Frame{h, payload})
		}
		r.rest = r.rest[end:]
	}
}
