package websocket

import (
	"bytes"
	stdflate "compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/websocket/internal/deflate"
	"example.com/websocket/internal/deflate/corpus"
)

// both returns options by which both roles do the same.
func both(takeover bool, bits int) *Compression {
	return &Compression{
		ServerContextTakeover: takeover, ClientContextTakeover: takeover,
		ServerWindowBits: bits, ClientWindowBits: bits, MinSize: -1,
	}
}

// withDeflate makes c, of any test, a connection on which o was agreed on.
func withDeflate(c *Conn, o *Compression) *Conn {
	if o != nil {
		c.useDeflate(o.params(), o)
	}
	return c
}

// newDeflateRig is newRig with compression.
func newDeflateRig(t testing.TB, r role, opts *Options) *rig {
	g := newRig(t, r, opts)
	withDeflate(g.c, opts.Compression)
	return g
}

// newDeflatePair returns two connections with each other, in a bubble.
func newDeflatePair(t testing.TB, o *Compression) [2]*Conn {
	a, b := newMemPipe(64 << 10)
	var pair [2]*Conn
	for r, m := range map[role]*memConn{server: a, client: b} {
		c := newConn(m, r, nil, "", nil)
		c.t = memSocket{m}
		c.traits = c.t.traits()
		pair[r] = withDeflate(c, o)
		t.Cleanup(func() { c.Close() })
	}
	return pair
}

// A writing is a way to write a message.
type writing func(c *Conn, typ MessageType, p []byte) error

var writings = []writing{
	func(c *Conn, typ MessageType, p []byte) error { return c.WriteMessage(bg, typ, p) },
	func(c *Conn, typ MessageType, p []byte) error { return c.WriteUncompressed(bg, typ, p) },
	func(c *Conn, typ MessageType, p []byte) error { return writePieces(c, typ, p, 700) },
	func(c *Conn, typ MessageType, p []byte) error { return writePieces(c, typ, p, 50000) },
}

func writePieces(c *Conn, typ MessageType, p []byte, size int) error {
	w, err := c.NextWriter(bg, typ)
	if err != nil {
		return err
	}
	for len(p) > 0 {
		n := min(size, len(p))
		if _, err := w.Write(p[:n]); err != nil {
			w.Close()
			return err
		}
		p = p[n:]
	}
	return w.Close()
}

