package websocket

import (
	"context"
	"fmt"
	"io"
	"slices"

	"example.com/websocket/internal/deflate"
)

// Compressed messages: permessage-deflate (RFC 7692) over what a Conn sends and
// receives. The DEFLATE itself is internal/deflate's, the negotiation extension.go's.

// Compression offers or accepts permessage-deflate (RFC 7692), by which the
// messages of a connection are compressed, each by itself or with reference to
// those before it. Whether a connection does it is for both sides to agree on in
// the handshake, and so are the settings below: each gets the lesser of what the
// two of them want.
//
// The zero value is right for many connections: messages of some size are
// compressed fast, each by itself, and a connection that is idle keeps 0.2 KiB for
// it. For the time of a message the sender borrows up to 64 KiB, and a buffer for what
// comes out, and the receiver up to 40, from memory that all connections share.
//
// Compression pays for text of more than some hundred bytes on a network that is
// slow or costs money. It does not pay on a fast one, as within a data centre,
// nor for what is compressed already: images, audio, archives, ciphertext.
//
// The length of a compressed message tells something of what is in it. Where a
// secret is compressed together with text that an attacker can choose, in one
// message or, with context takeover, in those before and behind it, he who sees
// the lengths can guess the secret bit by bit, encryption or not (as CRIME and
// BREACH do with TLS and HTTP). Send secrets by [Conn.WriteUncompressed].
type Compression struct {
	// Level is how hard messages are searched for what they repeat.
	Level CompressionLevel

	// ServerContextTakeover and ClientContextTakeover let the messages that this
	// role sends refer to those that it has sent before (RFC 7692 7.1.1). That makes
	// small messages that resemble each other much smaller. It costs the connection
	// memory from the first compressed message to its end: one and a half times the
	// window where they are sent, which is 48 KiB with the largest window, and once
	// the window where they are received, 32 KiB.
	ServerContextTakeover bool
	ClientContextTakeover bool

	// ServerWindowBits and ClientWindowBits limit how far what this role sends can
	// refer back: 2 to this power in bytes (7.1.2), from 8 to 15, and 0 stands for
	// 15, 32 KiB. With context takeover the memory above is in proportion, but for
	// the least windows, which need 3 KiB where they are used to send. A server
	// cannot ask a client to limit its window that does not offer to; that one it
	// asks to do without context takeover.
	ServerWindowBits int
	ClientWindowBits int

	// MinSize is the size in bytes from which a message is compressed; a smaller one
	// is sent as it is. 0 stands for 512, a negative number for none. A message that
	// would not get smaller is sent as it is, too.
	MinSize int
}

// A CompressionLevel is a choice between speed and size.
type CompressionLevel uint8

const (
	CompressionFast   CompressionLevel = iota // right for most: what it finds it finds at once
	CompressionBetter                         // mostly 2 to 10 % smaller, at two to three times the cost
)

const defaultMinSize = 512

// check reports what cannot be.
func (o *Compression) check() error {
	switch {
	case o == nil:
		return nil
	case !validWindow(o.ServerWindowBits), !validWindow(o.ClientWindowBits):
		return fmt.Errorf("websocket: Options.Compression has windows of %d and %d bits, and they must be from %d to %d, or 0 (RFC 7692 7.1.2)", o.ServerWindowBits, o.ClientWindowBits, minWindowBits, maxWindowBits)
	case o.Level > CompressionBetter:
		return fmt.Errorf("websocket: Options.Compression has the Level %d, which there is not", o.Level)
	}
	return nil
}

func validWindow(bits int) bool {
	return bits == 0 || bits >= minWindowBits && bits <= maxWindowBits
}

// params returns what a server wants for itself, nil for no compression.
func (o *Compression) params() *deflateParams {
	if o == nil {
		return nil
	}
	return &deflateParams{
		noTakeover: [2]bool{!o.ServerContextTakeover, !o.ClientContextTakeover},
		bits:       [2]uint8{limitedWindow(o.ServerWindowBits), limitedWindow(o.ClientWindowBits)},
	}
}

// limitedWindow returns 0 for a window that is not limited.
func limitedWindow(bits int) uint8 { return uint8(bits % maxWindowBits) }

// offer returns what a client offers.
func (o *Compression) offer() *deflateParams {
	p := o.params()
	if p != nil && p.bits[client] == 0 {
		p.bits[client] = maxWindowBits // it does as the server says
	}
	return p
}

