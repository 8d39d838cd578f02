package websocket

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
)

// A Config says how to reach a server, or what a request has said to one.
type Config struct {
	Location *url.URL // of the server, with the scheme ws or wss
	Origin   *url.URL // of the client
	Protocol []string // subprotocols; a server's Handshake leaves at most one
	Version  int      // ProtocolVersionHybi13

	TlsConfig *tls.Config // for wss; a client's
	Header    http.Header // further fields of the handshake
	Dialer    *net.Dialer // a client's; nil stands for the zero Dialer
}

// NewConfig returns a Config of a client, with the URLs of the server and of its own
// origin. An error is that of [url.ParseRequestURI].
func NewConfig(server, origin string) (config *Config, err error) {
	config = &Config{Version: ProtocolVersionHybi13, Header: make(http.Header)}
	if config.Location, err = url.ParseRequestURI(server); err != nil {
		return config, err
	}
	config.Origin, err = url.ParseRequestURI(origin)
	return config, err
}

// A ProtocolError is a fault of a handshake or of an argument.
type ProtocolError struct {
	ErrorString string // what it is
}

// Error returns err.ErrorString.
func (err *ProtocolError) Error() string { return err.ErrorString }

// What a DialError wraps, and what the codecs return.
var (
	ErrBadProtocolVersion    = &ProtocolError{"bad protocol version"}
	ErrBadScheme             = &ProtocolError{"bad scheme"}
	ErrBadStatus             = &ProtocolError{"bad status"}
	ErrBadUpgrade            = &ProtocolError{"missing or bad upgrade"}
	ErrBadWebSocketOrigin    = &ProtocolError{"missing or bad WebSocket-Origin"}
	ErrBadWebSocketLocation  = &ProtocolError{"missing or bad WebSocket-Location"}
	ErrBadWebSocketProtocol  = &ProtocolError{"missing or bad WebSocket-Protocol"}
	ErrChallengeResponse     = &ProtocolError{"mismatch challenge/response"}
	ErrUnsupportedExtensions = &ProtocolError{"unsupported extensions"}
	ErrNotSupported          = &ProtocolError{"not supported"}
)

// What x/net has and this package never returns: a connection that breaks the
// protocol ends with an error of package example.com/websocket, and a request that
// is no handshake gets its answer in HTTP.
var (
	ErrBadMaskingKey       = &ProtocolError{"bad masking key"}
	ErrBadPongMessage      = &ProtocolError{"bad pong message"}
	ErrBadClosingStatus    = &ProtocolError{"bad closing status"}
	ErrNotImplemented      = &ProtocolError{"not implemented"}
	ErrBadWebSocketVersion = &ProtocolError{"missing or bad WebSocket Version"}
	ErrBadFrame            = &ProtocolError{"bad frame"}
	ErrBadFrameBoundary    = &ProtocolError{"not on frame boundary"}
	ErrNotWebSocket        = &ProtocolError{"not websocket protocol"}
	ErrBadRequestMethod    = &ProtocolError{"bad method"}
)
