package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/websocket/internal/memnet"
)

// acceptor returns a handler that accepts, runs f, and closes.
func acceptor(opts *Options, f func(*Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := Accept(w, r, opts); err == nil {
			defer c.Close()
			f(c)
		}
	})
}

// discard reads until the connection ends.
func discard(c *Conn) {
	for {
		if _, _, err := c.ReadMessage(context.Background()); err != nil {
			return
		}
	}
}

// echo sends back what comes until the connection ends.
func echo(c *Conn) {
	for {
		typ, p, err := c.ReadMessage(context.Background())
		if err != nil {
			return
		}
		c.WriteMessage(context.Background(), typ, p)
	}
}

// serve runs a server of net/http and returns its address.
func serve(t *testing.T, h http.Handler) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// testContext bounds what a test waits for.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A wire is a client that knows nothing but bytes.
type wire struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

func newWire(t *testing.T, addr string) *wire {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	return &wire{t, nc, bufio.NewReader(nc)}
}

func (w *wire) send(s string) {
	if _, err := io.WriteString(w.nc, s); err != nil {
		w.t.Fatal(err)
	}
}

// want reads as much as s has.
func (w *wire) want(s string) {
	w.t.Helper()
	got := make([]byte, len(s))
	n, err := io.ReadFull(w.br, got)
	if string(got[:n]) != s {
		w.t.Fatalf("server should send\n%q\nand sends\n%q, %v", s, got[:n], err)
	}
}

// response reads a response and its body.
func (w *wire) response() (*http.Response, string) {
	w.t.Helper()
	resp, err := http.ReadResponse(w.br, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

// handshake returns the sample request of 1.2, for example.com, with more lines.
func handshake(lines ...string) string {
	return "GET /chat HTTP/1.1\r\n" +
		"Host: example.com\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + acceptVectors[0].key + "\r\n" +
		"Sec-WebSocket-Version: 13\r\n" +
		strings.Join(append(lines, "\r\n"), "\r\n")
}

// textFrame is a frame of a client with a key of zero, which masks nothing.
func textFrame(text string) string {
	h := FrameHeader{Fin: true, Opcode: OpText, Masked: true, Length: int64(len(text))}
	return string(AppendFrameHeader(nil, h)) + text
}

// A refusal reaches the client as a response, and the handler as an error that
// says the same.
func TestAcceptRefuses(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(handshake(), old, new, 1) }
	for _, tc := range []struct {
		why     string
		request string
		status  int
		header  http.Header
		text    string // a part of the body
	}{
		{"a person opens the address", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 426,
			http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Content-Type": {"text/plain; charset=utf-8"}},
			`426 Upgrade Required: this is a WebSocket endpoint: a page's script opens it with new WebSocket("ws://...")`},
		{"a proxy of HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0"), 505, nil,
			"505 HTTP Version Not Supported: a WebSocket handshake needs HTTP/1.1"},
		{"POST", replace("GET", "POST"), 405, http.Header{"Allow": {"GET"}}, "405 Method Not Allowed: a WebSocket handshake is a GET"},
		{"a Host that is empty", replace("Host: example.com", "Host:"), 400, nil, "400 Bad Request: the request has no Host"},
		{"a wrong version", replace("13", "8"), 426,
			http.Header{"Sec-Websocket-Version": {"13"}, "Upgrade": {"websocket"}}, `426 Upgrade Required: Sec-WebSocket-Version is "8", and must be 13`},
		{"a bad key", replace("==", "="), 400, nil, "400 Bad Request: Sec-WebSocket-Key is"},
		{"a second key", handshake("Sec-WebSocket-Key: " + acceptVectors[0].key), 400, nil, "400 Bad Request: Sec-WebSocket-Key is"},
		{"a body with a length", handshake("Content-Length: 1") + "x", 400, nil, "400 Bad Request: the request has a body"},
		{"a body in chunks", handshake("Transfer-Encoding: chunked") + "0\r\n\r\n", 400, nil, "400 Bad Request: the request has a body"},
		{"a foreign origin", handshake("Origin: https://evil.example"), 403, nil,
			`403 Forbidden: pages of origin "https://evil.example" may not connect to host "example.com"; a server that expects them says so with Options.CheckOrigin, for instance AllowOrigins("https://evil.example")`},
		{"two origins", handshake("Origin: http://example.com", "Origin: https://evil.example"), 403, nil,
			`403 Forbidden: pages of origin "http://example.com, https://evil.example"`},
	} {
		t.Run(tc.why, func(t *testing.T) {
			failed := make(chan error, 1)
			w := newWire(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := Accept(w, r, nil)
				failed <- err
			})))
			w.send(tc.request)
			resp, body := w.response()
			if resp.StatusCode != tc.status || !strings.Contains(body, tc.text) {
				t.Errorf("server should answer %d and %q, and answers %d and %q", tc.status, tc.text, resp.StatusCode, body)
			}
			for name, want := range tc.header {
				if got := resp.Header[name]; !reflect.DeepEqual(got, want) {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			var e *HandshakeError
			if err := <-failed; !errors.As(err, &e) || e.StatusCode != tc.status || !strings.Contains(err.Error(), strings.TrimSpace(body)) {
				t.Errorf("Accept returns %v, and should say what the client is told: %s", err, body)
			}
		})
	}
}

func TestAcceptOverHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(acceptor(nil, discard))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 501 || !strings.Contains(string(body), "over HTTP/1.1 only; this request came over HTTP/2") {
		t.Errorf("to a request over HTTP/2 the server should answer 501 and why, and answers %d %q", resp.StatusCode, body)
	}
}

// A plainWriter hides the Hijacker that it is around, an unwrapper shows it.
type plainWriter struct{ http.ResponseWriter }

type unwrapper struct{ plainWriter }

func (w unwrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestAcceptThroughMiddleware(t *testing.T) {
	for _, tc := range []struct {
		name string
		wrap func(http.Handler) http.Handler
		ok   bool
	}{
		{"a ResponseWriter with Unwrap", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(unwrapper{plainWriter{w}}, r) })
		}, true},
		{"a ResponseWriter without", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(plainWriter{w}, r) })
		}, false},
		{"http.TimeoutHandler", func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Hour, "") }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			failed := make(chan error, 1)
			w := newWire(t, serve(t, tc.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := Accept(w, r, nil)
				if err == nil {
					c.Close()
				}
				failed <- err
			}))))
			w.send(handshake())
			resp, body := w.response()
			err := <-failed
			if tc.ok {
				if resp.StatusCode != 101 || err != nil {
					t.Errorf("server should accept, and answers %v %q, %v", resp.Status, body, err)
				}
				return
			}
			if resp.StatusCode != 501 || !strings.Contains(body, "HTTP/1.1 and a ResponseWriter that is an http.Hijacker") {
				t.Errorf("server should answer 501 and what it lacks, and answers %v %q", resp.Status, body)
			}
			if !errors.Is(err, http.ErrNotSupported) || !strings.Contains(err.Error(), "Writer: ") {
				t.Errorf("the error should wrap http.ErrNotSupported and name the ResponseWriter's type: %v", err)
			}
		})
	}
}

// A hijacker is a ResponseWriter that gives away nc, or fails.
type hijacker struct {
	*httptest.ResponseRecorder
	nc  net.Conn
	err error
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if h.err != nil {
		return nil, nil, h.err
	}
	return h.nc, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

func newHijacker(nc net.Conn, err error) *hijacker {
	return &hijacker{httptest.NewRecorder(), nc, err}
}

func sampleRequest() *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshake())))
	if err != nil {
		panic(err)
	}
	return r
}

func TestAcceptHijackFails(t *testing.T) {
	w := newHijacker(nil, io.ErrClosedPipe)
	_, err := Accept(w, sampleRequest(), nil)
	if w.Code != 500 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("server should answer 500 and return the reason, and answers %d and returns %v", w.Code, err)
	}
	if body := w.Body.String(); strings.Contains(body, "closed pipe") {
		t.Errorf("what fails inside the server is not for the client: %q", body)
	}
}

// A recorder notes the calls that Accept makes on the connection.
type recorder struct {
	net.Conn
	calls []string
}

func (r *recorder) Write(p []byte) (int, error) {
	r.calls = append(r.calls, "Write")
	return r.Conn.Write(p)
}

func (r *recorder) SetDeadline(d time.Time) error {
	call := "SetDeadline"
	if d.IsZero() {
		call = "clear deadline"
	}
	r.calls = append(r.calls, call)
	return r.Conn.SetDeadline(d)
}

func (r *recorder) SetWriteDeadline(d time.Time) error {
	r.calls = append(r.calls, "SetWriteDeadline")
	return r.Conn.SetWriteDeadline(d)
}

// A prompt is a transport that takes the first bytes at once, if it takes any.
type prompt struct {
	transport
	takes int
	taken []byte
}

func (t *prompt) traits() traits { return traits{tries: t.takes > 0} }

func (t *prompt) tryWrite(p []byte) (int, error) {
	t.taken = p[:min(len(p), t.takes)]
	return len(t.taken), nil
}

