package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	xnet "golang.org/x/net/websocket"

	"example.com/websocket"
)

// Each library is used as its own documentation advises, in the fastest of the ways
// that it describes: messages are read into memory that is used again where that
// is offered, and written by the library's own write call.

func serveOurs(s setting) error {
	return s.serveHTTP(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		ctx := r.Context()
		var typ websocket.MessageType
		receive := s.receiver(func(p []byte) error { return c.WriteMessage(ctx, websocket.MessageBinary, p) })
		var buf []byte
		for {
			var err error
			buf = s.keep(buf)
			if typ, buf, err = c.AppendMessage(ctx, buf); err != nil {
				return
			}
			if receive != nil {
				err = receive(buf)
			} else {
				err = c.WriteMessage(ctx, typ, buf)
			}
			if err != nil {
				return
			}
		}
	}))
}

// serveOursReadMessage is the echo of the README.
func serveOursReadMessage(s setting) error {
	return s.serveHTTP(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		for typ, p, err := c.ReadMessage(r.Context()); err == nil; typ, p, err = c.ReadMessage(r.Context()) {
			if c.WriteMessage(r.Context(), typ, p) != nil {
				return
			}
		}
	}))
}

func serveGorilla(s setting) error {
	up := gorilla.Upgrader{}
	if s.cfg.Large {
		up.ReadBufferSize = 64 << 10
	}
	if s.cfg.Idle {
		up.WriteBufferPool = new(sync.Pool)
	}
	return s.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		// "Allow collection of memory referenced by the caller by doing all work in
		// new goroutines": its chat example.
		go gorillaLoop(c, s)
	}))
}

func gorillaLoop(c *gorilla.Conn, s setting) {
	defer c.Close()
	receive := s.receiver(func(p []byte) error { return c.WriteMessage(gorilla.BinaryMessage, p) })
	var buf []byte
	for {
		buf = s.keep(buf)
		typ, r, err := c.NextReader()
		if err != nil {
			return
		}
		if buf, err = readAll(r, buf); err != nil {
			return
		}
		if receive != nil {
			err = receive(buf)
		} else {
			err = c.WriteMessage(typ, buf)
		}
		if err != nil {
			return
		}
	}
}

func serveCoder(s setting) error {
	return s.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, nil)
		if err != nil {
			return
		}
		c.SetReadLimit(4 << 20)
		go coderLoop(c, s)
	}))
}

func coderLoop(c *coder.Conn, s setting) {
	defer c.CloseNow()
	ctx := context.Background()
	receive := s.receiver(func(p []byte) error { return c.Write(ctx, coder.MessageBinary, p) })
	var buf []byte
	for {
		buf = s.keep(buf)
		typ, r, err := c.Reader(ctx)
		if err != nil {
			return
		}
		if buf, err = readAll(r, buf); err != nil {
			return
		}
		if receive != nil {
			err = receive(buf)
		} else {
			err = c.Write(ctx, typ, buf)
		}
		if err != nil {
			return
		}
	}
}

func serveGWS(s setting) error {
	opts := &gws.ServerOption{}
	if s.cfg.Large {
		opts.ReadBufferSize = 64 << 10
	}
	up := gws.NewUpgrader(&gwsEvents{s: s}, opts)
	return s.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r); err == nil {
			go c.ReadLoop() // "Blocking prevents the context from being GC": its README
		}
	}))
}

type gwsEvents struct {
	gws.BuiltinEventHandler
	s setting
}

func (e *gwsEvents) OnOpen(c *gws.Conn) {
	if receive := e.s.receiver(func(p []byte) error { return c.WriteMessage(gws.OpcodeBinary, p) }); receive != nil {
		c.Session().Store("receive", receive)
	}
}

func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if e.s.app == nil {
		c.WriteMessage(m.Opcode, m.Bytes())
		return
	}
	receive, _ := c.Session().Load("receive")
	receive.(func([]byte) error)(m.Bytes())
}

// serveGobwas upgrades without net/http and reads frames without wsutil, the
// fastest that its README describes. One buffer makes one system call of a frame's
// header and payload.
func serveGobwas(s setting) error {
	return acceptGobwas(s, func(c net.Conn) {
		var out []byte
		frame := make(frameBuffer, 0, ws.MaxHeaderSize)
		scratch := make([]byte, ws.MaxHeaderSize)
		write := func(h ws.Header, p []byte) error {
			frame = frame[:0]
			if err := ws.WriteHeaderBuffer(&frame, h, scratch); err != nil {
				return err
			}
			if len(p) > 16<<10 {
				_, err := (&net.Buffers{frame, p}).WriteTo(c)
				return err
			}
			out = append(append(out[:0], frame...), p...)
			_, err := c.Write(out)
			return err
		}
		gobwasLoop(c, s, write, func() error { return nil })
	})
}

// serveGobwasByHand gathers what it writes until it has to read.
func serveGobwasByHand(s setting) error {
	return acceptGobwas(s, func(c net.Conn) {
		out := bufio.NewWriterSize(c, 64<<10)
		scratch := make([]byte, ws.MaxHeaderSize)
		write := func(h ws.Header, p []byte) error {
			if err := ws.WriteHeaderBuffer(out, h, scratch); err != nil {
				return err
			}
			_, err := out.Write(p)
			return err
		}
		gobwasLoop(c, s, write, out.Flush)
	})
}

type frameBuffer []byte

func (b *frameBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

func acceptGobwas(s setting, serve func(net.Conn)) error {
	ln := s.listener()
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if _, err := ws.Upgrade(c); err == nil {
				serve(c)
			}
		}()
	}
}

func gobwasLoop(c net.Conn, s setting, write func(ws.Header, []byte) error, beforeRead func() error) {
	send := func(p []byte) error {
		return write(ws.Header{Fin: true, OpCode: ws.OpBinary, Length: int64(len(p))}, p)
	}
	receive := s.receiver(send)
	size := 4 << 10
	if s.cfg.Large {
		size = 64 << 10
	}
	in := bufio.NewReaderSize(c, size)
	header := make([]byte, ws.MaxHeaderSize)
	var buf []byte
	for {
		buf = s.keep(buf)
		if in.Buffered() == 0 && beforeRead() != nil {
			return
		}
		h, err := ws.ReadHeaderBuffer(in, header)
		if err != nil || h.OpCode == ws.OpClose {
			return
		}
		if int64(cap(buf)) < h.Length {
			buf = make([]byte, h.Length)
		}
		buf = buf[:h.Length]
		if _, err := io.ReadFull(in, buf); err != nil {
			return
		}
		ws.Cipher(buf, h.Mask, 0)
		if receive != nil {
			err = receive(buf)
		} else {
			err = write(ws.Header{Fin: true, OpCode: h.OpCode, Length: h.Length}, buf)
		}
		if err != nil {
			return
		}
	}
}

// serveXNet replies in messages of one type, which its Conn has to be told.
func serveXNet(s setting) error {
	return s.serveHTTP(xnet.Server{Handler: func(c *xnet.Conn) {
		c.PayloadType = xnet.BinaryFrame
		if s.cfg.Text {
			c.PayloadType = xnet.TextFrame
		}
		send := func(p []byte) error {
			_, err := c.Write(p)
			return err
		}
		receive := s.receiver(send)
		if receive == nil {
			receive = send
		}
		var buf []byte
		for xnet.Message.Receive(c, &buf) == nil && receive(buf) == nil {
			buf = nil
		}
	}})
}
