package main

import (
	"bytes"
	"context"
	"net/http"
	"sync"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	xnet "golang.org/x/net/websocket"

	"example.com/websocket"
)

// Each library is used as its own documentation advises, in the fastest of the ways
// that it describes: messages are read into memory that is used again where that
// is offered, and written by the library's own write call.

func serveOurs(s setting) error {
	if s.echoes() {
		return s.serveHTTP(s.ours(s.echoOurs))
	}
	var group websocket.Group
	return s.serveHTTP(s.ours(func(c *websocket.Conn, r *http.Request) {
		ctx := r.Context()
		send := func(p []byte) error { return c.WriteMessage(ctx, websocket.MessageBinary, p) }
		receive := s.receiver(send, func() func([]byte) {
			group.Add(c)
			return func(p []byte) { group.Broadcast(websocket.MessageBinary, p) }
		})
		var buf []byte
		for {
			var err error
			if _, buf, err = c.AppendMessage(ctx, buf[:0]); err != nil || receive(buf) != nil {
				return
			}
		}
	}))
}

func (s *setting) echoOurs(c *websocket.Conn, r *http.Request) {
	ctx := r.Context()
	var buf []byte
	for {
		typ, p, err := c.AppendMessage(ctx, s.keep(buf))
		if err != nil || c.WriteMessage(ctx, typ, p) != nil {
			return
		}
		buf = p
	}
}

// ours is a Handler, or a Server where that needs options.
func (s setting) ours(h websocket.Handler) http.Handler {
	if !s.cfg.Deflate {
		return h
	}
	return &websocket.Server{Handler: h, Options: websocket.Options{Compression: &websocket.Compression{
		ServerContextTakeover: s.cfg.Takeover, ClientContextTakeover: s.cfg.Takeover,
	}}}
}

// serveOursReadMessage is the echo of the README.
func serveOursReadMessage(s setting) error {
	return s.serveHTTP(s.ours(func(c *websocket.Conn, r *http.Request) {
		for typ, p, err := c.ReadMessage(r.Context()); err == nil; typ, p, err = c.ReadMessage(r.Context()) {
			if c.WriteMessage(r.Context(), typ, p) != nil {
				return
			}
		}
	}))
}

func serveGorilla(s setting) error {
	up := gorilla.Upgrader{EnableCompression: s.cfg.Deflate, ReadBufferSize: s.readBuffer(0)}
	h := newHub(
		func(p []byte) *gorilla.PreparedMessage {
			m, err := gorilla.NewPreparedMessage(gorilla.BinaryMessage, bytes.Clone(p))
			if err != nil {
				panic(err)
			}
			return m
		},
		(*gorilla.Conn).WritePreparedMessage,
	)
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
		if s.echoes() {
			go gorillaEcho(c, &s)
		} else {
			go gorillaLoop(c, s, h)
		}
	}))
}

func gorillaEcho(c *gorilla.Conn, s *setting) {
	defer c.Close()
	var buf []byte
	for {
		buf = s.keep(buf)
		typ, r, err := c.NextReader()
		if err != nil {
			return
		}
		if buf, err = readAll(r, buf); err != nil || c.WriteMessage(typ, buf) != nil {
			return
		}
	}
}

func gorillaLoop(c *gorilla.Conn, s setting, h *hub[*gorilla.Conn, *gorilla.PreparedMessage]) {
	defer c.Close()
	send := func(p []byte) error { return c.WriteMessage(gorilla.BinaryMessage, p) }
	receive := s.receiver(send, func() func([]byte) { return h.join(c) })
	var buf []byte
	for {
		buf = s.keep(buf)
		_, r, err := c.NextReader()
		if err != nil {
			return
		}
		if buf, err = readAll(r, buf); err != nil || receive(buf) != nil {
			return
		}
	}
}

func serveCoder(s setting) error {
	opts := &coder.AcceptOptions{}
	switch {
	case s.cfg.Takeover:
		opts.CompressionMode = coder.CompressionContextTakeover
	case s.cfg.Deflate:
		opts.CompressionMode = coder.CompressionNoContextTakeover
	}
	h := newHub(bytes.Clone, func(c *coder.Conn, p []byte) error {
		return c.Write(context.Background(), coder.MessageBinary, p)
	})
	return s.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, opts)
		if err != nil {
			return
		}
		c.SetReadLimit(4 << 20)
		if s.echoes() {
			go coderEcho(c, &s)
		} else {
			go coderLoop(c, s, h)
		}
	}))
}

func coderEcho(c *coder.Conn, s *setting) {
	defer c.CloseNow()
	ctx := context.Background()
	var buf []byte
	for {
		buf = s.keep(buf)
		typ, r, err := c.Reader(ctx)
		if err != nil {
			return
		}
		if buf, err = readAll(r, buf); err != nil || c.Write(ctx, typ, buf) != nil {
			return
		}
	}
}

func coderLoop(c *coder.Conn, s setting, h *hub[*coder.Conn, []byte]) {
	defer c.CloseNow()
	ctx := context.Background()
	send := func(p []byte) error { return c.Write(ctx, coder.MessageBinary, p) }
	receive := s.receiver(send, func() func([]byte) { return h.join(c) })
	var buf []byte
	for {
		buf = s.keep(buf)
		_, r, err := c.Reader(ctx)
		if err != nil {
			return
		}
		if buf, err = readAll(r, buf); err != nil || receive(buf) != nil {
			return
		}
	}
}

func serveGWS(s setting) error {
	opts := &gws.ServerOption{ReadBufferSize: s.readBuffer(0)}
	if s.cfg.Deflate {
		opts.PermessageDeflate = gws.PermessageDeflate{
			Enabled: true, ServerContextTakeover: s.cfg.Takeover, ClientContextTakeover: s.cfg.Takeover,
		}
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
	s    setting
	room room[*gws.Conn]
}

func (e *gwsEvents) OnOpen(c *gws.Conn) {
	send := func(p []byte) error { return c.WriteMessage(gws.OpcodeBinary, p) }
	receive := e.s.receiver(send, func() func([]byte) {
		e.room.add(c)
		return func(p []byte) {
			b := gws.NewBroadcaster(gws.OpcodeBinary, bytes.Clone(p))
			defer b.Close()
			e.room.each(func(c *gws.Conn) { b.Broadcast(c) })
		}
	})
	if receive != nil {
		c.Session().Store("receive", receive)
	}
}

func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if e.s.cfg.Job == "" {
		c.WriteMessage(m.Opcode, m.Bytes())
		return
	}
	receive, _ := c.Session().Load("receive")
	receive.(func([]byte) error)(m.Bytes())
}

// serveXNet replies in messages of one type, which its Conn has to be told.
func serveXNet(s setting) error {
	h := newHub(bytes.Clone, func(c *xnet.Conn, p []byte) error {
		_, err := c.Write(p)
		return err
	})
	return s.serveHTTP(xnet.Server{Handler: func(c *xnet.Conn) {
		c.PayloadType = xnet.BinaryFrame
		if s.cfg.Text {
			c.PayloadType = xnet.TextFrame
		}
		send := func(p []byte) error {
			_, err := c.Write(p)
			return err
		}
		receive := s.receiver(send, func() func([]byte) { return h.join(c) })
		if receive == nil {
			receive = send
		}
		var buf []byte
		for xnet.Message.Receive(c, &buf) == nil && receive(buf) == nil {
			buf = nil
		}
	}})
}
