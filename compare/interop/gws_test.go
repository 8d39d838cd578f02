package interop

import (
	"errors"
	"net/http"
	"strings"

	"github.com/lxzan/gws"
)

var gwsPeer = &peer{
	name: "gws",
	server: func(f *far) {
		u := gws.NewUpgrader(gwsEcho{f: f}, &gws.ServerOption{
			SubProtocols:      []string{subprotocol},
			PermessageDeflate: gwsCompression(f.wire.deflate),
		})
		f.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r)
			if err != nil {
				f.failed("gws's Upgrade", err)
				return
			}
			go c.ReadLoop()
		})
	},
	client: func(f *far, url string) {
		f.connect = func() {
			go func() {
				c, _, err := gws.NewClient(gwsEcho{f: f}, &gws.ClientOption{
					Addr:              url,
					TlsConfig:         f.tlsConfig(),
					PermessageDeflate: gwsCompression(f.wire.deflate),
					RequestHeader:     http.Header{"Sec-WebSocket-Protocol": {subprotocol}},
				})
				if err != nil {
					f.failed("gws's NewClient", err)
					return
				}
				c.ReadLoop()
			}()
		}
	},
	lacks: map[string]string{"their-close-without-a-code": "its WriteClose takes a code"},
}

func gwsCompression(d *deflate) gws.PermessageDeflate {
	if d == nil {
		return gws.PermessageDeflate{}
	}
	return gws.PermessageDeflate{
		Enabled:               true,
		Threshold:             1,
		ServerContextTakeover: d.takeover,
		ClientContextTakeover: d.takeover,
		ServerMaxWindowBits:   d.windowBits,
		ClientMaxWindowBits:   d.windowBits,
	}
}

// A gwsEcho takes the events of connections.
type gwsEcho struct {
	gws.BuiltinEventHandler
	f *far
}

func (e gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	obey(gwsSpeaker{c}, m.Opcode == gws.OpcodeText, m.Bytes())
}

func (e gwsEcho) OnPing(c *gws.Conn, p []byte) { c.WritePong(p) }

func (e gwsEcho) OnPong(c *gws.Conn, p []byte) { gwsSpeaker{c}.write(true, pong(string(p))) }

func (e gwsEcho) OnClose(c *gws.Conn, err error) {
	var closed *gws.CloseError
	if errors.As(err, &closed) {
		e.f.end(ending{int(closed.Code), string(closed.Reason)})
		return
	}
	e.f.end(ending{1006, err.Error()})
}

type gwsSpeaker struct{ c *gws.Conn }

func (s gwsSpeaker) write(text bool, p []byte) error {
	if text {
		return s.c.WriteMessage(gws.OpcodeText, p)
	}
	return s.c.WriteMessage(gws.OpcodeBinary, p)
}

func (s gwsSpeaker) ping(p string) error { return s.c.WritePing([]byte(p)) }

// fragments: WriteFile cuts by itself what it is given.
func (s gwsSpeaker) fragments(pieces []string) error {
	return s.c.WriteFile(gws.OpcodeText, strings.NewReader(strings.Join(pieces, "")))
}

func (s gwsSpeaker) close(code int, reason string) error {
	return s.c.WriteClose(uint16(code), []byte(reason))
}
