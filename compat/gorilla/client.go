package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"example.com/websocket"
)

// ErrBadHandshake is returned by a Dialer when the server has answered, and not by
// opening a connection. The response tells more.
var ErrBadHandshake = errors.New("websocket: bad handshake")

// DefaultDialer is a Dialer with the proxy of the environment, and 45 s for the
// handshake.
var DefaultDialer = &Dialer{
	Proxy:            http.ProxyFromEnvironment,
	HandshakeTimeout: 45 * time.Second,
}

// A Dialer opens connections. Its methods may be called by any number of goroutines.
type Dialer struct {
	// What opens the connections to servers and to proxies: NetDialContext, or else
	// NetDial, or else a net.Dialer. For wss without a proxy NetDialTLSContext comes
	// first, which makes TLS itself.
	NetDial           func(network, addr string) (net.Conn, error)
	NetDialContext    func(ctx context.Context, network, addr string) (net.Conn, error)
	NetDialTLSContext func(ctx context.Context, network, addr string) (net.Conn, error)

	Proxy            func(*http.Request) (*url.URL, error) // HTTP, HTTPS or SOCKS5; nil: none
	TLSClientConfig  *tls.Config
	HandshakeTimeout time.Duration // 0: none but that of the context

	ReadBufferSize, WriteBufferSize int        // without effect: idle connections hold no buffers
	WriteBufferPool                 BufferPool // without effect

	Subprotocols      []string       // offered, in order of preference
	EnableCompression bool           // offers permessage-deflate (RFC 7692), each message by itself
	Jar               http.CookieJar // nil: no cookies
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	return d.DialContext(context.Background(), urlStr, requestHeader)
}

// DialContext opens a connection to a ws or wss URL, for as long as ctx lasts, which does
// not concern it once it is open. The requestHeader has further fields for the handshake,
// such as Origin and Cookie; its Sec-WebSocket-Protocol are the subprotocols if the
// Dialer has none, its Host the server's name if that is not the URL's. Redirects are not
// followed. After ErrBadHandshake the response is that of the server, with the first KiB
// of its body, which need not be closed. A nil Dialer is the DefaultDialer.
func (d *Dialer) DialContext(ctx context.Context, urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	if d == nil {
		d = DefaultDialer
	}
	if d.HandshakeTimeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.HandshakeTimeout)
		defer cancel()
	}
	opts := newOptions(d.EnableCompression)
	opts.Header, opts.Subprotocols = splitProtocols(requestHeader, d.Subprotocols)
	opts.HTTPClient = &http.Client{
		Transport:     d.transport(),
		Jar:           d.Jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ws, resp, err := websocket.Dial(ctx, urlStr, opts)
	if refusal := (*websocket.HandshakeError)(nil); errors.As(err, &refusal) {
		return nil, resp, ErrBadHandshake
	}
	if network := net.Error(nil); errors.As(err, &network) { // programs look for it by an assertion
		return nil, resp, network
	}
	if err != nil {
		return nil, resp, err
	}
	return &Conn{ws: ws, deflate: d.EnableCompression}, resp, nil
}

func (d *Dialer) transport() *http.Transport {
	t := &http.Transport{
		Proxy:           d.Proxy,
		DialContext:     d.NetDialContext,
		DialTLSContext:  d.NetDialTLSContext,
		TLSClientConfig: d.TLSClientConfig,
	}
	if t.DialContext == nil && d.NetDial != nil {
		t.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) { return d.NetDial(network, addr) }
	}
	return t
}

// NewClient makes the client's handshake over netConn, which is connected to the server
// at u; for wss it makes TLS as well.
//
// Deprecated: use a Dialer.
func NewClient(netConn net.Conn, u *url.URL, requestHeader http.Header, readBufSize, writeBufSize int) (c *Conn, response *http.Response, err error) {
	d := Dialer{NetDial: func(string, string) (net.Conn, error) { return netConn, nil }}
	return d.Dial(u.String(), requestHeader)
}
