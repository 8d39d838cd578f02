package deflate

import (
	"testing"

	"example.com/websocket/internal/deflate/corpus"
)

func TestStat(t *testing.T) {
	for _, k := range corpus.Kinds {
		for _, size := range corpus.Sizes {
			m := newMatcher(12)
			m.maxDist = 32768
			b := new(block)
			var seqs, lits, short, mlen int
			runs := [6]int{}
			for _, p := range k.Messages(size, 8) {
				m.forget()
				for i := 0; i < len(p); {
					b.reset()
					i = m.fast(b, p, i, len(p))
					seqs += b.numSequences
					lits += b.numLiterals
					for _, s := range b.sequences[:b.numSequences] {
						runs[min(s.run(), 5)]++
						mlen += int(s.length()) + 3
						if s.length() < 5 {
							short++
						}
					}
				}
			}
			if seqs > 0 {
				t.Logf("%s %d: seqs %d lits %d short %d runs %v avg match %.1f", k.Name, size, seqs/8, lits/8, short/8, runs, float64(mlen)/float64(seqs))
			}
		}
	}
}
