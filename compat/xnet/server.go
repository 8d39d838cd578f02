package websocket

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"example.com/websocket"
)

// A Handler is a function that serves a connection, and an [http.Handler]. It takes
// pages of every origin, as long as the request has an Origin that is a URL: look at
// Conn.Config().Origin, or use a [Server] with a Handshake of its own, which may also
// let clients without an Origin connect. When the function returns, the connection
// is closed.
type Handler func(*Conn)

// ServeHTTP serves a request, and returns when the function has.
func (h Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	Server{Handler: h, Handshake: checkOrigin}.ServeHTTP(w, req)
}

// checkOrigin is the Handshake of a Handler.
func checkOrigin(config *Config, req *http.Request) (err error) {
	if config.Origin == nil {
		return errors.New("null origin")
	}
	return nil
}

// A Server is a Handler with a configuration.
type Server struct {
	Config // Header goes into the answer; the other fields play no part

	// Handshake decides whether a request may become a connection, unless it is nil:
	// after an error that is answered with 403. It is given the connection's own
	// Config, and chooses a subprotocol by leaving only that one in Protocol.
	Handshake func(*Config, *http.Request) error

	Handler
}

// ServeHTTP serves a request, and returns when the Handler has.
func (s Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	config := s.Config
	config.Header = s.Config.Header.Clone()
	config.Version = ProtocolVersionHybi13
	config.Location = location(req)
	config.Protocol = websocket.Subprotocols(req)
	config.Origin, _ = Origin(&config, req)
	if websocket.IsUpgrade(req) && s.Handshake != nil {
		if err := s.Handshake(&config, req); err != nil {
			http.Error(w, "the server's Handshake refuses this request", http.StatusForbidden)
			return
		}
	}
	if len(config.Protocol) > 1 {
		http.Error(w, "the server has not chosen one of the subprotocols", http.StatusBadRequest)
		return
	}
	opts := newOptions()
	opts.CheckOrigin = websocket.AnyOrigin // the Handshake has checked it, or nobody wants to
	opts.Subprotocols = config.Protocol
	opts.Header = without(config.Header)
	ws, err := websocket.Accept(w, req, opts)
	if err != nil {
		return
	}
	if ws.Subprotocol() == "" {
		config.Protocol = nil
	}
	serve(s.Handler, newConn(&config, req, ws))
}

// serve runs the handler and closes the connection.
func serve(h Handler, ws *Conn) {
	code := websocket.StatusInternalError
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		ws.ws.Shutdown(ctx, code, "")
		ws.SetDeadline(time.Time{})
	}()
	h(ws)
	code = websocket.StatusNormalClosure
}

// closeTimeout is for how long the closing handshake may take after a handler.
const closeTimeout = 5 * time.Second

// location returns the URL that the client has asked for.
func location(req *http.Request) *url.URL {
	u := *req.URL
	u.Scheme, u.Host = "ws", req.Host
	if req.TLS != nil {
		u.Scheme = "wss"
	}
	return &u
}

// Origin returns the URL in the Origin field of a request, and nil if there is none. An
// error is that of [url.ParseRequestURI]. The browser vouches for it, and nobody else
// does (RFC 6455 10.2).
func Origin(config *Config, req *http.Request) (*url.URL, error) {
	origin := req.Header.Get("Origin")
	if origin == "" || config.Version != ProtocolVersionHybi13 {
		return nil, nil
	}
	return url.ParseRequestURI(origin)
}