// mixedMessages are messages of all kinds and sizes, those that do not compress
// among those that do.
func mixedMessages() (list [][]byte) {
	for _, size := range []int{0, 1, 40, 600, 5000, 33000, 100000} {
		for _, kind := range corpus.Kinds {
			list = append(list, kind.Messages(size, 2)...)
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// What one writes the other reads, whatever was agreed on, in whatever way it is
// written and read.
func TestDeflateRoundTrip(t *testing.T) {
	messages := mixedMessages()
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 11, 15} {
			for _, level := range []CompressionLevel{CompressionFast, CompressionBetter} {
				o := both(takeover, bits)
				o.Level = level
				bubble(t, fmt.Sprintf("takeover %t, %d bits, level %d", takeover, bits, level), func(t *testing.T) {
					pair := newDeflatePair(t, o)
					for r, c := range pair {
						done := inBackground(func() error {
							for i, m := range messages {
								if err := writings[i%len(writings)](c, MessageBinary, m); err != nil {
									return err
								}
							}
							return nil
						})
						for i, m := range messages {
							_, got, err := ways[i%len(ways)](pair[role(r).peer()])
							if err != nil || !bytes.Equal(got, m) {
								t.Fatalf("message %d from the %v, of %d bytes, should come as it was, and comes with %d, %v", i, role(r), len(m), len(got), err)
							}
						}
						if err := <-done; err != nil {
							t.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// Many write at once, with context takeover: each message still refers to what
// came before it on the wire.
func TestDeflateWritersRace(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		pair := newDeflatePair(t, both(true, 15))
		const writers, each = 8, 25
		messages := corpus.Kinds[0].Messages(900, writers)
		var wg sync.WaitGroup
		for i, m := range messages {
			wg.Go(func() {
				for n := range each {
					if err := writings[(n+i)%len(writings)](pair[client], MessageBinary, m); err != nil {
						t.Error(err)
					}
				}
			})
		}
		counts := make(map[string]int)
		for range writers * each {
			_, p, err := pair[server].ReadMessage(bg)
			if err != nil {
				t.Fatal(err)
			}
			counts[string(p)]++
		}
		wg.Wait()
		for _, m := range messages {
			if counts[string(m)] != each {
				t.Errorf("%d messages of %d arrive", counts[string(m)], each)
			}
		}
	})
}

// packedFrame is a frame as seen on the wire.
type packedFrame struct {
	FrameHeader
	payload []byte
}

// framesOf reads all that an endpoint has written to a tape.
func framesOf(t testing.TB, tape *tape) (list []packedFrame) {
	t.Helper()
	tape.mu.Lock()
	defer tape.mu.Unlock()
	for p := tape.out.Bytes(); len(p) > 0; {
		h, n, err := ParseFrameHeader(p)
		if err == nil {
			err = h.check(client, true)
		}
		if err != nil {
			t.Fatalf("what is written should be frames: %v", err)
		}
		payload := bytes.Clone(p[n : n+int(h.Length)])
		Mask(payload, payload, h.MaskKey, 0)
		list = append(list, packedFrame{h, payload})
		p = p[n+int(h.Length):]
	}
	return list
}

// How messages look on the wire, with compress/flate as the judge of what is in
// them.
func TestDeflateOnTheWire(t *testing.T) {
	text := corpus.Kinds[0].Messages(2000, 3)
	long := corpus.Kinds[3].Messages(90000, 1)[0]
	noise := corpus.Kinds[4].Messages(2000, 1)[0]
	o := both(true, 15)
	o.MinSize = 0
	tape := newTape(nil, nil)
	c := withDeflate(newConn(tape, client, nil, "", nil), o)
	write := func(w int, p []byte) {
		t.Helper()
		if err := writings[w](c, MessageBinary, p); err != nil {
			t.Fatal(err)
		}
	}
	write(0, text[0])
	write(0, text[1][:511])
	write(0, text[1][:512])
	write(1, text[1])
	write(0, noise)
	write(0, text[0])
	write(2, text[2][:500])
	write(2, text[2])
	write(2, long)
	if err := c.Flush(bg); err != nil {
		t.Fatal(err)
	}

	frames := framesOf(t, tape)
	var stream []byte
	var want []byte
	for i, tc := range []struct {
		why        string
		message    []byte
		compressed bool
	}{
		{"a message of 2000 bytes is compressed, in one frame", text[0], true},
		{"MinSize: a message of 511 bytes is not", text[1][:511], false},
		{"MinSize: one of 512 is", text[1][:512], true},
		{"WriteUncompressed does not compress", text[1], false},
		{"what would not get smaller is sent as it is", noise, false},
		{"the history survives that", text[0], true},
		{"NextWriter: a message of 500 bytes is not", text[2][:500], false},
		{"NextWriter: one of 2000 bytes is one frame", text[2], true},
	} {
		f := frames[i]
		if !f.Fin || f.RSV1 != tc.compressed || !tc.compressed && !bytes.Equal(f.payload, tc.message) {
			t.Errorf("%s: it is %+v", tc.why, f.FrameHeader)
		}
		if tc.compressed {
			stream = append(append(stream, f.payload...), 0, 0, 0xff, 0xff)
			want = append(want, tc.message...)
		}
	}
	if n := frames[5].Length; n > 40 {
		t.Errorf("a message that came before is compressed to %d bytes: it should refer to the first, behind one that was taken back", n)
	}
	streamed := frames[8:]
	for i, f := range streamed {
		if f.RSV1 != (i == 0) || f.Fin != (i == len(streamed)-1) || f.Opcode.IsControl() || f.Length > 56<<10 {
			t.Errorf("frame %d of %d of a streamed message: %+v", i, len(streamed), f.FrameHeader)
		}
		stream = append(stream, f.payload...)
	}
	if len(streamed) < 2 {
		t.Errorf("a streamed message of %d bytes is %d frames", len(long), len(streamed))
	}
	stream = append(stream, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	got, err := io.ReadAll(stdflate.NewReader(bytes.NewReader(stream)))
	if err != nil || !bytes.Equal(got, append(want, long...)) {
		t.Errorf("compress/flate should read the messages as one stream, but: %d bytes of %d, %v", len(got), len(want)+len(long), err)
	}
	c.Close()
}

// What WriteUncompressed sends is not compressed, large or small, whether it has to wait
// for its turn or not.
func TestWriteUncompressed(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		o := both(true, 15)
		o.MinSize = 512
		withDeflate(g.c, o)
		write := func(secret string) <-chan error {
			return inBackground(func() error { return g.c.WriteUncompressed(bg, MessageText, []byte(secret)) })
		}
		small, large := pattern(2000), pattern(largeWrite)
		at := write(small)
		g.wantFrame("at once", textF(small))
		big := write(large)
		g.wantFrame("a large one", textF(large))
		w, err := g.c.NextWriter(bg, MessageText)
		if err != nil {
			t.Fatal(err)
		}
		waits := write(small)
		wantPending(t, "a NextWriter is open", waits)
		w.Close()
		g.wantFrame("of the NextWriter", textF(""))
		g.wantFrame("behind a NextWriter", textF(small))
		for _, written := range []<-chan error{at, big, waits} {
			if err := <-written; err != nil {
				t.Error(err)
			}
		}
	})
}

// RFC 7692 6.1, 6.2: the bit is set on the first frame of a message, where that
// was agreed on, and nowhere else.
func TestRSV1(t *testing.T) {
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	for _, tc := range []struct {
		why    string
		o      *Compression
		frames []byte
		want   string
	}{
		{"7.2.3.1: a compressed message", both(true, 15), packed(t, 0xc1, hello), "[text 48656c6c6f "},
		{"7.2.3.1: in two fragments", both(true, 15), append(packed(t, 0x41, hello[:3]), packed(t, 0x80, hello[3:])...), "[text 48656c6c6f "},
		{"7.2.3.2: two that share a window", both(true, 15), append(packed(t, 0xc1, hello), packed(t, 0xc1, "\xf2\x00\x11\x00\x00")...), "[text 48656c6c6f text 48656c6c6f "},
		{"7.1.1.2: not without context takeover", both(false, 15), append(packed(t, 0xc1, hello), packed(t, 0xc1, "\xf2\x00\x11\x00\x00")...), "close 03ef"},
		{"6.2: not compressed is as before", both(true, 15), packed(t, 0x81, hello[3:5]+"x"), "close 03ef"},
		{"6.1: on a continuation", both(true, 15), append(packed(t, 0x41, hello[:3]), packed(t, 0xc0, hello[3:])...), "close 03ea"},
		{"6.1: on a control frame", both(true, 15), packed(t, 0xc9, hello), "close 03ea"},
		{"6.1: where it was not agreed on", nil, packed(t, 0xc1, hello), "close 03ea"},
		{"other reserved bits", both(true, 15), packed(t, 0xe1, hello), "close 03ea"},
		{"8.1: compressed text is UTF-8", both(true, 15), packed(t, 0xc1, "\x00\x01\x00\xfe\xff\xff\x00"), "close 03ef"},
		{"7.2.2: a block of the reserved type", both(true, 15), packed(t, 0xc2, "\x06\x00"), "(RFC 7692 7.2.2, status code 1007"},
		{"7.2.2: no end", both(true, 15), packed(t, 0xc2, "\xf2\x48"), "unexpected end"},
	} {
		got := fmt.Sprint(play(server, 1<<10, tc.o, tc.frames, nil, ways[0]))
		if !strings.Contains(got, tc.want) {
			t.Errorf("%s: it should come to %q, and comes to %s", tc.why, tc.want, got)
		}
	}
}

// packed returns a frame of a client.
func packed(t testing.TB, b0 byte, payload string) []byte {
	h, _, err := ParseFrameHeader([]byte{b0, 0})
	if err != nil {
		t.Fatal(err)
	}
	return frameBytes(client, h, []byte(payload))
}

// A few bytes that become many cost the limit and no more, and are told 1009.
func TestDecompressionBomb(t *testing.T) {
	const limit = 64 << 10
	bomb := deflate.NewCompressor(deflate.Fast, 15, false).AppendMessage(nil, make([]byte, 64<<20))
	fragments := packed(t, 0x42, "")
	for p := bomb; len(p) > 0; p = p[min(len(p), 1000):] {
		fragments = append(fragments, packed(t, 0x00, string(p[:min(len(p), 1000)]))...)
	}
	inputs := map[string][]byte{
		"in one frame":                       packed(t, 0xc2, string(bomb)),
		"in one frame that is all there":     packed(t, 0xc2, string(bomb[:3000])+"\x00"),
		"in fragments":                       fragments,
		"behind what a limit would just let": append(packed(t, 0xc2, "\x00\x01\x00\xfe\xffx\x00"), fragments...),
	}
	discard := func(c *Conn) (MessageType, []byte, error) {
		_, _, err := c.NextReader(bg)
		if err == nil {
			err = c.in.ended()
		}
		return 0, nil, err
	}
	for name, in := range inputs {
		for w, read := range append(ways[:len(ways):len(ways)], discard) {
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			events := play(server, limit, both(true, 15), in, nil, read)
			runtime.ReadMemStats(&m1)
			end := events[len(events)-2]
			if !strings.Contains(end, "message too big: at least 65537 bytes, and the limit is 65536") || !strings.Contains(events[len(events)-1], "close 03f1") {
				t.Errorf("%s, read in way %d, it should end with 1009, and ends with %.200q", name, w, events[len(events)-2:])
			}
			if got := m1.TotalAlloc - m0.TotalAlloc; got > 8*limit {
				t.Errorf("%s, read in way %d, it makes the connection allocate %d bytes; the limit is %d", name, w, got, limit)
			}
		}
	}
	exact := deflate.NewCompressor(deflate.Fast, 15, false).AppendMessage(nil, make([]byte, limit))
	for w, read := range ways {
		events := play(server, limit, both(false, 15), packed(t, 0xc2, string(exact)), []byte{100}, read)
		if len(events) != 3 || len(events[0]) != len("binary ")+2*limit {
			t.Errorf("a message as large as the limit should be read in way %d, but: %.100q", w, events[len(events)-2:])
		}
	}
}

// A read that is cancelled loses nothing of a compressed message either, at
// whatever byte, in whatever way it is read before and after.
func TestDeflateCancelledReads(t *testing.T) {
	messages := [][]byte{[]byte(pattern(300)), []byte(pattern(9000)), nil, []byte(pattern(1200))}
	for _, takeover := range []bool{false, true} {
		onBoth(t, nil, func(t *testing.T, g *rig) {
			o := both(takeover, 10)
			withDeflate(g.c, o)
			d := deflate.NewCompressor(deflate.Fast, 10, takeover)
			var in []byte
			for _, m := range messages {
				p := d.AppendMessage(nil, m)
				in = append(in, g.frameBytes(FrameHeader{RSV1: true, Opcode: OpText}, p[:len(p)/2])...)
				in = append(in, pingF("between").bytes(g.role)...)
				in = append(in, g.frameBytes(FrameHeader{Fin: true}, p[len(p)/2:])...)
			}
			var stream io.Reader
			var part []byte
			got := 0
			for i := range in {
				g.write(in[i : i+1])
				ctx, cancel := context.WithCancel(bg)
				time.AfterFunc(time.Millisecond, cancel)
				for got < len(messages) {
					p, err := readSome(ctx, g.c, &stream, got%2 == 0)
					part = append(part, p...)
					if errors.Is(err, context.Canceled) {
						break
					}
					if err != nil && err != io.EOF {
						t.Fatalf("after %d bytes: %v", i+1, err)
					}
					if err == io.EOF {
						if !bytes.Equal(part, messages[got]) {
							t.Fatalf("message %d should be whole, and has %d bytes of %d", got, len(part), len(messages[got]))
						}
						got++
						part, stream = nil, nil
					}
				}
				cancel()
			}
			if got != len(messages) {
				t.Errorf("%d messages of %d are read", got, len(messages))
			}
		})
	}
}

// readSome reads a message whole, or a piece of the one that stream is or becomes
// the reader of. It returns io.EOF at the end of a message.
func readSome(ctx context.Context, c *Conn, stream *io.Reader, whole bool) ([]byte, error) {
	if whole {
		_, p, err := c.AppendMessage(ctx, nil)
		if err == nil {
			err = io.EOF
		}
		return p, err
	}
	if *stream == nil {
		_, r, err := c.NextReader(ctx)
		if err != nil {
			return nil, err
		}
		*stream = r
	}
	(*stream).(*messageReader).ctx = ctx
	p := make([]byte, 100)
	n, err := (*stream).Read(p)
	return p[:n], err
}

// frameBytes returns a frame as the peer sends it.
func (p *rawPeer) frameBytes(h FrameHeader, payload []byte) []byte {
	return frameBytes(p.role, h, payload)
}

func frameBytes(r role, h FrameHeader, payload []byte) []byte {
	if h.Masked = r.masks(); h.Masked {
		h.MaskKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}
	}
	h.Length = int64(len(payload))
	b := AppendFrameHeader(nil, h)
	n := len(b)
	b = append(b, payload...)
	Mask(b[n:], b[n:], h.MaskKey, 0)
	return b
}

// Text that is not UTF-8 fails before the rest of its message has come.
func TestDeflatedTextFailsEarly(t *testing.T) {
	p := deflate.NewCompressor(deflate.Fast, 15, false).AppendMessage(nil, append([]byte(strings.Repeat("x", 20000)+"\xff"), corpus.Kinds[4].Messages(9000, 1)[0]...))
	onBoth(t, nil, func(t *testing.T, g *rig) {
		withDeflate(g.c, both(true, 15))
		g.write(g.frameBytes(FrameHeader{Fin: true, RSV1: true, Opcode: OpText}, p)[:len(p)/2])
		_, _, err := g.c.ReadMessage(bg)
		wantProtocolError(t, "a bad byte in the first half", err, StatusInvalidPayload)
		g.wantClose("a bad byte in the first half", StatusInvalidPayload)
	})
}

// A message that is given up has no part in those that follow: whether it waits
// for room, was compressed already, or is written in pieces.
func TestDeflateGivenUp(t *testing.T) {
	text := corpus.Kinds[0].Messages(3000, 4)
	noise := corpus.Kinds[4].Messages(100<<10, 1)[0]
	large := append(noise, bytes.Repeat(text[3], 20)...) // smaller when compressed, and still large
	cancelled := func() context.Context {
		ctx, cancel := context.WithCancel(bg)
		time.AfterFunc(time.Second, cancel)
		return ctx
	}
	whole := func(p []byte) func(c *Conn, ctx context.Context) error {
		return func(c *Conn, ctx context.Context) error { return c.WriteMessage(ctx, MessageBinary, p) }
	}
	for _, tc := range []struct {
		name  string
		room  bool // there is
		write func(c *Conn, ctx context.Context) error
	}{
		{"waiting for room", false, whole(text[1])},
		{"a large one, waiting for room", false, whole(large)},
		{"a large one, compressed", true, whole(large)},
		{"in pieces, compressed", false, func(c *Conn, ctx context.Context) error {
			w, err := c.NextWriter(ctx, MessageBinary)
			if err != nil {
				return err
			}
			for i := 0; err == nil && i < 40; i++ {
				_, err = w.Write(noise[:5000])
			}
			if w.(*messageWriter).packed == nil {
				t.Error("the compressor should have begun")
			}
			w.Close()
			return err
		}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			g := newDeflateRig(t, server, &Options{Compression: both(true, 15), WriteQueue: 2 << 10, WriteTimeout: -1})
			z := deflate.NewInflater(15, true)
			var group Group
			group.Add(g.c)
			sent := [][]byte{text[0]}
			if tc.room {
				g.c.WriteMessage(bg, MessageBinary, text[0])
				g.c.Flush(bg)
			}
			g.stall()
			if !tc.room {
				g.c.WriteMessage(bg, MessageBinary, text[0])
			}
			wantErr(t, tc.name, tc.write(g.c, cancelled()), context.Canceled)
			g.unstall()
			group.Broadcast(MessageBinary, noise[:100]) // waits while a message is open
			synctest.Wait()
			for _, m := range text[1:] {
				sent = append(sent, m)
				if err := g.c.WriteMessage(bg, MessageBinary, m); err != nil {
					t.Fatal(err)
				}
			}
			for i, m := range slices.Insert(sent, 1, noise[:100]) {
				h, p := g.readPacked()
				if h.RSV1 != (i != 1) || !h.Fin {
					t.Fatalf("all messages but the one that is broadcast should come compressed, and message %d does as %+v", i, h)
				}
				if !h.RSV1 {
					if !bytes.Equal(p, m) {
						t.Fatalf("what is broadcast should come next")
					}
				} else if got, err := z.AppendMessage(nil, p, 1<<20); err != nil || !bytes.Equal(got, m) {
					t.Fatalf("message %d should inflate to what was written, but: %v", i, err)
				}
			}
		})
	}
}

// readPacked reads a frame that may be compressed.
func (p *rawPeer) readPacked() (FrameHeader, []byte) {
	p.t.Helper()
	buf := make([]byte, 64<<10)
	for {
		h, n, err := ParseFrameHeader(p.rest)
		if err == nil && int64(len(p.rest)-n) >= h.Length {
			payload := p.rest[n : n+int(h.Length)]
			p.rest = p.rest[n+int(h.Length):]
			Mask(payload, payload, h.MaskKey, 0)
			return h, payload
		}
		k, err := p.nc.Read(buf)
		if p.rest = append(p.rest, buf[:k]...); err != nil {
			p.t.Fatalf("no frame comes: %v", err)
		}
	}
}

// What a connection keeps while no message is on its way. The log has the figures
// that README gives.
func TestDeflateIdleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector keeps memory of its own")
	}
	messages := corpus.Kinds[0].Messages(2000, 40) // more than any window
	const n = 16
	use := func(o *Compression) int {
		pairs := make([][2]*Conn, 0, n)
		var tapes []*tape
		before := heap()
		for range n {
			tp := newTape(nil, nil)
			c := newConn(tp, client, nil, "", nil)
			withDeflate(c, o)
			for _, m := range messages {
				if err := c.WriteMessage(bg, MessageBinary, m); err != nil {
					t.Fatal(err)
				}
			}
			c.Flush(bg)
			tp.mu.Lock()
			for i, p := 0, tp.out.Bytes(); len(p) > 0; i++ { // the same back to us, as from a server
				h, k, _ := ParseFrameHeader(p)
				payload := p[k : k+int(h.Length)]
				Mask(payload, payload, h.MaskKey, 0)
				p = p[k+int(h.Length):]
				h.Masked = false
				tp.in = append(AppendFrameHeader(tp.in, h), payload...)
			}
			tp.mu.Unlock()
			pairs, tapes = append(pairs, [2]*Conn{c}), append(tapes, tp)
			for range messages {
				if _, _, err := c.ReadMessage(bg); err != nil {
					t.Fatal(err)
				}
			}
			tp.in, tp.out = nil, bytes.Buffer{}
		}
		used := (heap() - before) / n
		runtime.KeepAlive(pairs)
		for _, p := range pairs {
			p[0].Close()
		}
		for _, tp := range tapes {
			<-tp.closed
		}
		return used
	}
	use(both(false, 15)) // fills the pools
	for _, tc := range []struct {
		takeover   bool
		bits, most int
	}{
		{false, 15, 1 << 10}, {false, 8, 1 << 10},
		{true, 15, 100 << 10}, {true, 14, 50 << 10}, {true, 13, 25 << 10}, {true, 12, 12 << 10}, {true, 10, 5 << 10}, {true, 8, 5 << 10},
	} {
		more := tc.most + 1
		for try := 0; try < 5 && more > tc.most; try++ { // other tests leave things that end during this one
			more = use(both(tc.takeover, tc.bits)) - use(nil)
		}
		t.Logf("context takeover %5t, windows of %2d bits: %6d bytes for both directions", tc.takeover, tc.bits, more)
		if more > tc.most {
			t.Errorf("context takeover %t, windows of %d bits: an idle connection keeps %d bytes more than without compression, and should keep at most %d", tc.takeover, tc.bits, more, tc.most)
		}
	}
}

// heap returns how many bytes are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what sync.Pool holds goes at the second
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The steady state allocates nothing but what the caller is given.
func TestDeflateAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	inPieces, whole := corpus.Kinds[0].Messages(2000, 1)[0], []byte(strings.Repeat("so little is left of it ", 50)) // as they arrive
	for i, m := range [][]byte{inPieces, inPieces, whole, whole} {
		takeover := i%2 > 0
		tape := newTape(nil, nil)
		c := withDeflate(newConn(tape, server, nil, "", nil), both(takeover, 15))
		d := deflate.NewCompressor(deflate.Fast, 15, false)
		frame := packed(t, 0xc2, string(d.AppendMessage(nil, m)))
		var dst []byte
		run := func(most float64, what string, f func()) {
			t.Helper()
			if n := testing.AllocsPerRun(100, f); n > most {
				t.Errorf("takeover %t, %d bytes: %s allocates %.1f times, want %.0f", takeover, len(m), what, n, most)
			}
		}
		buf := make([]byte, len(frame))
		in := func() {
			copy(buf, frame) // a frame is unmasked in place
			tape.in = buf
		}
		run(0, "AppendMessage", func() {
			in()
			_, dst, _ = c.AppendMessage(bg, dst[:0])
		})
		run(1, "ReadMessage", func() {
			in()
			c.ReadMessage(bg)
		})
		if !bytes.Equal(dst, m) {
			t.Errorf("takeover %t: the message is another", takeover)
		}
		c.Close()
	}
}

// A prepared message is compressed once for all connections that compress alike,
// and what is written to these before and behind it still arrives.
func TestPreparedDeflate(t *testing.T) {
	text := corpus.Kinds[0].Messages(3000, 3)
	large := corpus.Kinds[0].Messages(300<<10, 1)[0]
	prepared := []*PreparedMessage{
		NewPreparedMessage(MessageBinary, text[1]),
		NewPreparedMessage(MessageBinary, large),
		NewPreparedMessage(MessageBinary, corpus.Kinds[4].Messages(1000, 1)[0]),
		NewPreparedMessage(MessageBinary, nil),
	}
	settings := []*Compression{both(false, 15), both(true, 15), both(true, 9), {MinSize: 2000}}
	for _, o := range settings {
		bubble(t, "", func(t *testing.T) {
			pair := newDeflatePair(t, o)
			for r, c := range pair {
				go func() {
					for _, m := range prepared {
						c.WriteMessage(bg, MessageBinary, text[0])
						c.WritePrepared(bg, m)
						c.WriteMessage(bg, MessageBinary, text[2])
					}
				}()
				for i, m := range prepared {
					wantRead(t, fmt.Sprint("before ", i), pair[role(r).peer()], MessageBinary, string(text[0]))
					wantRead(t, fmt.Sprint("prepared ", i), pair[role(r).peer()], MessageBinary, string(m.plain.payload))
					wantRead(t, fmt.Sprint("behind ", i), pair[role(r).peer()], MessageBinary, string(text[2]))
				}
			}
		})
	}
	for i, m := range prepared {
		if len(m.packed) != 2 { // windows of 15 and of 9 bits
			t.Errorf("message %d is compressed %d times, and should be once for each window", i, len(m.packed))
		}
	}
	if f := prepared[0].form(packing{deflate.Fast, 15, 0}); !f.head.RSV1 || len(f.payload) >= len(text[1]) {
		t.Errorf("a prepared message is not compressed: %+v", f.head)
	}
	if f := prepared[2].form(packing{deflate.Fast, 15, 0}); f != &prepared[2].plain {
		t.Errorf("what would not get smaller should be as it is: %+v", f.head)
	}
}

// Members of a group that compress, in all ways, while they are also written to:
// everything arrives as it was, the broadcasts in their order.
func TestGroupDeflate(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const each = 60
		text := corpus.Kinds[0].Messages(1500, each)
		small := both(true, 9)
		small.Level = CompressionBetter
		var group Group
		var done sync.WaitGroup
		for i, o := range []*Compression{nil, both(false, 15), both(true, 15), small, {MinSize: 1000}} {
			pair := newDeflatePair(t, o)
			member, peer := pair[role(i)&1], pair[role(i)&1^1]
			group.Add(member)
			done.Go(func() {
				for n := range each {
					if err := writings[n%len(writings)](member, MessageBinary, text[n]); err != nil {
						t.Error(err)
					}
				}
			})
			done.Go(func() {
				cast, written := 0, 0
				for cast+written < 2*each {
					typ, p, err := peer.ReadMessage(bg)
					next, why := &written, "written"
					if typ == MessageText {
						next, why = &cast, "broadcast"
					}
					if err != nil || *next == each || !bytes.Equal(p, text[*next]) {
						t.Errorf("setting %d: message %d that is %s should come as it was, but: %d bytes, %v", i, *next, why, len(p), err)
						return
					}
					*next++
				}
			})
		}
		for n := range each {
			if err := group.Broadcast(MessageText, text[n]); err != nil {
				t.Error(err)
			}
			if n%7 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		done.Wait()
	})
}

