package main

import (
	"net"
	"net/http"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	nbio "github.com/lesismal/nbio/nbhttp/websocket"
)

// serveNbio serves with the event loop, which is the default.
func serveNbio(s setting) error { return runNbio(s, nbhttp.IOModNonBlocking) }

// serveNbioBlocking serves with a goroutine a connection, which "runs faster than
// std" according to its README.
func serveNbioBlocking(s setting) error { return runNbio(s, nbhttp.IOModBlocking) }

func runNbio(s setting, mode int) error {
	logging.SetLevel(logging.LevelNone)
	up := nbio.NewUpgrader()
	up.KeepaliveTime = 0
	up.BlockingModAsyncWrite = s.cfg.Job == "broadcast" // so that no member holds up the others
	up.EnableCompression(s.cfg.Deflate)
	up.BlockingModReadBufferSize = s.readBuffer(up.BlockingModReadBufferSize)
	var room room[*nbio.Conn]
	up.OnOpen(func(c *nbio.Conn) {
		c.EnableWriteCompression(s.cfg.Deflate)
		send := func(p []byte) error { return c.WriteMessage(nbio.BinaryMessage, p) }
		c.SetSession(s.receiver(send, func() func([]byte) {
			room.add(c)
			return func(p []byte) {
				room.each(func(c *nbio.Conn) { c.WriteMessage(nbio.BinaryMessage, p) })
			}
		}))
	})
	up.OnMessage(func(c *nbio.Conn, typ nbio.MessageType, p []byte) {
		if s.cfg.Job == "" {
			c.WriteMessage(typ, p)
		} else {
			c.SessionWithLock().(func([]byte) error)(p)
		}
	})
	address := []nbhttp.ConfAddr{{Network: "tcp", Addr: s.ln.Addr().String()}}
	cfg := nbhttp.Config{
		AddrConfigs:             address,
		Listen:                  func(string, string) (net.Listener, error) { return s.ln, nil },
		MaxLoad:                 1 << 20,
		ReleaseWebsocketPayload: true,
		IOMod:                   mode,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			up.Upgrade(w, r, nil)
		}),
	}
	if s.certificate != nil {
		pair, err := tls.X509KeyPair(s.certificate.certificate, s.certificate.key)
		if err != nil {
			return err
		}
		cfg.AddrConfigs, cfg.AddrConfigsTLS = nil, address
		cfg.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	engine := nbhttp.NewEngine(cfg)
	up.Engine = engine
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}
