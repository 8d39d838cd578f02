package interop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

var gobwasPeer = &peer{
	name: "gobwas",
	server: func(f *far) {
		f.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			u := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == subprotocol }}
			e := wsflate.Extension{Parameters: gobwasParameters}
			if f.wire.deflate != nil {
				u.Negotiate = e.Negotiate
			}
			nc, rw, _, err := u.Upgrade(r, w)
			if err != nil {
				f.failed("gobwas's Upgrade", err)
				return
			}
			_, deflated := e.Accepted()
			f.end(gobwasSpeaker{nc, ws.StateServerSide, deflated}.echo(rw.Reader))
		})
	},
	client: func(f *far, url string) {
		d := ws.Dialer{Protocols: []string{subprotocol}, TLSConfig: f.tlsConfig()}
		if f.wire.deflate != nil {
			d.Extensions = append(d.Extensions, gobwasParameters.Option())
		}
		f.connect = func() {
			go func() {
				nc, br, handshake, err := d.Dial(context.Background(), url)
				if err != nil {
					f.failed("gobwas's Dial", err)
					return
				}
				var r io.Reader = nc
				if br != nil { // the server has sent frames right behind the handshake
					r = br
				}
				f.end(gobwasSpeaker{nc, ws.StateClientSide, len(handshake.Extensions) > 0}.echo(r))
			}()
		}
	},
	lacks: map[string]string{
		"deflate-takeover":         "its helpers begin anew with each message",
		"deflate-takeover-10-bits": "its helpers begin anew with each message",
	},
}

var gobwasParameters = wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}

func (s gobwasSpeaker) echo(r io.Reader) ending {
	defer s.nc.Close()
	for {
		text, p, err := s.read(r)
		if err == nil {
			err = obey(s, text, p)
		}
		var closed wsutil.ClosedError
		switch {
		case errors.As(err, &closed):
			return ending{int(closed.Code), closed.Reason}
		case err != nil:
			return ending{int(ws.StatusAbnormalClosure), err.Error()}
		}
	}
}

type gobwasSpeaker struct {
	nc       net.Conn
	state    ws.State
	deflated bool
}

// read returns the next message, and answers control frames before and inside it.
func (s gobwasSpeaker) read(from io.Reader) (text bool, p []byte, err error) {
	var message wsflate.MessageState
	r := &wsutil.Reader{Source: from, State: s.state, CheckUTF8: !s.deflated, OnIntermediate: s.control}
	if s.deflated {
		r.State |= ws.StateExtended
		r.Extensions = append(r.Extensions, &message)
	}
	for {
		h, err := r.NextFrame()
		if err != nil {
			return false, nil, err
		}
		if !h.OpCode.IsControl() {
			p, err := io.ReadAll(r)
			if err == nil && message.IsCompressed() {
				p, err = wsflate.DefaultHelper.Decompress(p)
			}
			return h.OpCode == ws.OpText, p, err
		}
		if err := s.control(h, r); err != nil {
			return false, nil, err
		}
	}
}

func (s gobwasSpeaker) control(h ws.Header, r io.Reader) error {
	if h.OpCode != ws.OpPong {
		return wsutil.ControlFrameHandler(s.nc, s.state)(h, r)
	}
	p := make([]byte, h.Length)
	if _, err := io.ReadFull(r, p); err != nil {
		return err
	}
	return s.write(true, pong(string(p)))
}

func (s gobwasSpeaker) write(text bool, p []byte) error {
	op := ws.OpBinary
	if text {
		op = ws.OpText
	}
	if !s.deflated {
		return wsutil.WriteMessage(s.nc, s.state, op, p)
	}
	f, err := wsflate.CompressFrame(ws.NewFrame(op, true, p))
	if err != nil {
		return err
	}
	if s.state.ClientSide() {
		f = ws.MaskFrameInPlace(f)
	}
	return ws.WriteFrame(s.nc, f)
}

func (s gobwasSpeaker) ping(p string) error {
	return wsutil.WriteMessage(s.nc, s.state, ws.OpPing, []byte(p))
}

func (s gobwasSpeaker) fragments(pieces []string) error {
	w := wsutil.NewWriterSize(s.nc, s.state, ws.OpText, 1<<20)
	for _, p := range pieces[:len(pieces)-1] {
		if _, err := w.Write([]byte(p)); err != nil {
			return err
		}
		if err := w.FlushFragment(); err != nil {
			return err
		}
	}
	if _, err := w.Write([]byte(pieces[len(pieces)-1])); err != nil {
		return err
	}
	return w.Flush()
}

func (s gobwasSpeaker) close(code int, reason string) error {
	var body []byte
	if code != int(ws.StatusNoStatusRcvd) {
		body = ws.NewCloseFrameBody(ws.StatusCode(code), reason)
	}
	return wsutil.WriteMessage(s.nc, s.state, ws.OpClose, body)
}