// What is broadcast waits for a message that the compressor has begun with, though
// nothing of it has left: it may refer to what was sent last.
func TestGroupWaitsForCompressor(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		text := corpus.Kinds[0].Messages(5000, 2)
		pair := newDeflatePair(t, both(true, 15))
		var group Group
		group.Add(pair[server])
		if err := pair[server].WriteMessage(bg, MessageBinary, text[0]); err != nil {
			t.Fatal(err)
		}
		w, err := pair[server].NextWriter(bg, MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text[0])
		group.Broadcast(MessageText, text[1])
		synctest.Wait()
		w.Close()
		wantRead(t, "the message before", pair[client], MessageBinary, string(text[0]))
		wantRead(t, "the one that was begun", pair[client], MessageBinary, string(text[0]))
		wantRead(t, "the broadcast", pair[client], MessageText, string(text[1]))
	})
}

// What is left unread of a compressed message is inflated all the same: those that
// follow may refer to it.
func TestDeflateDiscard(t *testing.T) {
	text := corpus.Kinds[0].Messages(20000, 2)
	for _, takeover := range []bool{false, true} {
		bubble(t, fmt.Sprint("takeover ", takeover), func(t *testing.T) {
			pair := newDeflatePair(t, both(takeover, 15))
			for r, c := range pair {
				peer := pair[role(r).peer()]
				for i, write := range writings {
					go func() {
						write(c, MessageBinary, text[0])
						write(c, MessageBinary, text[1])
						write(c, MessageBinary, text[0])
						write(c, MessageBinary, text[1])
					}()
					for _, some := range []int{0, 1, 5000} {
						_, stream, err := peer.NextReader(bg)
						if err != nil {
							t.Fatal(err)
						}
						if _, err := io.ReadFull(stream, make([]byte, some)); err != nil {
							t.Fatal(err)
						}
					}
					wantRead(t, fmt.Sprint("behind what was discarded, written in way ", i), peer, MessageBinary, string(text[1]))
				}
			}
		})
	}
}

