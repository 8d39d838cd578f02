package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Dial opens a WebSocket connection to a URL with the scheme ws or wss (RFC 6455
// section 3; http and https mean the same): the client's side of the opening
// handshake (4.1). A user and a password in the URL are sent as Authorization.
//
// The handshake is a request of Options.HTTPClient, with what that brings along:
// TLS, proxies, cookies, redirects. It takes until ctx ends at the most, or until
// the client's Timeout; neither concerns the connection. Redirects never lead
// from wss to ws, and to another host Options.Header does not follow them. The
// client's Transport must be an [*http.Transport] or be made of one, since the
// connection is taken out of it.
//
// A proxy, which by default the environment names (see [http.ProxyFromEnvironment]),
// is asked for a connection to the server, for ws as for wss: an HTTP or HTTPS proxy
// by CONNECT, with what the http.Transport has set for that, or a SOCKS5 proxy. For ws
// through an HTTP proxy the Transport must be an http.Transport itself: of one that
// is hidden in another RoundTripper the proxy gets an ordinary request, and refuses it.
// No error shows the password of a proxy.
//
// The response is that of the server, also if its answer is the error: then that
// is a [*HandshakeError], and the response's Body holds the first KiB. Otherwise
// the Body is http.NoBody. The response is nil if none has come.
func Dial(ctx context.Context, rawURL string, opts *Options) (*Conn, *http.Response, error) {
	if opts == nil {
		opts = new(Options)
	}
	u, err := parseURL(rawURL)
	if err := errors.Join(err, opts.checkHandshake(client)); err != nil {
		return nil, nil, err
	}
	d := newDialer(u, opts)
	ctx, cancel := d.handshakeContext(ctx)
	defer cancel()
	resp, err := d.request(ctx, u)
	if err != nil {
		return nil, resp, err
	}
	agreed, err := d.verify(resp)
	if err != nil {
		return nil, resp, err
	}
	nc, buffered, err := d.takeConn(resp)
	if err != nil {
		return nil, resp, err
	}
	return openConn(nc, newTransport(nc), client, opts, agreed, buffered), resp, nil
}

// parseURL returns the http or https URL that stands for a ws or wss one. Its
// errors do not show the URL, which may have a password in it.
func parseURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("websocket: malformed URL: %w", withoutURL(err))
	}
	if strings.HasSuffix(rawURL, "#") {
		return nil, errFragment
	}
	return u, toHTTP(u)
}

// Section 3: "Fragment identifiers are meaningless in the context of WebSocket
// URIs and MUST NOT be used on these URIs."
var errFragment = errors.New("websocket: the URL has a fragment (#...), which a WebSocket URL cannot have (RFC 6455 3)")

// toHTTP gives u the scheme by which net/http knows it.
func toHTTP(u *url.URL) error {
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return fmt.Errorf(`websocket: the URL's scheme is %q, and must be ws or wss, as in "ws://localhost:1234/"`, u.Scheme)
	}
	switch {
	case u.Hostname() == "":
		return fmt.Errorf(`websocket: the URL has no host, as in "ws://localhost:1234/"`)
	case u.Fragment != "":
		return errFragment
	}
	return nil
}

// withoutURL takes off what net/url and http.Client put around an error: a method
// and a URL that are not those that our caller has used.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// explained adds to an error what net/http leaves to be guessed.
func explained(err error) error {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the connection was closed without an answer: %w", err)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w; whom else to trust is for the TLS configuration of Options.HTTPClient to say (RootCAs)", err)
	}
	return err
}

// A dialer makes one handshake, which may take several requests.
type dialer struct {
	opts   *Options
	client *http.Client // of the options or the default, as it is
	target string       // the URL, for messages

	key  string                   // of the last request
	conn atomic.Pointer[net.Conn] // that the last request went out on
}

func newDialer(u *url.URL, opts *Options) *dialer {
	d := &dialer{opts: opts, client: opts.HTTPClient, target: u.Redacted()}
	d.target = "ws" + strings.TrimPrefix(d.target, "http")
	if d.client == nil {
		d.client = http.DefaultClient
	}
	return d
}

