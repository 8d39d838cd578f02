package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// dialHandler opens a connection to a server of net/http.
func dialHandler(t *testing.T, h http.Handler, opts *Options) (*Conn, *http.Response) {
	t.Helper()
	c, resp, err := Dial(testContext(t), "ws://"+serve(t, h), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, resp
}

// synctestRun runs a subtest in a bubble: its time is not ours, and it ends only
// when all goroutines in it have.
func synctestRun(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// startServer runs a server of net/http for scheme ws or wss.
func startServer(t *testing.T, scheme string, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if scheme == "wss" {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// wantEcho sends a message to an echo server and wants it back.
func wantEcho(t *testing.T, c *Conn, text string) {
	t.Helper()
	ctx := testContext(t)
	if err := c.WriteMessage(ctx, MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, c, text)
}

func wantMessage(t *testing.T, c *Conn, text string) {
	t.Helper()
	if _, p, err := c.ReadMessage(testContext(t)); err != nil || string(p) != text {
		t.Fatalf("client should read a message of %d bytes, and reads one of %d, %v", len(text), len(p), err)
	}
}

// wantNoTransport waits until no goroutine of an http.Transport is left.
func wantNoTransport(t *testing.T) {
	t.Helper()
	ctx := testContext(t)
	buf := make([]byte, 1<<20)
	for ctx.Err() == nil {
		if stacks := string(buf[:runtime.Stack(buf, true)]); !strings.Contains(stacks, "(*persistConn)") {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("goroutines of the Transport are left:\n%s", buf[:runtime.Stack(buf, true)])
}

// A scripted server answers the request on each of its connections with what
// script returns for it, and then waits for the client to close. It is reached by an http.Client over
// synchronous pipes, so it can run in a bubble.
type scripted struct {
	*http.Client
	wg sync.WaitGroup // of its connections
}

func newScripted(script func(r *http.Request) string) *scripted {
	return newPiped(func(nc net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
			io.WriteString(nc, script(r))
			io.Copy(io.Discard, nc)
		}
	})
}

// newPiped is a scripted server that does what it likes with its connections.
func newPiped(serve func(nc net.Conn)) *scripted {
	s := new(scripted)
	s.Client = &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			s.wg.Go(func() {
				defer theirs.Close()
				serve(theirs)
			})
			return ours, nil
		},
	}}
	return s
}

// switching returns the response that opens a connection.
func switching(r *http.Request, lines ...string) string {
	return "HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n" +
		strings.Join(append(lines, "\r\n"), "\r\n")
}

// serverFrame is a text frame of a server.
func serverFrame(text string) string {
	return string(AppendFrameHeader(nil, FrameHeader{Fin: true, Opcode: OpText, Length: int64(len(text))})) + text
}

func TestDial(t *testing.T) {
	plain := startServer(t, "ws", acceptor(nil, echo))
	secure := startServer(t, "wss", acceptor(nil, echo))
	for _, tc := range []struct {
		scheme string
		server *httptest.Server
	}{
		{"ws", plain}, {"http", plain}, {"wss", secure}, {"https", secure}, {"WS", plain},
	} {
		t.Run(tc.scheme, func(t *testing.T) {
			c, resp, err := Dial(testContext(t), tc.scheme+"://"+tc.server.Listener.Addr().String(), &Options{HTTPClient: tc.server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if resp.StatusCode != 101 || resp.Body != http.NoBody {
				t.Errorf("the response should be a 101 without body, and is %v with %v", resp.Status, resp.Body)
			}
			wantEcho(t, c, "hello")
		})
	}
}

// The request is that of 4.1, in the spelling of the RFC.
func TestDialRequest(t *testing.T) {
	got := make(chan string, 1)
	s := newPiped(func(nc net.Conn) {
		var b strings.Builder
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(nc, &b)))
		if err != nil {
			t.Error(err)
			return
		}
		got <- strings.Replace(b.String(), r.Header.Get("Sec-WebSocket-Key"), "KEY", 1)
		io.WriteString(nc, switching(r, "Sec-WebSocket-Protocol: b"))
		io.Copy(io.Discard, nc)
	})
	c, _, err := Dial(testContext(t), "ws://Aladdin:open%20sesame@example.com:1234/chat?room=1", &Options{
		HTTPClient:   s.Client,
		Subprotocols: []string{"a", "b"},
		Header:       http.Header{"Host": {"chat.example"}, "Origin": {"http://example.com"}, "User-Agent": {"test"}, "Accept-Encoding": {"identity"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := c.Subprotocol(); p != "b" {
		t.Errorf("subprotocol is %q, want b", p)
	}
	want := "GET /chat?room=1 HTTP/1.1\r\n" +
		"Host: chat.example\r\n" +
		"User-Agent: test\r\n" +
		"Accept-Encoding: identity\r\n" +
		"Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" + // RFC 7617 2
		"Connection: Upgrade\r\n" +
		"Origin: http://example.com\r\n" +
		"Sec-WebSocket-Key: KEY\r\n" +
		"Sec-WebSocket-Protocol: a, b\r\n" +
		"Sec-WebSocket-Version: 13\r\n" +
		"Upgrade: websocket\r\n" +
		"\r\n"
	if got := <-got; got != want {
		t.Errorf("client should send\n%s\nand sends\n%s", want, got)
	}
}

// A server that picks none of the subprotocols leaves the connection open.
func TestDialWithoutSubprotocol(t *testing.T) {
	c, resp := dialHandler(t, acceptor(&Options{Subprotocols: []string{"x"}}, echo), &Options{Subprotocols: []string{"a"}})
	if p, ok := resp.Header["Sec-Websocket-Protocol"]; ok || c.Subprotocol() != "" {
		t.Errorf("no subprotocol is agreed on, but the response says %q, and the connection %q", p, c.Subprotocol())
	}
	wantEcho(t, c, "hello")
}

// What is wrong with the arguments is said before anything is sent.
func TestDialMisuse(t *testing.T) {
	for _, tc := range []struct {
		url  string
		opts *Options
		text string
	}{
		{"localhost:1234", nil, `the URL's scheme is "localhost", and must be ws or wss, as in "ws://localhost:1234/"`},
		{"127.0.0.1:1234", nil, "malformed URL"},
		{"", nil, `the URL's scheme is ""`},
		{"ftp://example.com", nil, `the URL's scheme is "ftp"`},
		{"ws://", nil, "the URL has no host"},
		{"ws://:1234/", nil, "the URL has no host"},
		{"ws:example.com", nil, "the URL has no host"},
		{"ws:///chat", nil, "the URL has no host"},
		{"ws://example.com/#x", nil, "the URL has a fragment"},
		{"ws://example.com/#", nil, "the URL has a fragment"},
		{"ws://example.com:port/", nil, "malformed URL"},
		{"ws://user:secret@exa mple.com/", nil, "malformed URL"},
		{"ws://example.com/\r\nX: y", nil, "malformed URL"},
		{"ws://example.com", &Options{Hosts: []string{"example.com"}}, "Options.Hosts is set, which is for servers"},
		{"ws://example.com", &Options{CheckOrigin: AnyOrigin}, "Options.CheckOrigin is set, which is for servers"},
		{"ws://example.com", &Options{Subprotocols: []string{"a b"}}, "Options.Subprotocols"},
		{"ws://example.com", &Options{Header: http.Header{"X": {"a\r\nY: b"}}}, "Options.Header"},
		{"ws://example.com", &Options{Header: http.Header{"sec-websocket-extensions": {"x"}}}, "which the handshake writes itself"},
	} {
		opts := new(Options)
		if tc.opts != nil {
			*opts = *tc.opts
		}
		opts.HTTPClient = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			t.Errorf("Dial(%q) sends a request", tc.url)
			return nil, io.EOF
		})}
		_, resp, err := Dial(t.Context(), tc.url, opts)
		if err == nil || !strings.HasPrefix(err.Error(), "websocket: ") || !strings.Contains(err.Error(), tc.text) || resp != nil {
			t.Errorf("Dial(%q, %+v) should say %q, and says: %v", tc.url, tc.opts, tc.text, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

// A roundTripper is one that no *http.Transport is.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Every answer but the right one is an error that tells what came, and leaves
// nothing of the connection.
func TestDialRefused(t *testing.T) {
	const ok = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	page := "<!DOCTYPE html>\n" + strings.Repeat("<p>", 1000)
	for _, tc := range []struct {
		why    string
		answer string // ACCEPT stands for the value that answers the key
		status int
		text   string // a part of the error
		body   string
	}{
		{"a status with a text", "HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\n no origin\r\nof mine\n", 403,
			`websocket: handshake failed with 403 Forbidden: ws://example.com/x: the server did not switch to WebSocket: "no origin"`, " no origin\r\nof mine\n"},
		{"a status without a text", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404,
			`handshake failed with 404 Not Found: ws://example.com/x: the server did not switch to WebSocket`, ""},
		{"a status that nobody knows", "HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n", 599, `handshake failed with 599: ws`, ""},
		{"an ordinary page", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(page), page), 200,
			`handshake failed with 200 OK: ws://example.com/x: the server did not switch to WebSocket, and has answered as to any request; is the path that of its WebSocket endpoint?`, page[:1024]},
		{"a body without an end", "HTTP/1.1 500 Internal Server Error\r\n\r\n" + strings.Repeat("x", 5000), 500,
			`WebSocket: "` + strings.Repeat("x", 300) + `"`, strings.Repeat("x", 1024)},
		{"a redirect to nowhere", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 302, "302 Found", ""},
		{"a 101 without Upgrade", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", 101,
			"handshake failed with 101 Switching Protocols: ws://example.com/x: the answer is not that of a WebSocket server: its Upgrade is missing", ""},
		{"a 101 to something else", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", 101, `Upgrade is "h2c"`, ""},
		{"a 101 without Connection", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", 101, "Connection is missing", ""},
		{"a 101 in HTTP/1.0", strings.Replace(ok, "HTTP/1.1", "HTTP/1.0", 1) + "Sec-WebSocket-Accept: ACCEPT\r\n\r\n", 101, "HTTP/1.0, which has no Upgrade", ""},
		{"the Accept of another key", ok + "Sec-WebSocket-Accept: " + acceptVectors[0].accept + "\r\n\r\n", 101, "does not answer the key", ""},
		{"an extension that was not offered", ok + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 101, "no extension was offered", ""},
		{"a subprotocol though none was offered", ok + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: chat\r\n\r\n", 101, "Sec-WebSocket-Protocol", ""},
	} {
		synctestRun(t, tc.why, func(t *testing.T) {
			s := newPiped(func(nc net.Conn) {
				r, err := http.ReadRequest(bufio.NewReader(nc))
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(nc, strings.Replace(tc.answer, "ACCEPT", AcceptKey(r.Header.Get("Sec-WebSocket-Key")), 1))
				if n, err := nc.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("client should close the connection, but reading it gives %d, %v", n, err)
				}
			})
			c, resp, err := Dial(t.Context(), "ws://example.com/x", &Options{HTTPClient: s.Client})
			var e *HandshakeError
			if c != nil || !errors.As(err, &e) {
				t.Fatalf("Dial should return a *HandshakeError, and returns %v, %v", c, err)
			}
			if !strings.Contains(err.Error(), tc.text) || e.StatusCode != tc.status || string(e.Body) != tc.body {
				t.Errorf("the error is of status %d, with a body of %d bytes, want %d and %d, and %q, which should have in it %q", e.StatusCode, len(e.Body), tc.status, len(tc.body), err, tc.text)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != tc.body || !reflect.DeepEqual(resp.Header, e.Header) {
				t.Errorf("the response should have the same body and header, and has %q, %v, %v", body, err, resp.Header)
			}
			s.wg.Wait()
		})
	}
}

// A server that answers 403 to a foreign origin says so to a person at the other end.
func TestDialForeignOrigin(t *testing.T) {
	_, _, err := Dial(testContext(t), "ws://"+serve(t, acceptor(nil, echo)), &Options{Header: http.Header{"Origin": {"http://localhost:3000"}}})
	if err == nil || !strings.Contains(err.Error(), "403 Forbidden") || !strings.Contains(err.Error(), "AllowOrigins") {
		t.Errorf("the error should name the status and the option: %v", err)
	}
}

func TestDialNobodyListens(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	_, resp, err := Dial(testContext(t), strings.Replace(s.URL, "http://", "ws://user:secret@", 1), nil)
	var op *net.OpError
	if !errors.As(err, &op) || resp != nil || !strings.HasPrefix(err.Error(), "websocket: dial ws://user:xxxxx@127.0.0.1") {
		t.Errorf("the error should name the URL as it was given but for the password, and wrap that of the network: %v", err)
	}
}

// What net/http says in a word is said in a sentence.
func TestDialErrorsAreClear(t *testing.T) {
	cuts := newPiped(func(nc net.Conn) { http.ReadRequest(bufio.NewReader(nc)) })
	_, _, err := Dial(t.Context(), "ws://example.com/", &Options{HTTPClient: cuts.Client})
	if want := "websocket: dial ws://example.com/: the connection was closed without an answer: EOF"; err == nil || err.Error() != want || !errors.Is(err, io.EOF) {
		t.Errorf("the error should be %q, and is %v", want, err)
	}
	cuts.wg.Wait()

	s := httptest.NewUnstartedServer(nil)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	_, _, err = Dial(t.Context(), "wss"+strings.TrimPrefix(s.URL, "https"), nil)
	var cert *tls.CertificateVerificationError
	if !errors.As(err, &cert) || !strings.Contains(err.Error(), "RootCAs") || !strings.Contains(err.Error(), "Options.HTTPClient") {
		t.Errorf("the error should name the option: %v", err)
	}
}

// The server's first messages come in the same segment as its 101, or record with
// TLS, and are not lost in the Transport's buffer, whatever its size.
func TestDialKeepsBufferedBytes(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		io.WriteString(nc, switching(r)+serverFrame(strings.Repeat("x", size))+serverFrame("second"))
		io.Copy(io.Discard, nc)
	})
	for _, scheme := range []string{"ws", "wss"} {
		s := startServer(t, scheme, h)
		for _, size := range []int{0, 1, 125, 4000, 10_000, 100_000} {
			t.Run(fmt.Sprint(scheme, " ", size), func(t *testing.T) {
				c, _, err := Dial(testContext(t), fmt.Sprintf("%s/?size=%d", s.URL, size), &Options{HTTPClient: s.Client()})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				wantMessage(t, c, strings.Repeat("x", size))
				wantMessage(t, c, "second")
			})
		}
	}
}

// A server may end the connection right behind its first message.
func TestDialThenEOF(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		s := startServer(t, scheme, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			nc, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(nc, switching(r)+serverFrame("last"))
			nc.Close()
		}))
		c, _, err := Dial(testContext(t), s.URL, &Options{HTTPClient: s.Client()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wantMessage(t, c, "last")
		if _, _, err := c.ReadMessage(testContext(t)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("behind the last message there should be an error of the connection, not %v", err)
		}
	}
}

// With TLS the Transport and the server would agree on HTTP/2, which has no
// Upgrade: the handshake is made over HTTP/1.1.
func TestDialServerWithHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !IsUpgrade(r) {
			io.WriteString(w, r.Proto)
			return
		}
		acceptor(nil, echo).ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	inner := s.Client().Transport
	for _, tc := range []struct {
		name      string
		transport http.RoundTripper
	}{
		{"an http.Transport", inner},
		{"a RoundTripper around one", roundTripper(func(r *http.Request) (*http.Response, error) { return inner.RoundTrip(r) })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := &http.Client{Transport: tc.transport}
			resp, err := client.Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.ProtoMajor != 2 {
				t.Fatalf("an ordinary request goes over %v, which tests nothing", resp.Proto)
			}
			c, resp, err := Dial(testContext(t), "wss"+strings.TrimPrefix(s.URL, "https"), &Options{HTTPClient: client})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if resp.ProtoMajor != 1 {
				t.Errorf("the handshake went over %v", resp.Proto)
			}
			wantEcho(t, c, "hello")
		})
	}
}

// The connection is the net.Conn itself: no goroutine of the Transport is between,
// nor is it in its pool.
func TestDialLeavesTransport(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			s := startServer(t, scheme, acceptor(nil, echo))
			want := map[string]string{"ws": "*net.TCPConn", "wss": "*tls.Conn"}[scheme]
			client := s.Client()
			var conns []*Conn
			for range 3 {
				c, _, err := Dial(testContext(t), s.URL, &Options{HTTPClient: client})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				conns = append(conns, c)
			}
			wantNoTransport(t)
			client.CloseIdleConnections()
			for i, c := range conns {
				if got := reflect.TypeOf(c.NetConn()).String(); got != want {
					t.Errorf("NetConn is a %s, want %s", got, want)
				}
				if slices.ContainsFunc(conns[:i], func(other *Conn) bool { return other.NetConn() == c.NetConn() }) {
					t.Error("two connections share a net.Conn")
				}
				wantEcho(t, c, "hello")
			}
		})
	}
}

// 4.1: the context of Dial is that of the handshake.
func TestDialContextEndsAfterwards(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			s := startServer(t, scheme, acceptor(nil, echo))
			ctx, cancel := context.WithCancel(t.Context())
			c, _, err := Dial(ctx, s.URL, &Options{HTTPClient: s.Client()})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wantEcho(t, c, "hello")
			wantNoTransport(t)
			wantEcho(t, c, "hello again")
		})
	}
}

func TestDialTimeoutEndsAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPiped(func(nc net.Conn) {
			br := bufio.NewReader(nc)
			r, err := http.ReadRequest(br)
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(nc, switching(r))
			c := NewServerConn(nc, nil)
			defer c.Close()
			echo(c)
		})
		s.Timeout = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		c, _, err := Dial(ctx, "ws://example.com", &Options{HTTPClient: s.Client})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		wantEcho(t, c, "late")
		c.Close()
		s.wg.Wait()
	})
}

// A server that does not answer is waited for until the context ends, or the
// client's Timeout. Nothing is left then: a bubble ends when all goroutines have.
func TestDialServerIsSilent(t *testing.T) {
	for _, tc := range []struct {
		why     string
		timeout time.Duration // of the client
		ctx     func(context.Context) (context.Context, context.CancelFunc)
		answer  string // of the server, and then it is silent
		want    error
		text    string
	}{
		{"the context's deadline", 0, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, "", context.DeadlineExceeded, "websocket: dial ws://example.com: "},
		{"the context is cancelled", 0, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, "HTTP/1.1 101 Switching", context.Canceled, "websocket: dial ws://example.com: "},
		{"the client's Timeout", time.Second, context.WithCancel, "", context.DeadlineExceeded, "the Timeout of Options.HTTPClient, 1s, is over"},
		{"in the middle of a refusal", time.Second, context.WithCancel, "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno", nil, `403 Forbidden: ws://example.com: the server did not switch to WebSocket: "no"`},
	} {
		synctestRun(t, tc.why, func(t *testing.T) {
			s := newPiped(func(nc net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(nc)); err != nil {
					t.Error(err)
				}
				io.WriteString(nc, tc.answer)
				io.Copy(io.Discard, nc)
			})
			s.Timeout = tc.timeout
			ctx, cancel := tc.ctx(t.Context())
			defer cancel()
			start := time.Now()
			_, _, err := Dial(ctx, "ws://example.com", &Options{HTTPClient: s.Client})
			if d := time.Since(start); d != time.Second {
				t.Errorf("Dial should return after 1 s, and returns after %v", d)
			}
			if err == nil || !strings.Contains(err.Error(), tc.text) || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("the error should be %v and say %q, and is: %v", tc.want, tc.text, err)
			}
			s.wg.Wait()
		})
	}
}

