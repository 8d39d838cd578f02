package deflate

// symbols decodes literals and matches: fast while input and room are ample,
// then one at a time with all checks.
func (d *decoder) symbols() status {
	if s := d.fastSymbols(); s != proceed || d.state != inSymbols {
		return s
	}
	for d.state == inSymbols {
		if s := d.symbol(); s != proceed {
			return s
		}
	}
	return proceed
}

// symbol decodes a literal, the end of the block, or a length and its
// distance, if it is there in full.
func (d *decoder) symbol() status {
	if d.n < 48 {
		d.refill()
	}
	e, used := lookup(d.litLen, d.litLenMask, d.acc)
	switch {
	case used > d.n:
		return needInput
	case e&literal != 0:
		if d.o >= d.end {
			return needRoom
		}
		d.out[d.o] = byte(e >> 16)
		d.o++
		d.take(used)
		return proceed
	case e&blockEnd != 0:
		d.take(used)
		return d.endBlock()
	case e&exceptional != 0:
		return d.fail("invalid literal or length")
	}
	rest := d.acc >> (used & 63)
	f, usedDist := lookup(d.dist, d.distMask, rest)
	if used+usedDist > d.n {
		return needInput
	}
	if f&exceptional != 0 {
		return d.fail("invalid distance")
	}
	d.matchLen = e.value(d.acc >> ((used - e.drop()) & 63))
	d.matchDist = f.value(rest >> ((usedDist - f.drop()) & 63))
	d.take(used + usedDist)
	if !d.reachable(d.matchDist) {
		return d.fail("distance beyond the window")
	}
	return d.match()
}

// lookup returns the entry for the lowest bits of acc and how many of them
// it takes.
func lookup(table []entry, mask, acc uint64) (entry, uint) {
	e := table[acc&mask]
	if e&subtable == 0 {
		return e, e.drop()
	}
	sub := e.sub(table, acc>>e.drop())
	return sub, e.drop() + sub.drop()
}

// reachable reports whether there are dist bytes to look back to, and the
// window allows it.
func (d *decoder) reachable(dist int) bool {
	return dist <= d.window && dist <= d.o-d.start+d.history.n
}

// match copies what remains of a match, as far as there is room.
func (d *decoder) match() status {
	d.state = inMatch
	n := min(d.matchLen, d.end-d.o)
	if n <= 0 {
		return needRoom
	}
	d.copyMatch(n, d.matchDist)
	d.matchLen -= n
	if d.matchLen > 0 {
		return needRoom
	}
	d.state = inSymbols
	return proceed
}

// copyMatch copies n bytes from dist back, which may begin in the history.
func (d *decoder) copyMatch(n, dist int) {
	if back := dist - (d.o - d.start); back > 0 {
		k := min(n, back)
		d.history.copy(d.out[d.o:d.o+k], back)
		d.o += k
		n -= k
	}
	for ; n > 0; n-- {
		d.out[d.o] = d.out[d.o-dist]
		d.o++
	}
}

// The slack that fastSymbols needs: what one turn of it may take and write,
// in whole words.
const (
	srcSlack = 16
	outSlack = 3 + maxMatchLen + 16
)

// fastSymbols decodes as long as there is more input than a turn can take
// and more room than it can fill. It may write past d.end, not past d.out.
func (d *decoder) fastSymbols() status {
	var (
		src    = d.src
		pos    = d.pos
		acc    = d.acc // may hold more than n bits, those that come next
		n      = d.n
		out    = d.out
		o      = d.o
		litLen = d.litLen
		mask   = d.litLenMask
		window = d.window
		srcEnd = len(src) - srcSlack
		outEnd = min(d.end, len(out)-outSlack)
		result = proceed
	)
	for pos <= srcEnd && o < outEnd {
		acc |= load64(src, pos) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56

		// Up to three literals of a main table take 30 of the 56 bits, two
		// and a length 40.
		e := litLen[acc&mask]
		if e&literal != 0 {
			acc >>= e.drop()
			n -= e.drop()
			out[o] = byte(e >> 16)
			o++
			e = litLen[acc&mask]
			if e&literal != 0 {
				acc >>= e.drop()
				n -= e.drop()
				out[o] = byte(e >> 16)
				o++
				e = litLen[acc&mask]
			}
		}
		if e&exceptional != 0 {
			if e&subtable != 0 {
				acc >>= e.drop()
				n -= e.drop()
				e = e.sub(litLen, acc)
			}
			if e&blockEnd != 0 {
				acc >>= e.drop()
				n -= e.drop()
				d.state = inHeader
				break
			}
			if e&exceptional != 0 {
				result = d.fail("invalid literal or length")
				break
			}
		}
		if e&literal != 0 {
			acc >>= e.drop()
			n -= e.drop()
			out[o] = byte(e >> 16)
			o++
			continue
		}
		length := e.value(acc)
		acc >>= e.drop()
		n -= e.drop()

		if n < 28 {
			acc |= load64(src, pos) << (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
		}
		e = d.dist[acc&d.distMask]
		if e&exceptional != 0 {
			if e&subtable != 0 {
				acc >>= e.drop()
				n -= e.drop()
				e = e.sub(d.dist, acc)
			}
			if e&exceptional != 0 {
				result = d.fail("invalid distance")
				break
			}
		}
		dist := e.value(acc)
		acc >>= e.drop()
		n -= e.drop()

		if dist > min(o-d.start, window) {
			d.o = o
			if !d.reachable(dist) {
				result = d.fail("distance beyond the window")
				break
			}
			if d.history.copyForward(out, o, length, dist-(o-d.start)) {
				o += length
				continue
			}
			d.copyMatch(length, dist)
			o = d.o
			continue
		}
		copyForward(out, o, length, dist)
		o += length
	}
	d.pos, d.o, d.n = pos, o, n
	d.acc = acc & (1<<n - 1)
	if d.state == inHeader {
		return d.endBlock()
	}
	return result
}

// copyForward copies length bytes to out[o:] from dist before, byte after
// byte as far as the result goes. It may write up to 15 bytes more.
func copyForward(out []byte, o, length, dist int) {
	from := o - dist
	if dist < 8 {
		for i := range length {
			out[o+i] = out[from+i]
		}
		return
	}
	for i := 0; i < length; i += 8 {
		store64(out, o+i, load64(out, from+i))
	}
}
