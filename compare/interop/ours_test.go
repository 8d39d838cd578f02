package interop

import (
	"context"
	"errors"
	"net/http"

	"example.com/websocket"
)

// ourEcho is the library in the role of a peer, for what stands between two ends.
func ourEcho(c *websocket.Conn) ending {
	defer c.Close()
	s := ourSpeaker{c}
	for {
		typ, p, err := c.ReadMessage(context.Background())
		if err == nil {
			err = obey(s, typ == websocket.MessageText, p)
		}
		var closed *websocket.CloseError
		switch {
		case errors.As(err, &closed):
			return ending{int(closed.Code), closed.Reason}
		case err != nil:
			return ending{int(websocket.StatusAbnormalClosure), err.Error()}
		}
	}
}

type ourSpeaker struct{ c *websocket.Conn }

func (s ourSpeaker) write(text bool, p []byte) error {
	typ := websocket.MessageBinary
	if text {
		typ = websocket.MessageText
	}
	return s.c.WriteMessage(context.Background(), typ, p)
}

// ping: the pong has to be read meanwhile.
func (s ourSpeaker) ping(p string) error {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := s.c.Ping(ctx); err == nil {
			s.write(true, pong(p))
		}
	}()
	return nil
}

func (s ourSpeaker) fragments(pieces []string) error {
	w, err := s.c.NextWriter(context.Background(), websocket.MessageText)
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

func (s ourSpeaker) close(code int, reason string) error {
	return s.c.Shutdown(context.Background(), websocket.StatusCode(code), reason)
}

// serveOurs starts our echo server behind a proxy, and connectOurs our echo client
// before one.
func (f *far) serveOurs(p proxy) {
	behind := &far{t: f.t, ended: f.ended}
	behind.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, f.wire.options())
		if err != nil {
			f.failed("Accept behind the proxy", err)
			return
		}
		f.end(ourEcho(c))
	})
	f.url = p.start(f.t, route{backend: behind.url, tls: f.wire.tls})
}

func (f *far) connectOurs(p proxy, url string) {
	before := p.start(f.t, route{backend: url})
	f.connect = func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			c, _, err := websocket.Dial(ctx, before, f.wire.clientOptions())
			if err != nil {
				f.failed("Dial before the proxy", err)
				return
			}
			f.end(ourEcho(c))
		}()
	}
}
