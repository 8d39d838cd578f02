package interop

import (
	"errors"
	"net/http"
	"slices"

	"golang.org/x/net/websocket"
)

// Its documentation begins with what it lacks.
var xnetPeer = &peer{
	name: "xnet",
	server: func(f *far) {
		s := websocket.Server{
			Handshake: func(c *websocket.Config, r *http.Request) error {
				if !slices.Contains(c.Protocol, subprotocol) {
					return errors.New("the subprotocol should be offered")
				}
				c.Protocol = []string{subprotocol}
				return nil
			},
			Handler: func(c *websocket.Conn) { f.end(xnetEcho(c)) },
		}
		f.serveHTTP(s.ServeHTTP)
	},
	client: func(f *far, url string) {
		f.connect = func() {
			go func() {
				c, err := xnetDial(f, url)
				if err != nil {
					f.failed("x/net's DialConfig", err)
					return
				}
				f.end(xnetEcho(c))
			}()
		}
	},
	lacks: map[string]string{
		"our-fragments":              "its Receive returns single frames",
		"our-ping-inside-a-message":  "its Receive returns single frames",
		"their-fragments":            "its Codec sends single frames",
		"deflate":                    "it has no extensions",
		"deflate-takeover":           "it has no extensions",
		"deflate-takeover-10-bits":   "it has no extensions",
		"their-ping":                 "it answers pings and sends none",
		"their-close-without-a-code": "its Close sends 1000",
	},
	closes: []ending{{1000, ""}},
}

func xnetDial(f *far, url string) (*websocket.Conn, error) {
	c, err := websocket.NewConfig(url, "http://localhost")
	if err != nil {
		return nil, err
	}
	c.Protocol = []string{subprotocol}
	c.TlsConfig = f.tlsConfig()
	return websocket.DialConfig(c)
}

// xnetEcho returns an ending without a code: io.EOF stands for all of them.
func xnetEcho(c *websocket.Conn) ending {
	defer c.Close()
	s := xnetSpeaker{c}
	for {
		var m xnetMessage
		err := xnetCodec.Receive(c, &m)
		if err == nil {
			err = obey(s, m.text, m.payload)
		}
		if err != nil {
			return ending{}
		}
	}
}

type xnetMessage struct {
	text    bool
	payload []byte
}

var xnetCodec = websocket.Codec{
	Marshal: func(v any) ([]byte, byte, error) {
		m := v.(xnetMessage)
		if m.text {
			return m.payload, websocket.TextFrame, nil
		}
		return m.payload, websocket.BinaryFrame, nil
	},
	Unmarshal: func(p []byte, typ byte, v any) error {
		*v.(*xnetMessage) = xnetMessage{typ == websocket.TextFrame, p}
		return nil
	},
}

var errXnetLacks = errors.New("golang.org/x/net/websocket does not offer this")

type xnetSpeaker struct{ c *websocket.Conn }

func (s xnetSpeaker) write(text bool, p []byte) error {
	return xnetCodec.Send(s.c, xnetMessage{text, p})
}

func (s xnetSpeaker) ping(string) error        { return errXnetLacks }
func (s xnetSpeaker) fragments([]string) error { return errXnetLacks }
func (s xnetSpeaker) close(int, string) error  { return s.c.Close() }
