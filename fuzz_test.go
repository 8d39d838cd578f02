package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"example.com/websocket/internal/deflate"
)

// A tape is a net.Conn whose peer has said everything beforehand, in pieces of
// given sizes, and then hangs up. What is written to it is kept.
type tape struct {
	in    []byte
	sizes []byte // of the pieces, in turn; none: all at once

	mu     sync.Mutex
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func newTape(in, sizes []byte) *tape {
	return &tape{in: in, sizes: sizes, closed: make(chan struct{})}
}

func (t *tape) Read(p []byte) (int, error) {
	if len(t.in) == 0 {
		return 0, io.EOF
	}
	n := len(t.in)
	if len(t.sizes) > 0 {
		n = min(n, 1+int(t.sizes[0]))
		t.sizes = append(t.sizes[1:len(t.sizes):len(t.sizes)], t.sizes[0])
	}
	n = copy(p, t.in[:n])
	t.in = t.in[n:]
	return n, nil
}

func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Write(p)
}

func (t *tape) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t *tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (t *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

// A way is a way to read a message to its end.
type way func(c *Conn) (MessageType, []byte, error)

var ways = []way{
	func(c *Conn) (MessageType, []byte, error) { return c.ReadMessage(context.Background()) },
	func(c *Conn) (MessageType, []byte, error) {
		typ, p, err := c.AppendMessage(context.Background(), make([]byte, 3, 64))
		return typ, p[3:], err
	},
	func(c *Conn) (MessageType, []byte, error) {
		typ, r, err := c.NextReader(context.Background())
		if err != nil {
			return 0, nil, err
		}
		p, err := io.ReadAll(struct{ io.Reader }{r})
		return typ, p, err
	},
}

// play lets a connection of role r, compressed as o says, read a tape, and tells what happened: the
// messages, the error at the end, and what the peer was sent.
func play(r role, limit int64, o *Compression, in, sizes []byte, read way) (events []string) {
	t := newTape(in, sizes)
	c := withDeflate(newConn(t, r, &Options{ReadLimit: limit}, "", nil), o)
	for {
		typ, p, err := read(c)
		if err != nil {
			events = append(events, err.Error())
			break
		}
		events = append(events, fmt.Sprintf("%v %x", typ, p))
	}
	c.Close()
	<-t.closed
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(events, sent(t.out.Bytes()))
}

// sent writes down frames, without the masks, which are random.
func sent(p []byte) string {
	var b bytes.Buffer
	for len(p) > 0 {
		h, n, err := ParseFrameHeader(p)
		if err != nil || h.Length > int64(len(p)-n) {
			return fmt.Sprintf("%s, and half a frame: %x", &b, p)
		}
		payload := p[n : n+int(h.Length)]
		if h.Masked {
			Mask(payload, payload, h.MaskKey, 0)
		}
		fmt.Fprintf(&b, "%v %x, ", h.Opcode, payload)
		p = p[n+int(h.Length):]
	}
	return b.String()
}

// fuzzFrames are sessions of a client; with the role turned round they are
// sessions that a client must refuse.
func fuzzFrames() [][]byte {
	frame := func(b0 byte, p string) []byte {
		h := FrameHeader{Fin: b0&finBit != 0, RSV1: b0&rsv1Bit != 0, Opcode: Opcode(b0 & 15), Masked: true, MaskKey: [4]byte{0x37, 0xfa, 0x21, 0x3d}, Length: int64(len(p))}
		q := AppendFrameHeader(nil, h)
		n := len(q)
		q = append(q, p...)
		Mask(q[n:], q[n:], h.MaskKey, 0)
		return q
	}
	hello := frame(0x81, "Hello")
	long := string(bytes.Repeat([]byte("0123456789"), 700))
	deflated := string(deflate.NewCompressor(deflate.Fast, 8, false).AppendMessage(nil, []byte(pattern(900))))
	bomb := string(deflate.NewCompressor(deflate.Fast, 8, false).AppendMessage(nil, make([]byte, 40000)))
	return [][]byte{
		hello,
		{0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}, // unmasked
		bytes.Join([][]byte{frame(0x01, "Hel"), frame(0x89, "ping"), frame(0x80, "lo"), frame(0x88, "\x03\xe8bye")}, nil),
		bytes.Join([][]byte{frame(0x01, "\xce"), frame(0x00, "\xba\xe1"), frame(0x80, "\xbd\xb9"), hello}, nil),
		bytes.Join([][]byte{frame(0x01, "ok"), frame(0x00, "\xff"), frame(0x80, "")}, nil),
		bytes.Join([][]byte{frame(0x82, long), frame(0x02, long), frame(0x8a, ""), frame(0x80, long[:126])}, nil),
		bytes.Join([][]byte{frame(0x02, ""), frame(0x00, ""), frame(0x81, "no")}, nil),
		frame(0x88, ""), frame(0x88, "\x03"), frame(0x88, "\x03\xed"), frame(0x88, "\x03\xe8\xff"),
		frame(0xc1, "rsv1"), frame(0xc2, "\x06\x00"), frame(0xc1, "\x00\x01\x00\xfe\xff\xff\x00"),
		bytes.Join([][]byte{frame(0xc1, deflated), frame(0x42, deflated[:4]), frame(0x89, "ping"), frame(0x80, deflated[4:]), frame(0xc1, deflated[:9]), hello}, nil),
		bytes.Join([][]byte{frame(0xc2, bomb), frame(0x42, bomb[:11]), frame(0x80, bomb[11:])}, nil),
		frame(0x83, "opcode"), frame(0x09, "fragmented ping"), frame(0x80, "nothing to continue"),
		{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5},
		{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5},
		{0x82, 0xfe, 0, 125, 1, 2, 3, 4, 5},
	}
}

// fuzzCompression reads options from a byte, of which the three lowest bits are
// left for something else.
func fuzzCompression(b byte) *Compression {
	if bits := int(b >> 4); bits >= minWindowBits {
		return both(b&8 != 0, bits)
	}
	return nil
}

// FuzzPieces: TCP keeps no boundaries. The same bytes in other pieces, read in
// another way, are the same messages, the same answers and the same end.
func FuzzPieces(f *testing.F) {
	for i, in := range fuzzFrames() {
		f.Add(in, []byte{byte(i), 0, 3}, i%2 == 0, byte(i))
		f.Add(in, []byte{byte(i), 0, 3}, false, byte(0xf8|i%3))
	}
	f.Fuzz(func(t *testing.T, in, sizes []byte, isClient bool, w byte) {
		if len(in) > 16<<10 { // below the bound of the queue, so that no pong is left out
			return
		}
		r := server
		if isClient {
			r = client
		}
		o := fuzzCompression(w)
		whole := play(r, 8<<10, o, in, nil, ways[0])
		pieces := play(r, 8<<10, o, in, sizes, ways[int(w&7)%len(ways)])
		if fmt.Sprint(whole) != fmt.Sprint(pieces) {
			t.Errorf("read at once it is\n%q\nin pieces of %v\n%q", whole, sizes, pieces)
		}
	})
}

// FuzzConn: whatever a peer sends, the connection ends with an error that says
// why, never with a panic; a message is never larger than the limit, memory is
// bounded by it, and no goroutine is left.
func FuzzConn(f *testing.F) {
	for _, in := range fuzzFrames() {
		for _, r := range bothRoles {
			f.Add(in, []byte{1}, byte(r))
			f.Add(in, []byte{1}, 0xf8|byte(r))
		}
	}
	f.Fuzz(func(t *testing.T, in, sizes []byte, o byte) {
		const limit = 4 << 10
		before := runtime.NumGoroutine()
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		tape := newTape(in, sizes)
		c := withDeflate(newConn(tape, role(o&1), &Options{ReadLimit: limit}, "", nil), fuzzCompression(o))
		var err error
		read := 0
		for err == nil {
			var p []byte
			if _, p, err = c.ReadMessage(context.Background()); len(p) > limit {
				t.Fatalf("a message of %d bytes was read; the limit is %d", len(p), limit)
			}
			read += len(p)
		}
		runtime.ReadMemStats(&m1)
		// 64 bytes a byte of input: a message is a slice, and the least frame has six.
		// What is inflated is at most doubled on the way.
		if n := m1.TotalAlloc - m0.TotalAlloc; n > 1<<20+64*uint64(len(in))+4*uint64(read) {
			t.Errorf("%d bytes of input made the connection allocate %d", len(in), n)
		}
		var closed *CloseError
		var broken *ProtocolError
		if !errors.As(err, &closed) && !errors.As(err, &broken) && !errors.Is(err, ErrMessageTooBig) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the connection ended with %v, which does not say what the peer did", err)
		}
		c.Close()
		<-tape.closed
		for i := 0; runtime.NumGoroutine() > before; i++ {
			if i == 1000 {
				t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-before)
			}
			time.Sleep(time.Millisecond)
		}
	})
}