// Blocks that bring nothing never exceed the limit, and never end the message. As
// empty fragments they may come, and not without end.
func TestEndlessEmptyBlocks(t *testing.T) {
	flushes := strings.Repeat("\x00\x00\x00\xff\xff", 4000)
	fragments := func(n int) []byte {
		in := packed(t, 0x42, flushes) // RSV1, and not FIN
		for range n {
			in = append(in, packed(t, 0x00, flushes)...)
		}
		return append(in, packed(t, 0x80, "\x00\x01\x00\xfe\xffx\x00")...)
	}
	discard := func(c *Conn) (MessageType, []byte, error) {
		if _, _, err := c.NextReader(bg); err != nil {
			return 0, nil, err
		}
		return ways[0](c)
	}
	endless := "(RFC 7692 7.2.2, status code 1008 (policy violation))"
	for w, read := range append(ways[:len(ways):len(ways)], discard) {
		for name, in := range map[string][]byte{
			"fragments":     fragments(50),
			"one frame":     packed(t, 0xc2, strings.Repeat(flushes, 50)),
			"behind a byte": append(packed(t, 0xc2, "\x00\x01\x00\xfe\xffx\x00"), fragments(50)...),
		} {
			events := play(server, 1<<10, both(true, 15), in, nil, read)
			if n := len(events); !strings.Contains(events[n-2], endless) || !strings.Contains(events[n-1], "close 03f0") {
				t.Errorf("a million bytes of empty blocks in %s, read in way %d, should end with 1008, and end with %.200q", name, w, events)
			}
		}
	}
	for w, read := range ways {
		events := play(server, 1<<10, both(true, 15), fragments(20), nil, read)
		if len(events) != 3 || events[0] != "binary 78" {
			t.Errorf("80,000 flushes of nothing should pass in way %d, but: %.200q", w, events)
		}
	}
}

