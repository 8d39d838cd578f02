package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A HandshakeError tells why an opening handshake (RFC 6455 section 4) did not
// become a connection: to a server what it has refused, to a client what the
// server answered.
type HandshakeError struct {
	StatusCode int         // of the HTTP response that was sent or has come
	Header     http.Header // of the response that has come; of one that was sent, the fields that belong to the refusal
	Body       []byte      // the first KiB of the body that has come; nil for a server
	Reason     string      // in words
	Err        error       // what caused it, or nil

	kind string // by which a Server counts it
}

// Error tells the status, the reason and the cause. What the peer has sent is quoted
// and cut short.
func (e *HandshakeError) Error() string {
	text := "websocket: handshake failed with " + e.text()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns e.Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

func (e *HandshakeError) text() string {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", e.StatusCode, http.StatusText(e.StatusCode)))
	if e.Reason == "" {
		return status
	}
	return status + ": " + e.Reason
}

// Accept makes a WebSocket connection of a request: the server's side of the
// opening handshake (RFC 6455 4.2). The connection outlives the request's
// handler, and is no longer the business of the http.Server and its timeouts.
//
// It is refused, with a status and a text that says why, if it is not a valid
// WebSocket handshake, comes from another origin than Options.CheckOrigin allows, or
// is for a host that Options.Hosts does not list. After an error w has been replied to:
// the handler only has to return.
//
// When the http.Server that r comes from is shut down ([http.Server.Shutdown]), the
// connection is too, with [StatusGoingAway]; that is not waited for.
func Accept(w http.ResponseWriter, r *http.Request, opts *Options) (*Conn, error) {
	return accept(w, r, opts, nil)
}

// accept is Accept, but that admit may refuse a handshake with which nothing else is
// wrong.
func accept(w http.ResponseWriter, r *http.Request, opts *Options, admit func(*http.Request) *HandshakeError) (*Conn, error) {
	if opts == nil {
		opts = new(Options)
	}
	response, agreed, refusal := answer(w, r, opts)
	site := rosterOf(r)
	if refusal == nil && site.isDown() {
		refusal = goingDown()
	}
	if refusal == nil && admit != nil {
		refusal = admit(r)
	}
	if refusal != nil {
		return nil, reply(w, refusal)
	}
	nc, buffered, refusal := hijack(w)
	if refusal != nil {
		return nil, reply(w, refusal)
	}
	t := newTransport(nc)
	if err := send(nc, t, response, opts); err != nil {
		nc.Close()
		return nil, fmt.Errorf("websocket: writing the answer to a handshake: %w", err)
	}
	c := openConn(nc, t, server, opts, agreed, buffered)
	site.add(c)
	return c, nil
}

// IsUpgrade reports whether r asks for a WebSocket, for a handler that serves
// something else at the same address. Whether it asks as it should is for
// [Accept] to find out, and to tell the client.
func IsUpgrade(r *http.Request) bool {
	return listContains(r.Header[fieldUpgrade], "websocket") && listContains(r.Header[fieldConnection], "upgrade")
}

// Subprotocols returns what the client offers in Sec-WebSocket-Protocol, in its
// order of preference, for a server that sets Options.Subprotocols a request. It
// returns nil if the field is malformed, which [Accept] refuses.
func Subprotocols(r *http.Request) []string {
	list, _ := parseTokens(r.Header[fieldProtocol])
	return list
}

// answer judges a request and returns the response that accepts it, and what is
// agreed by that, or a refusal.
func answer(w http.ResponseWriter, r *http.Request, opts *Options) (response []byte, agreed agreement, _ *HandshakeError) {
	if err := opts.checkHandshake(server); err != nil {
		return nil, agreed, failure(err)
	}
	q := clientRequest{r.Method, r.ProtoMajor, r.ProtoMinor, r.Host, hasBody(r), r.Header}
	if refusal := q.check(); refusal != nil {
		return nil, agreed, refusal
	}
	r, refusal := checkHost(r, opts.Hosts)
	if refusal == nil {
		refusal = checkOrigin(r, opts.CheckOrigin)
	}
	if refusal != nil {
		return nil, agreed, refusal
	}
	fields, err := responseFields(w.Header(), opts.Header)
	if err != nil {
		return nil, agreed, failure(err)
	}
	key, _ := single(r.Header, fieldKey)
	offers, _ := parseExtensions(r.Header[fieldExtensions])
	agreed.subprotocol = chooseSubprotocol(opts.Subprotocols, Subprotocols(r))
	agreed.deflate = acceptDeflate(opts.Compression.params(), offers)
	return appendResponse(make([]byte, 0, 256), key, agreed, fields), agreed, nil
}

// hasBody asks what net/http made of Content-Length and Transfer-Encoding. A
// Content-Length of 0 says that there is no body, and is harmless.
func hasBody(r *http.Request) bool {
	return r.ContentLength != 0 || len(r.TransferEncoding) > 0
}

// responseFields gathers what goes into the 101 besides the handshake: what a
// middleware has set on the ResponseWriter, such as a cookie, and Options.Header.
func responseFields(middleware, options http.Header) (http.Header, error) {
	fields := make(http.Header)
	for name, values := range middleware {
		if !ownField(name) && !bodyField(name) {
			fields[name] = values
		}
	}
	if err := checkFieldSyntax("the ResponseWriter's Header", fields); err != nil {
		return nil, err
	}
	for name, values := range options {
		fields[name] = slices.Concat(fields[name], values)
	}
	return fields, nil
}

// hijack takes the connection from net/http, with the bytes that were read from
// it already: a client may send frames before it has our answer, though it should
// not. They are copied, so that net/http's buffers can go.
func hijack(w http.ResponseWriter) (net.Conn, []byte, *HandshakeError) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		refusal := refuse(http.StatusNotImplemented, "the server cannot hand over the connection: a WebSocket needs HTTP/1.1 and a ResponseWriter that is an http.Hijacker, or has an Unwrap method that leads to one; http.TimeoutHandler's is not, nor is one of HTTP/2")
		refusal.Err, refusal.kind = fmt.Errorf("%T: %w", w, err), refusedFault
		return nil, nil, refusal
	}
	if err != nil {
		return nil, nil, failure(fmt.Errorf("taking over the connection: %w", err))
	}
	return nc, unread(rw.Reader), nil
}

