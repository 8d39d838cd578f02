package deflate

import "math/bits"

// A decoding table is indexed by the next bits of the input, as many as the
// longest code has, but at most mainBits. Its entries, from the lowest bit:
//
//	8  how many bits to drop: the code and its extra bits
//	4  how many of these are the code
//	4  flags
//	16 the literal or the base of the lengths or distances
//
// An entry for longer codes leads to a second table behind the first: it has
// the flag subtable, that table's index bits in place of the code's length,
// and in the upper half where it begins.
type entry uint32

const (
	literal     entry = 1 << 31
	exceptional entry = 1 << 15 // none of literal, length, distance
	subtable    entry = 1 << 14
	blockEnd    entry = 1 << 13
	// invalid is for what no code begins with. One bit is enough to see that.
	invalid = exceptional | 1<<8 | 1
)

func (e entry) drop() uint     { return uint(e & 63) }
func (e entry) codeBits() uint { return uint(e >> 8 & 15) }

// value is what an entry that is no literal stands for, whose code and extra
// bits are the lowest in acc.
func (e entry) value(acc uint64) int {
	return int(e>>16) + int((acc&(1<<e.drop()-1))>>e.codeBits())
}

// sub returns the entry of a longer code, the first bits of which have been
// dropped from acc.
func (e entry) sub(table []entry, acc uint64) entry {
	return table[uint64(e>>16)+acc&(1<<e.codeBits()-1)]
}

// Main tables of 10 and 8 bits fit a first-level cache together with what is
// decoded. The sizes are the largest that any code needs; a test computes
// them.
const (
	litLenBits  = 10
	distBits    = 8
	litLenTable = 1334
	distTable   = 402
)

// The entries of the symbols before the lengths of their codes are known.
var (
	litLenEntries  = makeLitLenEntries()
	distEntries    = makeDistEntries()
	codeLenEntries = makeCodeLenEntries()
)

func makeLitLenEntries() (t [288]entry) {
	for i := range endOfBlock {
		t[i] = literal | entry(i)<<16
	}
	t[endOfBlock] = exceptional | blockEnd
	for i, r := range lengthSymbols {
		t[endOfBlock+1+i] = entry(r.base)<<16 | entry(r.extra)
	}
	t[286], t[287] = exceptional, exceptional // 3.2.6: take part in the fixed code, never occur
	return t
}

func makeDistEntries() (t [32]entry) {
	for i, r := range distSymbols {
		t[i] = entry(r.base)<<16 | entry(r.extra)
	}
	t[30], t[31] = exceptional, exceptional
	return t
}

func makeCodeLenEntries() (t [numCodeLen]entry) {
	for i, extra := range codeLenExtra[:numCodeLen] {
		t[i] = entry(i)<<16 | entry(extra)
	}
	return t
}

// A tableBuilder makes decoding tables from lengths of codes.
type tableBuilder struct {
	counts [maxCodeBits + 1]uint16
	sorted [288]uint16 // symbols by the length of their codes
}

// build fills table for the code with the given lengths, of which there are a
// multiple of 8 (more are 0), and returns the bits of its index. It reports
// false if the lengths make no prefix code, or one that leaves bits without a
// meaning. As other decoders do, it takes a code of one symbol that has one bit,
// and an empty one that is never used.
func (t *tableBuilder) build(table []entry, entries []entry, lens []uint8, mainBits int) (indexBits uint, ok bool) {
	longest, ok := t.count(lens)
	if !ok {
		return 0, false
	}
	t.sort(lens)
	if longest <= 1 {
		table[0], table[1] = invalid, invalid
		for i := range t.counts[1] {
			table[i] = entries[t.sorted[i]] + 0x101
		}
		return 1, true
	}
	t.fill(table, entries, longest, min(longest, mainBits))
	return uint(min(longest, mainBits)), true
}

// count counts the codes of each length and verifies that they make a code.
func (t *tableBuilder) count(lens []uint8) (longest int, ok bool) {
	clear(t.counts[:])
	for i := 0; i < len(lens); i += 8 {
		if load64(lens, i) == 0 {
			continue
		}
		for _, n := range lens[i : i+8] {
			t.counts[n&15]++
		}
	}
	t.counts[0] = 0
	unused := 1 // of the codes of length n
	for n, c := range t.counts[1:] {
		unused = unused<<1 - int(c)
		if unused < 0 {
			return 0, false
		}
		if c != 0 {
			longest = n + 1
		}
	}
	return longest, unused == 0 || longest == 0 || longest == 1 && t.counts[1] == 1
}

func (t *tableBuilder) sort(lens []uint8) {
	var next [maxCodeBits + 2]uint16
	for n, c := range t.counts {
		next[n+1] = next[n] + c
	}
	for i := 0; i < len(lens); i += 8 {
		if load64(lens, i) == 0 {
			continue
		}
		for j, n := range lens[i : i+8] {
			if n != 0 {
				t.sorted[next[n&15]] = uint16(i + j)
				next[n&15]++
			}
		}
	}
}

// fill makes the table of a complete code. It goes through the codes in
// order, and with each bit by which they get longer doubles the table, so that
// an entry is repeated under all values of the bits behind its code. Entries
// that are not yet known are repeated with them, and overwritten later.
func (t *tableBuilder) fill(table []entry, entries []entry, longest, mainBits int) {
	code := 0 // reversed, as it is read
	next := 0 // of sorted
	for n := 1; n <= mainBits; n++ {
		size := 1 << n
		copy(table[size/2:size], table[:size/2])
		for range t.counts[n] {
			table[code] = entries[t.sorted[next]] + entry(n*0x101)
			next++
			code = nextCode(code, n)
		}
	}

	main := 1 << mainBits
	end := main
	var sub []entry
	prefix := -1
	for n := mainBits + 1; n <= longest; n++ {
		for range t.counts[n] {
			if code&(main-1) != prefix {
				prefix = code & (main - 1)
				subBits := t.subtableBits(n, mainBits, longest)
				sub = table[end : end+1<<subBits]
				table[prefix] = exceptional | subtable | entry(end<<16|subBits<<8|mainBits)
				end += len(sub)
			}
			e := entries[t.sorted[next]] + entry((n-mainBits)*0x101)
			for i := code >> mainBits; i < len(sub); i += 1 << (n - mainBits) {
				sub[i] = e
			}
			next++
			t.counts[n]--
			code = nextCode(code, n)
		}
	}
}

// subtableBits returns how many bits index the subtable that begins with a
// code of n bits: enough that the codes from there on fill it.
func (t *tableBuilder) subtableBits(n, mainBits, longest int) int {
	unused := 1 << (n - mainBits)
	for ; n < longest; n++ {
		unused -= int(t.counts[n])
		if unused <= 0 {
			break
		}
		unused <<= 1
	}
	return n - mainBits
}

// nextCode returns the successor of a reversed code of n bits: the carry runs
// down from the top. The code after the last is 0.
func nextCode(code, n int) int {
	zeros := ^code & (1<<n - 1)
	if zeros == 0 {
		return 0
	}
	top := 1 << (bits.Len(uint(zeros)) - 1)
	return code&(top-1) | top
}
