package deflate

import "sync"

// fixedTables returns the tables of fixed blocks (3.2.6).
func fixedTables() (litLen, dist []entry, litLenBits, distBits uint) {
	t := makeFixedTables()
	return t.litLen[:], t.dist[:], 9, 5
}

type fixedTable struct {
	litLen [1 << 9]entry
	dist   [1 << 5]entry
}

var makeFixedTables = sync.OnceValue(func() *fixedTable {
	var t fixedTable
	var b tableBuilder
	var lens [288]uint8
	for i := range lens {
		lens[i] = fixedLitLenBits(i)
	}
	b.build(t.litLen[:], litLenEntries[:], lens[:], litLenBits)
	for i := range 32 {
		lens[i] = 5
	}
	b.build(t.dist[:], distEntries[:], lens[:32], distBits)
	return &t
})
