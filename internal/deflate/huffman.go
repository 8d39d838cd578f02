package deflate

import (
	"math"
	"math/bits"
)

// A code is a Huffman code as it is written: the bits in the low 16,
// already reversed since 3.1.1 packs codes from the most significant bit;
// their number above.
type code uint32

func makeCode(v uint16, n uint8) code { return code(bits.Reverse16(v)>>(16-n)) | code(n)<<16 }

func (c code) bits() uint64 { return uint64(c & 0xffff) }
func (c code) len() uint    { return uint(c >> 16) }

// A huffman holds what building a code needs. It is scratch memory: nothing
// outlives a call.
type huffman struct {
	sorted  [2][numLitLen + 1]uint32 // a frequency and, in the low 16 bits, its symbol
	buckets [256]uint16
	parents [numLitLen]uint16
}

// build computes an optimal prefix code of at most limit bits for the symbols
// in used, which occur freqs times each, and puts the lengths of their codes
// into lens. A lone symbol gets one bit.
func (h *huffman) build(lens []uint8, freqs, used []uint16, limit int) {
	if len(used) == 1 {
		lens[used[0]] = 1
		return
	}
	s := h.sorted[0][:len(used)]
	var all uint16
	for i, symbol := range used {
		f := freqs[symbol]
		s[i] = uint32(f)<<16 | uint32(symbol)
		all |= f
	}
	s, free := h.sort(s, all)
	counts := h.depths(s, free)
	limitLengths(&counts, limit)

	next := 0
	for n := limit; n > 0; n-- {
		for range counts[n] {
			lens[uint16(s[next])] = uint8(n)
			next++
		}
	}
}

// sort orders symbols by frequency, the rarest first; equal ones stay in
// order. It is a radix sort that takes bytes, and one pass in messages up to a
// few hundred bytes. all is the union of the bits of the frequencies.
//
// It returns the sorted symbols and the memory that it no longer needs.
func (h *huffman) sort(s []uint32, all uint16) (sorted, free []uint32) {
	to := h.sorted[1][:len(s)]
	for shift := 16; all != 0; shift, all = shift+8, all>>8 {
		b := h.buckets[:1<<bits.Len8(uint8(all))]
		clear(b)
		for _, x := range s {
			b[int(x>>shift)&(len(b)-1)]++
		}
		var sum uint16
		for i, n := range b {
			b[i] = sum
			sum += n
		}
		for _, x := range s {
			i := int(x>>shift) & (len(b) - 1)
			to[b[i]] = x
			b[i]++
		}
		s, to = to, s
	}
	return s, to
}

// depths returns how many leaves a Huffman tree over the sorted symbols, at
// least two, has at each depth.
//
// As in the algorithm of Moffat and Katajainen (In-Place Calculation of
// Minimum-Redundancy Codes, 1995) the lightest node without a parent is the
// next leaf or the next internal node, since both kinds come in order of
// weight. It is unpredictable which: hence the choice without a branch, and
// the sentinels that stand for no leaf and no node.
func (h *huffman) depths(leaves, nodes []uint32) (counts [maxHuffmanDepth + 1]uint16) {
	const none = math.MaxUint32
	n := len(leaves)
	leaves, nodes = leaves[:n+1], nodes[:n+1]
	leaves[n] = none
	parents := &h.parents
	leaf, node := 0, 0 // the first of each kind without a parent
	for next := range n - 1 {
		nodes[next] = none
		var weight uint32
		for range 2 {
			l, w := leaves[leaf]>>16, nodes[node]
			isLeaf := 0
			if l <= w {
				isLeaf = 1
			}
			parents[node] = uint16(next) // until it is true
			weight += min(l, w)
			leaf += isLeaf
			node += 1 - isLeaf
		}
		nodes[next] = weight
	}

	root := n - 2
	nodes[root] = 0 // from here on depths
	for i := root - 1; i >= 0; i-- {
		nodes[i] = nodes[parents[i]] + 1
	}

	open := 1 // nodes of the tree at this depth, leaves and internal ones
	for i, depth := root, uint32(0); open > 0; depth++ {
		internal := 0
		for i >= 0 && nodes[i] == depth {
			internal++
			i--
		}
		counts[min(depth, maxHuffmanDepth)] += uint16(open - internal)
		open = 2 * internal
	}
	return counts
}

// maxHuffmanDepth bounds what depths tells apart. A tree of depth d needs
// frequencies that sum up to a Fibonacci number of about d: 16 bits of
// frequency allow 23.
const maxHuffmanDepth = 23

// limitLengths moves the leaves that are deeper than limit up to it. That
// oversubscribes the code (the sum of 2^-length exceeds 1, Kraft's
// inequality); each step of the loop gives one unit of 2^-limit back: a leaf
// above the limit goes down one level, to be the brother of one from the limit.
func limitLengths(counts *[maxHuffmanDepth + 1]uint16, limit int) {
	excess := -(1 << limit)
	for n, c := range counts {
		if n > limit {
			counts[limit] += c
			counts[n] = 0
		}
		excess += int(c) << (limit - min(n, limit))
	}
	for ; excess > 0; excess-- {
		n := limit - 1
		for counts[n] == 0 {
			n--
		}
		counts[n]--
		counts[n+1] += 2
		counts[limit]--
	}
}

// assignCodes makes the canonical codes of 3.2.2 for the symbols in used,
// ascending, from their lengths.
func assignCodes(codes []code, lens []uint8, used []uint16) {
	var counts, next [maxCodeBits + 1]uint16
	for _, s := range used {
		counts[lens[s]&15]++
	}
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + counts[n-1]) << 1
	}
	for _, s := range used {
		n := lens[s]
		codes[s] = makeCode(next[n&15], n)
		next[n&15]++
	}
}
