package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"example.com/websocket/internal/deflate/corpus"
)

// syncTail is what RFC 7692 7.2.1 has removed from the end of a message, and
// finalTail an empty final block, with which compress/flate knows the end.
const (
	syncTail  = "\x00\x00\xff\xff"
	finalTail = "\x01\x00\x00\xff\xff"
)

var sizes = []int{0, 1, 5, 255, 256, 2048, 16384, 70000}

// A setting is a way to compress.
type setting struct {
	level    Level
	bits     int
	takeover bool
}

func (s setting) String() string {
	return fmt.Sprintf("level %d, %d bits, takeover %t", s.level, s.bits, s.takeover)
}

func eachSetting(f func(s setting)) {
	for _, level := range []Level{Fast, Better} {
		for bits := minWindowBits; bits <= maxWindowBits; bits++ {
			for _, takeover := range []bool{false, true} {
				f(setting{level, bits, takeover})
			}
		}
	}
}

// What is compressed comes back: from compress/flate, for which all messages
// are one stream, and from the Inflater, which refuses distances that reach
// beyond the window, or beyond the message where there is no takeover.
func TestRoundTrip(t *testing.T) {
	for _, kind := range corpus.Kinds {
		for _, size := range sizes {
			messages := kind.Messages(size, 5)
			eachSetting(func(s setting) {
				c, z := NewCompressor(s.level, s.bits, s.takeover), NewInflater(s.bits, s.takeover)
				var stream []byte
				for i, m := range messages {
					p := c.AppendMessage(nil, m)
					stream = append(append(stream, p...), syncTail...)
					got, err := z.AppendMessage(nil, p, size)
					if err != nil || !bytes.Equal(got, m) {
						t.Fatalf("%s of %d bytes, %v: message %d should come back, but: %v", kind.Name, size, s, i, err)
					}
				}
				got, err := io.ReadAll(flate.NewReader(bytes.NewReader(append(stream, finalTail...))))
				if err != nil || !bytes.Equal(got, bytes.Join(messages, nil)) {
					t.Fatalf("%s of %d bytes, %v: compress/flate should read it, but: %v", kind.Name, size, s, err)
				}
			})
		}
	}
}

// Given in pieces, read in pieces, it is the same message.
func TestPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, kind := range corpus.Kinds {
		for _, size := range sizes {
			messages := kind.Messages(size, 4)
			eachSetting(func(s setting) {
				c, z := NewCompressor(s.level, s.bits, s.takeover), NewInflater(s.bits, s.takeover)
				for _, m := range messages {
					var p []byte
					for rest := m; len(rest) > 0; {
						n := 1 + random.IntN(min(len(rest), 9000))
						p, rest = c.Append(p, rest[:n]), rest[n:]
					}
					got, err := inflatePieces(z, c.Flush(p), random)
					if err != nil || !bytes.Equal(got, m) {
						t.Fatalf("%s of %d bytes, %v: the message should come back in pieces, but: %v", kind.Name, size, s, err)
					}
				}
			})
		}
	}
}

// inflatePieces gives z the input, and room for output, in pieces.
func inflatePieces(z *Inflater, p []byte, random *rand.Rand) (message []byte, err error) {
	out := make([]byte, 5000)
	for stuck := 0; stuck < 100; stuck++ {
		n := min(len(p), random.IntN(700))
		dst := out[:random.IntN(len(out))]
		written, taken, err := z.Inflate(dst, p[:n], n == len(p))
		message, p = append(message, dst[:written]...), p[taken:]
		if err == io.EOF {
			return message, nil
		}
		if err != nil {
			return message, err
		}
		if written+taken > 0 {
			stuck = 0
		}
	}
	return message, errors.New("no progress")
}

// A message can be cut at any byte of its compressed form.
func TestEveryCut(t *testing.T) {
	m := corpus.Kinds[0].Messages(2048, 1)[0]
	for _, level := range []Level{Fast, Better} {
		p := NewCompressor(level, 15, false).AppendMessage(nil, m)
		for cut := range p {
			z := NewInflater(15, true)
			dst := make([]byte, 2*len(m))
			n, taken, err := z.Inflate(dst, p[:cut], false)
			if err != nil || taken != cut {
				t.Fatalf("cut at %d of %d: %d are taken, %v", cut, len(p), taken, err)
			}
			k, _, err := z.Inflate(dst[n:], p[cut:], true)
			if err != io.EOF && err != nil || !bytes.Equal(dst[:n+k], m) {
				t.Fatalf("cut at %d of %d: the message should come back, but: %v", cut, len(p), err)
			}
		}
	}
}

// RFC 7692 7.2.3.6: an empty message may be sent as the one byte 0x00.
func TestEmptyMessage(t *testing.T) {
	for _, p := range []string{"\x00", "\x02\x00", "\x03\x00", ""} {
		got, err := NewInflater(15, false).AppendMessage(nil, []byte(p), 10)
		if err != nil || len(got) != 0 {
			t.Errorf("%x should be an empty message, and is %q, %v", p, got, err)
		}
	}
	if p := NewCompressor(Fast, 15, true).AppendMessage(nil, nil); !bytes.Equal(p, []byte{0}) {
		t.Errorf("an empty message should be 00, and is %x", p)
	}
}

