package main

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/websocket/internal/deflate/corpus"
)

// documents returns n messages of JSON.
func documents(n, size int, seed uint64) [][]byte {
	for _, k := range corpus.Kinds {
		if k.Name == "chat" {
			all := k.Messages(size, n*int(seed+1))
			return all[len(all)-n:]
		}
	}
	return nil
}

// compress is what a client does that compresses each message by itself (RFC 7692
// 7.2.1).
func compress(p []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		panic(err)
	}
	w.Write(p)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// inflate is compress undone (7.2.2). Before is what may be referred to.
func inflate(p, before []byte) ([]byte, error) {
	tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
	return io.ReadAll(flate.NewReaderDict(io.MultiReader(bytes.NewReader(p), tail), before))
}

// expectCompressed returns a function that receives messages which are compressed. If
// each is so by itself, what has come before is known to be right, and is inflated
// only the first time and when the server compresses differently.
func (m *receiver) expectCompressed(opcode byte, messages [][]byte, takeover bool) func() error {
	known := make([][]byte, len(messages))
	var before []byte
	return func() error {
		for i, want := range messages {
			op, p, err := m.next()
			if err != nil {
				return err
			}
			if op != opcode || !m.compressed {
				return errors.New("a message is not compressed, or of another type")
			}
			if !takeover && bytes.Equal(p, known[i]) {
				continue
			}
			got, err := inflate(p, before)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return errors.New("a message is not the one that was expected")
			}
			if takeover {
				before = append(before, got...)
				before = before[max(0, len(before)-32<<10):]
			} else {
				known[i] = bytes.Clone(p)
			}
		}
		return nil
	}
}

// compressedSize returns how large the compressed messages of a server are, against
// those of compress/flate at level 1.
func (e echo) compressedSize(p *process, _ time.Duration) (float64, error) {
	conns, err := dial(p, e.conns)
	if err != nil {
		return 0, err
	}
	defer closeAll(conns)
	theirs, standard := 0, 0
	for i, nc := range conns {
		nc.SetDeadline(time.Now().Add(patience))
		in := newReceiver(nc, 64<<10)
		in.deflate = true
		for _, m := range documents(e.inFlight, e.size, uint64(i)) {
			packed := compress(m)
			frame := appendFrame(nil, opBinary, packed, &[4]byte{1, 2, 3, 4})
			frame[0] |= rsv1
			if _, err := nc.Write(frame); err != nil {
				return 0, err
			}
			_, p, err := in.next()
			if err != nil {
				return 0, err
			}
			if got, err := inflate(p, nil); err != nil || !bytes.Equal(got, m) || !in.compressed {
				return 0, fmt.Errorf("a message comes back as another, or not compressed: %v", err)
			}
			theirs, standard = theirs+len(p), standard+len(packed)
		}
	}
	return float64(theirs) / float64(standard), nil
}
