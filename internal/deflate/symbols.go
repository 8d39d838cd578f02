package deflate

// numSymbols: the literal and length alphabet, and behind it that of
// distances. 3.2.7 sends the lengths of both as one sequence.
const numSymbols = numLitLen + numDist

type codeTable [numSymbols]code

// symbols are the codes of a dynamic block in the making: how often each
// symbol occurs, and the code that follows from that.
type symbols struct {
	freqs [numSymbols]uint16
	lens  [numSymbols]uint8
	codes codeTable
	used  [numSymbols]uint16 // symbols with freqs other than 0, ascending
	lit   int                // as many of used are literals and lengths
	all   int                // as many are valid
}

// count counts what b holds and returns how many extra bits the lengths and
// distances carry.
func (s *symbols) count(b *block) (extraBits int) {
	clear(s.freqs[:])
	var or byte
	for _, c := range b.literals[:b.numLiterals] {
		s.freqs[c]++
		or |= c
	}
	var extra uint32
	for _, q := range b.sequences[:b.numSequences] {
		if !q.hasMatch() {
			continue
		}
		l := lengthCodes[q.length()]
		d, e := distSymbol(q.dist())
		s.freqs[endOfBlock+1+int(l.symbol)]++
		s.freqs[numLitLen+int(d)]++
		extra += e + uint32(l.extra)
	}
	s.freqs[endOfBlock] = 1
	s.collect(or < 0x80)
	return int(extra)
}

func (s *symbols) collect(ascii bool) {
	n := s.collectRange(0, 0, 128)
	if !ascii {
		n = s.collectRange(n, 128, endOfBlock)
	}
	s.lit = s.collectRange(n, endOfBlock, numLitLen)
	s.all = s.collectRange(s.lit, numLitLen, numSymbols)
	if s.all == s.lit {
		// 3.2.7 has a way to say that there are no distances; not every
		// decoder knows it.
		s.freqs[numLitLen] = 1
		s.used[s.all] = numLitLen
		s.all++
	}
}

func (s *symbols) collectRange(n, from, to int) int {
	used := s.used[:]
	for i, f := range s.freqs[from:to] {
		used[n] = uint16(from + i) // unless it turns out not to be
		k := 0
		if f != 0 {
			k = 1
		}
		n += k
	}
	return n
}

func (s *symbols) buildCodes(h *huffman) {
	clear(s.lens[:])
	lit, dist := s.used[:s.lit], s.used[s.lit:s.all]
	h.build(s.lens[:], s.freqs[:], lit, maxLitLenBits)
	h.build(s.lens[:], s.freqs[:], dist, maxCodeBits)
	assignCodes(s.codes[:], s.lens[:], lit)
	assignCodes(s.codes[:], s.lens[:], dist)
}

// codedBits is the size of all symbols in the codes that were built, less
// the extra bits.
func (s *symbols) codedBits() (n int) {
	for _, i := range s.used[:s.all] {
		n += int(s.freqs[i]) * int(s.lens[i])
	}
	return n
}

// fixedBits is the same for the fixed codes.
func (s *symbols) fixedBits() (n int) {
	for _, i := range s.used[:s.all] {
		n += int(s.freqs[i]) * int(fixedCodes[i].len())
	}
	return n
}

var fixedCodes = makeFixedCodes()

func makeFixedCodes() (t codeTable) {
	// Symbols 286 and 287 take part in the construction of the code (3.2.6).
	var lens [288]uint8
	var all [288]uint16
	var codes [288]code
	for i := range lens {
		lens[i] = fixedLitLenBits(i)
		all[i] = uint16(i)
	}
	assignCodes(codes[:], lens[:], all[:])
	copy(t[:numLitLen], codes[:])
	for i := range numDist {
		t[numLitLen+i] = makeCode(uint16(i), 5)
	}
	return t
}