// Nobody is waited for who takes the 101 at once, and everybody else is for a bounded
// time. Deadlines that were set for a request are cleared in any case.
func TestAcceptWritesOnce(t *testing.T) {
	for takes, want := range map[int][]string{
		0:       {"SetWriteDeadline", "Write", "clear deadline"},
		10:      {"clear deadline", "SetWriteDeadline", "Write", "clear deadline"},
		1 << 10: {"clear deadline"},
	} {
		ours, theirs := net.Pipe()
		rest := inBackground(func() []byte { p, _ := io.ReadAll(theirs); return p })
		rec := &recorder{Conn: ours}
		// The handshake's part of Accept only, since the Conn makes calls of its own.
		response, _, refusal := answer(newHijacker(rec, nil), sampleRequest(), new(Options))
		if refusal != nil {
			t.Fatal(refusal)
		}
		at := &prompt{transport: newTransport(rec), takes: takes}
		if err := send(rec, at, response, new(Options)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(rec.calls, want) {
			t.Errorf("when %d bytes are taken at once the calls should be %q, and are %q", takes, want, rec.calls)
		}
		ours.Close()
		if got := append(at.taken, <-rest...); !bytes.Equal(got, response) {
			t.Errorf("when %d bytes are taken at once the client should get %q, and gets %q", takes, response, got)
		}
	}
}

// A socket that is full is waited for, and nothing of that is left behind.
func TestAcceptSocketIsFull(t *testing.T) {
	ours, theirs := listenAndDial(t, "tcp", "127.0.0.1:0")
	ours.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	filled, err := ours.Write(make([]byte, 64<<20))
	if !isTimeout(err) {
		t.Fatalf("the socket should be full, and has taken %d bytes: %v", filled, err)
	}
	accepted := inBackground(func() *Conn {
		c, err := Accept(newHijacker(ours, nil), sampleRequest(), nil)
		if err != nil {
			t.Error(err)
		}
		return c
	})
	in := bufio.NewReader(theirs)
	io.CopyN(io.Discard, in, int64(filled))
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("the client should get a 101, and gets %v, %v", resp, err)
	}
	c := <-accepted
	defer c.Close()
	theirs.Write(textF("hello").bytes(client))
	wantRead(t, "behind the handshake", c, MessageText, "hello")
}

func TestAcceptPeerTakesNothing(t *testing.T) {
	for _, tc := range []struct{ option, want time.Duration }{
		{0, defaultWriteTimeout},
		{time.Second, time.Second},
		{-1, defaultWriteTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			start := time.Now()
			_, err := Accept(newHijacker(ours, nil), sampleRequest(), &Options{WriteTimeout: tc.option})
			if d := time.Since(start); err == nil || d != tc.want {
				t.Errorf("Accept should give up after %v, but: %v after %v", tc.want, err, d)
			}
			if n, err := theirs.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the connection should be closed, and reading it gives %d, %v", n, err)
			}
		})
	}
}

// What the client has sent behind its handshake, without waiting, is not lost,
// whether net/http has buffered all of it or a part.
func TestAcceptKeepsBufferedBytes(t *testing.T) {
	for _, size := range []int{1, 125, 4000, 10_000, 100_000} {
		got := make(chan string, 2)
		w := newWire(t, serve(t, acceptor(nil, func(c *Conn) {
			for range 2 {
				_, p, err := c.ReadMessage(context.Background())
				if err != nil {
					t.Error(err)
				}
				got <- string(p)
			}
		})))
		text := strings.Repeat("x", size)
		w.send(handshake() + textFrame(text) + textFrame("second"))
		if first, second := <-got, <-got; first != text || second != "second" {
			t.Errorf("messages of %d and %d bytes come, want %d and 6", len(first), len(second), size)
		}
	}
}

// The timeouts of an http.Server are for requests.
func TestAcceptClearsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := &http.Server{Handler: acceptor(nil, echo), ReadTimeout: time.Second, WriteTimeout: time.Second}
		l := newPipeListener(ours)
		go s.Serve(l)
		defer s.Close()
		defer theirs.Close()
		w := &wire{t, theirs, bufio.NewReader(theirs)}
		w.send(handshake())
		w.response()
		time.Sleep(5 * time.Second)
		w.send(textFrame("late"))
		w.want("\x81\x04late")
	})
}

// A pipeListener accepts one connection and then waits until it is closed.
type pipeListener struct{ conns chan net.Conn }

func newPipeListener(nc net.Conn) *pipeListener {
	l := &pipeListener{make(chan net.Conn, 1)}
	l.conns <- nc
	return l
}

func (l *pipeListener) Accept() (net.Conn, error) {
	if nc, ok := <-l.conns; ok {
		return nc, nil
	}
	return nil, net.ErrClosed
}

func (l *pipeListener) Close() error { close(l.conns); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestAcceptHeader(t *testing.T) {
	w := newWire(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Content-Type", "Content-Encoding", "Trailer:x", "Upgrade", "Connection", "Sec-Websocket-Accept", "Sec-WebSocket-Extensions", "Content-Length"} {
			w.Header()[name] = []string{"of no use"}
		}
		w.Header().Set("Set-Cookie", "from=middleware")
		c, err := Accept(w, r, &Options{Header: http.Header{"Set-Cookie": {"from=options"}, "X-Served-By": {"me"}}})
		if err == nil {
			c.Close()
		}
	})))
	w.send(handshake())
	resp, _ := w.response()
	want := http.Header{
		"Upgrade":              {"websocket"},
		"Connection":           {"Upgrade"},
		"Sec-Websocket-Accept": {acceptVectors[0].accept},
		"Set-Cookie":           {"from=middleware", "from=options"},
		"X-Served-By":          {"me"},
	}
	if !reflect.DeepEqual(resp.Header, want) {
		t.Errorf("header is %q, want %q", resp.Header, want)
	}
}

