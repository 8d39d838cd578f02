package websocket

import (
	"bytes"
	"context"
)

// A PreparedMessage is a message that is framed once and sent to any number of
// connections: see [Conn.WritePrepared]. It does not change, and any number of
// goroutines may use it at the same time.
type PreparedMessage struct {
	typ   MessageType
	plain form
}

// A form is a message as connections of one kind send it: in one frame.
type form struct {
	head    FrameHeader // less length and mask
	payload []byte      // the end of frame
	frame   []byte      // the whole of it, as a server sends it
}

// NewPreparedMessage prepares a message. It copies p. That typ is neither text
// nor binary is for those to report who are asked to send the message.
func NewPreparedMessage(typ MessageType, p []byte) *PreparedMessage {
	m := &PreparedMessage{typ: typ}
	m.plain.set(FrameHeader{Fin: true, Opcode: Opcode(typ)}, p)
	return m
}

func (f *form) set(h FrameHeader, p []byte) {
	f.head, h.Length = h, int64(len(p))
	head := AppendFrameHeader(make([]byte, 0, maxFrameHeader), h)
	f.frame = bytes.Join([][]byte{head, p}, nil)
	f.payload = f.frame[len(head):]
}

// form returns the form that c sends.
func (m *PreparedMessage) form(*Conn) *form { return &m.plain }

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
	f := m.form(c)
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
		return c.writeLarge(ctx, f.head, f.payload)
	}
	return c.writeForm(ctx, f)
}

// writeForm sends a form through the queue, with the turn in hand.
func (c *Conn) writeForm(ctx context.Context, f *form) error {
	w := &c.out
	w.mu.Lock()
	if err := c.await(ctx, func() (bool, error) { return w.hasRoom(len(f.payload)), w.err }); err != nil {
		w.mu.Unlock()
		return err
	}
	c.appendForm(f)
	c.kick(false)
	return nil
}

// appendForm appends a frame to the queue. Called with out.mu held.
func (c *Conn) appendForm(f *form) {
	if c.role.masks() {
		c.appendFrame(f.head, f.payload)
		return
	}
	w := &c.out
	w.queue = append(growBuffer(w.queue, len(f.frame)), f.frame...)
	w.queued += uint64(len(f.frame))
}

// size is what m counts for where it waits for many.
func (m *PreparedMessage) size() int { return len(m.plain.frame) }
