package interop

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"
)

var coderPeer = &peer{
	name: "coder",
	server: func(f *far) {
		opts := &websocket.AcceptOptions{
			Subprotocols:         []string{subprotocol},
			InsecureSkipVerify:   true,
			CompressionMode:      coderCompression(f.wire.deflate),
			CompressionThreshold: 1,
		}
		f.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, opts)
			if err != nil {
				f.failed("coder's Accept", err)
				return
			}
			f.end(coderEcho(c))
		})
	},
	client: func(f *far, url string) {
		opts := &websocket.DialOptions{
			Subprotocols:         []string{subprotocol},
			HTTPClient:           &http.Client{Transport: &http.Transport{TLSClientConfig: f.tlsConfig()}},
			CompressionMode:      coderCompression(f.wire.deflate),
			CompressionThreshold: 1,
		}
		f.connect = func() {
			go func() {
				c, _, err := websocket.Dial(context.Background(), url, opts)
				if err != nil {
					f.failed("coder's Dial", err)
					return
				}
				f.end(coderEcho(c))
			}()
		}
	},
	lacks: map[string]string{"deflate-takeover-10-bits": "it has no options for windows"},
}

func coderCompression(d *deflate) websocket.CompressionMode {
	switch {
	case d == nil:
		return websocket.CompressionDisabled
	case d.takeover:
		return websocket.CompressionContextTakeover
	}
	return websocket.CompressionNoContextTakeover
}

func coderEcho(c *websocket.Conn) ending {
	defer c.CloseNow()
	c.SetReadLimit(-1)
	s := coderSpeaker{c}
	for {
		typ, p, err := c.Read(context.Background())
		if err == nil {
			err = obey(s, typ == websocket.MessageText, p)
		}
		var closed websocket.CloseError
		switch {
		case errors.As(err, &closed):
			return ending{int(closed.Code), closed.Reason}
		case err != nil:
			return ending{int(websocket.StatusAbnormalClosure), err.Error()}
		}
	}
}

type coderSpeaker struct{ c *websocket.Conn }

func (s coderSpeaker) write(text bool, p []byte) error {
	typ := websocket.MessageBinary
	if text {
		typ = websocket.MessageText
	}
	return s.c.Write(context.Background(), typ, p)
}

// ping: coder's Ping chooses the payload itself, and waits for a pong that the
// reader has to read.
func (s coderSpeaker) ping(p string) error {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if s.c.Ping(ctx) == nil {
			s.write(true, pong(p))
		}
	}()
	return nil
}

func (s coderSpeaker) fragments(pieces []string) error {
	w, err := s.c.Writer(context.Background(), websocket.MessageText)
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

func (s coderSpeaker) close(code int, reason string) error {
	return s.c.Close(websocket.StatusCode(code), reason)
}
