package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// A session is one connection to the endpoint under test, and the record of what passed over it.
type session struct {
	role     role     // of the endpoint under test
	conn     net.Conn // TCP: the ways in which a connection ends are part of the questions
	host     string   // for the Host header field and the request target
	target   string
	request  *head // what a client under test sent
	patience time.Duration

	receiver receiver
	deflater *deflater // nil without permessage-deflate
	agreed   deflateParameters

	events  eventQueue // from the reading goroutine
	pending []event    // arrived while something else was waited for
	ended   bool       // the connection has ended, as the case wanted it

	transcript transcript
}

// begin starts reading frames; behind is what had arrived right behind the handshake.
func (s *session) begin(behind []byte) {
	s.receiver.from = s.role
	s.conn.SetReadDeadline(time.Time{}) // each wait has its own bound from here on
	s.events.arrived = make(chan struct{}, 1)
	go s.read(behind)
}

// read turns what arrives into events until the connection ends.
func (s *session) read(buf []byte) {
	for {
		n, err := s.parse(buf)
		if err != nil {
			s.happened(event{kind: fault, err: err})
			return
		}
		if buf, err = s.fill(buf[n:]); err != nil {
			s.happened(ending(err))
			return
		}
	}
}

// parse takes the whole frames at the beginning of buf and returns their size.
func (s *session) parse(buf []byte) (int, error) {
	taken := 0
	for {
		f, n, err := parseFrame(buf[taken:])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return taken, nil
		}
		if err != nil {
			return taken, err
		}
		taken += n
		ev, complete, err := s.receiver.receive(f)
		if err != nil {
			return taken, err
		}
		if complete {
			s.happened(ev)
		}
	}
}

// fill reads more behind rest. It doubles the buffer as it fills, so that the memory follows what was received.
func (s *session) fill(rest []byte) ([]byte, error) {
	const room = 64 << 10
	if cap(rest)-len(rest) < room {
		rest = append(make([]byte, 0, 2*len(rest)+room), rest...)
	}
	n, err := s.conn.Read(rest[len(rest):cap(rest)])
	if n > 0 {
		err = nil // it will come again
	}
	return rest[:len(rest)+n], err
}

func ending(err error) event {
	if errors.Is(err, io.EOF) {
		return event{kind: tcpClosed}
	}
	return event{kind: tcpReset, err: err}
}

func (s *session) happened(ev event) {
	s.transcript.add("came: %s", ev)
	if ev.kind != pingReceived { // an endpoint may ping whenever it likes, and no case lasts until a pong is overdue
		s.events.put(ev)
	}
}

// next is the next event, or silence.
func (s *session) next() event {
	if len(s.pending) > 0 {
		ev := s.pending[0]
		s.pending = s.pending[1:]
		return ev
	}
	return s.arrival()
}

func (s *session) arrival() event { return s.events.get(s.patience) }

// An eventQueue never makes the reading goroutine wait for the steps: the endpoint under test could then wait for it, and
// both for ever.
type eventQueue struct {
	mu      sync.Mutex
	events  []event
	arrived chan struct{} // holds one token if there may be events
}

func (q *eventQueue) put(ev event) {
	q.mu.Lock()
	q.events = append(q.events, ev)
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

// get takes the oldest event, or is silence if none comes in time.
func (q *eventQueue) get(patience time.Duration) event {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		if ev, ok := q.take(); ok {
			return ev
		}
		select {
		case <-q.arrived:
		case <-timeout.C:
			return event{kind: silence}
		}
	}
}

func (q *eventQueue) take() (event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == 0 {
		return event{}, false
	}
	ev := q.events[0]
	q.events = q.events[1:]
	return ev, true
}

// await is the next event of a kind, or a final one before it. Messages and pongs pass each other: the first are the
// application's answers, the others the protocol's.
func (s *session) await(kind eventKind) event {
	for i, ev := range s.pending {
		if ev.kind == kind {
			s.pending = append(s.pending[:i:i], s.pending[i+1:]...)
			return ev
		}
	}
	for {
		ev := s.arrival()
		if ev.kind == kind || ev.final() {
			return ev
		}
		s.pending = append(s.pending, ev)
	}
}

// wire is the frames as this end of the connection sends them.
func (s *session) wire(frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		f.masked = s.role.peer().masks() != f.wrongMask
		if f.masked && f.key == [4]byte{} {
			f.key = [4]byte{byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), 1}
		}
		b = appendFrame(b, f)
	}
	return b
}

// sendFrames sends frames in one write.
func (s *session) sendFrames(frames ...frame) { s.sendChopped(0, 0, frames...) }

// sendChopped sends frames in writes of size octets, with a pause after each.
func (s *session) sendChopped(size int, pause time.Duration, frames ...frame) {
	s.transcript.add("sent: %s%s", list(frames), chopping(size))
	s.write(s.wire(frames...), size, pause)
}

func chopping(size int) string {
	if size == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d octets a write)", size)
}

// write writes b. Where a case expects to be cut off its writes fail: that is no verdict, what comes is.
func (s *session) write(b []byte, size int, pause time.Duration) {
	if size == 0 {
		size = max(len(b), 1)
	}
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := s.conn.Write(b[:n]); err != nil {
			s.transcript.add("not sent whole: %v", err)
			return
		}
		b = b[n:]
		time.Sleep(pause)
	}
}

// endWrites sends a FIN: the suite's way to close TCP, which leaves it able to see what the other end does.
func (s *session) endWrites() {
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// list is frames in short, the first of them where there are many.
func list(frames []frame) string {
	const most = 5
	var b strings.Builder
	for i, f := range frames {
		if i == most {
			fmt.Fprintf(&b, ", ... (%d frames)", len(frames))
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// A transcript is what was sent and what came, in words. Both goroutines of a session write it.
type transcript struct {
	mu    sync.Mutex
	lines []string
	more  int
}

func (t *transcript) add(format string, args ...any) {
	const most = 40
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == most {
		t.more++
		return
	}
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func (t *transcript) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := append([]string{}, t.lines...)
	if t.more > 0 {
		lines = append(lines, fmt.Sprintf("... and %d lines more", t.more))
	}
	return lines
}