// redirectClient reaches a server that answers by host. It notes the requests.
func redirectClient(t *testing.T, answers map[string]string) (*http.Client, *[]*http.Request) {
	var requests []*http.Request
	s := newScripted(func(r *http.Request) string {
		requests = append(requests, r)
		location, ok := answers[r.Host+r.URL.Path]
		if !ok {
			return switching(r)
		}
		return "HTTP/1.1 307 Temporary Redirect\r\nLocation: " + location + "\r\nContent-Length: 0\r\n\r\n"
	})
	t.Cleanup(s.wg.Wait)
	return s.Client, &requests
}

func TestDialRedirect(t *testing.T) {
	for _, tc := range []struct {
		why      string
		location string
		to       string // host and path
		user     bool   // the URL's user goes along
	}{
		{"a path", "/b", "a.example/b", true},
		{"a ws URL", "ws://a.example/b", "a.example/b", false}, // the user is in the URL that was left
		{"an http URL", "http://a.example:80/b", "a.example:80/b", false},
		{"another host", "ws://b.example/", "b.example/", false},
		{"another host of the same domain", "ws://sub.a.example/", "sub.a.example/", false},
		{"another port", "ws://a.example:8080/", "a.example:8080/", false},
	} {
		synctestRun(t, tc.why, func(t *testing.T) {
			client, requests := redirectClient(t, map[string]string{"a.example/": tc.location})
			c, _, err := Dial(testContext(t), "ws://user:secret@a.example/?token=secret", &Options{HTTPClient: client, Header: http.Header{"Cookie": {"a=b"}, "X-Api-Key": {"secret"}}, Subprotocols: []string{"p"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			first, second := (*requests)[0], (*requests)[1]
			if got := second.Host + second.URL.Path; got != tc.to {
				t.Errorf("client follows to %s, want %s", got, tc.to)
			}
			a, b := first.Header.Get("Sec-WebSocket-Key"), second.Header.Get("Sec-WebSocket-Key")
			if !validKey(a) || !validKey(b) || a == b {
				t.Errorf("each request should have a key of its own, but they are %q and %q", a, b)
			}
			if !IsUpgrade(second) || second.Header.Get("Sec-WebSocket-Protocol") != "p" {
				t.Errorf("the second request is no handshake: %v", second.Header)
			}
			if second.Header.Get("Referer") != "" {
				t.Errorf("the second server is told the first URL: %v", second.Header["Referer"])
			}
			sameHost := strings.HasPrefix(tc.to, "a.example/") || strings.HasPrefix(tc.to, "a.example:80/")
			if got := second.Header.Get("Cookie") == "a=b" && second.Header.Get("X-Api-Key") == "secret"; got != sameHost {
				t.Errorf("Options.Header should follow: %v, but the second header is %v", sameHost, second.Header)
			}
			if got := second.Header.Get("Authorization") != ""; got != tc.user {
				t.Errorf("Authorization should follow: %v, but the second header is %v", tc.user, second.Header)
			}
		})
	}
}

// Who has left a host is not sent back to it with the credentials.
func TestDialRedirectThereAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, requests := redirectClient(t, map[string]string{"a.example/": "ws://b.example/", "b.example/": "ws://a.example/chosen-by-b"})
		c, _, err := Dial(testContext(t), "ws://a.example/", &Options{HTTPClient: client, Header: http.Header{"X-Api-Key": {"secret"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if len(*requests) != 3 || (*requests)[2].Header.Get("X-Api-Key") != "" {
			t.Errorf("the third request should have no key: %v", (*requests)[2].Header)
		}
	})
}

func TestDialRedirectRefused(t *testing.T) {
	for _, tc := range []struct {
		why      string
		location string
		policy   func(*http.Request, []*http.Request) error
		text     string
	}{
		{"a loop", "/", nil, "stopped after 10 redirects"},
		{"a scheme of something else", "ftp://a.example/", nil, `the URL's scheme is "ftp"`},
		{"a fragment", "/b#x", nil, "the URL has a fragment"},
		{"the client's policy", "/b", func(r *http.Request, via []*http.Request) error {
			if r.URL.String() != "http://a.example/b" || len(via) != 1 {
				t.Errorf("the policy is asked about %v after %d requests", r.URL, len(via))
			}
			return errors.New("no, says the policy")
		}, "no, says the policy"},
		{"the client's policy returns the redirect", "/b", func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, "did not switch"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			client, _ := redirectClient(t, map[string]string{"a.example/": tc.location})
			client.CheckRedirect = tc.policy
			_, resp, err := Dial(testContext(t), "ws://a.example/", &Options{HTTPClient: client})
			var e *HandshakeError
			if !errors.As(err, &e) || e.StatusCode != 307 || !strings.Contains(err.Error(), tc.text) || resp == nil || resp.StatusCode != 307 {
				t.Errorf("Dial should return the redirect and say %q, and says: %v", tc.text, err)
			}
		})
	}
}

// TLS may be gained by a redirect and not lost.
func TestDialRedirectAndTLS(t *testing.T) {
	var location string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, location, http.StatusFound)
			return
		}
		acceptor(nil, echo).ServeHTTP(w, r)
	})
	plain := serve(t, h)
	secure := startServer(t, "wss", h)
	opts := &Options{HTTPClient: secure.Client()}

	location = "wss://" + secure.Listener.Addr().String()
	c, resp, err := Dial(testContext(t), "ws://"+plain+"/redirect", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if resp.TLS == nil {
		t.Error("the connection should have TLS")
	}
	wantEcho(t, c, "hello")

	location = "ws://" + plain
	if _, _, err := Dial(testContext(t), "wss://"+secure.Listener.Addr().String()+"/redirect", opts); err == nil || !strings.Contains(err.Error(), "a redirect never leads from wss to ws") {
		t.Errorf("client should not follow from wss to ws: %v", err)
	}
}

