package deflate

import "math/bits"

// A history is the last bytes that were inflated, in a ring. The ring grows up
// to the size of the window as bytes come, and does not wrap before.
type history struct {
	ring []byte
	n    int // valid bytes
	next int // where the next byte goes
}

// add appends p, of which the last window bytes matter.
func (h *history) add(p []byte, window int) {
	if len(p) >= window {
		p = p[len(p)-window:]
		h.n, h.next = 0, 0
	}
	if h.n+len(p) > len(h.ring) && len(h.ring) < window {
		h.grow(h.n+len(p), window)
	}
	h.n = min(h.n+len(p), window)
	for len(p) > 0 {
		k := copy(h.ring[h.next:], p)
		p = p[k:]
		h.next = (h.next + k) & (len(h.ring) - 1)
	}
}

// grow makes room for n bytes, or for a window if that is less.
func (h *history) grow(n, window int) {
	ring := make([]byte, min(1<<bits.Len(uint(max(n, 512)-1)), window))
	copy(ring, h.ring[:h.n])
	h.ring, h.next = ring, h.n
}

// copy fills dst with what begins back bytes before the end:
// len(dst) <= back <= h.n.
func (h *history) copy(dst []byte, back int) {
	i := (h.next - back) & (len(h.ring) - 1)
	n := copy(dst, h.ring[i:])
	copy(dst[n:], h.ring)
}

// copyForward copies length bytes to out[o:], word by word, from back before the
// end, if all of them are in the history and in one piece: back <= h.n. It may
// write up to 7 bytes more.
func (h *history) copyForward(out []byte, o, length, back int) bool {
	i := (h.next - back) & (len(h.ring) - 1)
	if length > back || i+length+7 > len(h.ring) {
		return false
	}
	for j := 0; j < length; j += 8 {
		store64(out, o+j, load64(h.ring, i+j))
	}
	return true
}