// handshakeContext returns the context of the requests. The client's Timeout is
// made a part of it, since left to the client it would end the connection too.
func (d *dialer) handshakeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { d.conn.Store(&info.Conn) },
	})
	if t := d.client.Timeout; t > 0 {
		return context.WithTimeoutCause(ctx, t, fmt.Errorf("the Timeout of Options.HTTPClient, %v, is over: %w", t, context.DeadlineExceeded))
	}
	return ctx, func() {}
}

// request sends the handshake and follows redirects. A response that it returns
// with an error is one that leads nowhere.
func (d *dialer) request(ctx context.Context, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("websocket: %w", withoutURL(err))
	}
	req.Header = d.header()
	if host := d.opts.Header.Get("Host"); host != "" {
		req.Host = host
	}
	c := *d.client
	c.Timeout = 0
	c.Transport = handshakeTransport(ctx, c.Transport)
	c.CheckRedirect = d.redirect
	resp, err := c.Do(req)
	switch {
	case err == nil:
		return resp, nil
	case resp == nil:
		return nil, fmt.Errorf("websocket: dial %s: %w", d.target, explained(withoutURL(err)))
	}
	resp.Body = http.NoBody // the client has closed it
	return resp, d.fail(resp, "the redirect cannot be followed", withoutURL(err))
}

// header returns the fields of the request (4.1), spelled as in the RFC. Host is
// net/http's to write.
func (d *dialer) header() http.Header {
	h := d.opts.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h["Upgrade"] = []string{"websocket"}
	h["Connection"] = []string{"Upgrade"}
	h["Sec-WebSocket-Version"] = []string{"13"}
	if list := d.opts.Subprotocols; len(list) > 0 {
		h["Sec-WebSocket-Protocol"] = []string{strings.Join(list, ", ")}
	}
	if offer := d.opts.Compression.offer(); offer != nil {
		h["Sec-WebSocket-Extensions"] = []string{offer.extension().String()}
	}
	d.setKey(h)
	return h
}

func (d *dialer) setKey(h http.Header) {
	d.key = newKey()
	h["Sec-WebSocket-Key"] = []string{d.key}
}

// handshakeTransport returns what makes the requests of one handshake. Of an
// http.Transport it makes a copy that speaks HTTP/1.1 only, since there is no
// Upgrade in HTTP/2 (RFC 9113 8.6), and that keeps no connection after a refusal,
// which a proxy on the way may have taken for an agreement. See tunnel for proxies.
//
// Another RoundTripper is used as it is. http.Transport, if it is made of that,
// finds by itself that a request with this Upgrade needs HTTP/1.1.
func handshakeTransport(ctx context.Context, rt http.RoundTripper) http.RoundTripper {
	if rt == nil {
		rt = http.DefaultTransport
	}
	t, ok := rt.(*http.Transport)
	if !ok {
		return rt
	}
	t = t.Clone()
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	tunnel(ctx, t)
	return t
}

// redirect is the CheckRedirect of the handshake: http.Client has made req to
// follow via, and asks whether it may.
func (d *dialer) redirect(req *http.Request, via []*http.Request) error {
	if err := toHTTP(req.URL); err != nil {
		return err
	}
	// 10.6: what began with the confidentiality of TLS must not go on without it.
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http" {
		return fmt.Errorf("websocket: %s is not encrypted, and a redirect never leads from wss to ws", req.URL.Redacted())
	}
	d.setKey(req.Header)
	d.guardHeader(req, via)
	if d.client.CheckRedirect != nil {
		return d.client.CheckRedirect(req, via)
	}
	if len(via) >= 10 {
		return errors.New("websocket: stopped after 10 redirects")
	}
	return nil
}

// guardHeader keeps Options.Header from every host but the first, and does not
// come back to it. Any field may be a credential, not only those that http.Client
// knows. Nor is the URL that was left told, as Referer: its query may be one too.
func (d *dialer) guardHeader(req *http.Request, via []*http.Request) {
	first := via[0].URL
	foreign := func(r *http.Request) bool { return !sameHost(first, r.URL) }
	if foreign(req) || slices.ContainsFunc(via, foreign) {
		for name := range d.opts.Header {
			delete(req.Header, name)
		}
	}
	if len(d.opts.Header["Referer"]) == 0 {
		delete(req.Header, "Referer")
	}
}

