package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"example.com/websocket"
)

// A DialError tells why a connection could not be opened.
type DialError struct {
	*Config
	Err error // what went wrong: ErrBadStatus, for one, or an error of the network
}

// Error does not show a password of the Location.
func (e *DialError) Error() string {
	location := "(no location)"
	if e.Config != nil && e.Location != nil {
		location = e.Location.Redacted()
	}
	return "websocket.Dial " + location + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *DialError) Unwrap() error { return e.Err }

// Dial opens a connection to a server by its URL, with one subprotocol, or none if
// that is "", as a page of an origin. Its errors are those of NewConfig and DialConfig.
func Dial(url_, protocol, origin string) (ws *Conn, err error) {
	config, err := NewConfig(url_, origin)
	if err != nil {
		return nil, err
	}
	if protocol != "" {
		config.Protocol = []string{protocol}
	}
	return DialConfig(config)
}

// DialConfig opens a connection by a Config. Its errors are *DialErrors.
func DialConfig(config *Config) (ws *Conn, err error) {
	return config.DialContext(context.Background())
}

// DialContext is DialConfig for as long as ctx lasts, which does not concern the
// connection once it is open.
func (config *Config) DialContext(ctx context.Context) (*Conn, error) {
	dialer := config.Dialer
	if dialer == nil {
		dialer = new(net.Dialer)
	}
	ws, err := config.open(ctx, &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: config.TlsConfig})
	if err != nil {
		return nil, &DialError{config, err}
	}
	return ws, nil
}

// NewClient makes the client's handshake over rwc, which is connected to the server
// of config already, through TLS if that is wss. The connection owns rwc from now on; after
// an error it is closed.
func NewClient(config *Config, rwc io.ReadWriteCloser) (ws *Conn, err error) {
	nc, ok := rwc.(net.Conn)
	if !ok {
		nc = adapt(rwc)
	}
	connected := func(context.Context, string, string) (net.Conn, error) { return nc, nil }
	return config.open(context.Background(), &http.Transport{DialContext: connected, DialTLSContext: connected})
}

// adapt makes a net.Conn, which has deadlines, of what has none.
func adapt(rwc io.ReadWriteCloser) net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		io.Copy(theirs, rwc)
		theirs.Close()
	}()
	go func() {
		io.Copy(rwc, theirs)
		rwc.Close()
		theirs.Close()
	}()
	return ours
}

// open makes the client's handshake.
func (config *Config) open(ctx context.Context, transport *http.Transport) (*Conn, error) {
	switch {
	case config.Location == nil:
		return nil, ErrBadWebSocketLocation
	case config.Location.Scheme != "ws" && config.Location.Scheme != "wss":
		return nil, ErrBadScheme
	case config.Origin == nil:
		return nil, ErrBadWebSocketOrigin
	case config.Version != ProtocolVersionHybi13:
		return nil, ErrBadProtocolVersion
	}
	opts := newOptions()
	opts.Subprotocols = config.Protocol
	opts.Header = without(config.Header, "Origin")
	opts.Header.Set("Origin", serializeOrigin(config.Origin))
	opts.HTTPClient = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ws, resp, err := websocket.Dial(ctx, config.Location.String(), opts)
	if err != nil {
		return nil, dialError(err, resp)
	}
	if p := ws.Subprotocol(); p != "" {
		config.Protocol = []string{p}
	}
	return newConn(config, nil, ws), nil
}

// serializeOrigin writes an origin as RFC 6454 6.2 has it, without the path that a URL
// may have.
func serializeOrigin(u *url.URL) string {
	if u.Host == "" {
		return strings.ToLower(u.String())
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// dialError returns the error of the network, or that of x/net for what a server has
// answered.
func dialError(err error, resp *http.Response) error {
	if network := net.Error(nil); errors.As(err, &network) { // programs look for it by an assertion
		return network
	}
	if refusal := (*websocket.HandshakeError)(nil); !errors.As(err, &refusal) || resp == nil {
		return err
	}
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return ErrBadStatus
	case !websocket.IsUpgrade(&http.Request{Header: resp.Header}):
		return ErrBadUpgrade
	//lint:ignore SA1008 the request has it in the spelling of the RFC
	case resp.Header.Get("Sec-WebSocket-Accept") != websocket.AcceptKey(strings.Join(resp.Request.Header["Sec-WebSocket-Key"], "")):
		return ErrChallengeResponse
	case len(resp.Header["Sec-Websocket-Extensions"]) > 0:
		return ErrUnsupportedExtensions
	}
	return ErrBadWebSocketProtocol
}

// handshakeFields are those that the handshake writes itself, and in x/net a Config's
// Header may have without effect.
var handshakeFields = []string{
	"Host", "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Origin", "Sec-Websocket-Version",
	"Sec-Websocket-Protocol", "Sec-Websocket-Accept", "Sec-Websocket-Extensions",
}

// without returns a copy of h less these fields and those of the handshake.
func without(h http.Header, fields ...string) http.Header {
	h = h.Clone()
	if h == nil {
		h = make(http.Header)
	}
	for _, name := range append(fields, handshakeFields...) {
		h.Del(name)
	}
	return h
}