// What the inflater still has in its hands is a part of the message: a Shutdown
// between two Reads leaves it to the reader, as it does what has not been inflated.
func TestShutdownBetweenReadsOfDeflated(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		withDeflate(g.c, both(true, 15))
		const size = 4000
		p := deflate.NewCompressor(deflate.Fast, 15, true).AppendMessage(nil, make([]byte, size))
		g.write(g.frameBytes(FrameHeader{Fin: true, RSV1: true, Opcode: OpBinary}, p))
		_, r, err := g.c.NextReader(bg)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for got == 0 || len(g.c.in.packed) > 0 {
			if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			got++
		}
		if got == size {
			t.Fatal("the last bytes should be a long match, and nothing is left of it")
		}
		done := inBackground(func() error { return g.c.Shutdown(bg, StatusGoingAway, "") })
		synctest.Wait()
		g.write(closeF(StatusGoingAway, "").bytes(g.role))
		rest, err := io.ReadAll(r)
		if err != nil || got+len(rest) != size {
			t.Errorf("behind %d bytes %d should follow, and %d do, %v", got, size-got, len(rest), err)
		}
		readErr(g.c)
		<-done
	})
}

// Whoever writes, in whatever way, and however much of it is given up, and in
// whatever way it is read, and given up in between: what was written arrives as it
// was, once, and what was given up leaves no trace in it.
func TestDeflateAtRandom(t *testing.T) {
	seeds := uint64(6)
	if raceEnabled {
		seeds = 2
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 0))
		o := both(random.IntN(3) > 0, 8+random.IntN(8))
		o.Level, o.MinSize = CompressionLevel(seed%2), random.IntN(2)*100-1
		bubble(t, fmt.Sprintf("seed %d, %+v", seed, *o), func(t *testing.T) {
			pair := newDeflatePair(t, o)
			pair[server].out.bound = 3000
			pair[server].nc.(*memConn).Out.Update(func() { pair[server].nc.(*memConn).Out.Room = 5000 })
			group := &Group{Queue: 1 << 30}
			group.Add(pair[server])
			const writers, each = 4, 25
			var done sync.WaitGroup
			written := make([]bool, writers*each)
			for w := range writers {
				random := rand.New(rand.NewPCG(seed, 1+uint64(w)))
				done.Go(func() {
					for n := w * each; n < (w+1)*each; n++ {
						err := writeAtRandom(pair[server], group, random, tagged(n))
						if written[n] = err == nil; err != nil && !errors.Is(err, context.Canceled) {
							t.Errorf("message %d: %v", n, err)
						}
						time.Sleep(time.Duration(random.IntN(500)) * time.Microsecond)
					}
				})
			}
			go func() {
				done.Wait()
				time.Sleep(time.Second) // for what the group has
				pair[server].WriteText(bg, "the end")
			}()
			read := make([]bool, len(written))
			for {
				typ, p, err := readAtRandom(pair[client], random)
				if err != nil {
					t.Fatal(err)
				}
				if typ == MessageText {
					break
				}
				n := int(binary.BigEndian.Uint32(append(p, 0, 0, 0, 0)))
				if n >= len(read) || read[n] || !bytes.Equal(p, tagged(n)) {
					t.Fatalf("a message of %d bytes with the number %d is none that was written, or comes twice", len(p), n)
				}
				read[n] = true
			}
			if !slices.Equal(written, read) {
				t.Errorf("these messages were written:\n%v\nand these have come:\n%v", written, read)
			}
		})
	}
}

