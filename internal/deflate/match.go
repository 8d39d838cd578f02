package deflate

import "math/bits"

const (
	maxTableBits = 12
	hashBytes    = 8 // that the matcher loads at a position
	shortest     = 4 // match that is looked for
)

// A matcher finds earlier occurrences of what comes next, by a hash table of
// positions.
//
// An entry has the low 16 bits of a position, which are enough as no distance
// exceeds 1<<15, and above them 16 bits of the hash, the tag. The tag is xored
// with a salt: when the history is forgotten the salt changes, and the
// entries of before fail on their tag. So nothing is ever cleared, and a table
// may come from anywhere. What passes by chance costs time only: that a
// candidate is within reach and has the same bytes is verified.
type matcher struct {
	table   []uint32
	salt    uint32
	base    uint32 // position of the first byte of the buffer
	maxDist int
	kept    bool // with the history, for messages to come
}

func newMatcher(tableBits int) *matcher {
	return &matcher{table: make([]uint32, 1<<tableBits)}
}

// forget makes all entries stale.
func (m *matcher) forget() { m.salt += 0x9e37 << 16 }

const hashPrime = 0x9fb21c651e98df25

// hash hashes the lower 5 bytes of x.
func hash(x uint64) uint64 { return x << 24 * hashPrime }

// fast adds buf[i:end] to b, as matches with what is before them in buf and
// literals, until b is full. It returns how far it came.
func (m *matcher) fast(b *block, buf []byte, i, end int) int {
	anchor := i
	buf = buf[:end]
	for b.numSequences < maxSequences-maxSplit {
		limit := min(end-hashBytes, anchor+maxLiterals-b.numLiterals-1)
		i, dist := m.find(buf, anchor, limit)
		if dist == 0 {
			n := min(end-anchor, maxLiterals-b.numLiterals)
			b.numLiterals += copy(b.literals[b.numLiterals:], buf[anchor:anchor+n])
			return anchor + n
		}
		stop := matchEnd(buf, i+4, dist)
		for i > anchor && i > dist && buf[i-1] == buf[i-1-dist] {
			i--
		}
		b.addLiterals(buf, anchor, i)
		b.addMatch(stop-i, dist)
		anchor = stop
		if m.kept && stop <= end-hashBytes {
			m.insert(buf, i+1) // one message by itself would gain less than it costs
		}
	}
	return anchor
}

func (m *matcher) insert(buf []byte, i int) {
	h := hash(load64(buf, i))
	m.table[int(h>>52)&(len(m.table)-1)] = (uint32(i)<<16 + (m.base<<16 | m.salt>>16)) ^ uint32(uint16(h>>32))
}

func (m *matcher) find(buf []byte, anchor, limit int) (i, dist int) {
	var (
		table   = m.table
		mask    = len(table) - 1
		stamp   = m.base<<16 | m.salt>>16
		maxDist = m.maxDist
	)
	if len(table) == 0 {
		return 0, 0
	}
	for i = anchor; i <= limit; i += 1 + (i-anchor)>>6 {
		x := load64(buf, i)
		h := hash(x)
		now := (uint32(i)<<16 + stamp) ^ uint32(uint16(h>>32))
		p := &table[int(h>>52)&mask]
		e := *p
		*p = now
		if uint16(e) == uint16(now) {
			dist = int((now - e) >> 16)
			if uint(dist-1) < uint(min(i, maxDist)) && load32(buf, i-dist) == uint32(x) {
				return i, dist
			}
		}
	}
	return 0, 0
}

// matchEnd returns where buf[i:] ceases to equal what is dist before it.
func matchEnd(buf []byte, i, dist int) int {
	end := min(len(buf), i+maxLongMatch)
	for ; i+8 <= end; i += 8 {
		if diff := load64(buf, i) ^ load64(buf, i-dist); diff != 0 {
			return i + bits.TrailingZeros64(diff)>>3
		}
	}
	for i < end && buf[i] == buf[i-dist] {
		i++
	}
	return i
}

// addLiterals adds buf[from:to], which has at least 8 bytes behind it.
func (b *block) addLiterals(buf []byte, from, to int) {
	n := b.numLiterals
	b.numLiterals += to - from
	for ; from < to; from += 8 {
		store64(b.literals[:], n, load64(buf, from))
		n += 8
	}
}

// A run of literals or a match that is too long for one sequence is split.
// There must be room for maxSplit sequences before a match is looked for.
const (
	maxLongMatch = 8 * maxMatchLen
	maxSplit     = maxLiterals/literalsOnly + maxLongMatch/maxMatchLen + 2
)

func (b *block) addMatch(length, dist int) {
	run := b.numLiterals - b.runStart
	b.runStart = b.numLiterals
	if run >= literalsOnly || length > maxMatchLen {
		run, length = b.split(run, length, dist)
	}
	b.sequences[b.numSequences] = makeSequence(run, length, dist)
	b.numSequences++
}

// split adds what is too much for one sequence and returns the rest.
func (b *block) split(run, length, dist int) (int, int) {
	for ; run >= literalsOnly; run -= literalsOnly {
		b.sequences[b.numSequences] = makeSequence(literalsOnly, minMatchLen, 1)
		b.numSequences++
	}
	for length > maxMatchLen {
		n := min(maxMatchLen, length-minMatchLen)
		b.sequences[b.numSequences] = makeSequence(run, n, dist)
		b.numSequences++
		length -= n
		run = 0
	}
	return run, length
}
