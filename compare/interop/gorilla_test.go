package interop

import (
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

var gorillaPeer = &peer{
	name: "gorilla",
	server: func(f *far) {
		u := websocket.Upgrader{Subprotocols: []string{subprotocol}, CheckOrigin: func(*http.Request) bool { return true }, EnableCompression: f.wire.deflate != nil}
		f.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r, nil)
			if err != nil {
				f.failed("gorilla's Upgrade", err)
				return
			}
			f.end(gorillaEcho(c))
		})
	},
	client: func(f *far, url string) {
		d := websocket.Dialer{Subprotocols: []string{subprotocol}, TLSClientConfig: f.tlsConfig(), EnableCompression: f.wire.deflate != nil}
		f.connect = func() {
			go func() {
				c, _, err := d.Dial(url, nil)
				if err != nil {
					f.failed("gorilla's Dial", err)
					return
				}
				f.end(gorillaEcho(c))
			}()
		}
	},
	lacks: map[string]string{
		"deflate-takeover":         "it supports no context takeover",
		"deflate-takeover-10-bits": "it supports no context takeover",
	},
}

func gorillaEcho(c *websocket.Conn) ending {
	defer c.Close()
	s := gorillaSpeaker{c}
	c.SetPongHandler(func(text string) error { return s.write(true, pong(text)) })
	for {
		typ, p, err := c.ReadMessage()
		if err == nil {
			err = obey(s, typ == websocket.TextMessage, p)
		}
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			return ending{closed.Code, closed.Text}
		case err != nil:
			return ending{websocket.CloseAbnormalClosure, err.Error()}
		}
	}
}

type gorillaSpeaker struct{ c *websocket.Conn }

func (s gorillaSpeaker) write(text bool, p []byte) error {
	if text {
		return s.c.WriteMessage(websocket.TextMessage, p)
	}
	return s.c.WriteMessage(websocket.BinaryMessage, p)
}

func (s gorillaSpeaker) ping(p string) error {
	return s.c.WriteControl(websocket.PingMessage, []byte(p), time.Now().Add(patience))
}

// fragments: gorilla's writer sends a frame whenever its buffer is full.
func (s gorillaSpeaker) fragments(pieces []string) error {
	w, err := s.c.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := w.Write([]byte(p)); err != nil {
			return err
		}
	}
	return w.Close()
}

func (s gorillaSpeaker) close(code int, reason string) error {
	return s.c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(patience))
}
