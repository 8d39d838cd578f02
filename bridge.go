package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"example.com/websocket/internal/bridge"
)

// What package internal/bridge offers to the packages under compat.

func init() {
	bridge.SetHandlers = func(conn any, h *bridge.Handlers) { conn.(*Conn).handlers.Store(h) }
	bridge.WriteControl = func(ctx context.Context, conn any, opcode byte, payload []byte) error {
		return conn.(*Conn).writeControl(ctx, Opcode(opcode), payload)
	}
	bridge.SetContext = func(message any, ctx context.Context) {
		switch m := message.(type) {
		case *messageReader:
			m.ctx = ctx
		case *messageWriter:
			m.ctx = ctx
		}
	}
	bridge.Close = func(conn any) error { return conn.(*Conn).close(false) }
}

// writeControl sends a control frame.
func (c *Conn) writeControl(ctx context.Context, op Opcode, payload []byte) error {
	if len(payload) > maxControlPayload {
		return fmt.Errorf("websocket: a %v frame with a payload of %d bytes; %d fit (RFC 6455 5.5)", op, len(payload), maxControlPayload)
	}
	if op == OpClose {
		return c.writeClose(payload)
	}
	w := &c.out
	w.mu.Lock()
	if err := c.awaitRoom(ctx, len(payload)); err != nil {
		w.mu.Unlock()
		return err
	}
	c.appendFrame(&FrameHeader{Fin: true, Opcode: op}, payload)
	c.kick(true)
	return nil
}

// writeClose sends a Close frame with this body, and lets nothing more be written.
func (c *Conn) writeClose(payload []byte) error {
	code, reason := StatusNoStatus, ""
	switch {
	case len(payload) == 1:
		return errors.New("websocket: a Close frame with a body of one byte (RFC 6455 5.5.1)")
	case len(payload) > 1:
		code, reason = StatusCode(binary.BigEndian.Uint16(payload)), string(payload[2:])
	}
	if err := checkClose(code, reason); err != nil {
		return err
	}
	return c.sendClose(code, reason)
}

// What the frames ask for, unless a handler takes it over. They return a handler's
// error.

func (c *Conn) handlePing(p []byte) error {
	if h := c.handlers.Load(); h != nil && h.Ping != nil {
		return c.handle(func() error { return h.Ping(string(p)) })
	}
	c.pong(p)
	return nil
}

func (c *Conn) handlePong(p []byte) error {
	c.ponged(p)
	if h := c.handlers.Load(); h != nil && h.Pong != nil {
		return c.handle(func() error { return h.Pong(string(p)) })
	}
	return nil
}

func (c *Conn) handleClose(e *CloseError) error {
	h := c.handlers.Load()
	if h == nil || h.Close == nil {
		return c.receivedClose(e)
	}
	return c.handle(func() (err error) {
		defer func() { // also if the handler panics
			if closed := c.receivedClose(e); err == nil {
				err = closed
			}
		}()
		return h.Close(uint16(e.Code), e.Reason)
	})
}

// handle calls a handler. If that panics, or ends its goroutine, then the frame is
// dealt with, and the read in which it came has ended.
func (c *Conn) handle(handler func() error) error {
	returned := false
	defer func() {
		if !returned {
			c.endRead()
		}
	}()
	err := handler()
	returned = true
	return err
}