// sameHost reports whether a and b are on the same host and port. The default
// ports of http and https count as the same, for the step from ws to wss.
func sameHost(a, b *url.URL) bool {
	oa, ob := newOrigin(a.Scheme, a), newOrigin(b.Scheme, b)
	bothDefault := oa.port == defaultPort(oa.scheme) && ob.port == defaultPort(ob.scheme)
	return oa.host == ob.host && (oa.port == ob.port || bothDefault)
}

// verify judges the server's answer. After an error nothing of the connection is
// left.
func (d *dialer) verify(resp *http.Response) (agreed agreement, err error) {
	// 4.1 "1. If the status code received from the server is not 101, the client
	// handles the response per HTTP procedures."
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return agreed, d.refused(resp)
	}
	// RFC 9110 15.2: "Since HTTP/1.0 did not define any 1xx status codes, a server
	// MUST NOT send a 1xx response to an HTTP/1.0 client", nor then in HTTP/1.0.
	if !resp.ProtoAtLeast(1, 1) {
		err = fmt.Errorf("it is in %s, which has no Upgrade", resp.Proto)
	} else {
		agreed, err = checkResponse(resp.Header, d.key, d.opts.Subprotocols, d.opts.Compression.offer())
	}
	if err != nil {
		resp.Body.Close() // which is the connection
		resp.Body = http.NoBody
		return agreed, d.fail(resp, "the answer is not that of a WebSocket server: "+err.Error(), nil)
	}
	return agreed, nil
}

// maxErrorBody is how much is kept of the body of a response that is an error.
const maxErrorBody = 1 << 10

// refused reads what an HTTP response says.
func (d *dialer) refused(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	reason := "the server did not switch to WebSocket"
	if resp.StatusCode/100 == 2 {
		reason += ", and has answered as to any request; is the path that of its WebSocket endpoint?"
	}
	if line := firstLine(body); line != "" {
		reason += ": " + line
	}
	e := d.fail(resp, reason, nil)
	e.Body = body
	return e
}

// firstLine quotes the first line of a text, for a person. That of a page in HTML
// would tell nothing.
func firstLine(body []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '<' {
		return ""
	}
	return fmt.Sprintf("%.300q", line)
}

func (d *dialer) fail(resp *http.Response, reason string, err error) *HandshakeError {
	return &HandshakeError{StatusCode: resp.StatusCode, Header: resp.Header, Reason: d.target + ": " + reason, Err: err}
}

// takeConn takes the connection over from the http.Transport, and returns what
// that has read of it already. The Body reads from the Transport's buffer, and
// then from the connection: with a deadline in the past it gives out the former
// and times out on the latter. The goroutines of the Transport have no part in
// the connection after a 101, and end.
func (d *dialer) takeConn(resp *http.Response) (net.Conn, []byte, error) {
	body := resp.Body
	resp.Body = http.NoBody
	conn := d.conn.Load()
	if conn == nil {
		body.Close()
		return nil, nil, fmt.Errorf("websocket: the Transport of Options.HTTPClient, a %T, does not tell its connection (httptrace's GotConn), as an *http.Transport does", d.client.Transport)
	}
	buffered, err := drain(*conn, body)
	if err != nil {
		body.Close()
		return nil, nil, fmt.Errorf("websocket: taking over the connection to %s: %w", d.target, err)
	}
	return *conn, buffered, nil
}

// drain reads what r gives out without waiting for nc. An end is left for the
// next read to find, behind what has come before it.
func drain(nc net.Conn, r io.Reader) ([]byte, error) {
	if err := nc.SetReadDeadline(past); err != nil {
		return nil, err
	}
	p, err := io.ReadAll(r)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, err
	}
	return p, nc.SetReadDeadline(time.Time{})
}
