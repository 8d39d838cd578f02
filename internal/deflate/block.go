package deflate

import "math"

const (
	maxLiterals  = 4096
	maxSequences = 1024

	// A literal's code is capped below the 15 bits of the format so that four
	// of them, and the bits that wait for a whole byte, fit in 64.
	maxLitLenBits = 14
)

// A sequence is a match and the number of literals before it: run (8 bits
// from the top), length - minMatchLen (8 bits), distance - 1 (16 bits). The
// run literalsOnly stands for as many literals and no match.
type sequence uint32

const literalsOnly = 255

func makeSequence(run, length, dist int) sequence {
	return sequence(run)<<24 | sequence(length-minMatchLen)<<16 | sequence(dist-1)
}

func (s sequence) run() int       { return int(s >> 24) }
func (s sequence) length() uint32 { return uint32(s>>16) & 0xff } // less minMatchLen
func (s sequence) dist() uint32   { return uint32(s & 0xffff) }   // less 1
func (s sequence) hasMatch() bool { return s.run() != literalsOnly }

// A block gathers what the matcher finds until it is written as one block of
// RFC 1951, 3.2.3. It has copies of the literals: what they were copied from
// may be gone by then.
//
// It is scratch memory, reused without being cleared: n and the counts say
// what is valid.
type block struct {
	literals     [maxLiterals + 8]byte // 8 more, to copy and load whole words
	sequences    [maxSequences]sequence
	numLiterals  int
	numSequences int
	runStart     int // the literals from here on belong to the next sequence

	symbols symbols
	header  header
	huffman huffman
}

func (b *block) reset() { b.numLiterals, b.numSequences, b.runStart = 0, 0, 0 }

func (b *block) full() bool {
	return b.numLiterals == maxLiterals || b.numSequences >= maxSequences-maxSplit
}

func (b *block) empty() bool { return b.numLiterals|b.numSequences == 0 }

// write writes the block to w in the shortest of the three ways and empties
// it. raw is what the block stands for, or nil if that is not at hand.
func (b *block) write(w *bitWriter, raw []byte) {
	if b.incompressible(raw) {
		writeStored(w, raw)
	} else {
		b.writeShortest(w, raw)
	}
	b.reset()
}

func (b *block) writeShortest(w *bitWriter, raw []byte) {
	s := &b.symbols
	extraBits := s.count(b)
	fixed := 3 + extraBits + s.fixedBits()
	s.buildCodes(&b.huffman)
	dynamic := 3 + extraBits + b.header.build(s, &b.huffman) + s.codedBits()
	switch {
	case raw != nil && storedBits(w, len(raw)) < min(fixed, dynamic):
		writeStored(w, raw)
	case fixed <= dynamic:
		w.reserve(fixed)
		w.add(fixedBlock<<1, 3)
		b.writeTokens(w, &fixedCodes)
	default:
		w.reserve(dynamic)
		w.add(dynamicBlock<<1, 3)
		b.header.write(w)
		b.writeTokens(w, &s.codes)
	}
}

// incompressible reports whether data is not worth building codes for: a
// lower bound on what they would take is above what they would save. No code
// spends less than -log2(sum p^2) bits a symbol on average (the entropy of
// order 2 is below Shannon's), and to describe a code takes more than two
// bits a symbol.
func (b *block) incompressible(raw []byte) bool {
	if raw == nil || b.numLiterals < len(raw)-len(raw)/16 {
		return false
	}
	freqs := b.symbols.freqs[:256]
	clear(freqs)
	for _, c := range b.literals[:b.numLiterals] {
		freqs[c]++
	}
	var squares, distinct uint32
	for _, f := range freqs {
		squares += uint32(f) * uint32(f)
		if f != 0 {
			distinct++
		}
	}
	n := float64(b.numLiterals)
	return n*math.Log2(n*n/float64(squares))+2*float64(distinct) > 8*float64(len(raw))
}

// storedBits is the size of n bytes in stored blocks: of each, 3 bits, zeros
// up to the next byte, and 4 bytes (3.2.4).
func storedBits(w *bitWriter, n int) int {
	blocks := (n + maxStored - 1) / maxStored
	return int(-(w.n+3)&7) + 3 + 40*(blocks-1) + 32*1 + 8*n
}

func writeStored(w *bitWriter, raw []byte) {
	for len(raw) > 0 {
		p := raw[:min(len(raw), maxStored)]
		raw = raw[len(p):]
		w.reserve(64 + 8*len(p))
		w.add(storedBlock<<1, 3)
		w.align()
		w.add(uint64(len(p))|uint64(^uint16(len(p)))<<16, 32)
		w.flush()
		w.out = append(w.out, p...)
	}
}

// writeTokens writes the literals and matches and the end of the block. Room
// for them has been reserved.
func (b *block) writeTokens(w *bitWriter, codes *codeTable) {
	w.flush()
	var (
		out  = w.out[:cap(w.out)]
		pos  = len(w.out)
		acc  = w.acc
		n    = w.n // below 8 wherever literals or a match begin
		lits = b.literals[:]
		next = 0 // of the literals
	)
	for i := 0; ; i++ {
		run := b.numLiterals - next
		if i < b.numSequences {
			run = b.sequences[i].run()
		}
		end := next + run
		for ; next+4 <= end; next += 4 {
			x := load32(lits, next)
			c := codes[x&0xff]
			acc |= c.bits() << (n & 63)
			n += c.len()
			c = codes[x>>8&0xff]
			acc |= c.bits() << (n & 63)
			n += c.len()
			c = codes[x>>16&0xff]
			acc |= c.bits() << (n & 63)
			n += c.len()
			c = codes[x>>24]
			acc |= c.bits() << (n & 63)
			n += c.len()
			store64(out, pos, acc)
			pos += int(n >> 3)
			acc >>= n & 56
			n &= 7
		}
		if next < end {
			x := load32(lits, next)
			c := codes[x&0xff]
			acc |= c.bits() << (n & 63)
			n += c.len()
			rest := end - next
			next = end
			c = codes[x>>8&0xff] & code((1-rest)>>63)
			acc |= c.bits() << (n & 63)
			n += c.len()
			c = codes[x>>16&0xff] & code((2-rest)>>63)
			acc |= c.bits() << (n & 63)
			n += c.len()
			store64(out, pos, acc)
			pos += int(n >> 3)
			acc >>= n & 56
			n &= 7
		}
		if i >= b.numSequences {
			break
		}
		s := b.sequences[i]
		if !s.hasMatch() {
			continue
		}
		length, dist := s.length(), s.dist()
		l := lengthCodes[length&0xff]
		c := codes[endOfBlock+1+int(l.symbol&31)]
		v := c.bits() | uint64(l.value)<<(c.len()&63)
		k := c.len() + uint(l.extra)
		ds, extra := distSymbol(dist)
		c = codes[numLitLen+int(ds)]
		v |= (c.bits() | uint64(dist&(1<<(extra&63)-1))<<(c.len()&63)) << (k & 63)
		k += c.len() + uint(extra)
		acc |= v << (n & 63)
		n += k
		store64(out, pos, acc)
		pos += int(n >> 3)
		acc >>= n & 56
		n &= 7
	}
	w.out, w.acc, w.n = out[:pos], acc, n
	c := codes[endOfBlock]
	w.add(c.bits(), c.len())
	w.flush()
}
