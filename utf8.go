package websocket

import "encoding/binary"

// A utf8Checker checks text that comes in pieces. Its zero value is at the start
// of a text.
//
// It is the automaton that the grammar of RFC 3629 4 describes. A state is the
// place, in the row of a byte, of the state which that byte leads to: so a step is
// one shift, and no branch depends on the text. On text in which characters of
// different lengths follow each other at random that is 3 to 5 times as fast as
// utf8.Valid, whose branches then cannot be predicted.
type utf8Checker struct{ state uint64 }

// The states. A row of the table has six bits for each of them.
const (
	utf8Start   = 6 * iota // of a character
	utf8Bad                // this is not UTF-8, whatever follows
	utf8One                // one byte more ends the character
	utf8Two                // two bytes
	utf8Three              // three bytes
	utf8AfterE0            // two bytes, of which the first is restricted, as it is behind the following
	utf8AfterED
	utf8AfterF0 // and here three
	utf8AfterF4

	utf8State = 1<<6 - 1 // the bits of a state; what is above them is left over of a row
)

var utf8Rows = func() (rows [256]uint64) {
	for b := range rows {
		for state := utf8Start; state <= utf8AfterF4; state += 6 {
			rows[b] |= uint64(utf8Step(byte(b), state)) << state
		}
	}
	return rows
}()

// utf8Step returns the state to which b leads.
func utf8Step(b byte, state int) int {
	for _, s := range []struct {
		from        int
		first, last byte
		to          int
	}{
		// RFC 3629 4: "UTF8-1 = %x00-7F", "UTF8-2 = %xC2-DF UTF8-tail"
		{utf8Start, 0x00, 0x7f, utf8Start},
		{utf8Start, 0xc2, 0xdf, utf8One},
		// "UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
		// %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )"
		{utf8Start, 0xe0, 0xe0, utf8AfterE0},
		{utf8AfterE0, 0xa0, 0xbf, utf8One},
		{utf8Start, 0xe1, 0xec, utf8Two},
		{utf8Start, 0xed, 0xed, utf8AfterED},
		{utf8AfterED, 0x80, 0x9f, utf8One},
		{utf8Start, 0xee, 0xef, utf8Two},
		// "UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
		// %xF4 %x80-8F 2( UTF8-tail )"
		{utf8Start, 0xf0, 0xf0, utf8AfterF0},
		{utf8AfterF0, 0x90, 0xbf, utf8Two},
		{utf8Start, 0xf1, 0xf3, utf8Three},
		{utf8Start, 0xf4, 0xf4, utf8AfterF4},
		{utf8AfterF4, 0x80, 0x8f, utf8Two},
		// "UTF8-tail = %x80-BF"
		{utf8Three, 0x80, 0xbf, utf8Two},
		{utf8Two, 0x80, 0xbf, utf8One},
		{utf8One, 0x80, 0xbf, utf8Start},
	} {
		if s.from == state && s.first <= b && b <= s.last {
			return s.to
		}
	}
	return utf8Bad
}

// add reports whether what was added so far is, or can still become, UTF-8.
func (u *utf8Checker) add(p []byte) bool {
	s := u.state
	for len(p) >= 8 {
		w := binary.LittleEndian.Uint64(p)
		if w&notASCII == 0 && s&utf8State == utf8Start {
			p = p[asciiPrefix(p):]
			continue
		}
		s = utf8Rows[byte(w)] >> (s & utf8State)
		s = utf8Rows[byte(w>>8)] >> (s & utf8State)
		s = utf8Rows[byte(w>>16)] >> (s & utf8State)
		s = utf8Rows[byte(w>>24)] >> (s & utf8State)
		s = utf8Rows[byte(w>>32)] >> (s & utf8State)
		s = utf8Rows[byte(w>>40)] >> (s & utf8State)
		s = utf8Rows[byte(w>>48)] >> (s & utf8State)
		s = utf8Rows[byte(w>>56)] >> (s & utf8State)
		p = p[8:]
	}
	for _, b := range p {
		s = utf8Rows[b] >> (s & utf8State)
	}
	u.state = s & utf8State
	return u.state != utf8Bad
}

// notASCII are the bits that no word of ASCII has.
const notASCII = 0x8080808080808080

// asciiPrefix returns a number of bytes at the start of p that are ASCII: the first
// eight, which the caller has looked at, and all that follow in steps of 32.
func asciiPrefix(p []byte) int {
	n := 8
	for ; len(p) >= n+32; n += 32 {
		q := p[n : n+32]
		w := binary.LittleEndian.Uint64(q) | binary.LittleEndian.Uint64(q[8:]) |
			binary.LittleEndian.Uint64(q[16:]) | binary.LittleEndian.Uint64(q[24:])
		if w&notASCII != 0 {
			break
		}
	}
	return n
}

// complete reports whether the text ends with a whole character, and starts anew.
func (u *utf8Checker) complete() bool {
	ok := u.state == utf8Start
	u.state = utf8Start
	return ok
}

// validUTF8 reports whether p is UTF-8.
func validUTF8(p []byte) bool {
	var u utf8Checker
	return u.add(p) && u.complete()
}
