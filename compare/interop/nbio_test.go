package interop

import (
	"net/http"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

var nbioPeer = &peer{
	name: "nbio",
	server: func(f *far) {
		u := nbioEcho(f)
		u.Subprotocols = []string{subprotocol}
		u.CheckOrigin = func(*http.Request) bool { return true }
		f.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			if _, err := u.Upgrade(w, r, nil); err != nil {
				f.failed("nbio's Upgrade", err)
			}
		})
	},
	client: func(f *far, url string) {
		logging.SetLevel(logging.LevelNone)
		f.connect = func() { // the row begins when its client is ready, whose engine has had no other connection
			engine := nbhttp.NewEngine(nbhttp.Config{})
			if err := engine.Start(); err != nil {
				f.failed("nbio's engine", err)
				return
			}
			f.t.Cleanup(engine.Stop)
			d := websocket.Dialer{Engine: engine, Options: nbioEcho(f), Subprotocols: []string{subprotocol}, DialTimeout: patience}
			if f.wire.tls { // it has a crypto/tls of its own
				d.TLSClientConfig = &tls.Config{RootCAs: localhost().pool}
			}
			if _, _, err := d.Dial(url, nil); err != nil {
				f.failed("nbio's Dial", err)
			}
		}
	},
	lacks: map[string]string{
		"empty":                    "its OnMessage is for messages with content",
		"deflate-takeover":         "it always asks for none",
		"deflate-takeover-10-bits": "it always asks for none",
	},
}

// nbioEcho returns the handlers of an echo, for either side.
func nbioEcho(f *far) *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.MessageLengthLimit = maxMessage
	u.EnableCompression(f.wire.deflate != nil)
	u.OnMessage(func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		obey(nbioSpeaker{c}, typ == websocket.TextMessage, p)
	})
	u.SetPongHandler(func(c *websocket.Conn, text string) { nbioSpeaker{c}.write(true, pong(text)) })
	u.SetCloseHandler(func(c *websocket.Conn, code int, reason string) {
		c.SetSession(ending{code, reason})
		nbioSpeaker{c}.close(code, reason)
	})
	u.OnClose(func(c *websocket.Conn, err error) {
		e, ok := c.Session().(ending)
		if !ok {
			e.code = 1006
		}
		f.end(e)
	})
	return u
}

type nbioSpeaker struct{ c *websocket.Conn }

func (s nbioSpeaker) write(text bool, p []byte) error {
	if text {
		return s.c.WriteMessage(websocket.TextMessage, p)
	}
	return s.c.WriteMessage(websocket.BinaryMessage, p)
}

func (s nbioSpeaker) ping(p string) error { return s.c.WriteMessage(websocket.PingMessage, []byte(p)) }

func (s nbioSpeaker) fragments(pieces []string) error {
	for i, p := range pieces {
		if err := s.c.WriteFrame(websocket.TextMessage, i == 0, i == len(pieces)-1, []byte(p)); err != nil {
			return err
		}
	}
	return nil
}

func (s nbioSpeaker) close(code int, reason string) error {
	if code == 1005 {
		return s.c.WriteMessage(websocket.CloseMessage, nil)
	}
	return s.c.WriteClose(code, reason)
}
