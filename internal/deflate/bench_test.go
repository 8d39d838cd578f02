package deflate

import (
	"fmt"
	"testing"

	"example.com/websocket/internal/deflate/corpus"
)

// eachKind runs f as a benchmark for each kind and size of message, without
// and with context takeover.
func eachKind(b *testing.B, f func(b *testing.B, msgs [][]byte, takeover bool)) {
	for _, kind := range corpus.Kinds {
		for _, size := range corpus.Sizes {
			msgs := kind.Messages(size, max(64, 256<<10/size))
			for _, takeover := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%d/takeover=%t", kind.Name, size, takeover), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					f(b, msgs, takeover)
				})
			}
		}
	}
}

func BenchmarkCompress(b *testing.B)       { benchmarkCompress(b, Fast) }
func BenchmarkCompressBetter(b *testing.B) { benchmarkCompress(b, Better) }

func benchmarkCompress(b *testing.B, level Level) {
	eachKind(b, func(b *testing.B, msgs [][]byte, takeover bool) {
		c := NewCompressor(level, 15, takeover)
		var out []byte
		var in, total int
		for i := 0; b.Loop(); i++ {
			p := msgs[i%len(msgs)]
			out = c.AppendMessage(out[:0], p)
			in += len(p)
			total += len(out)
		}
		b.ReportMetric(float64(in)/float64(total), "ratio")
	})
}
