package deflate

import "math/bits"

// The constants of RFC 1951.
const (
	endOfBlock     = 256 // 3.2.5
	numLitLen      = 286 // literals, end of block, 29 length codes
	numDist        = 30
	numCodeLen     = 19 // 3.2.7, the alphabet of code lengths
	maxCodeBits    = 15 // of a literal, length or distance
	maxCodeLenBits = 7  // of a code length

	minMatchLen = 3
	maxMatchLen = 258

	maxStored = 65535 // 3.2.4

	minWindowBits = 8 // RFC 7692, 7.1.2
	maxWindowBits = 15
)

// BTYPE, 3.2.3.
const (
	storedBlock = iota
	fixedBlock
	dynamicBlock
)

// codeLenOrder is the order in which 3.2.7 sends the lengths of the code
// length codes.
var codeLenOrder = [numCodeLen]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// lengthSymbols and distSymbols are the tables of 3.2.5: the symbol n of the
// length alphabet (257 + n) stands for the lengths base to
// base + 1<<extra - 1.
var (
	lengthSymbols = makeLengthSymbols()
	distSymbols   = makeDistSymbols()
)

type symbolRange struct {
	base  uint16
	extra uint8
}

func makeLengthSymbols() (t [numLitLen - endOfBlock - 1]symbolRange) {
	base := uint16(minMatchLen)
	for i := range t {
		extra := uint8(max(0, i/4-1))
		t[i] = symbolRange{base, extra}
		base += 1 << extra
	}
	t[len(t)-1] = symbolRange{maxMatchLen, 0} // and not the last of the 32 that 284 would reach
	return t
}

func makeDistSymbols() (t [numDist]symbolRange) {
	base := uint16(1)
	for i := range t {
		extra := uint8(max(0, i/2-1))
		t[i] = symbolRange{base, extra}
		base += 1 << extra
	}
	return t
}

// lengthCodes has for each length, less minMatchLen, its index in
// lengthSymbols and its extra bits.
var lengthCodes = makeLengthCodes()

type lengthCode struct {
	symbol, extra uint8
	value         uint16 // of the extra bits
}

func makeLengthCodes() (t [maxMatchLen - minMatchLen + 1]lengthCode) {
	for n, r := range lengthSymbols {
		for i := range 1 << r.extra {
			if length := int(r.base) + i; length <= maxMatchLen {
				t[length-minMatchLen] = lengthCode{uint8(n), r.extra, uint16(i)}
			}
		}
	}
	return t
}

// distSymbol returns the symbol of the distance d+1 and the number of its
// extra bits, which are the low bits of d.
func distSymbol(d uint32) (symbol, extra uint32) {
	extra = uint32(bits.Len32(d|2)) - 2
	return 2*extra + d>>extra, extra
}

// fixedLitLenBits is the length of a literal or length code in fixed blocks,
// 3.2.6; those of distances are 5 bits long.
func fixedLitLenBits(symbol int) uint8 {
	switch {
	case symbol < 144:
		return 8
	case symbol < 256:
		return 9
	case symbol < 280:
		return 7
	}
	return 8
}
