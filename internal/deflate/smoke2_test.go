package deflate

import (
	"bytes"
	"testing"

	"example.com/websocket/internal/deflate/corpus"
)

func TestSmoke2(t *testing.T) {
	for _, k := range corpus.Kinds {
		for _, size := range []int{0, 1, 5, 256, 2048, 16384, 100000} {
			for bits := 8; bits <= 15; bits++ {
				for _, takeover := range []bool{false, true} {
					c := NewCompressor(Fast, bits, takeover)
					z := NewInflater(bits, takeover)
					var got []byte
					for i, m := range k.Messages(size, 10) {
						cm := c.AppendMessage(nil, m)
						var err error
						got, err = z.AppendMessage(got[:0], cm, size)
						if err != nil || !bytes.Equal(got, m) {
							t.Fatalf("%s %d %d %v msg %d: %v", k.Name, size, bits, takeover, i, err)
						}
					}
				}
			}
		}
	}
}