// RFC 7692 7.2.3: what others write is read: the examples of the RFC.
func TestRFCExamples(t *testing.T) {
	for _, tc := range []struct{ why, p string }{
		{"7.2.3.1: one block", "\xf2\x48\xcd\xc9\xc9\x07\x00"},
		{"7.2.3.3: no compression", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"},
		{"7.2.3.4: BFINAL is set", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"},
		{"7.2.3.5: two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"},
	} {
		got, err := NewInflater(15, false).AppendMessage(nil, []byte(tc.p), 100)
		if err != nil || string(got) != "Hello" {
			t.Errorf("%s: it should be Hello, and is %q, %v", tc.why, got, err)
		}
	}
	// 7.2.3.2: the same message again, and then by reference to the first.
	z := NewInflater(15, true)
	for i, p := range []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00"} {
		got, err := z.AppendMessage(nil, []byte(p), 100)
		if err != nil || string(got) != "Hello" {
			t.Errorf("7.2.3.2: message %d should be Hello, and is %q, %v", i, got, err)
		}
	}
	if _, err := NewInflater(15, false).AppendMessage(nil, []byte("\xf2\x00\x11\x00\x00"), 100); err == nil {
		t.Error("a reference to what was before the first message should be refused")
	}
}

// After a final block the next message goes on with the same history.
func TestStandardCompressor(t *testing.T) {
	for _, kind := range corpus.Kinds {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, 6, flate.BestCompression} {
			z := NewInflater(15, true)
			var all bytes.Buffer
			w, _ := flate.NewWriter(&all, level)
			for i, m := range kind.Messages(3000, 20) {
				all.Reset()
				w.Write(m)
				w.Flush()
				p := bytes.TrimSuffix(all.Bytes(), []byte(syncTail))
				got, err := z.AppendMessage(nil, p, len(m))
				if err != nil || !bytes.Equal(got, m) {
					t.Fatalf("%s at level %d: message %d should be read, but: %v", kind.Name, level, i, err)
				}
			}
		}
	}
}

// The window that was agreed on is the largest distance that is let through.
func TestWindowIsEnforced(t *testing.T) {
	random := make([]byte, 300)
	for i := range random {
		random[i] = byte(rand.N(256))
	}
	m := append(append([]byte(nil), random...), random...) // a match 300 bytes back
	p := NewCompressor(Fast, 9, false).AppendMessage(nil, m)
	if _, err := NewInflater(9, false).AppendMessage(nil, p, len(m)); err != nil {
		t.Errorf("within 512 bytes a distance of 300 is right, but: %v", err)
	}
	var corrupt *CorruptError
	if _, err := NewInflater(8, false).AppendMessage(nil, p, len(m)); !errors.As(err, &corrupt) {
		t.Errorf("within 256 bytes a distance of 300 should be refused, but: %v", err)
	}
}

// A bomb costs the limit and no more.
func TestLimit(t *testing.T) {
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, flate.BestCompression)
	w.Write(make([]byte, 100<<20))
	w.Flush()
	const limit = 10_000
	z := NewInflater(15, false)
	z.AppendMessage(nil, bomb.Bytes(), limit) // fills the pools
	n := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			dst, err := NewInflater(15, false).AppendMessage([]byte("as it was"), bomb.Bytes(), limit)
			if err != ErrTooLarge || string(dst) != "as it was" {
				b.Fatalf("the limit should stop it, but: %v", err)
			}
		}
	}).AllocedBytesPerOp()
	if n > 8*limit {
		t.Errorf("a bomb of 100 MiB with a limit of %d bytes made us allocate %d", limit, n)
	}
	exact := NewCompressor(Fast, 15, false).AppendMessage(nil, make([]byte, limit))
	if got, err := NewInflater(15, false).AppendMessage(nil, exact, limit); err != nil || len(got) != limit {
		t.Errorf("a message of exactly the limit should pass, but: %v", err)
	}
}

// After Forget a message stands by itself, and the history grows anew.
// A compressor works in at most 64 KiB, its own memory and what it borrows. With
// context takeover that is in proportion to the window, but for the block.
func TestMemoryInUse(t *testing.T) {
	block := int(reflect.TypeFor[block]().Size())
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		for _, takeover := range []bool{false, true} {
			c := NewCompressor(Better, bits, takeover)
			for _, m := range corpus.Kinds[0].Messages(16384, 10) {
				c.Append(nil, m)
			}
			window, table := cap(c.window), 4*len(c.matcher.table)
			most := block + max(3<<10, 3<<bits/2) + 128
			if n := int(reflect.TypeFor[Compressor]().Size()) + window + table + block; n > 64<<10 || takeover && n > most {
				t.Errorf("with %d bits and takeover %t it uses %d bytes (window %d, table %d, block %d), and should use at most %d, and never more than 64 KiB", bits, takeover, n, window, table, block, most)
			}
		}
	}
}