// What must not be sent is found before a byte is.
func TestAcceptMisuse(t *testing.T) {
	for _, tc := range []struct {
		why        string
		middleware http.Header
		opts       *Options
		text       string // a part of the error
	}{
		{"a line break in a value", nil, &Options{Header: http.Header{"X": {"a\r\nSet-Cookie: b"}}}, "the field X of Options.Header has a control character"},
		{"a line break in a name", nil, &Options{Header: http.Header{"X\r\nY": {"a"}}}, "Options.Header"},
		{"NUL in a middleware's value", http.Header{"X": {"a\x00"}}, nil, "the field X of the ResponseWriter's Header"},
		{"a field of the handshake", nil, &Options{Header: http.Header{"Sec-Websocket-Protocol": {"a"}}}, "which the handshake writes itself"},
		{"a subprotocol that is no token", nil, &Options{Subprotocols: []string{"a\r\nX: y"}}, "Options.Subprotocols"},
		{"a host with a port", nil, &Options{Hosts: []string{"example.com:80"}}, "Options.Hosts"},
		{"an option of the client", nil, &Options{HTTPClient: http.DefaultClient}, "Options.HTTPClient"},
	} {
		w := newHijacker(nil, nil)
		for name, values := range tc.middleware {
			w.Header()[name] = values
		}
		_, err := Accept(w, sampleRequest(), tc.opts)
		if err == nil || !strings.Contains(err.Error(), tc.text) || w.Code != 500 {
			t.Errorf("%s: server should answer 500 and say %q, and answers %d and says: %v", tc.why, tc.text, w.Code, err)
		}
		if body := w.Body.String(); body != "500 Internal Server Error: the server cannot complete the handshake\n" {
			t.Errorf("%s: the client is told %q", tc.why, body)
		}
	}
}

func TestAcceptSubprotocol(t *testing.T) {
	agreed := make(chan string, 1)
	w := newWire(t, serve(t, acceptor(&Options{Subprotocols: []string{"v2", "v1"}}, func(c *Conn) { agreed <- c.Subprotocol() })))
	w.send(handshake("Sec-WebSocket-Protocol: v0", "Sec-WebSocket-Protocol: v1, v2"))
	resp, _ := w.response()
	if p := <-agreed; p != "v2" || resp.Header.Get("Sec-WebSocket-Protocol") != "v2" {
		t.Errorf("subprotocol is %q, and %q to the client, want v2", p, resp.Header.Get("Sec-WebSocket-Protocol"))
	}
}

func TestIsUpgradeAndSubprotocols(t *testing.T) {
	r := sampleRequest()
	r.Header.Set("Sec-WebSocket-Protocol", "b, a")
	r.Header.Add("Sec-WebSocket-Protocol", "c")
	if !IsUpgrade(r) {
		t.Error("the request of 1.2 asks for a WebSocket")
	}
	if got := Subprotocols(r); !reflect.DeepEqual(got, []string{"b", "a", "c"}) {
		t.Errorf("subprotocols are %q", got)
	}
	r.Header.Set("Sec-WebSocket-Protocol", "a b")
	if got := Subprotocols(r); got != nil {
		t.Errorf("subprotocols of a malformed field are %q", got)
	}
	for _, name := range []string{"Upgrade", "Connection"} {
		r := sampleRequest()
		r.Header.Del(name)
		if IsUpgrade(r) {
			t.Errorf("without %s it is an ordinary request", name)
		}
	}
}

