package deflate

// A status says why decoding paused.
type status uint8

const (
	proceed   status = iota
	needInput        // all of src has been taken
	needRoom         // out is full, and something is to be written
	corrupt          // reason says what is wrong
)

// A state is what the next bits of the input are. Within each state the
// input is taken in units of at most 48 bits: a unit that is not yet there in
// full is left in acc. So decoding can pause at any byte.
type state uint8

const (
	inHeader      state = iota // 3.2.3, BFINAL and BTYPE
	inStoredLen                // 3.2.4, LEN and NLEN
	inStored                   // the bytes of a stored block
	inCodeCounts               // 3.2.7, HLIT, HDIST, HCLEN
	inCodeLenLens              // the lengths of the code length codes
	inCodeLens                 // the lengths of the other codes
	inSymbols                  // 3.2.5, literals, lengths and distances
	inMatch                    // no input: a match that did not fit into out
)

// A decoder is what a message needs while it is being inflated, borrowed from
// a pool.
type decoder struct {
	// The input: bits that have been taken from src and not yet been used,
	// n of them, and above them zeros; and src, taken up to pos.
	acc uint64
	n   uint
	src []byte
	pos int

	// The output. out[start:o] is what this call has written, and may write
	// up to end; what is behind o and end is scratch memory.
	out     []byte
	start   int
	o       int
	end     int
	history *history // what came before out[start]
	window  int

	state  state
	final  bool  // the block is the last of its stream; and, before the first, true
	taken  int64 // bytes taken from the src of earlier calls
	reason string

	stored              int // bytes that remain of a stored block
	matchLen, matchDist int // what remains of a match

	hlit, hdist, hcl int
	lens             [numSymbols + 12]uint8 // a multiple of 8
	numLens          int

	builder      tableBuilder
	litLen, dist []entry // the tables of the block
	litLenMask   uint64
	distMask     uint64
	litLenMemory [litLenTable]entry
	distMemory   [distTable]entry
}

// begin prepares for a message.
func (d *decoder) begin() {
	d.acc, d.n, d.taken = 0, 0, 0
	d.state, d.final = inHeader, true
}

// run decodes until it needs input or room, or finds a fault.
func (d *decoder) run() status {
	for {
		var s status
		switch d.state {
		case inHeader:
			s = d.header()
		case inStoredLen:
			s = d.storedLen()
		case inStored:
			s = d.storedBytes()
		case inCodeCounts:
			s = d.codeCounts()
		case inCodeLenLens:
			s = d.codeLenLens()
		case inCodeLens:
			s = d.codeLens()
		case inSymbols:
			s = d.symbols()
		case inMatch:
			s = d.match()
		}
		if s != proceed {
			return s
		}
	}
}

// atEnd reports whether the message may end here, where input is needed.
//
// RFC 7692, 7.2.2: the receiver is to append 00 00 ff ff, the LEN and NLEN
// that the sender removed. So a message ends where these are due. We let it
// end, too, after a block with BFINAL set, and before the first block: senders
// exist that do not follow 7.2.3.4 and 7.2.3.6 in adding a byte of zeros there.
func (d *decoder) atEnd() bool {
	return d.n == 0 && (d.state == inStoredLen || d.state == inHeader && d.final)
}

func (d *decoder) fail(reason string) status {
	d.reason = reason
	return corrupt
}

// have makes at least k bits available, if the input has them.
func (d *decoder) have(k uint) bool {
	if d.n < k {
		d.refill()
	}
	return d.n >= k
}

// refill takes as many whole bytes from src as fit into acc.
func (d *decoder) refill() {
	if d.pos+8 <= len(d.src) {
		d.acc |= load64(d.src, d.pos) << (d.n & 63)
		d.pos += int((63 - d.n) >> 3)
		d.n |= 56
		d.acc &= 1<<d.n - 1
		return
	}
	for d.n < 56 && d.pos < len(d.src) { // 64 bits would be one too many for the shifts above
		d.acc |= uint64(d.src[d.pos]) << (d.n & 63)
		d.pos++
		d.n += 8
	}
}

// take removes k bits, which must be available, and returns them.
func (d *decoder) take(k uint) int {
	v := d.acc & (1<<k - 1)
	d.acc >>= k & 63
	d.n -= k
	return int(v)
}

// align drops bits up to a byte boundary.
func (d *decoder) align() { d.take(d.n & 7) }

func (d *decoder) header() status {
	if !d.have(3) {
		return needInput
	}
	d.final = d.take(1) == 1
	switch d.take(2) {
	case storedBlock:
		d.align()
		d.state = inStoredLen
	case fixedBlock:
		d.setTables(fixedTables())
	case dynamicBlock:
		d.state = inCodeCounts
	default:
		return d.fail("reserved block type")
	}
	return proceed
}