func TestForget(t *testing.T) {
	m := corpus.Kinds[0].Messages(2000, 1)[0]
	for _, level := range []Level{Fast, Better} {
		c := NewCompressor(level, 15, true)
		first := c.AppendMessage(nil, m)
		if again := c.AppendMessage(nil, m); len(again) > len(first)/4 {
			t.Errorf("the same message again should be a reference, and takes %d bytes after %d", len(again), len(first))
		}
		c.Forget()
		alone := c.AppendMessage(nil, m)
		got, err := NewInflater(15, false).AppendMessage(nil, alone, len(m))
		if err != nil || !bytes.Equal(got, m) {
			t.Errorf("after Forget a message should stand by itself, but: %v", err)
		}
	}
}

// What Undo takes out the inflater need not have seen: a message of any size, whole
// or in progress. What was before it, if it is still there, is referred to again.
func TestUndo(t *testing.T) {
	messages := corpus.Kinds[0].Messages(700, 8)
	eachSetting(func(s setting) {
		for _, size := range []int{0, 100, 3000, 40000} {
			gone := corpus.Kinds[1].Messages(size, 1)[0]
			c, z := NewCompressor(s.level, s.bits, s.takeover), NewInflater(s.bits, s.takeover)
			for i, m := range append(messages, messages[len(messages)-1]) {
				p := c.AppendMessage(nil, m)
				got, err := z.AppendMessage(nil, p, len(m))
				if err != nil || !bytes.Equal(got, m) {
					t.Fatalf("%v: message %d should come back, though others of %d bytes were taken out, but: %v", s, i, size, err)
				}
				if i == len(messages) && s.takeover && s.bits >= 11 && size <= 100 && len(p) > 30 {
					t.Errorf("%v: a message that comes again takes %d bytes: it should refer to what was before those taken out", s, len(p))
				}
				if c.Append(nil, gone); i%2 == 0 {
					c.Flush(nil)
				}
				c.Undo()
			}
		}
	})
}

// FuzzInflate: arbitrary bytes are the same to us and to compress/flate, in
// one piece and in many.
func FuzzInflate(f *testing.F) {
	for _, kind := range corpus.Kinds {
		for _, level := range []Level{Fast, Better} {
			f.Add(NewCompressor(level, 15, false).AppendMessage(nil, kind.Messages(600, 1)[0]), uint64(1))
		}
	}
	f.Add([]byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), uint64(2))
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		const limit = 1 << 20
		got, err := NewInflater(15, false).AppendMessage(nil, p, limit)
		if err == ErrTooLarge {
			return
		}
		pieces, pieceErr := inflatePieces(NewInflater(15, false), p, rand.New(rand.NewPCG(seed, 0)))
		if (err == nil) != (pieceErr == nil) || err == nil && !bytes.Equal(got, pieces) {
			t.Fatalf("%x is %q, %v; in pieces %q, %v", p, got, err, pieces, pieceErr)
		}
		if err != nil || len(p) == 0 { // no bytes at all are a message to us, as some senders mean it
			return
		}
		// What follows a final block is for compress/flate another stream.
		var want []byte
		for r := bytes.NewReader(append(p[:len(p):len(p)], syncTail+finalTail...)); ; {
			stream := flate.NewReaderDict(r, want)
			more, err := io.ReadAll(stream)
			want = append(want, more...)
			if err != nil {
				t.Fatalf("%x is %q to us, and to compress/flate %v", p, got, err)
			}
			if r.Len() == 0 || len(want) >= len(got) {
				break
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%x is %q, and to compress/flate %q", p, got, want)
		}
	})
}

// FuzzRoundTrip: any messages, in any pieces, with any setting.
func FuzzRoundTrip(f *testing.F) {
	for i, kind := range corpus.Kinds {
		f.Add(kind.Messages(700, 1)[0], kind.Messages(300, 1)[0], byte(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, a, b []byte, how byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := setting{Level(how & 1), minWindowBits + int(how>>1&7), how&16 != 0}
		c, z := NewCompressor(s.level, s.bits, s.takeover), NewInflater(s.bits, s.takeover)
		for _, m := range [][]byte{a, b, a} {
			k := random.IntN(len(m) + 1)
			p := c.Flush(c.Append(c.Append(nil, m[:k]), m[k:]))
			if seed%2 == 0 {
				p = c.AppendMessage(p[:0], m)
				if s.takeover { // the history has it twice then
					c.Forget()
					p = c.AppendMessage(p[:0], m)
				}
			}
			got, err := inflatePieces(z, p, random)
			if err != nil || !bytes.Equal(got, m) {
				t.Fatalf("%v: %q should come back, and is %q, %v", s, m, got, err)
			}
		}
	})
}