func TestOrigin(t *testing.T) {
	allowed := AllowOrigins("http://localhost:3000", "HTTPS://Pages.Example:443", "http://[0:0::1]:80", "app://bundle")
	for _, tc := range []struct {
		why         string
		origin      string // several are separated by a space
		host        string
		tls         bool
		same, allow bool // accepted by default, accepted with AllowOrigins
	}{
		{"no Origin is no browser", "", "example.com", false, true, true},
		{"same host", "http://example.com", "example.com", false, true, true},
		{"TLS may have ended at a proxy", "https://example.com", "example.com", false, true, true},
		{"TLS of our own", "https://example.com", "example.com", true, true, true},
		{"TLS of our own and a page without", "http://example.com", "example.com", true, false, false},
		{"case does not matter", "HTTP://EXAMPLE.com", "Example.COM", false, true, true},

		{"same port", "http://example.com:8080", "example.com:8080", false, true, true},
		{"default port of http", "http://example.com", "example.com:80", false, true, true},
		{"default port of http in the origin", "http://example.com:80", "example.com", false, true, true},
		{"default port of https", "https://example.com", "example.com:443", true, true, true},
		{"default port of https at a proxy", "https://example.com", "example.com:443", false, true, true},
		{"another port", "http://example.com:8080", "example.com", false, false, false},
		{"another port", "http://example.com", "example.com:8080", false, false, false},
		{"the default port of the other scheme", "http://example.com", "example.com:443", false, false, false},
		{"the default port of the other scheme", "https://example.com", "example.com:80", false, false, false},
		{"the default port of the other scheme", "https://example.com:80", "example.com", true, false, false},

		{"an IPv6 address", "http://[::1]:3001", "[::1]:3001", false, true, true},
		{"an IPv6 address without port", "http://[::1]", "[::1]", false, true, true},
		{"an IPv6 address otherwise written", "http://[2001:db8::1]", "[2001:DB8:0::1]:80", false, true, true},
		{"another IPv6 address", "http://[::2]", "[::1]", false, false, false},
		{"localhost is a name and not its address", "http://localhost", "127.0.0.1", false, false, false},
		{"a dot at the end, on both sides", "http://example.com.", "example.com.", false, true, true},
		{"a dot at the end is another host", "http://example.com.", "example.com", false, false, false},

		{"null: a sandbox, a file, a redirect", "null", "example.com", false, false, false},
		{"null and a host of that name", "null", "null", false, false, false},
		{"another host", "https://evil.example", "example.com", false, false, false},
		{"a subdomain", "http://www.example.com", "example.com", false, false, false},
		{"the domain above", "http://example.com", "www.example.com", false, false, false},
		{"a suffix", "http://evilexample.com", "example.com", false, false, false},
		{"a prefix", "http://example.com.evil.example", "example.com", false, false, false},
		{"userinfo", "http://example.com@evil.example", "example.com", false, false, false},
		{"userinfo", "http://x@example.com", "example.com", false, false, false},
		{"a path", "http://example.com/", "example.com", false, false, false},
		{"a path with the host in it", "http://evil.example/example.com", "example.com", false, false, false},
		{"a query", "http://example.com?", "example.com", false, false, false},
		{"a fragment", "http://example.com#x", "example.com", false, false, false},
		{"no scheme", "example.com", "example.com", false, false, false},
		{"no scheme", "//example.com", "example.com", false, false, false},
		{"no host", "http://", "example.com", false, false, false},
		{"a scheme of no web page", "ftp://example.com", "example.com", false, false, false},
		{"ws is no page's scheme", "ws://example.com", "example.com", false, false, false},
		{"percent-encoding", "http://ex%61mple.com", "example.com", false, false, false},
		{"a letter that folds to one in ASCII", "http://tic\u212aet.example", "ticket.example", false, false, false},
		{"several origins", "http://example.com http://evil.example", "example.com", false, false, false},
		{"the same origin twice", "http://example.com http://example.com", "example.com", false, false, false},

		{"allowed", "http://localhost:3000", "localhost:1234", false, false, true},
		{"allowed with TLS of our own", "http://localhost:3000", "localhost:1234", true, false, true},
		{"allowed, but another port", "http://localhost:3001", "localhost:1234", false, false, false},
		{"allowed, but another scheme", "https://localhost:3000", "localhost:1234", false, false, false},
		{"allowed, written with the default port", "https://pages.example", "example.com", false, false, true},
		{"allowed, an IPv6 address", "http://[::1]", "example.com", false, false, true},
		{"allowed, a scheme that is not of the web", "app://bundle", "example.com", false, false, true},
	} {
		r := sampleRequest()
		r.Host = tc.host
		if tc.tls {
			r.TLS = new(tls.ConnectionState)
		}
		if tc.origin != "" {
			r.Header["Origin"] = strings.Split(tc.origin, " ")
		}
		for _, policy := range []struct {
			name  string
			check func(*http.Request) bool
			want  bool
		}{
			{"the default", nil, tc.same},
			{"AllowOrigins()", AllowOrigins(), tc.same},
			{"AllowOrigins(...)", allowed, tc.allow},
			{"AnyOrigin", AnyOrigin, len(r.Header["Origin"]) < 2},
		} {
			if got := checkOrigin(r, policy.check) == nil; got != policy.want {
				t.Errorf("%s: %s should say %v to a page of %q, host %q", tc.why, policy.name, policy.want, tc.origin, tc.host)
			}
		}
	}
}

// An asterisk stands for one label, the first.
func TestAllowOriginsWildcard(t *testing.T) {
	allowed := AllowOrigins("https://*.example.com", "http://*.Dev.Localhost:3000", "https://*.exact.example", "https://exact.example")
	for origin, want := range map[string]bool{
		"https://a.example.com":             true,
		"https://A.EXAMPLE.com":             true,
		"https://a.example.com:443":         true,
		"https://xn--bcher-kva.example.com": true,
		"https://a-b_c.example.com":         true,
		"https://example.com":               false,
		"https://a.b.example.com":           false,
		"https://.example.com":              false,
		"https://a..example.com":            false,
		"https://aexample.com":              false,
		"https://a.example.com.":            false,
		"https://a.example.com.evil.test":   false,
		"https://evil.test/.example.com":    false,
		"https://a@b.example.com":           false,
		"https://a.example.com:8443":        false,
		"http://a.example.com":              false,
		"wss://a.example.com":               false,
		"http://x.dev.localhost:3000":       true,
		"http://x.dev.localhost":            false,
		"http://dev.localhost:3000":         false,
		"https://exact.example":             true,
		"https://a.exact.example":           true,
		"https://com":                       false,
		"https://1.2.3.4":                   false,
		"https://[::1]":                     false,
		"null":                              false,
	} {
		r := sampleRequest()
		r.Host = "elsewhere.test"
		r.Header["Origin"] = []string{origin}
		if got := allowed(r); got != want {
			t.Errorf("a page of %s: AllowOrigins says %v", origin, got)
		}
	}
}