func TestSameHost(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"http://a", "http://a:80/x", true},
		{"http://a", "https://A", true},
		{"http://a:80", "https://a:443", true},
		{"http://a:8080", "https://a:8080", true},
		{"http://a", "https://a:80", true},
		{"http://a:8080", "https://a", false},
		{"http://a", "http://b", false},
		{"http://a", "http://x.a", false},
	} {
		a, _ := url.Parse(tc.a)
		b, _ := url.Parse(tc.b)
		if sameHost(a, b) != tc.want || sameHost(b, a) != tc.want {
			t.Errorf("%s and %s are on the same host: should be %v", tc.a, tc.b, tc.want)
		}
	}
}

func TestDialCookies(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	got := make(chan string, 2)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Cookie")
		acceptor(&Options{Header: http.Header{"Set-Cookie": {"session=1"}}}, func(*Conn) {}).ServeHTTP(w, r)
	})
	addr := serve(t, h)
	for range 2 {
		c, _, err := Dial(testContext(t), "ws://"+addr, &Options{HTTPClient: &http.Client{Jar: jar}})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if first, second := <-got, <-got; first != "" || second != "session=1" {
		t.Errorf("the second handshake should bring the cookie of the first 101, but they bring %q and %q", first, second)
	}
}

// With TLS the proxy is asked to CONNECT, and what the server sends at once comes
// through.
func TestDialThroughConnect(t *testing.T) {
	s := startServer(t, "wss", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, _ := http.NewResponseController(w).Hijack()
		defer nc.Close()
		io.WriteString(nc, switching(r)+serverFrame("first"))
		io.Copy(io.Discard, nc)
	}))
	connects := make(chan string, 1)
	proxy := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects <- r.Method + " " + r.Host
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer there.Close()
		here, _, _ := http.NewResponseController(w).Hijack()
		defer here.Close()
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(there, here)
		io.Copy(here, there)
	}))
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	c, _, err := Dial(testContext(t), "wss://"+s.Listener.Addr().String(), &Options{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	wantMessage(t, c, "first")
	c.Close()
	if got, want := <-connects, "CONNECT "+s.Listener.Addr().String(); got != want {
		t.Errorf("the proxy is asked %q, want %q", got, want)
	}
}

// A server may ask a client for a certificate.
func TestDialClientCertificate(t *testing.T) {
	cert, pool := certificate(t)
	names := make(chan []string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names <- r.TLS.PeerCertificates[0].DNSNames
		acceptor(nil, echo).ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, ClientCAs: pool}
	s.StartTLS()
	t.Cleanup(s.Close)
	client := s.Client()
	if _, _, err := Dial(testContext(t), s.URL, &Options{HTTPClient: client}); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("Dial without a certificate returns %v", err)
	}
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{cert}
	c, _, err := Dial(testContext(t), s.URL, &Options{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantEcho(t, c, "hello")
	if got := <-names; len(got) != 1 || got[0] != "test.example" {
		t.Errorf("the server sees a certificate of %q", got)
	}
}

// Both ends know both addresses, with TLS too.
func TestDialAddresses(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			s := startServer(t, scheme, Handler(func(c *Conn, r *http.Request) {
				c.WriteText(r.Context(), fmt.Sprint(c.LocalAddr(), " ", c.RemoteAddr(), " ", r.RemoteAddr))
				c.ReadMessage(r.Context())
			}))
			c, _, err := Dial(testContext(t), s.URL, &Options{HTTPClient: s.Client()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.RemoteAddr().String() != s.Listener.Addr().String() {
				t.Errorf("RemoteAddr should be the server's, %v, and is %v", s.Listener.Addr(), c.RemoteAddr())
			}
			wantMessage(t, c, fmt.Sprint(c.RemoteAddr(), " ", c.LocalAddr(), " ", c.LocalAddr()))
		})
	}
}

// A cookie that is for TLS alone goes with wss, and never with ws.
func TestDialSecureCookie(t *testing.T) {
	got := make(chan string, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Cookie")
		acceptor(nil, func(*Conn) {}).ServeHTTP(w, r)
	})
	jar, _ := cookiejar.New(nil)
	u, _ := url.Parse("https://example.com") // not of this machine, which some jars trust without TLS
	jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: "1", Secure: true}})
	for _, tc := range []struct{ scheme, want string }{{"wss", "session=1"}, {"ws", ""}} {
		s := startServer(t, tc.scheme, h)
		client := s.Client()
		client.Jar = jar
		client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		}
		c, _, err := Dial(testContext(t), tc.scheme+"://example.com", &Options{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if cookie := <-got; cookie != tc.want {
			t.Errorf("%s should bring the cookie %q, and brings %q", tc.scheme, tc.want, cookie)
		}
	}
}