// A flate is what a connection has for compression, if that was agreed on. Without
// context takeover it is all that it has while no message is on its way.
type flate struct {
	packing
	deflater *deflate.Compressor // belongs to the holder of out.turn
	inflater *deflate.Inflater   // belongs to the holder of in.role
}

// A packing says how a connection compresses a message by itself, and so which
// connections may send the same bytes. The zero value stands for those that do not
// compress.
type packing struct {
	level   deflate.Level
	bits    int // of the window
	minSize int
}

// applies reports whether a message of n bytes is to be compressed.
func (p packing) applies(n int) bool { return p.bits != 0 && n >= p.minSize }

// useDeflate begins with compression as agreed. Called before anybody reads or
// writes.
func (c *Conn) useDeflate(p *deflateParams, o *Compression) {
	how := packing{deflate.Level(o.Level), p.window(c.role), max(o.MinSize, 0)}
	if o.MinSize == 0 {
		how.minSize = defaultMinSize
	}
	c.flate = &flate{
		packing:  how,
		deflater: deflate.NewCompressor(how.level, how.bits, !p.noTakeover[c.role]),
		inflater: deflate.NewInflater(p.window(c.role.peer()), !p.noTakeover[c.role.peer()]),
	}
}

// Writing. Messages are compressed in the order of the wire, with the turn in hand
// and without out.mu, so that control frames pass and the flusher goes on.

// deflates reports whether a message of n bytes is to be compressed.
func (c *Conn) deflates(n int) bool { return c.flate != nil && c.flate.applies(n) }

// packing returns how messages by themselves are compressed.
func (c *Conn) packing() packing {
	if c.flate == nil {
		return packing{}
	}
	return c.flate.packing
}

// WriteUncompressed is [Conn.WriteMessage] of a message that is not compressed on a
// connection on which others are: a secret, whose length should be all that its
// length tells (see [Compression]), or what is compressed already. It leaves no
// trace in what compressed messages refer to.
func (c *Conn) WriteUncompressed(ctx context.Context, typ MessageType, p []byte) error {
	if c.writeNow(ctx, typ, p) {
		return nil
	}
	return c.writeInTurn(ctx, typ, p, false)
}

// writeDeflated sends a message in one compressed frame, or as it is if that is not
// larger, with the turn in hand.
//
// Room is waited for by the size of the message and before it is compressed: what
// the compressor has in its history the peer must get. If it does not after all,
// it is taken out again.
func (c *Conn) writeDeflated(ctx context.Context, h FrameHeader, p []byte) error {
	if err := c.beginDeflated(ctx, len(p)); err != nil {
		return err
	}
	buf := c.flate.deflater.AppendMessage(getBuffer(len(p) + deflateSlack)[:0], p)
	defer putBuffer(buf)
	var err error
	if len(buf) < len(p) {
		h.RSV1 = true
		err = c.writePacked(ctx, h, buf, len(p))
	} else {
		c.flate.deflater.Undo()
		err = c.writeFrame(ctx, h, p, len(p))
	}
	if err != nil {
		c.undoDeflated()
	}
	return err
}

// beginDeflated waits for room for n bytes and begins a message: from now on no
// other may come between it and what the compressor may refer to.
func (c *Conn) beginDeflated(ctx context.Context, n int) error {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := c.awaitRoom(ctx, n); err != nil {
		return err
	}
	w.open = true
	// The peer's window has what was compressed elsewhere, and ours has not.
	if w.foreign {
		w.foreign = false
		c.flate.deflater.Forget()
	}
	return nil
}

// undoDeflated takes back a message of which nothing was sent, or with which the
// connection has failed.
func (c *Conn) undoDeflated() {
	c.flate.deflater.Undo()
	c.out.mu.Lock()
	c.out.open = false
	c.kick(false)
}

// deflateSlack is the room that a compressor asks for beyond the size of a message.
const deflateSlack = 64

// writePacked sends a frame of compressed data, a message that had size bytes, with
// the turn in hand. That does not wait for room but if the frame is large.
func (c *Conn) writePacked(ctx context.Context, h FrameHeader, p []byte, size int) error {
	if len(p) >= largeWrite {
		return c.writeLarge(ctx, h, p, size)
	}
	w := &c.out
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return w.err
	}
	c.appendFrame(&h, p)
	w.count(true, size)
	w.open = false
	c.kick(false)
	return nil
}