// asked returns a request for host that has come to the address local, from a page of
// origin unless that is "".
func asked(local, host, origin string) *http.Request {
	r := sampleRequest()
	r.Host = host
	if origin != "" {
		r.Header["Origin"] = []string{origin}
	}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(memnet.Addr(local))))
}

// refusalOf returns the status with which r is refused, 0 if it is not, and why.
func refusalOf(r *http.Request, opts *Options) (int, *HandshakeError) {
	_, _, refusal := answer(httptest.NewRecorder(), r, opts)
	if refusal == nil {
		return 0, nil
	}
	return refusal.StatusCode, refusal
}

// A list of hosts holds for everybody.
func TestHosts(t *testing.T) {
	opts := &Options{Hosts: []string{"Example.com", "*.example.org", "192.0.2.1", "::1", "[2001:DB8::0:1]", "localhost"}}
	for host, want := range map[string]int{
		"example.com": 0, "EXAMPLE.com:8080": 0, "www.example.com": 421, "example.com.": 421, "evil.test": 421, "com": 421,
		"a.example.org": 0, "a.example.org:80": 0, "example.org": 421, "a.b.example.org": 421, ".example.org": 421, "aexample.org": 421,
		"192.0.2.1": 0, "192.0.2.1:80": 0, "192.0.2.2": 421, "127.0.0.1": 421,
		"[::1]": 0, "[0::1]:80": 0, "[::2]": 421, "[2001:db8::1]:1": 0,
		"localhost:1234": 0, "a.localhost": 421,
	} {
		for _, local := range []string{"127.0.0.1:1", "192.0.2.1:1"} {
			for _, origin := range []string{"", "http://" + host} {
				if got, refusal := refusalOf(asked(local, host, origin), opts); got != want {
					t.Errorf("host %q at %s, origin %q: the status is %d, and should be %d: %v", host, local, origin, got, want, refusal)
				}
			}
		}
	}
	_, refusal := refusalOf(asked("192.0.2.1:1", "evil.test", ""), opts)
	if want := `this server does not answer for host "evil.test"; a server that has that name says so with Options.Hosts`; refusal.Reason != want || refusal.kind != refusedHost {
		t.Errorf("the refusal is %q, %s", refusal.Reason, refusal.kind)
	}
	if status, _ := refusalOf(asked("127.0.0.1:1", "example.com", "http://evil.test"), opts); status != 403 {
		t.Errorf("a host on the list is no reason to take foreign pages: %d", status)
	}
	if status, _ := refusalOf(asked("127.0.0.1:1", "evil.test", "http://evil.test"), &Options{Hosts: opts.Hosts, CheckOrigin: AnyOrigin}); status != 421 {
		t.Errorf("any origin does not mean any host: %d", status)
	}
}

func TestHostsMisuse(t *testing.T) {
	for _, s := range []string{"", "*", "example.com:80", "example.com:", "http://example.com", "example.com/", "*.*.example.com", "*.0.0.1", "a b", "bücher.example", "[::1]:80", "a@b"} {
		status, refusal := refusalOf(sampleRequest(), &Options{Hosts: []string{"example.com", s}})
		if status != 500 || !strings.Contains(refusal.Error(), "Options.Hosts has "+strconv.Quote(s)) || strings.Contains(refusal.Reason, "Hosts") {
			t.Errorf("%q in Options.Hosts: %d %v", s, status, refusal)
		}
	}
}