// The caller's trace sees the handshake, and his client stays as it was.
func TestDialLeavesClientAlone(t *testing.T) {
	s := httptest.NewServer(acceptor(nil, echo))
	defer s.Close()
	transport := &http.Transport{}
	client := &http.Client{Transport: transport, Timeout: time.Hour}
	var traced net.Conn
	ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { traced = info.Conn }})
	header := http.Header{"X": {"y"}}
	c, _, err := Dial(ctx, s.URL, &Options{HTTPClient: client, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if traced != c.NetConn() {
		t.Error("the caller's trace does not see the connection")
	}
	if client.Timeout != time.Hour || client.CheckRedirect != nil || client.Transport != transport || transport.DisableKeepAlives || transport.Protocols != nil {
		t.Errorf("Dial has changed the client: %+v", client)
	}
	if !reflect.DeepEqual(header, http.Header{"X": {"y"}}) {
		t.Errorf("Dial has changed Options.Header: %v", header)
	}
}

// A RoundTripper that does not tell its connection cannot be used.
func TestDialForeignRoundTripper(t *testing.T) {
	closed := false
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		name := "Sec-WebSocket-Key"
		r.Header.Set(name, r.Header[name][0]) // which gives it the spelling of a server
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(switching(r))), r)
		resp.Body = closeFunc(func() error { closed = true; return nil })
		return resp, err
	})}
	c, _, err := Dial(testContext(t), "ws://example.com", &Options{HTTPClient: client})
	if c != nil || err == nil || !strings.Contains(err.Error(), "websocket.roundTripper, does not tell its connection") || !closed {
		t.Errorf("the error should name the Transport, and the Body be closed (%v): %v", closed, err)
	}
}

type closeFunc func() error

func (f closeFunc) Close() error             { return f() }
func (f closeFunc) Read([]byte) (int, error) { return 0, io.EOF }

// A server that speaks no TLS, for a URL that asks for it.
func TestDialWrongScheme(t *testing.T) {
	_, _, err := Dial(testContext(t), "wss://"+serve(t, acceptor(nil, echo)), nil)
	if err == nil || !strings.Contains(err.Error(), "websocket: dial wss://127.0.0.1") || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		t.Errorf("the error should say what is wrong: %v", err)
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		t.Error("net/http's words for it are better")
	}
}