// tagged returns message n, whose kind and size follow from that.
func tagged(n int) []byte {
	size := []int{8, 60, 300, 511, 512, 700, 3000, 9000, 40000, 70000}[n*7%10]
	p := corpus.Kinds[n%3%2*4].Messages(size, 1)[0]
	binary.BigEndian.PutUint32(p, uint32(n))
	return p
}

// writeAtRandom writes a message, or gives it up before anything of it has left.
func writeAtRandom(c *Conn, g *Group, random *rand.Rand, p []byte) error {
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	giveUp := len(p) < largeWrite && random.IntN(3) == 0 // of a large one a part may have left
	if giveUp {
		time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, cancel)
	}
	switch random.IntN(7) {
	case 0, 1:
		return c.WriteMessage(ctx, MessageBinary, p)
	case 2:
		return c.WriteUncompressed(ctx, MessageBinary, p)
	case 3:
		return c.WritePrepared(ctx, NewPreparedMessage(MessageBinary, p))
	case 4:
		return g.Broadcast(MessageBinary, p)
	}
	w, err := c.NextWriter(ctx, MessageBinary)
	if err != nil {
		return err
	}
	m := w.(*messageWriter)
	size := []int{50, 1000, 5000, 1 << 20}[random.IntN(4)]
	if giveUp {
		size = min(size, 1000) // one frame a Write at the most
	}
	for piece := range slices.Chunk(p, size) {
		if m.begun {
			m.ctx = bg // to end in the middle is to fail the connection
		}
		if _, err = w.Write(piece); err != nil {
			break
		}
		time.Sleep(time.Duration(random.IntN(100)) * time.Microsecond)
	}
	if m.begun {
		m.ctx = bg
	}
	return errors.Join(err, w.Close())
}

// readAtRandom reads a message, and goes on where it was given up.
func readAtRandom(c *Conn, random *rand.Rand) (typ MessageType, p []byte, err error) {
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(bg, time.Duration(random.IntN(300))*time.Microsecond)
		time.AfterFunc(time.Millisecond, cancel)
		return ctx
	}
	for {
		switch random.IntN(4) {
		case 0:
			typ, p, err = c.ReadMessage(short())
		case 1:
			typ, p, err = c.AppendMessage(short(), make([]byte, 3, 3+random.IntN(2000)))
			p = p[3:]
		case 2:
			c.Ping(short()) // reads, too, and may hold a message
			continue
		default:
			var r io.Reader
			if typ, r, err = c.NextReader(short()); err == nil {
				p, err = readPieces(r.(*messageReader), random, short)
			}
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			return typ, p, err
		}
	}
}

func readPieces(r *messageReader, random *rand.Rand, short func() context.Context) (p []byte, err error) {
	for err == nil || errors.Is(err, context.DeadlineExceeded) {
		r.ctx = short()
		buf := make([]byte, 1+random.IntN(3000))
		var n int
		n, err = r.Read(buf)
		p = append(p, buf[:n]...)
	}
	if err == io.EOF {
		err = nil
	}
	return p, err
}