// endBlock goes on behind a block. After the last of a stream another
// may begin at the next byte (RFC 7692, 7.2.3.4).
func (d *decoder) endBlock() status {
	d.state = inHeader
	if d.final {
		d.align()
	}
	return proceed
}

func (d *decoder) storedLen() status {
	if !d.have(32) {
		return needInput
	}
	n, complement := d.take(16), d.take(16)
	if n^complement != 0xffff {
		return d.fail("length of a stored block and its complement do not match")
	}
	d.stored = n
	d.state = inStored
	return proceed
}

func (d *decoder) storedBytes() status {
	for d.stored > 0 && d.n > 0 { // whole bytes, since the block is aligned
		if d.o >= d.end {
			return needRoom
		}
		d.out[d.o] = byte(d.take(8))
		d.o++
		d.stored--
	}
	n := min(d.stored, max(0, d.end-d.o), len(d.src)-d.pos)
	copy(d.out[d.o:], d.src[d.pos:d.pos+n])
	d.o += n
	d.pos += n
	d.stored -= n
	switch {
	case d.stored == 0:
		return d.endBlock()
	case d.pos == len(d.src):
		return needInput
	}
	return needRoom
}

func (d *decoder) codeCounts() status {
	if !d.have(14) {
		return needInput
	}
	d.hlit, d.hdist, d.hcl = d.take(5)+257, d.take(5)+1, d.take(4)+4
	if d.hlit > numLitLen || d.hdist > numDist {
		return d.fail("too many codes")
	}
	clear(d.lens[:])
	d.numLens = 0
	d.state = inCodeLenLens
	return proceed
}

func (d *decoder) codeLenLens() status {
	for ; d.numLens < d.hcl; d.numLens++ {
		if !d.have(3) {
			return needInput
		}
		d.lens[codeLenOrder[d.numLens]] = uint8(d.take(3))
	}
	// The table of distances is not in use yet.
	bits, ok := d.builder.build(d.distMemory[:], codeLenEntries[:], d.lens[:24], maxCodeLenBits)
	if !ok {
		return d.fail("code lengths are no prefix code")
	}
	d.distMask = 1<<bits - 1
	clear(d.lens[:numCodeLen])
	d.numLens = 0
	d.state = inCodeLens
	return proceed
}

func (d *decoder) codeLens() status {
	total := d.hlit + d.hdist
	for d.numLens < total {
		if d.n < 14 {
			d.refill()
		}
		e := d.distMemory[d.acc&d.distMask]
		if e.drop() > d.n {
			return needInput
		}
		if e&exceptional != 0 {
			return d.fail("invalid code length")
		}
		symbol, extra := uint8(e>>16), d.take(e.drop())>>e.codeBits()
		if symbol < repeatLast {
			d.lens[d.numLens] = symbol
			d.numLens++
			continue
		}
		if !d.repeat(symbol, extra, total) {
			return d.fail("repeated code length out of range")
		}
	}
	return d.buildTables()
}

// repeat does what a symbol from repeatLast on says.
func (d *decoder) repeat(symbol uint8, extra, total int) bool {
	n, length := extra+3, uint8(0)
	switch symbol {
	case repeatLast:
		if d.numLens == 0 {
			return false
		}
		length = d.lens[d.numLens-1]
	case repeatZeros:
		n = extra + 11
	}
	if d.numLens+n > total {
		return false
	}
	if length != 0 {
		for i := range n {
			d.lens[d.numLens+i] = length
		}
	}
	d.numLens += n
	return true
}

func (d *decoder) buildTables() status {
	var distLens [32]uint8
	copy(distLens[:], d.lens[d.hlit:d.hlit+d.hdist])
	clear(d.lens[d.hlit : d.hlit+d.hdist])
	litLen, ok := d.builder.build(d.litLenMemory[:], litLenEntries[:], d.lens[:(d.hlit+7)&^7], litLenBits)
	if !ok {
		return d.fail("literal and length codes are no prefix code")
	}
	dist, ok := d.builder.build(d.distMemory[:], distEntries[:], distLens[:], distBits)
	if !ok {
		return d.fail("distance codes are no prefix code")
	}
	d.setTables(d.litLenMemory[:], d.distMemory[:], litLen, dist)
	return proceed
}

func (d *decoder) setTables(litLen, dist []entry, litLenBits, distBits uint) {
	d.litLen, d.litLenMask = litLen, 1<<litLenBits-1
	d.dist, d.distMask = dist, 1<<distBits-1
	d.state = inSymbols
}