// A header is the description of the codes that a dynamic block begins with
// (3.2.7): lengths of codes, run-length encoded, in a code of their own.
type header struct {
	tokens           [numSymbols]uint16 // a symbol, and in the upper byte its extra bits
	n                int
	hlit, hdist, hcl int
	freqs            [numCodeLen]uint16
	lens             [numCodeLen]uint8
	codes            [32]code // numCodeLen, and room for any index of 5 bits
}

// Symbols of the code length alphabet beyond the lengths.
const (
	repeatLast  = 16 // 3 to 6 times
	repeatZero  = 17 // 3 to 10
	repeatZeros = 18 // 11 to 138
)

var codeLenExtra = [32]uint8{repeatLast: 2, repeatZero: 3, repeatZeros: 7}

// build makes the header of the codes in s and returns its size in bits.
func (h *header) build(s *symbols, huff *huffman) int {
	h.runLengths(s)
	var used [numCodeLen]uint16
	u := used[:0]
	clear(h.lens[:])
	for i, f := range h.freqs {
		if f != 0 {
			u = append(u, uint16(i))
		}
	}
	huff.build(h.lens[:], h.freqs[:], u, maxCodeLenBits)
	assignCodes(h.codes[:], h.lens[:], u)

	h.hcl = numCodeLen
	for h.hcl > 4 && h.lens[codeLenOrder[h.hcl-1]] == 0 {
		h.hcl--
	}
	bits := 5 + 5 + 4 + 3*h.hcl
	for _, i := range u {
		bits += int(h.freqs[i]) * int(h.lens[i]+codeLenExtra[i&31])
	}
	return bits
}

// runLengths encodes the lengths of s into tokens.
func (h *header) runLengths(s *symbols) {
	h.n = 0
	clear(h.freqs[:])
	h.hlit = int(s.used[s.lit-1]) + 1
	h.hdist = int(s.used[s.all-1]) + 1 - numLitLen

	next := 0 // in the sequence of lengths
	for i := 0; i < s.all; {
		symbol := int(s.used[i])
		if i >= s.lit {
			symbol += h.hlit - numLitLen
		}
		h.zeros(symbol - next)
		length := s.lens[s.used[i]]
		run := 1
		for i++; i < s.all && i != s.lit && s.lens[s.used[i]] == length && int(s.used[i]) == int(s.used[i-1])+1; i++ {
			run++
		}
		next = symbol + run
		h.lengths(length, run)
	}
}

func (h *header) token(symbol uint8, extra int) {
	h.tokens[h.n] = uint16(symbol) | uint16(extra)<<8
	h.n++
	h.freqs[symbol]++
}

func (h *header) zeros(n int) {
	for n >= 11 {
		run := min(n, 138)
		h.token(repeatZeros, run-11)
		n -= run
	}
	if n >= 3 {
		h.token(repeatZero, n-3)
		return
	}
	for ; n > 0; n-- {
		h.token(0, 0)
	}
}

func (h *header) lengths(length uint8, n int) {
	h.token(length, 0)
	for n--; n >= 3; {
		run := min(n, 6)
		h.token(repeatLast, run-3)
		n -= run
	}
	for ; n > 0; n-- {
		h.token(length, 0)
	}
}

// write writes the header. Room for it has been reserved.
func (h *header) write(w *bitWriter) {
	out, pos := w.room()
	acc := w.bits.add(uint64(h.hlit-257)|uint64(h.hdist-1)<<5|uint64(h.hcl-4)<<10, 14)
	acc, pos = acc.flush(out, pos)
	for _, i := range codeLenOrder[:h.hcl] {
		acc, pos = acc.add(uint64(h.lens[i]), 3).flush(out, pos)
	}
	for _, t := range h.tokens[:h.n] {
		symbol, extra := t&31, t>>8
		acc = acc.code(h.codes[symbol]).add(uint64(extra), uint(codeLenExtra[symbol]))
		acc, pos = acc.flush(out, pos)
	}
	w.set(acc, pos)
}
