package websocket

import (
	"bytes"
	"context"
	"sync"

	"example.com/websocket/internal/deflate"
)

// A PreparedMessage is a message that is framed once and sent to any number of
// connections: see [Conn.WritePrepared]. It does not change, and any number of
// goroutines may use it at the same time.
//
// For connections that compress it is compressed once for all that have the same
// level and window, when it is first needed, and by itself. A connection that has
// context takeover for what it sends (RFC 7692 7.1.1) drops its history then: what
// is written to it next refers to nothing before.
type PreparedMessage struct {
	typ   MessageType
	plain form

	mu     sync.Mutex
	packed []packedForm // one for each packing in use, but for its minSize
}

type packedForm struct {
	packing
	form *form // the plain one if this would not be smaller
}

// A form is a message as connections of one kind send it: in one frame.
type form struct {
	head    FrameHeader // less length and mask
	payload []byte      // the end of frame
	size    int         // of the message, not compressed
	frame   []byte      // the whole of it, as a server sends it
}

// NewPreparedMessage prepares a message. It copies p. That typ is neither text
// nor binary is for those to report who are asked to send the message.
func NewPreparedMessage(typ MessageType, p []byte) *PreparedMessage {
	m := &PreparedMessage{typ: typ}
	m.plain.set(FrameHeader{Fin: true, Opcode: Opcode(typ)}, p, len(p))
	return m
}

func (f *form) set(h FrameHeader, p []byte, size int) {
	f.size = size
	f.head, h.Length = h, int64(len(p))
	head := AppendFrameHeader(make([]byte, 0, maxFrameHeader), h)
	f.frame = bytes.Join([][]byte{head, p}, nil)
	f.payload = f.frame[len(head):]
}

// form returns the form that connections of a packing send.
func (m *PreparedMessage) form(how packing) *form {
	if !how.applies(len(m.plain.payload)) {
		return &m.plain
	}
	how.minSize = 0
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.packed {
		if f.packing == how {
			return f.form
		}
	}
	f := m.pack(how)
	m.packed = append(m.packed, packedForm{how, f})
	return f
}

// pack compresses the message.
func (m *PreparedMessage) pack(how packing) *form {
	plain := m.plain.payload
	p := deflate.NewCompressor(how.level, how.bits, false).AppendMessage(getBuffer(len(plain) + deflateSlack)[:0], plain)
	defer putBuffer(p)
	if len(p) >= len(plain) {
		return &m.plain
	}
	f := new(form)
	h := m.plain.head
	h.RSV1 = true
	f.set(h, p, len(plain))
	return f
}

// WritePrepared is [Conn.WriteMessage] of a prepared message. A server sends the
// bytes as they are; a client masks them anew, as it must (RFC 6455 5.3).
func (c *Conn) WritePrepared(ctx context.Context, m *PreparedMessage) error {
	if err := checkType(m.typ); err != nil {
		return err
	}
	w := &c.out
	if ctx.Err() != nil {
		return c.giveUp(ctx)
	}
	f := m.form(c.packing())
	large := len(f.payload) >= largeWrite
	if !large {
		w.mu.Lock()
		if w.mayAppend(len(f.payload)) {
			c.appendForm(f)
			c.kick(false)
			return nil
		}
		w.mu.Unlock()
	}
	if err := c.takeTurn(ctx); err != nil {
		return err
	}
	defer w.turn.give()
	if large {
		if f.head.RSV1 {
			c.flate.deflater.Forget()
		}
		return c.writeLarge(ctx, f.head, f.payload, f.size)
	}
	return c.writeForm(ctx, f)
}

// writeForm sends a form through the queue, with the turn in hand.
func (c *Conn) writeForm(ctx context.Context, f *form) error {
	w := &c.out
	w.mu.Lock()
	if err := c.awaitRoom(ctx, len(f.payload)); err != nil {
		w.mu.Unlock()
		return err
	}
	c.appendForm(f)
	c.kick(false)
	return nil
}

// appendForm appends a frame to the queue. Called with out.mu held.
func (c *Conn) appendForm(f *form) {
	c.out.foreign = c.out.foreign || f.head.RSV1
	c.out.count(true, f.size)
	if c.role.masks() {
		h := f.head
		c.appendFrame(&h, f.payload)
		return
	}
	w := &c.out
	w.queue = append(growBuffer(w.queue, len(f.frame)), f.frame...)
	w.queued += uint64(len(f.frame))
}

// size is what m counts for where it waits for many.
func (m *PreparedMessage) size() int { return len(m.plain.frame) }
