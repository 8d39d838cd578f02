package deflate

import "math/bits"

// bucket is how many positions better keeps for a hash.
const bucket = 4

// better does what fast does and takes more time: it looks at every
// position, at the last few occurrences of what is there, and takes the
// longest match, unless the one that begins at the next byte is longer.
func (m *matcher) better(b *block, buf []byte, i, end int) int {
	anchor := i
	buf = buf[:end]
	for b.numSequences < maxSequences-maxSplit {
		limit := min(end-hashBytes, anchor+maxLiterals-b.numLiterals-1)
		length, dist := 0, 0
		for i = anchor; i <= limit; i += 1 + (i-anchor)>>8 {
			if length, dist = m.longest(buf, i); length > 0 {
				break
			}
		}
		if length == 0 {
			n := min(end-anchor, maxLiterals-b.numLiterals)
			b.numLiterals += copy(b.literals[b.numLiterals:], buf[anchor:anchor+n])
			return anchor + n
		}
		for i < limit && length < lazyLimit {
			nextLength, nextDist := m.longest(buf, i+1)
			if nextLength <= length {
				break
			}
			i++
			length, dist = nextLength, nextDist
		}
		stop := i + length
		for i > anchor && i > dist && buf[i-1] == buf[i-1-dist] {
			i--
		}
		b.addLiterals(buf, anchor, i)
		b.addMatch(stop-i, dist)
		for j := i + 2; j < stop && j <= end-hashBytes; j += insertStep {
			m.push(buf, j)
		}
		anchor = stop
	}
	return anchor
}

const lazyLimit = 32
const insertStep = 2

func (m *matcher) bucket(h uint64) *[bucket]uint32 {
	i := int(h>>52) & (len(m.table) - 1) &^ (bucket - 1)
	return (*[bucket]uint32)(m.table[i : i+bucket])
}

func (m *matcher) push(buf []byte, i int) {
	h := hash(load64(buf, i))
	e := m.bucket(h)
	e[3], e[2], e[1], e[0] = e[2], e[1], e[0], (uint32(i)<<16+(m.base<<16|m.salt>>16))^uint32(uint16(h>>32))
}

// longest returns the longest match for buf[i:], and enters i into the table.
func (m *matcher) longest(buf []byte, i int) (length, dist int) {
	x := load64(buf, i)
	h := hash(x)
	now := (uint32(i)<<16 + (m.base<<16 | m.salt>>16)) ^ uint32(uint16(h>>32))
	entries := m.bucket(h)
	for _, e := range entries {
		if uint16(e) != uint16(now) {
			continue
		}
		d := int((now - e) >> 16)
		if uint(d-1) >= uint(min(i, m.maxDist)) {
			continue
		}
		diff := load64(buf, i-d) ^ x
		n := bits.TrailingZeros64(diff) >> 3
		if diff == 0 {
			n = matchEnd(buf, i+8, d) - i
		}
		if n > length && n >= shortest {
			length, dist = n, d
		}
	}
	entries[3], entries[2], entries[1], entries[0] = entries[2], entries[1], entries[0], now
	return length, dist
}
