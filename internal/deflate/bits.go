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

// A bitBuffer holds up to 64 bits, the first in the lowest place (RFC 1951,
// 3.1.1). It is passed by value so that it stays in registers.
type bitBuffer struct {
	acc uint64 // above n, zeros
	n   uint
}

// add returns b with n more bits. It is for the caller to see that they fit.
func (b bitBuffer) add(v uint64, n uint) bitBuffer {
	return bitBuffer{b.acc | v<<(b.n&63), b.n + n}
}

func (b bitBuffer) code(c code) bitBuffer        { return b.add(c.bits(), c.len()) }
func (b bitBuffer) append(c bitBuffer) bitBuffer { return b.add(c.acc, c.n) }

// flush stores the whole bytes at out[pos:], which has 8 bytes, and returns
// the rest, fewer than 8 bits, and the position behind.
func (b bitBuffer) flush(out []byte, pos int) (bitBuffer, int) {
	store64(out, pos, b.acc)
	return bitBuffer{b.acc >> (b.n & 56), b.n & 7}, pos + int(b.n>>3)
}

// A bitWriter appends bits to out. Between calls fewer than 8 bits wait for
// the rest of their byte.
type bitWriter struct {
	out  []byte
	bits bitBuffer
}

// reserve makes room for n bits, and for the whole words in which they are
// stored.
func (w *bitWriter) reserve(n int) { w.out = slices.Grow(w.out, (n+7)/8+16) }

// room returns out with all that reserve made room for, and the position
// that follows what has been written. set takes them back.
func (w *bitWriter) room() (out []byte, pos int) { return w.out[:cap(w.out)], len(w.out) }

func (w *bitWriter) set(bits bitBuffer, pos int) { w.out, w.bits = w.out[:pos], bits }

// add takes up to 56 bits, for which there must be room.
func (w *bitWriter) add(v uint64, n uint) {
	out, pos := w.room()
	w.set(w.bits.add(v, n).flush(out, pos))
}

// align pads with zeros to a byte boundary.
func (w *bitWriter) align() { w.add(0, -w.bits.n&7) }