// Without a list, pages over loopback and without TLS have to show that their name is
// no other site's.
func TestRebinding(t *testing.T) {
	const doubtful = "evil.test:8080"
	none := new(Options)
	for _, tc := range []struct {
		why                 string
		local, host, origin string
		opts                *Options
		want                int
	}{
		{"another's name, bound to us", "127.0.0.1:8080", doubtful, "http://evil.test:8080", none, 421},
		{"the same over IPv6", "[::1]:8080", doubtful, "http://evil.test:8080", none, 421},
		{"the same in another notation", "[::ffff:127.1.2.3]:8080", doubtful, "http://evil.test:8080", none, 421},
		{"a default port", "127.0.0.1:80", "evil.test", "http://evil.test", none, 421},
		{"with other origins allowed", "127.0.0.1:8080", doubtful, "http://evil.test:8080", &Options{CheckOrigin: AllowOrigins("http://localhost:3000")}, 421},
		{"a name with localhost in it", "127.0.0.1:80", "localhost.evil.test", "http://localhost.evil.test", none, 421},
		{"a name that ends so", "127.0.0.1:80", "evillocalhost", "http://evillocalhost", none, 421},
		{"a name that looks like an address", "127.0.0.1:80", "127.0.0.1.evil.test", "http://127.0.0.1.evil.test", none, 421},
		{"a foreign page", "127.0.0.1:8080", "localhost:8080", "http://evil.test:8080", none, 403},

		{"no page", "127.0.0.1:8080", doubtful, "", none, 0},
		{"localhost", "127.0.0.1:8080", "localhost:8080", "http://localhost:8080", none, 0},
		{"localhost, in capitals", "127.0.0.1:8080", "LOCALHOST:8080", "http://localhost:8080", none, 0},
		{"a name below it", "127.0.0.1:8080", "app.localhost:8080", "http://app.localhost:8080", none, 0},
		{"an address", "127.0.0.1:8080", "127.0.0.1:8080", "http://127.0.0.1:8080", none, 0},
		{"an IPv6 address", "[::1]:8080", "[::1]:8080", "http://[::1]:8080", none, 0},
		{"https, through a proxy on this machine", "127.0.0.1:8080", "example.com", "https://example.com", none, 0},
		{"not over loopback", "192.0.2.1:8080", doubtful, "http://evil.test:8080", none, 0},
		{"over a Unix socket", "@", doubtful, "http://evil.test:8080", none, 0},
		{"on the list", "127.0.0.1:8080", doubtful, "http://evil.test:8080", &Options{Hosts: []string{"evil.test"}}, 0},
		{"on the list, with other origins allowed", "127.0.0.1:8080", doubtful, "http://evil.test:8080", &Options{Hosts: []string{"evil.test"}, CheckOrigin: AllowOrigins("http://a.test")}, 0},
		{"allowed by its origin", "127.0.0.1:8080", doubtful, "http://evil.test:8080", &Options{CheckOrigin: AllowOrigins("http://evil.test:8080")}, 0},
		{"any origin", "127.0.0.1:8080", doubtful, "http://evil.test:8080", &Options{CheckOrigin: AnyOrigin}, 0},
	} {
		if got, refusal := refusalOf(asked(tc.local, tc.host, tc.origin), tc.opts); got != tc.want {
			t.Errorf("%s: the status should be %d, and is %d: %v", tc.why, tc.want, got, refusal)
		} else if got == 421 && (refusal.kind != refusedHost || !strings.Contains(refusal.Reason, "Options.Hosts")) {
			t.Errorf("%s: the refusal should name the option: %v", tc.why, refusal)
		}
	}
	r := asked("127.0.0.1:443", "example.com", "https://example.com")
	r.TLS = new(tls.ConnectionState)
	if status, _ := refusalOf(r, none); status != 0 {
		t.Errorf("TLS of our own, for which the browser has seen a certificate: %d", status)
	}
}

// The same over a real loopback: net/http says where a request has come to.
func TestRebindingOverLoopback(t *testing.T) {
	server := &Server{Handler: func(c *Conn, r *http.Request) {}}
	w := newWire(t, serve(t, server))
	w.send(handshake("Origin: http://example.com"))
	resp, body := w.response()
	if want := `421 Misdirected Request: host "example.com" leads to this machine, but any name can be made to (DNS rebinding), so its pages are not taken for the server's own; a server that has that name says so with Options.Hosts` + "\n"; resp.StatusCode != 421 || body != want {
		t.Errorf("the answer is %d %q", resp.StatusCode, body)
	}
	if got := server.Stats().Refused; got["host"] != 1 || len(got) != 1 {
		t.Errorf("it should be counted as a matter of the host: %v", got)
	}
}

// The refusal of an origin names the option, with what is to be written there if that
// can be: AllowOrigins would panic at anything else.
func TestOriginRefusalIsAdvice(t *testing.T) {
	for _, tc := range []struct {
		origin []string
		advice string
	}{
		{[]string{"https://a.test:8443"}, `says so with Options.CheckOrigin, for instance AllowOrigins("https://a.test:8443")`},
		{[]string{"app://bundle"}, `says so with Options.CheckOrigin, for instance AllowOrigins("app://bundle")`},
		{[]string{"null"}, "says so with Options.CheckOrigin; of this origin is every page that was opened as a file, or in a sandbox, so rather serve yours over HTTP"},
		{[]string{""}, "says so with Options.CheckOrigin"},
		{[]string{"https://a.test/page"}, "says so with Options.CheckOrigin"},
		{[]string{"https://a.test", "https://b.test"}, "says so with Options.CheckOrigin"},
	} {
		r := sampleRequest()
		r.Header["Origin"] = tc.origin
		refusal := checkOrigin(r, nil)
		if refusal == nil || !strings.HasSuffix(refusal.Reason, "a server that expects them "+tc.advice) {
			t.Errorf("origin %q: the refusal should end with what %s, and is %v", tc.origin, tc.advice, refusal)
		}
	}
}

// An empty Origin is not a missing one.
func TestEmptyOrigin(t *testing.T) {
	r := sampleRequest()
	r.Header["Origin"] = []string{""}
	if checkOrigin(r, nil) == nil || checkOrigin(r, AllowOrigins()) == nil {
		t.Error("an empty Origin is accepted")
	}
}

func TestCheckOriginIsNotAskedWithoutOrigin(t *testing.T) {
	if err := checkOrigin(sampleRequest(), func(*http.Request) bool { return false }); err != nil {
		t.Errorf("a request without Origin does not come from a page, but: %v", err)
	}
}