// unread copies what r has buffered.
func unread(r *bufio.Reader) []byte {
	p, _ := r.Peek(r.Buffered())
	return append([]byte(nil), p...)
}

// send writes the 101: at once if the socket takes it, as it nearly always does, and
// bounded in time if a peer has filled our send buffer by requests that it pipelined,
// and takes nothing. All deadlines are cleared, those of the http.Server too, whose
// ReadTimeout and WriteTimeout were for a request.
func send(nc net.Conn, t transport, response []byte, opts *Options) error {
	if t.traits().tries { // to arm and disarm a deadline would be 3 % of the handshake
		if err := nc.SetDeadline(time.Time{}); err != nil {
			return err
		}
		n, err := t.tryWrite(response)
		if response = response[n:]; err != nil || len(response) == 0 {
			return err
		}
	}
	timeout := opts.writeTimeout()
	if timeout < 0 {
		timeout = defaultWriteTimeout
	}
	if err := nc.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := nc.Write(response); err != nil {
		return err
	}
	return nc.SetDeadline(time.Time{})
}

// failure is a refusal that is no fault of the client's. It learns of it, and
// only our caller of the cause.
func failure(err error) *HandshakeError {
	refusal := refuse(http.StatusInternalServerError, "the server cannot complete the handshake")
	refusal.Err, refusal.kind = err, refusedFault
	return refusal
}

// reply refuses the handshake in HTTP.
func reply(w http.ResponseWriter, refusal *HandshakeError) error {
	for name, values := range refusal.Header {
		w.Header()[name] = values
	}
	http.Error(w, refusal.text(), refusal.StatusCode)
	return refusal
}

// The origin policy (RFC 6455 10.2). A browser lets a page of any site open a
// WebSocket to any server, sends the cookies of that server along, and leaves it
// to the server to look at the Origin: "Servers that are not intended to process
// input from any web page but only for certain sites SHOULD verify the |Origin|
// field is an origin they expect." (http.CrossOriginProtection does not help: it
// lets every GET pass.)

