package websocket

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Benchmarks without a network: what this package itself costs, and allocates. What
// it costs a server, and what others do, is measured in compare/bench.

// TestMain does not audit buffers when benchmarks run, which it would falsify.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		audited = false
	}
	os.Exit(m.Run())
}

// A stream is a socket in memory with an endless input, bytes over and over, and an
// output that takes everything.
type stream struct {
	net.Conn // nil: nothing else is asked of it
	bytes    []byte
	at       int
	wrote    atomic.Int64
}

func (s *stream) read(m memory) (int, error) {
	n := copy(m.space(), s.bytes[s.at:])
	s.at = (s.at + n) % len(s.bytes)
	return n, nil
}

func (s *stream) tryWrite(p []byte) (int, error) { return s.write(p, nil) }

func (s *stream) write(p, q []byte) (int, error) {
	s.wrote.Add(int64(len(p) + len(q)))
	return len(p) + len(q), nil
}

func (s *stream) traits() traits {
	return traits{tries: true, vectored: true, resumes: true, maxWrite: largeBuffer}
}

func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// streaming returns a connection in role r to whose reader the peer sends messages of
// size bytes without end.
func streaming(r role, typ MessageType, size int) *Conn {
	h := FrameHeader{Fin: true, Opcode: Opcode(typ), Masked: r.peer().masks(), MaskKey: rfcKey, Length: int64(size)}
	frame := AppendFrameHeader(nil, h)
	payload := []byte(strings.Repeat("語", size/3) + "..."[:size%3])
	if h.Masked {
		Mask(payload, payload, rfcKey, 0)
	}
	frame = append(frame, payload...)
	s := &stream{bytes: bytes.Repeat(frame, max(1, largeBuffer/len(frame)))}
	c := NewServerConn(s, nil)
	if r == client {
		c = NewClientConn(s, nil)
	}
	c.t, c.traits = s, s.traits()
	return c
}

var benchSizes = []int{64, 1 << 10, 64 << 10}

func benchmarkMessages(b *testing.B, f func(b *testing.B, r role, size int)) {
	for _, r := range bothRoles {
		for _, size := range benchSizes {
			b.Run(fmt.Sprint(r, " ", size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				f(b, r, size)
			})
		}
	}
}

func BenchmarkReadMessage(b *testing.B) {
	benchmarkMessages(b, func(b *testing.B, r role, size int) {
		c := streaming(r, MessageBinary, size)
		for b.Loop() {
			if _, p, err := c.ReadMessage(bg); err != nil || len(p) != size {
				b.Fatal(len(p), err)
			}
		}
	})
}

func BenchmarkAppendMessage(b *testing.B) {
	for _, typ := range []MessageType{MessageBinary, MessageText} {
		b.Run(typ.String(), func(b *testing.B) {
			benchmarkMessages(b, func(b *testing.B, r role, size int) {
				c, buf := streaming(r, typ, size), make([]byte, 0, size)
				for b.Loop() {
					if _, p, err := c.AppendMessage(bg, buf); err != nil || len(p) != size {
						b.Fatal(len(p), err)
					}
				}
			})
		})
	}
}

func BenchmarkWriteMessage(b *testing.B) {
	benchmarkMessages(b, func(b *testing.B, r role, size int) {
		c, p := streaming(r, MessageBinary, size), make([]byte, size)
		for b.Loop() {
			if err := c.WriteMessage(bg, MessageBinary, p); err != nil {
				b.Fatal(err)
			}
		}
		if err := c.Flush(bg); err != nil {
			b.Fatal(err)
		}
	})
}

// An answer leaves without waiting for others.
func BenchmarkWriteMessageAfterWaiting(b *testing.B) {
	benchmarkMessages(b, func(b *testing.B, r role, size int) {
		c, p := streaming(r, MessageBinary, size), make([]byte, size)
		for b.Loop() {
			c.out.prompt.Store(true)
			if err := c.WriteMessage(bg, MessageBinary, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The pure parts allocate nothing, and the server's half of a handshake little.
func TestAllocationsOfThePureParts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p, text := make([]byte, 0, 1<<10), []byte(pattern(1<<10))
	h := FrameHeader{Fin: true, Opcode: OpBinary, Masked: true, MaskKey: rfcKey, Length: 1 << 10}
	frame := AppendFrameHeader(nil, h)
	w, r := newHijacker(nil, nil), sampleRequest()
	for name, part := range map[string]struct {
		most float64
		do   func()
	}{
		"Mask":              {0, func() { Mask(text, text, rfcKey, 1) }},
		"AppendFrameHeader": {0, func() { AppendFrameHeader(p, h) }},
		"ParseFrameHeader":  {0, func() { ParseFrameHeader(frame) }},
		"validUTF8":         {0, func() { validUTF8(text) }},
		"answer":            {10, func() { answer(w, r, new(Options)) }},
	} {
		if n := testing.AllocsPerRun(100, part.do); n > part.most {
			t.Errorf("%s allocates %v times, and should at most %v times", name, n, part.most)
		}
	}
}

// A broadcast to a thousand connections, until it has left for all of them.
func BenchmarkBroadcast(b *testing.B) {
	const size = 128
	for _, burst := range []int{1, 8} {
		b.Run(fmt.Sprintf("1000 members, bursts of %d", burst), func(b *testing.B) {
			g, streams := new(Group), make([]*stream, 1000)
			for i := range streams {
				c := streaming(server, MessageBinary, size)
				streams[i] = c.nc.(*stream)
				g.Add(c)
			}
			p := make([]byte, size)
			left := int64(0) // for each of them
			b.ReportAllocs()
			for b.Loop() {
				for range burst {
					g.Broadcast(MessageBinary, p)
				}
				left += int64(burst * (size + 4))
				for _, s := range streams {
					for s.wrote.Load() < left {
						runtime.Gosched()
					}
				}
			}
		})
	}
}

func BenchmarkFrameHeader(b *testing.B) {
	for _, length := range []int64{64, 1 << 10, 64 << 10} {
		h := FrameHeader{Fin: true, Opcode: OpBinary, Masked: true, MaskKey: rfcKey, Length: length}
		p := AppendFrameHeader(nil, h)
		b.Run(fmt.Sprint("parse ", length), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ParseFrameHeader(p); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("append ", length), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p = AppendFrameHeader(p[:0], h)
			}
		})
	}
}

func BenchmarkUTF8(b *testing.B) {
	for name, letter := range map[string]string{"ASCII": "a", "Greek": "α", "Japanese": "語", "emoji": "🙂"} {
		b.Run(name, func(b *testing.B) {
			p := []byte(strings.Repeat(letter, (4<<10)/len(letter)))
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				var u utf8Checker
				if !u.add(p) || !u.complete() {
					b.Fatal("valid text is refused")
				}
			}
		})
	}
}

// An echo of messages that come many at a time, as they do when the peer does not wait.
func BenchmarkEcho(b *testing.B) {
	benchmarkMessages(b, func(b *testing.B, r role, size int) {
		c, buf := streaming(r, MessageBinary, size), make([]byte, 0, size)
		for b.Loop() {
			typ, p, err := c.AppendMessage(bg, buf)
			if err == nil {
				err = c.WriteMessage(bg, typ, p)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
