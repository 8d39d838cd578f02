package main

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/flate"

	"example.com/websocket/internal/deflate"
)

// A codec compresses messages as RFC 7692 asks, less the removal of the last
// four bytes, and inflates them.
type codec struct {
	name          string
	newCompressor func(takeover bool) func(dst, p []byte) []byte
	newInflater   func(takeover bool) func(dst, p []byte, size int) []byte
}

var codecs = []codec{
	{"ours", ourCompressor, ourInflater},
	{"k", func(takeover bool) func(dst, p []byte) []byte {
		w, err := flate.NewWriter(nil, 1)
		check(err)
		return compressWith(w, takeover)
	}, func(takeover bool) func(dst, p []byte, size int) []byte {
		return inflateWith(flate.NewReader(new(bytes.Buffer)), takeover)
	}},
	{"std", func(takeover bool) func(dst, p []byte) []byte {
		w, err := stdflate.NewWriter(nil, 1)
		check(err)
		return compressWith(w, takeover)
	}, func(takeover bool) func(dst, p []byte, size int) []byte {
		return inflateWith(stdflate.NewReader(new(bytes.Buffer)), takeover)
	}},
}

// A run is a codec at work on the messages of one connection, message n of
// a never ending repetition of them.
type run struct {
	compress, inflate func(n int)
	ratio             float64
}

// run prepares a run, and checks that every message comes back.
func (c codec) run(msgs [][]byte, takeover bool) run {
	var out, back []byte
	var compressed [][]byte
	var total, sum int
	compress, inflate := c.newCompressor(takeover), c.newInflater(takeover)
	// With takeover the first pass fills the window, as on a connection that
	// has been in use, and the second one counts.
	for pass := range 2 {
		for _, m := range msgs {
			out = compress(out[:0], m)
			if back = inflate(back[:0], out, len(m)); !bytes.Equal(back, m) {
				check(fmt.Errorf("%s: a message changed", c.name))
			}
			if pass == 1 {
				compressed = append(compressed, bytes.Clone(out))
				total += len(m)
				sum += len(out)
			}
		}
	}
	turns := []func(dst, p []byte) []byte{compress}
	for len(turns) < *conns {
		compress := c.newCompressor(takeover)
		for _, m := range msgs {
			out = compress(out[:0], m)
		}
		turns = append(turns, compress)
	}
	return run{
		compress: func(n int) { out = turns[n%len(turns)](out[:0], msgs[n/len(turns)%len(msgs)]) },
		inflate: func(n int) {
			n %= len(msgs)
			back = inflate(back[:0], compressed[n], len(msgs[n]))
		},
		ratio: float64(total) / float64(sum),
	}
}

func ourCompressor(takeover bool) func(dst, p []byte) []byte {
	return deflate.NewCompressor(deflate.Fast, 15, takeover).AppendMessage
}

func ourInflater(takeover bool) func(dst, p []byte, size int) []byte {
	z := deflate.NewInflater(15, takeover)
	return func(dst, p []byte, size int) []byte {
		dst, err := z.AppendMessage(dst, p, 1<<20)
		check(err)
		return dst
	}
}

// A writer is what both packages named flate call Writer.
type writer interface {
	io.Writer
	Flush() error
	Reset(io.Writer)
}

func compressWith(w writer, takeover bool) func(dst, p []byte) []byte {
	var buf bytes.Buffer
	w.Reset(&buf)
	return func(dst, p []byte) []byte {
		buf.Reset()
		if !takeover {
			w.Reset(&buf)
		}
		_, err := w.Write(p)
		check(err)
		check(w.Flush())
		return append(dst, bytes.TrimSuffix(buf.Bytes(), syncMarker)...)
	}
}

var syncMarker = []byte{0, 0, 0xff, 0xff}

// inflateWith reads with r, a Resetter. With takeover it is one reader
// for the whole connection, which costs less than to reset it with a dictionary
// for each message.
func inflateWith(r io.Reader, takeover bool) func(dst, p []byte, size int) []byte {
	var buf bytes.Buffer
	reset := r.(stdflate.Resetter).Reset
	check(reset(&buf, nil))
	return func(dst, p []byte, size int) []byte {
		if !takeover {
			buf.Reset()
			check(reset(&buf, nil))
		}
		buf.Write(p)
		buf.Write(syncMarker)
		n := len(dst)
		if cap(dst)-n < size {
			dst = append(make([]byte, 0, n+size), dst...)
		}
		dst = dst[:n+size]
		_, err := io.ReadFull(r, dst[n:])
		check(err)
		return dst
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "deflate:", err)
		os.Exit(1)
	}
}
