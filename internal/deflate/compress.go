package deflate

import (
	"math/bits"
	"sync"
)

// A Level says how hard a Compressor looks for matches.
type Level uint8

const (
	Fast   Level = iota // one candidate a position, not every position
	Better              // several candidates, every position
)

// A Compressor turns the messages of one direction of one connection into
// the payloads of RFC 7692, section 7.2.1.
//
// With context takeover it keeps, from its first message on, a window and a
// table of matches in it. Without, it keeps nothing between messages. All
// else comes from pools, for the time of a call of AppendMessage or from the
// first Append to Flush.
type Compressor struct {
	level      Level
	windowBits uint8
	takeover   bool

	block   *block // of the message in progress
	matcher *matcher
	w       bitWriter // its out belongs to the caller and is set only during calls

	// window holds what the matcher refers to. Of it, [:parsed] is in blocks
	// already; the block in progress began at blockStart, or, if that is
	// negative, with what has been discarded.
	window     []byte
	parsed     int
	blockStart int
	started    int // len(window) when the last message began; negative: it was discarded since
}

// NewCompressor returns a Compressor whose matches reach at most
// 1<<windowBits bytes back, 8 <= windowBits <= 15. With takeover a message
// may refer to those before it.
func NewCompressor(level Level, windowBits int, takeover bool) *Compressor {
	checkWindowBits(windowBits)
	return &Compressor{level: level, windowBits: uint8(windowBits), takeover: takeover}
}

func checkWindowBits(n int) {
	if n < minWindowBits || n > maxWindowBits {
		panic("deflate: window bits out of range")
	}
}

var (
	blocks   = sync.Pool{New: func() any { return new(block) }}
	matchers = sync.Pool{New: func() any { return newMatcher(maxTableBits) }}
	windows  = sync.Pool{New: func() any { return new([1 << maxWindowBits]byte) }}
)

// AppendMessage appends the compressed form of the message p to dst.
func (c *Compressor) AppendMessage(dst, p []byte) []byte {
	if c.takeover || c.block != nil {
		return c.Flush(c.Append(dst, p))
	}
	c.begin(dst)
	for parsed := 0; parsed < len(p); {
		start := parsed
		parsed = c.find(p, start)
		c.block.write(&c.w, p[start:parsed])
	}
	return c.end()
}

// Append adds p to the message in progress, and appends to dst what is
// complete of its compressed form. Much may remain for Flush to append.
func (c *Compressor) Append(dst, p []byte) []byte {
	c.begin(dst)
	for len(p) > 0 {
		if len(c.window) == cap(c.window) {
			c.makeRoom(len(p))
		}
		n := copy(c.window[len(c.window):cap(c.window)], p)
		c.window = c.window[:len(c.window)+n]
		p = p[n:]
	}
	return c.take()
}

// Flush ends the message in progress, and appends the rest of its compressed
// form to dst.
func (c *Compressor) Flush(dst []byte) []byte {
	c.begin(dst)
	c.parse()
	if !c.block.empty() {
		c.writeBlock()
	}
	c.blockStart = c.parsed
	return c.end()
}

// Undo takes the last message, or the one in progress, out of the history, for
// one that the peer will not get. If what was before it has been discarded
// meanwhile, the whole history goes.
//
// Entries for what was taken out stay in the table. They are stale ones as any
// other: what they lead to is verified.
func (c *Compressor) Undo() {
	if c.block != nil {
		c.w.bits = bitBuffer{}
		c.release()
	}
	if c.started < 0 {
		c.Forget()
		return
	}
	c.window = c.window[:min(c.started, len(c.window))]
	c.parsed, c.blockStart = len(c.window), len(c.window)
}

// Forget drops the history: the next message will not refer to those before
// it. It must not be called within a message.
func (c *Compressor) Forget() {
	c.window = c.window[:0]
	c.parsed, c.blockStart = 0, 0
	if c.matcher != nil {
		c.matcher.forget()
	}
}

// begin borrows what a message needs and is not here yet.
func (c *Compressor) begin(dst []byte) {
	c.w.out = dst
	if c.block != nil {
		return
	}
	c.block = blocks.Get().(*block)
	c.block.reset()
	c.started = len(c.window)
	if c.takeover && c.matcher == nil {
		c.matcher = newMatcher(max(int(c.windowBits)-3, minWindowBits)) // half the size of the window
	} else if !c.takeover {
		c.matcher = matchers.Get().(*matcher)
		c.matcher.forget()
	}
	c.matcher.maxDist, c.matcher.kept = 1<<c.windowBits, c.takeover
}

// end writes the empty stored block of RFC 7692, 7.2.1, without its last four
// bytes, and gives back what was borrowed.
func (c *Compressor) end() []byte {
	c.w.reserve(3)
	c.w.add(storedBlock<<1, 3)
	c.w.align()
	c.release()
	return c.take()
}

// release gives back what a message has borrowed.
func (c *Compressor) release() {
	blocks.Put(c.block)
	c.block = nil
	if c.takeover {
		return
	}
	matchers.Put(c.matcher)
	c.matcher = nil
	if c.window != nil {
		windows.Put((*[1 << maxWindowBits]byte)(c.window[:1<<maxWindowBits]))
		c.window = nil
	}
	c.Forget()
}

// take hands the output back to the caller, whose memory it is.
func (c *Compressor) take() []byte {
	out := c.w.out
	c.w.out = nil
	return out
}

// parse adds what is new in the window to blocks.
func (c *Compressor) parse() {
	for c.parsed < len(c.window) {
		c.parsed = c.find(c.window, c.parsed)
		if c.block.full() {
			c.writeBlock()
		}
	}
}

// find adds what it finds in buf[i:] to the block, and returns how far it
// came.
func (c *Compressor) find(buf []byte, i int) int {
	if c.level == Better {
		return c.matcher.better(c.block, buf, i, len(buf))
	}
	return c.matcher.fast(c.block, buf, i, len(buf))
}

func (c *Compressor) writeBlock() {
	var raw []byte
	if c.blockStart >= 0 {
		raw = c.window[c.blockStart:c.parsed]
	}
	c.block.write(&c.w, raw)
	c.blockStart = c.parsed
}

// minWindow is the least memory of a window. More than the distances need
// makes for fewer, larger steps.
const minWindow = 2048

// makeRoom makes room in a full window for up to n bytes: it doubles until it
// has its size, and then drops its oldest quarter whenever it is full.
func (c *Compressor) makeRoom(n int) {
	size := max(1<<c.windowBits, minWindow)
	if cap(c.window) < size {
		if !c.takeover {
			c.window = windows.Get().(*[1 << maxWindowBits]byte)[:0]
			return
		}
		grown := min(size, max(2*cap(c.window), 1<<bits.Len(uint(len(c.window)+n-1)), 512))
		c.window = append(make([]byte, 0, grown), c.window...)
		return
	}
	c.parse()
	drop := len(c.window) - min(1<<c.windowBits, size-size/4)
	if c.blockStart < drop && !c.block.empty() {
		c.writeBlock()
	}
	kept := copy(c.window, c.window[drop:])
	c.window = c.window[:kept]
	c.parsed = kept
	c.blockStart -= drop
	c.started = -1
	c.matcher.base += uint32(drop)
}
