package deflate

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
	if raw != nil && b.incompressible(raw) {
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

// incompressible reports whether a block is not worth building codes for: it
// has next to no matches, and its literals look evenly distributed.
//
// The measure is how often two of them are equal. Among n independent ones
// that are n(n-1)/2 pairs times the sum of p^2, and no code spends less than
// -log2 of that sum on a symbol (the entropy of order 2 is below Shannon's).
// The limit is codes of 7.8 bits, 1/223, where there are many literals; where
// there are few it is lower, since they have to make up for a header of some
// 240 bits as well.
func (b *block) incompressible(raw []byte) bool {
	literals := b.numLiterals
	if literals < minSample || literals < len(raw)-len(raw)/16 {
		return false
	}
	n, pairs := b.sample()
	return 2*pairs*223*literals < n*(n-1)*(literals+240)
}

const (
	minSample  = 64
	sampleRun  = 64
	sampleRuns = 8
)

// sample looks at some of the literals, in runs from all parts of the block. It
// returns at how many, and how many pairs of equal ones there are. To look at all
// would take longer than the matcher needs to skip through them.
func (b *block) sample() (n, pairs int) {
	freqs := b.symbols.freqs[:256]
	clear(freqs)
	run := min(sampleRun, b.numLiterals/(2*sampleRuns))
	for i := range sampleRuns {
		from := i * (b.numLiterals - run) / (sampleRuns - 1)
		for _, c := range b.literals[from : from+run] {
			pairs += int(freqs[c])
			freqs[c]++
		}
	}
	return run * sampleRuns, pairs
}

// storedBits is the size of n bytes in stored blocks: of each, 3 bits, zeros
// up to the next byte, and 4 bytes (3.2.4).
func storedBits(w *bitWriter, n int) int {
	blocks := (n + maxStored - 1) / maxStored
	return int(-(w.bits.n+3)&7) + 3 + 40*(blocks-1) + 32*1 + 8*n
}

func writeStored(w *bitWriter, raw []byte) {
	for len(raw) > 0 {
		p := raw[:min(len(raw), maxStored)]
		raw = raw[len(p):]
		w.reserve(64 + 8*len(p))
		w.add(storedBlock<<1, 3)
		w.align()
		w.add(uint64(len(p))|uint64(^uint16(len(p)))<<16, 32)
		w.out = append(w.out, p...)
	}
}

// writeTokens writes the literals and matches and the end of the block. Room
// for them has been reserved.
func (b *block) writeTokens(w *bitWriter, codes *codeTable) {
	out, pos := w.room()
	acc := w.bits
	lits := b.literals[:]
	next := 0 // of the literals
	for i := 0; ; i++ {
		end := b.numLiterals
		if i < b.numSequences {
			end = next + b.sequences[i].run()
		}
		for ; next+4 <= end; next += 4 {
			x := load32(lits, next)
			acc = acc.code(codes[x&0xff]).code(codes[x>>8&0xff]).code(codes[x>>16&0xff]).code(codes[x>>24])
			acc, pos = acc.flush(out, pos)
		}
		if next < end {
			// One, two or three. A loop would branch unpredictably: rather add
			// codes of no bits.
			x := load32(lits, next)
			second, third := code((next+1-end)>>31), code((next+2-end)>>31)
			acc = acc.code(codes[x&0xff]).code(codes[x>>8&0xff] & second).code(codes[x>>16&0xff] & third)
			acc, pos = acc.flush(out, pos)
			next = end
		}
		if i >= b.numSequences {
			break
		}
		if s := b.sequences[i]; s.hasMatch() {
			acc = acc.append(codes.match(s))
			acc, pos = acc.flush(out, pos)
		}
	}
	acc, pos = acc.code(codes[endOfBlock]).flush(out, pos)
	w.set(acc, pos)
}

// match returns the bits of the match of s, at most 47.
func (t *codeTable) match(s sequence) bitBuffer {
	l := lengthCodes[s.length()]
	dist := s.dist()
	symbol, extra := distSymbol(dist)
	return bitBuffer{}.
		code(t[endOfBlock+1+int(l.symbol&31)]).add(uint64(l.value), uint(l.extra)).
		code(t[numLitLen+int(symbol)]).add(uint64(dist&(1<<(extra&31)-1)), uint(extra))
}