func TestAllowOriginsPanics(t *testing.T) {
	for _, s := range []string{"", "example.com", "localhost:3000", "https://", "https://example.com/", "https://example.com/page", "https://example.com?", "https://a@example.com",
		"*", "null",
		"https://*", "https://*example.com", "https://a*.example.com", "https://a.*.example.com", "https://*.*.example.com", "https://**.example.com",
		"*://example.com", "http://localhost:*", "https://*.", "https://*..example.com", "https://*.example.com/", "https://*:3000",
		"http://*.0.0.1", "http://127.0.0.*", "http://[*::1]", "http://[*.a]", "http://[::*]", "https://bücher.example", "https://exa mple.com", " https://example.com"} {
		t.Run(s, func(t *testing.T) {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "websocket: AllowOrigins(") || !strings.Contains(text, "http://localhost:3000") {
					t.Errorf("should panic with an example of what is right, not with %q", text)
				}
			}()
			AllowOrigins("https://example.com", s)
		})
	}
}

// Whatever a page's origin and the host are, they are accepted as the same only
// if they look the same but for case and default ports. (An IPv6 address has more
// than one look.)
func FuzzOrigin(f *testing.F) {
	f.Add("http://example.com", "example.com:80")
	f.Add("https://[::1]:443", "[::1]")
	f.Add("http://a@b", "b")
	f.Fuzz(func(t *testing.T, origin, host string) {
		r := sampleRequest()
		r.Host = host
		r.Header["Origin"] = []string{origin}
		if !sameOrigin(r) {
			return
		}
		_, rest, _ := strings.Cut(origin, "://")
		cut := func(s string) string {
			s = strings.ToLower(strings.Trim(s, " \t"))
			return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(s, ":80"), ":443"), ":")
		}
		if a, b := cut(rest), cut(host); a != b && !strings.HasPrefix(a, "[") {
			t.Errorf("origin %q passes for host %q", origin, host)
		}
	})
}

// Requests as they may come, however odd, and what is right to answer.
func TestHandshakeEdges(t *testing.T) {
	srv := httptest.NewServer(Handler(func(c *Conn, r *http.Request) {
		for typ, p, err := c.ReadMessage(r.Context()); err == nil; typ, p, err = c.ReadMessage(r.Context()) {
			c.WriteMessage(r.Context(), typ, p)
		}
	}))
	defer srv.Close()
	host := srv.Listener.Addr().String()
	own := "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	up := "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	for _, x := range []struct {
		name, request string
		status        int
	}{
		{"plain", "GET / HTTP/1.1\r\nHost: " + host + "\r\n" + up + own, 101},
		{"keep-alive, Upgrade", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" + own, 101},
		{"two lines of Connection", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\n" + own, 101},
		{"several upgrades", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: h2c, websocket\r\nConnection: Upgrade\r\n" + own, 101},
		{"folded", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: keep-alive,\r\n Upgrade\r\n" + own, 101},
		{"pipelined", "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\nGET / HTTP/1.1\r\nHost: " + host + "\r\n" + up + own, 426},
		{"absolute form", "GET http://" + host + "/ HTTP/1.1\r\nHost: other.example\r\nOrigin: http://" + host + "\r\n" + up + own, 101},
		{"absolute form, foreign", "GET http://victim.example/ HTTP/1.1\r\nHost: " + host + "\r\nOrigin: http://" + host + "\r\n" + up + own, 403},
		{"Host twice", "GET / HTTP/1.1\r\nHost: " + host + "\r\nHost: " + host + "\r\n" + up + own, 400},
		{"no Host", "GET / HTTP/1.1\r\n" + up + own, 400},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n" + up + own, 400},
		{"Origin twice", "GET / HTTP/1.1\r\nHost: " + host + "\r\nOrigin: http://" + host + "\r\nOrigin: http://" + host + "\r\n" + up + own, 403},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: " + host + "\r\n" + up + own, 505},
		{"body", "GET / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\n" + up + own + "\r\nx", 400},
		{"chunked", "GET / HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n" + up + own + "\r\n0\r\n", 400},
		{"empty body, expected", "GET / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\nExpect: 100-continue\r\n" + up + own, 101},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: " + host + "\r\n" + up + own, 405},
		{"key with spaces around", "GET / HTTP/1.1\r\nHost: " + host + "\r\n" + up + "Sec-WebSocket-Version:13 \r\nSec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ== \r\n", 101},
	} {
		t.Run(x.name, func(t *testing.T) {
			nc, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprintf(nc, "%s\r\n%s", x.request, textF("at once").bytes(client))
			br := bufio.NewReader(nc)
			method := &http.Request{Method: strings.Fields(x.request)[0]}
			resp, err := http.ReadResponse(br, method)
			if err != nil || resp.StatusCode != x.status {
				t.Fatalf("it should answer %d, and answers %v, %v", x.status, resp, err)
			}
			if x.name == "pipelined" {
				io.Copy(io.Discard, resp.Body)
				if resp, err = http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
					t.Fatalf("the second request: %v, %v", resp, err)
				}
				x.status = 101
			}
			if x.status == 101 {
				got := make([]byte, 9)
				if _, err := io.ReadFull(br, got); err != nil || string(got[2:]) != "at once" {
					t.Errorf("what was sent with the request: %q, %v", got, err)
				}
			}
		})
	}
}
