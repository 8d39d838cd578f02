package main

import (
	"errors"
	"fmt"
)

// RFC 7692 7.1.2 limits how far back a compressor may refer. An inflater with a large window would not notice; so this file
// walks through the DEFLATE data (RFC 1951 3.2) of an endpoint that agreed to a smaller one, and looks at the distances alone.

var errDeflate = errors.New("its DEFLATE data is malformed")

// longestDistance is the longest distance of all matches in a compressed message.
func longestDistance(p []byte) (int, error) {
	w := walker{bits: bitReader{p: append(clone(p), syncMarker...)}}
	for !w.bits.atEnd() {
		if err := w.block(); err != nil {
			return 0, err
		}
	}
	return w.longest, nil
}

// A bitReader reads bits from the least significant one of each octet on. Beyond the end it reads zeros, and says so.
type bitReader struct {
	p      []byte
	at     int // bits taken
	beyond bool
}

func (b *bitReader) bit() int {
	if b.at >= 8*len(b.p) {
		b.beyond = true
		return 0
	}
	bit := int(b.p[b.at/8] >> (b.at % 8) & 1)
	b.at++
	return bit
}

// number is an integer of n bits, "packed starting with the least-significant bit".
func (b *bitReader) number(n int) int {
	v := 0
	for i := range n {
		v |= b.bit() << i
	}
	return v
}

func (b *bitReader) align()      { b.at = (b.at + 7) / 8 * 8 }
func (b *bitReader) atEnd() bool { return b.at >= 8*len(b.p) }

type walker struct {
	bits    bitReader
	longest int
}

// block walks through a block: BFINAL, BTYPE and what follows. A final block ends with its octet (7.2.3.4).
func (w *walker) block() error {
	final, kind := w.bits.bit() == 1, w.bits.number(2)
	var err error
	switch kind {
	case 0:
		err = w.stored()
	case 1:
		err = w.symbols(fixedLiterals, fixedDistances)
	case 2:
		err = w.dynamic()
	default:
		err = errDeflate
	}
	if final {
		w.bits.align()
	}
	if w.bits.beyond {
		return errDeflate
	}
	return err
}

func (w *walker) stored() error {
	w.bits.align()
	length, complement := w.bits.number(16), w.bits.number(16)
	if length != complement^0xFFFF || w.bits.at+8*length > 8*len(w.bits.p) {
		return errDeflate
	}
	w.bits.at += 8 * length
	return nil
}

// codeLengthOrder is the order in which 3.2.7 sends the lengths of the code for code lengths.
var codeLengthOrder = []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the two codes of a block (3.2.7) and walks through its symbols.
func (w *walker) dynamic() error {
	literals, distances, n := 257+w.bits.number(5), 1+w.bits.number(5), 4+w.bits.number(4)
	var ofLengths [19]int
	for _, i := range codeLengthOrder[:n] {
		ofLengths[i] = w.bits.number(3)
	}
	code, all := newHuffman(ofLengths[:]), []int{}
	for len(all) < literals+distances {
		symbol := code.decode(&w.bits)
		switch {
		case symbol < 0 || symbol == 16 && len(all) == 0:
			return errDeflate
		case symbol < 16:
			all = append(all, symbol)
		case symbol == 16:
			all = appendTimes(all, all[len(all)-1], 3+w.bits.number(2))
		case symbol == 17:
			all = appendTimes(all, 0, 3+w.bits.number(3))
		default:
			all = appendTimes(all, 0, 11+w.bits.number(7))
		}
	}
	if len(all) > literals+distances {
		return errDeflate
	}
	return w.symbols(newHuffman(all[:literals]), newHuffman(all[literals:]))
}

func appendTimes(s []int, v, n int) []int {
	for range n {
		s = append(s, v)
	}
	return s
}

// symbols walks through literals and matches until the end of a block.
func (w *walker) symbols(literals, distances huffman) error {
	for !w.bits.beyond {
		symbol := literals.decode(&w.bits)
		switch {
		case symbol < 0 || symbol > 285:
			return errDeflate
		case symbol == 256:
			return nil
		case symbol > 256:
			w.bits.number(lengthBits(symbol))
			distance := distances.decode(&w.bits)
			if distance < 0 || distance > 29 {
				return errDeflate
			}
			w.longest = max(w.longest, w.distance(distance))
		}
	}
	return errDeflate
}

// lengthBits is how many extra bits follow a length (3.2.5).
func lengthBits(symbol int) int {
	if symbol < 265 || symbol == 285 {
		return 0
	}
	return (symbol - 261) / 4
}

// distance is the distance of a distance code, with its extra bits (3.2.5).
func (w *walker) distance(symbol int) int {
	if symbol < 4 {
		return symbol + 1
	}
	extra := symbol/2 - 1
	return (2+symbol%2)<<extra + w.bits.number(extra) + 1
}

// A huffman is a code of 3.2.2, which is given by the number of codes of each length and the symbols in their order.
type huffman struct {
	counts  [16]int
	symbols []int
}

func newHuffman(codeLengths []int) huffman {
	var h huffman
	for length := 1; length < 16; length++ {
		for symbol, l := range codeLengths {
			if l == length {
				h.counts[length]++
				h.symbols = append(h.symbols, symbol)
			}
		}
	}
	return h
}

// decode reads a symbol, or returns -1 for bits that are the code of none. "Huffman codes are packed starting with the
// most-significant bit of the code".
func (h huffman) decode(b *bitReader) int {
	code, first, index := 0, 0, 0
	for length := 1; length < 16; length++ {
		code |= b.bit()
		count := h.counts[length]
		if code-first < count {
			return h.symbols[index+code-first]
		}
		index, first, code = index+count, (first+count)<<1, code<<1
	}
	return -1
}

// The codes of 3.2.6.
var (
	fixedLiterals  = newHuffman(lengths(144, 8, 112, 9, 24, 7, 8, 8))
	fixedDistances = newHuffman(lengths(30, 5))
)

// lengths makes code lengths of pairs: how many, and how long.
func lengths(pairs ...int) []int {
	var s []int
	for i := 0; i < len(pairs); i += 2 {
		s = appendTimes(s, pairs[i+1], pairs[i])
	}
	return s
}

// checkWindow wants a compressed message to refer no further back than its sender agreed to.
func (i *inflater) checkWindow(p []byte) error {
	if i.window == largestWindow {
		return nil
	}
	longest, err := longestDistance(p)
	if err == nil && longest > i.window {
		err = fmt.Errorf("it refers to %d octets before, where the window has %d (RFC 7692 7.1.2)", longest, i.window)
	}
	return err
}
