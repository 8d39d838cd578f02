package websocket

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Proxies (RFC 6455 4.1 2.): "If the client is configured to use a proxy when using
// the WebSocket Protocol to connect to host /host/ and port /port/, then the client
// SHOULD connect to that proxy and ask it to open a TCP connection to the host given
// by /host/ and the port given by /port/."
//
// An http.Transport asks SOCKS proxies for everything, and HTTP proxies for https, in
// this way. But a request to an http URL it would hand to an HTTP proxy as it is,
// and the proxy would not pass on the Upgrade. So for ws the CONNECT is made here,
// where the Transport believes that it dials the server.

// A tunneller dials for the copy of an http.Transport that makes one handshake.
type tunneller struct {
	ctx   context.Context // of the handshake
	t     *http.Transport // as it was given
	proxy *url.URL        // to reach the next address that is dialled through, or nil
}

// tunnel makes t reach the hosts of ws URLs through HTTP proxies, and end its dials
// with ctx, which has the values of theirs.
func tunnel(ctx context.Context, t *http.Transport) {
	d := &tunneller{ctx: ctx, t: t.Clone()}
	t.DialContext = func(_ context.Context, network, addr string) (net.Conn, error) {
		if d.proxy != nil {
			return d.connect(d.proxy, addr)
		}
		return d.dial(network, addr)
	}
	if t.Proxy != nil {
		t.Proxy = d.choose
	}
	// For wss the Transport asks, and of a refusal would tell no more than its name.
	t.OnProxyConnectResponse = func(ctx context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
		return proxyError(proxy, req.Host, d.judge(ctx, proxy, req, resp))
	}
}

// choose is the Proxy of the Transport, which asks it before each request, and so
// before it dials. The requests of a handshake come one after the other.
func (d *tunneller) choose(req *http.Request) (*url.URL, error) {
	d.proxy = nil
	p, err := d.t.Proxy(req)
	if err != nil {
		return nil, fmt.Errorf("choosing a proxy: %w", withoutURL(err))
	}
	if p == nil {
		return nil, nil
	}
	switch p.Scheme {
	case "socks5", "socks5h":
		return p, nil
	case "http", "https":
		if req.URL.Scheme == "http" {
			d.proxy = p
			return nil, nil
		}
		return p, nil
	}
	return nil, fmt.Errorf("the proxy %s has the scheme %q, and must have http, https, socks5 or socks5h", p.Redacted(), p.Scheme)
}

// dial is what the Transport does by itself.
func (d *tunneller) dial(network, addr string) (net.Conn, error) {
	switch {
	case d.t.DialContext != nil:
		return d.t.DialContext(d.ctx, network, addr)
	//lint:ignore SA1019 deprecated, and an http.Transport honours it
	case d.t.Dial != nil:
		//lint:ignore SA1019 as above
		return d.t.Dial(network, addr)
	}
	return new(net.Dialer).DialContext(d.ctx, network, addr)
}

// connectTimeout is for how long a proxy may take to answer, as in http.Transport.
const connectTimeout = time.Minute

// connect opens a connection to addr through an HTTP proxy.
func (d *tunneller) connect(proxy *url.URL, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, connectTimeout)
	defer cancel()
	nc, err := d.dialProxy(ctx, proxy)
	if err == nil && nc == nil {
		err = errors.New("the http.Transport's function to dial with returns neither a connection nor an error")
	}
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err = d.askProxy(ctx, nc, proxy, addr)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, proxyError(proxy, addr, err)
	}
	return nc, nil
}

// proxyError tells of which proxy and of which address err is.
func proxyError(proxy *url.URL, addr string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("proxy %s: CONNECT %s: %w", proxy.Redacted(), addr, err)
}

// dialProxy opens a connection to the proxy itself.
func (d *tunneller) dialProxy(ctx context.Context, proxy *url.URL) (net.Conn, error) {
	addr := net.JoinHostPort(proxy.Hostname(), cmp.Or(proxy.Port(), defaultPort(proxy.Scheme)))
	switch {
	case proxy.Scheme != "https":
		return d.dial("tcp", addr)
	case d.t.DialTLSContext != nil:
		return d.t.DialTLSContext(ctx, "tcp", addr)
	//lint:ignore SA1019 deprecated, and an http.Transport honours it
	case d.t.DialTLS != nil:
		//lint:ignore SA1019 as above
		return d.t.DialTLS("tcp", addr)
	}
	nc, err := d.dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	config := d.t.TLSClientConfig.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.ServerName = cmp.Or(config.ServerName, proxy.Hostname())
	config.NextProtos = nil // HTTP/2, perhaps
	secured := tls.Client(nc, config)
	if d.t.TLSHandshakeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.t.TLSHandshakeTimeout)
		defer cancel()
	}
	if err := secured.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return secured, nil
}

// askProxy asks the proxy at the other end of nc to open a connection to addr
// (RFC 9110 9.3.6).
func (d *tunneller) askProxy(ctx context.Context, nc net.Conn, proxy *url.URL, addr string) error {
	header, err := d.proxyHeader(ctx, proxy, addr)
	if err != nil {
		return err
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: header}
	if err := req.Write(nc); err != nil {
		return err
	}
	limit := d.t.MaxResponseHeaderBytes
	if limit <= 0 {
		limit = maxProxyHeader
	}
	br := bufio.NewReader(io.LimitReader(nc, limit))
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return err
	}
	err = d.judge(ctx, proxy, req, resp)
	if err == nil && br.Buffered() > 0 {
		err = errors.New("bytes follow its answer before anything was sent through it")
	}
	return err
}

// judge returns an error for an answer by which a proxy refuses.
func (d *tunneller) judge(ctx context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
	if d.t.OnProxyConnectResponse != nil {
		if err := d.t.OnProxyConnectResponse(ctx, proxy, req, resp); err != nil {
			return err
		}
	}
	if resp.StatusCode/100 != 2 { // 9.3.6: "Any 2xx (Successful) response indicates" success
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// maxProxyHeader is the largest answer of a proxy, unless the Transport has a limit.
const maxProxyHeader = 1 << 20

func (d *tunneller) proxyHeader(ctx context.Context, proxy *url.URL, addr string) (header http.Header, err error) {
	header = d.t.ProxyConnectHeader
	if d.t.GetProxyConnectHeader != nil {
		if header, err = d.t.GetProxyConnectHeader(ctx, proxy, addr); err != nil {
			return nil, err
		}
	}
	if header = header.Clone(); header == nil {
		header = make(http.Header)
	}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	return header, nil
}
