package deflate

import (
	"encoding/binary"
	"slices"
)

// Slices of constant length compile to two comparisons and an access; an open
// one, b[i:], takes twice as many instructions.
func load32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i : i+4]) }
func load64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8]) }

func store64(b []byte, i int, v uint64) { binary.LittleEndian.PutUint64(b[i:i+8], v) }

// A bitWriter appends bits to out, the first in the lowest bit of a byte
// (RFC 1951, 3.1.1). Between calls fewer than 8 bits wait in acc.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint // valid bits in acc; those above are 0
}

// reserve makes room for n bits, and for the whole words in which flush
// writes them.
func (w *bitWriter) reserve(n int) { w.out = slices.Grow(w.out, (n+7)/8+16) }

// add takes n more bits. The caller flushes before they exceed 64.
func (w *bitWriter) add(v uint64, n uint) {
	w.acc |= v << (w.n & 63)
	w.n += n
}

// flush moves the whole bytes of acc to out.
func (w *bitWriter) flush() {
	end := len(w.out)
	w.out = w.out[:end+8]
	store64(w.out, end, w.acc)
	w.out = w.out[:end+int(w.n>>3)]
	w.acc >>= w.n &^ 7 & 63
	w.n &= 7
}

// align pads with zeros to a byte boundary and flushes.
func (w *bitWriter) align() {
	w.n = (w.n + 7) &^ 7
	w.flush()
}