// AllowOrigins returns a function for Options.CheckOrigin that accepts pages from
// these origins besides the server's own. An origin is written in full, as in
// "https://example.com" or "http://localhost:3000": a scheme, a host (in ASCII,
// as browsers send it), and a port unless it is the default of the scheme. An
// asterisk may stand for the first label of a name: "https://*.example.com" is
// https://a.example.com, and neither https://example.com nor
// https://a.b.example.com. It lets in everybody who has a name there, so it is for
// domains under which you give the names: not for "https://*.github.io". AllowOrigins
// panics if an origin is not written so, since it would never match.
func AllowOrigins(origins ...string) func(*http.Request) bool {
	allowed := make(map[origin]bool)
	for _, s := range origins {
		o, ok := parsePattern(s)
		if !ok {
			panic(fmt.Sprintf(`websocket: AllowOrigins(%q): an origin is a scheme, a host and perhaps a port, such as "https://example.com" or "http://localhost:3000", or "https://*.example.com" for all names with one label more`, s))
		}
		allowed[o] = true
	}
	return func(r *http.Request) bool {
		o, ok := requestOrigin(r)
		return ok && (allowed[o] || allowed[o.family()] || o.isOwn(r)) || !hasOrigin(r)
	}
}

// AnyOrigin is a function for Options.CheckOrigin that accepts pages from
// anywhere. It is right for a service that is open to the public and does not
// look at cookies, client certificates or the client's address.
func AnyOrigin(*http.Request) bool { return true }

func sameOrigin(r *http.Request) bool {
	o, ok := requestOrigin(r)
	return ok && o.isOwn(r)
}

// checkOrigin: 4.2.2 4. "If the server does not wish to accept this connection,
// it MUST return an appropriate HTTP error code (e.g., 403 Forbidden)".
func checkOrigin(r *http.Request, allowed func(*http.Request) bool) *HandshakeError {
	if allowed == nil {
		allowed = sameOrigin
	}
	// 4.2.1 7.: "A connection attempt lacking this header field SHOULD NOT be
	// interpreted as coming from a browser client." Two of them do not come from a
	// browser either, and a function that looks at the first would not see it.
	if !hasOrigin(r) || len(r.Header[fieldOrigin]) == 1 && allowed(r) {
		return nil
	}
	o, ok := requestOrigin(r)
	if o.isAddressed(r) && o.isDoubtful(r) {
		return refuseHost("host %.80q leads to this machine, but any name can be made to (DNS rebinding), so its pages are not taken for the server's own; a server that has that name says so with Options.Hosts", r.Host)
	}
	from, hint := show(r.Header[fieldOrigin]), ""
	if ok { // AllowOrigins takes no other, "null" for one
		hint = fmt.Sprintf(", for instance AllowOrigins(%s)", from)
	} else if r.Header.Get(fieldOrigin) == "null" {
		hint = "; of this origin is every page that was opened as a file, or in a sandbox, so rather serve yours over HTTP"
	}
	refusal := refuse(http.StatusForbidden, "pages of origin %s may not connect to host %.80q; a server that expects them says so with Options.CheckOrigin%s", from, r.Host, hint)
	refusal.kind = refusedOrigin
	return refusal
}

func hasOrigin(r *http.Request) bool { return len(r.Header[fieldOrigin]) > 0 }

// An origin (RFC 6454 4) in a form that can be compared: lower case, one spelling
// of an IPv6 address, and the port always there for the schemes that have a
// default. A dot at the end of a host is kept, as in browsers: "example.com." is
// another host.
type origin struct{ scheme, host, port string }

// requestOrigin returns the origin of the page that r comes from.
func requestOrigin(r *http.Request) (origin, bool) {
	v, ok := single(r.Header, fieldOrigin)
	if !ok {
		return origin{}, false
	}
	return parseOrigin(v)
}

// parseOrigin reads an origin as RFC 6454 6.2 writes it in ASCII, and nothing
// else: what is more than a scheme, a host and a port, or is "null", does not
// come back the same when these are put together again.
func parseOrigin(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !isASCII(s) || !equalFold(s, u.Scheme+"://"+u.Host) {
		return origin{}, false
	}
	return newOrigin(u.Scheme, u), true
}

// newOrigin returns the origin of a URL's host under scheme.
func newOrigin(scheme string, u *url.URL) origin {
	port := u.Port()
	if port == "" {
		port = defaultPort(scheme)
	}
	host := strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String()
	}
	return origin{scheme, host, port}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII })
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// isOwn reports whether o is the server's own origin.
func (o origin) isOwn(r *http.Request) bool { return o.isAddressed(r) && !o.isDoubtful(r) }