// deflate is put for a message that is compressed. What the compressor gives out is
// gathered to frames of some size. Packed never outgrows its buffer: besides an
// eighth of it and a quarter there is at most a window that the compressor had not
// looked at yet.
func (m *messageWriter) deflate(p []byte, fin bool) error {
	for d := m.c.flate.deflater; ; {
		n := min(len(p), largeBuffer/4)
		m.packed, p = d.Append(m.packed, p[:n]), p[n:]
		m.size += n
		last := fin && len(p) == 0
		if last {
			m.packed = d.Flush(m.packed)
		}
		if last || len(m.packed) >= largeBuffer/8 {
			if err := m.frame(m.packed, last, m.size); err != nil {
				return err
			}
			m.packed, m.size = m.packed[:0], 0
		}
		if len(p) == 0 {
			return nil
		}
	}
}

// Reading. A message that is whole in the buffer is inflated in one step; one that
// comes in pieces is inflated as it comes.

// assembleDeflated is assemble for a compressed message.
func (c *Conn) assembleDeflated() (MessageType, error) {
	r := &c.in
	typ := r.msgs.typ
	if r.frame.RSV1 && r.frame.Fin && r.left == r.frame.Length && r.left <= int64(len(r.unread)) {
		return typ, c.inflateWhole()
	}
	for {
		p := r.partial
		if len(p) == cap(p) { // at most doubled: memory follows what has come out
			p = slices.Grow(p, min(max(len(p), smallBuffer), r.msgs.room()))
		}
		n, err := c.inflate(p[len(p):cap(p)])
		r.partial = p[:len(p)+n]
		if err == io.EOF {
			return typ, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// inflateWhole inflates the message in hand, which is one frame and all there. If
// it is to have memory of its own, that is made when its size is known.
func (c *Conn) inflateWhole() error {
	r := &c.in
	dst, src := r.partial, r.take()
	var scratch []byte
	if cap(dst) == 0 {
		scratch = getBuffer(4 * len(src))
		defer putBuffer(scratch)
		dst = scratch[:0]
	}
	p, err := c.flate.inflater.AppendMessage(dst, src, r.msgs.room()-1)
	if err := c.checkInflated(p[len(r.partial):], err); err != nil {
		return err
	}
	if r.partial = p; cap(p) == cap(scratch) {
		r.partial = append([]byte(nil), p...)
	}
	_, err = c.endFrame()
	return err
}

// discardDeflated discards the rest of a compressed message. It is inflated all
// the same: messages that follow may refer to it.
func (c *Conn) discardDeflated() error {
	buf := getSmallBuffer()
	defer putBuffer(buf)
	for {
		if _, err := c.inflate(buf); err != nil {
			return err
		}
	}
}

// inflate puts the next bytes of the compressed message in hand into p, which is
// not empty. With the last of them, or behind, it returns io.EOF.
func (c *Conn) inflate(p []byte) (n int, err error) {
	r := &c.in
	for {
		if err := c.toData(); err != nil {
			return 0, err
		}
		if len(r.packed) == 0 {
			r.packed = r.take()
		}
		last := r.left == 0 && r.frame.Fin
		if len(r.packed) > 0 || r.pending || last {
			if n, err = c.inflateFrame(p, last); n > 0 || err != nil {
				return n, err
			}
		}
		if r.left > 0 {
			return 0, errMore
		}
		if _, err := c.endFrame(); err != nil {
			return 0, err
		}
	}
}

// inflateFrame inflates what is there of the frame in hand, as far as p has room.
func (c *Conn) inflateFrame(p []byte, last bool) (int, error) {
	r := &c.in
	p = p[:min(len(p), r.msgs.room())]
	n, taken, err := c.flate.inflater.Inflate(p, r.packed, last)
	r.packed, r.pending = r.packed[taken:], n == len(p) && err == nil
	r.msgs.packed += int64(taken)
	if failed := c.checkInflated(p[:n], err); failed != nil {
		return 0, failed
	}
	if err == io.EOF {
		if _, err := c.endFrame(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// checkInflated judges what was inflated, and then the error behind it. RFC 7692
// names no code for data that is not DEFLATE. We take that of RFC 6455 7.4.1 for
// "data within a message that was not consistent with the type of the message": the
// frames are as they should be, and what is in them is not what RSV1 says.
func (c *Conn) checkInflated(p []byte, err error) error {
	msgs := &c.in.msgs
	failed := msgs.inflated(p)
	if corrupt, ok := err.(*deflate.CorruptError); failed == nil && ok {
		failed = invalidPayload("RFC 7692 7.2.2", "a compressed message that does not inflate: %s", corrupt.Reason)
	}
	if failed == nil && err == deflate.ErrTooLarge {
		failed = msgs.tooBig()
	}
	if failed != nil {
		failed = c.fail(failed)
	}
	return failed
}
