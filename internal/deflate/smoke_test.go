package deflate

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"

	"example.com/websocket/internal/deflate/corpus"
)

const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

func TestSmoke(t *testing.T) {
	for _, k := range corpus.Kinds {
		for _, size := range []int{0, 1, 5, 256, 2048, 16384, 100000} {
			for bits := 8; bits <= 15; bits++ {
				for _, takeover := range []bool{false, true} {
					c := NewCompressor(Fast, bits, takeover)
					var in, out []byte
					n := 0
					for _, m := range k.Messages(size, 30) {
						cm := c.AppendMessage(nil, m)
						in = append(in, m...)
						n += len(cm)
						out = append(out, cm...)
						out = append(out, 0, 0, 0xff, 0xff)
					}
					out = append(out, 1, 0, 0, 0xff, 0xff)
					got, err := io.ReadAll(flate.NewReader(bytes.NewReader(out)))
					if err != nil || !bytes.Equal(got, in) {
						t.Fatalf("%s %d %d: %v", k.Name, size, bits, err)
					}
					if size == 2048 || size == 256 || size == 16384 {
						t.Logf("%s %d bits %d takeover %v: ratio %.3f", k.Name, size, bits, takeover, float64(len(in))/float64(n))
					}
				}
			}
		}
	}
}