// isAddressed reports whether o is the origin that r has addressed. If TLS has not
// ended here it may have ended at a proxy: then both http and https are taken for
// the scheme that the page's host was reached by.
func (o origin) isAddressed(r *http.Request) bool {
	if o.scheme != "https" && (o.scheme != "http" || r.TLS != nil) {
		return false
	}
	return o == newOrigin(o.scheme, &url.URL{Host: r.Host})
}

// parsePattern reads an origin in which an asterisk may stand for the first label of
// the host. It may not stand for a byte of an IPv4 address.
func parsePattern(s string) (origin, bool) {
	o, ok := parseOrigin(s)
	if !ok || !strings.Contains(s, "*") {
		return o, ok
	}
	rest, ok := strings.CutPrefix(o.host, "*")
	last := rest[strings.LastIndexByte(rest, '.')+1:]
	ok = ok && strings.HasPrefix(rest, ".") && !strings.Contains(rest, "..") && strings.Trim(last, "0123456789") != ""
	return o, ok && !strings.ContainsAny(rest, "*:") && !strings.Contains(s, "[")
}

func (o origin) family() origin { return origin{o.scheme, family(o.host), o.port} }

// family returns what parsePattern makes of all names that differ from host in the
// first label only. A host of one label is a family of its own.
func family(host string) string {
	label, rest, ok := strings.Cut(host, ".")
	if !ok || label == "" {
		return host
	}
	return "*." + rest
}

// The host policy. That a page's origin and the Host are the same means nothing if the
// page has chosen the Host: a site can bind its own name to the address of another
// machine (DNS rebinding), to which its pages then connect as to their own server. A
// certificate stops that, since it names others; without TLS it takes a list of the
// names that are ours.

// checkHost judges the Host by Options.Hosts. It returns the request for the origin
// policy, which is to know when the Host was on the list.
func checkHost(r *http.Request, hosts []string) (*http.Request, *HandshakeError) {
	if len(hosts) == 0 {
		return r, nil
	}
	host, listed := hostname(r.Host), false
	for _, s := range hosts {
		h, ok := parseHost(s)
		if !ok {
			return r, failure(fmt.Errorf(`websocket: Options.Hosts has %q: a host is a name or an address without a port, such as "example.com", or "*.example.com" for all names with one label more`, s))
		}
		listed = listed || h == host || h == family(host)
	}
	if !listed {
		return r, refuseHost("this server does not answer for host %.80q; a server that has that name says so with Options.Hosts", r.Host)
	}
	return r.WithContext(context.WithValue(r.Context(), hostListed{}, true)), nil
}

// hostListed is the key in the context of a request whose Host is in Options.Hosts.
type hostListed struct{}

// refuseHost: RFC 9110 15.5.20 "The 421 (Misdirected Request) status code indicates
// that the request was directed at a server that is unable or unwilling to produce an
// authoritative response for the target URI."
func refuseHost(format, host string) *HandshakeError {
	refusal := refuse(http.StatusMisdirectedRequest, format, host)
	refusal.kind = refusedHost
	return refusal
}

// parseHost reads an entry of Options.Hosts.
func parseHost(s string) (string, bool) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return ip.String(), true
	}
	o, ok := parsePattern("http://" + s)
	return o.host, ok && !strings.Contains(s, ":")
}

// hostname returns the name or the address in a Host, as an origin has it.
func hostname(host string) string { return newOrigin("", &url.URL{Host: host}).host }

// isDoubtful reports whether the server's own origin o is perhaps only what somebody
// else's DNS has made of it, where no Options.Hosts says more. Only connections over
// loopback are doubted: what listens there is meant for this machine, often has no
// other protection, and cannot have many names. Of these, not
//
//   - pages with https: a browser lets them make no connection without TLS, so TLS has
//     ended, with a certificate of that name, here or at a proxy on this machine;
//   - IP addresses, which no DNS binds, and localhost with all below it: RFC 6761 6.3
//     has resolvers keep these to loopback.
func (o origin) isDoubtful(r *http.Request) bool {
	if o.scheme != "http" || !overLoopback(r) || r.Context().Value(hostListed{}) != nil {
		return false
	}
	_, err := netip.ParseAddr(o.host)
	return err != nil && o.host != "localhost" && !strings.HasSuffix(o.host, ".localhost")
}

// overLoopback reports whether r has come to a loopback address of this machine.
func overLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	local, err := netip.ParseAddrPort(addr.String())
	return err == nil && local.Addr().Unmap().IsLoopback()
}
