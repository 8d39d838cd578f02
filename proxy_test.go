package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A relay is a proxy: it connects whoever asks it to the same server, whatever
// address he asks for, and notes the requests.
type relay struct {
	to       string // the server
	user     string // "name:password", or "" for anybody
	refuse   string // an answer instead of the tunnel
	mu       sync.Mutex
	requests []string
}

func (p *relay) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, fmt.Sprintf(format, args...))
}

func (p *relay) noted() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// tunnel copies both ways until one side ends. It keeps io.Copy from the pipes of
// splice(2), which stay in a pool, and would look like a leak.
func (p *relay) tunnel(here net.Conn) {
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	go func() {
		io.Copy(struct{ io.Writer }{there}, struct{ io.Reader }{here})
		there.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(struct{ io.Writer }{here}, struct{ io.Reader }{there})
	there.Close()
}

// ServeHTTP makes it an HTTP proxy.
func (p *relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.note("%s %s %s", r.Method, r.Host, r.Header.Get("X-Extra"))
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	r.Header["Authorization"] = r.Header["Proxy-Authorization"]
	name, password, _ := r.BasicAuth()
	switch {
	case p.refuse != "":
		io.WriteString(here, p.refuse)
	case r.Method != http.MethodConnect:
		io.WriteString(here, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
	case p.user != "" && p.user != name+":"+password:
		io.WriteString(here, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
	default:
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\nX-Via: relay\r\n\r\n")
		p.tunnel(here)
	}
}

// serveSOCKS makes it a SOCKS5 proxy (RFC 1928, with the passwords of RFC 1929).
func (p *relay) serveSOCKS(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				if p.answerSOCKS(nc) {
					p.tunnel(nc)
				}
			})
		}
	})
	return l.Addr().String()
}

func (p *relay) answerSOCKS(nc net.Conn) bool {
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(nc, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	counted := func() string { return string(read(int(read(1)[0]))) }
	read(1) // the version
	methods := counted()
	if p.user != "" {
		if !strings.Contains(methods, "\x02") {
			nc.Write([]byte{5, 0xff})
			return false
		}
		nc.Write([]byte{5, 2})
		read(1)
		if counted()+":"+counted() != p.user {
			nc.Write([]byte{1, 1})
			return false
		}
		nc.Write([]byte{1, 0})
	} else {
		nc.Write([]byte{5, 0})
	}
	request := read(4)
	host := ""
	switch request[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = counted()
	}
	p.note("SOCKS %d %s:%d", request[1], host, binary.BigEndian.Uint16(read(2)))
	nc.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return true
}

// halves serves what a client asks for: an echo, or a message in two halves, each
// when it says so.
func halves(c *Conn) {
	frame := serverFrame("a message in two halves")
	for {
		typ, p, err := c.ReadMessage(bg)
		switch {
		case err != nil:
			return
		case string(p) == "one half":
			io.WriteString(c.NetConn(), frame[:9])
		case string(p) == "the other":
			io.WriteString(c.NetConn(), frame[9:])
		default:
			c.WriteMessage(bg, typ, p)
		}
	}
}

// There are many routes to a server. Over each of them a client's connection is the
// net.Conn itself, taken out of the http.Transport by what httptrace tells: it
// outlives the context of the handshake, leaves no goroutine of the Transport
// behind, has the true addresses, and a read of it that is cancelled loses nothing.
// All of that is our liberty and not promised by net/http, so this test pins it.
func TestDialRoutes(t *testing.T) {
	watchLeaks(t)
	servers := map[string]*httptest.Server{
		"ws":  startServer(t, "ws", acceptor(nil, halves)),
		"wss": startServer(t, "wss", acceptor(nil, halves)),
	}
	dir := t.TempDir()
	for scheme, s := range servers {
		addr := s.Listener.Addr().String()
		trusting := s.Client().Transport.(*http.Transport) // of httptest's certificate, which the proxy has too
		if scheme == "ws" {
			trusting = servers["wss"].Client().Transport.(*http.Transport)
		}
		toServer := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		for name, route := range map[string]func(t *testing.T, rt *http.Transport, p *relay) (remote string){
			"directly": func(t *testing.T, rt *http.Transport, p *relay) string {
				rt.DialContext = toServer
				return addr
			},
			"by Dial": func(t *testing.T, rt *http.Transport, p *relay) string {
				rt.DialContext = nil
				//lint:ignore SA1019 deprecated, and an http.Transport honours it
				rt.Dial = func(network, _ string) (net.Conn, error) { return net.Dial(network, addr) }
				return addr
			},
			"by DialTLSContext": func(t *testing.T, rt *http.Transport, p *relay) string {
				config := rt.TLSClientConfig
				rt.TLSClientConfig = nil
				rt.DialContext = toServer
				rt.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					nc, err := toServer(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					return tls.Client(nc, &tls.Config{RootCAs: config.RootCAs, ServerName: "example.com"}), nil
				}
				return addr
			},
			"over a Unix socket": func(t *testing.T, rt *http.Transport, p *relay) string {
				path := filepath.Join(dir, scheme)
				l, err := net.Listen("unix", path)
				if err != nil {
					t.Skip(err)
				}
				t.Cleanup(func() { l.Close() })
				go s.Config.Serve(tlsListener(l, s.TLS))
				rt.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", path)
				}
				return path
			},
			"through an HTTP proxy": func(t *testing.T, rt *http.Transport, p *relay) string {
				proxy := serve(t, p)
				rt.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy, User: url.UserPassword("user", "secret")})
				return proxy
			},
			"through an HTTPS proxy": func(t *testing.T, rt *http.Transport, p *relay) string {
				proxy := startServer(t, "wss", p).Listener.Addr().String()
				rt.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: proxy, User: url.UserPassword("user", "secret")})
				return proxy
			},
			"through an HTTPS proxy by DialTLSContext": func(t *testing.T, rt *http.Transport, p *relay) string {
				proxy := startServer(t, "wss", p).Listener.Addr().String()
				config := rt.TLSClientConfig.Clone()
				rt.DialTLSContext = func(_ context.Context, network, addr string) (net.Conn, error) {
					return tls.Dial(network, addr, config)
				}
				rt.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: proxy, User: url.UserPassword("user", "secret")})
				return proxy
			},
			"through a SOCKS5 proxy": func(t *testing.T, rt *http.Transport, p *relay) string {
				proxy := p.serveSOCKS(t)
				rt.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5", Host: proxy, User: url.UserPassword("user", "secret")})
				return proxy
			},
		} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				p := &relay{to: addr, user: "user:secret"}
				rt := trusting.Clone()
				rt.DialContext = nil // httptest's own, which leads to the server
				rt.ProxyConnectHeader = http.Header{"X-Extra": {"extra"}}
				remote := route(t, rt, p)

				var traced []net.Conn
				ctx, cancel := context.WithCancel(testContext(t))
				c, _, err := Dial(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
					GotConn: func(info httptrace.GotConnInfo) { traced = append(traced, info.Conn) },
				}), scheme+"://example.com", &Options{HTTPClient: &http.Client{Transport: rt}})
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				wantRoute(t, name, scheme, p.noted())

				want := reflect.TypeFor[*net.TCPConn]()
				switch {
				case scheme == "wss", strings.Contains(name, "HTTPS"):
					want = reflect.TypeFor[*tls.Conn]()
				case strings.Contains(name, "Unix"):
					want = reflect.TypeFor[*net.UnixConn]()
				}
				if got := reflect.TypeOf(c.NetConn()); got != want || len(traced) != 1 || traced[0] != c.NetConn() {
					t.Errorf("the net.Conn should be a %v and the one that was traced, and is a %v: %v", want, got, traced)
				}
				if c.RemoteAddr().String() != remote {
					t.Errorf("RemoteAddr should be %s, and is %s", remote, c.RemoteAddr())
				}
				wantEcho(t, c, strings.Repeat("x", 100_000))
				c.WriteText(bg, "one half")
				soon, cancel := context.WithTimeout(bg, 10*time.Millisecond)
				defer cancel()
				if _, p, err := c.ReadMessage(soon); err != context.DeadlineExceeded {
					t.Fatalf("a read that has half a message when its context ends returns %q, %v", p, err)
				}
				c.WriteText(bg, "the other")
				wantMessage(t, c, "a message in two halves")
				if err := c.Shutdown(testContext(t), StatusNormalClosure, ""); err != nil {
					t.Errorf("Shutdown returns %v", err)
				}
			})
		}
	}
	wantNoTransport(t)
}

// tlsListener is l with TLS, if there is a configuration.
func tlsListener(l net.Listener, config *tls.Config) net.Listener {
	if config == nil {
		return l
	}
	return tls.NewListener(l, config)
}

// wantRoute wants the proxy of a route, if it has one, to have been asked once for
// a connection to the server.
func wantRoute(t *testing.T, name, scheme string, requests []string) {
	t.Helper()
	port := map[string]string{"ws": "80", "wss": "443"}[scheme]
	want := ""
	switch {
	case strings.Contains(name, "HTTP"):
		want = "CONNECT example.com:" + port + " extra"
	case strings.Contains(name, "SOCKS"):
		want = "SOCKS 1 example.com:" + port
	}
	if got := strings.Join(requests, "; "); got != want {
		t.Errorf("the proxy should be asked %q, and is asked %q", want, got)
	}
}

// proxied returns a client that goes through the proxy.
func proxied(proxy string) *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }}}
}

// A proxy that does not do what it is asked for is an error that tells why, and
// never shows the password.
func TestDialProxyRefuses(t *testing.T) {
	watchLeaks(t)
	backend := serve(t, acceptor(nil, halves))
	closedAddr := func() string {
		s := httptest.NewServer(nil)
		defer s.Close()
		return s.Listener.Addr().String()
	}()
	boom := errors.New("the hook says no")
	for _, tc := range []struct {
		why   string
		proxy string // ADDR stands for the relay's address, SOCKS for that of another
		relay *relay
		hook  func(*http.Transport)
		text  string
	}{
		{"the wrong password", "http://user:secret@ADDR", &relay{user: "user:other"}, nil,
			"websocket: dial ws://example.com/: proxy http://user:xxxxx@ADDR: CONNECT example.com:80: it answers 407 Proxy Authentication Required"},
		{"no password", "http://ADDR", &relay{user: "user:other"}, nil, "it answers 407"},
		{"the wrong password for SOCKS", "socks5://user:secret@SOCKS", &relay{user: "user:other"}, nil, "username/password authentication failed"},
		{"no password for SOCKS", "socks5://SOCKS", &relay{user: "user:other"}, nil, "no acceptable authentication methods"},
		{"a refusal", "http://user:secret@ADDR", &relay{refuse: "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"}, nil, "it answers 403 Forbidden"},
		{"something else", "http://user:secret@ADDR", &relay{refuse: "SSH-2.0-x\r\n\r\n"}, nil, "malformed HTTP response"},
		{"an end", "http://user:secret@ADDR", &relay{refuse: "HTTP/1.1 200"}, nil, "EOF"},
		{"bytes before any were sent", "http://user:secret@ADDR", &relay{refuse: "HTTP/1.1 200 OK\r\n\r\nhello"}, nil, "bytes follow its answer"},
		{"an answer without an end", "http://user:secret@ADDR", &relay{refuse: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2000)}, func(rt *http.Transport) {
			rt.MaxResponseHeaderBytes = 1000
		}, "EOF"},
		{"nobody there", "http://user:secret@" + closedAddr, &relay{}, nil, "proxy http://user:xxxxx@" + closedAddr + ": dial tcp"},
		{"no TLS", "https://user:secret@ADDR", &relay{}, nil, "first record does not look like a TLS handshake"},
		{"a scheme that nobody knows", "gopher://user:secret@ADDR", &relay{}, nil, `the proxy gopher://user:xxxxx@ADDR has the scheme "gopher"`},
		{"an address that is none", "http://user:secret@exa mple", &relay{}, nil, "choosing a proxy: invalid character"},
		{"GetProxyConnectHeader", "http://user:secret@ADDR", &relay{}, func(rt *http.Transport) {
			rt.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { return nil, boom }
		}, boom.Error()},
		{"OnProxyConnectResponse", "http://user:secret@ADDR", &relay{}, func(rt *http.Transport) {
			rt.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, req *http.Request, resp *http.Response) error {
				if req.Host != "example.com:80" || resp.Header.Get("X-Via") != "relay" {
					t.Errorf("the hook gets %v and %v", req, resp)
				}
				return boom
			}
		}, boom.Error()},
		{"a dial function that does nothing", "http://user:secret@ADDR", &relay{}, func(rt *http.Transport) {
			rt.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
		}, "neither a connection nor an error"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			tc.relay.to = backend
			addr, proxy := serve(t, tc.relay), tc.proxy
			if strings.Contains(proxy, "SOCKS") {
				addr = tc.relay.serveSOCKS(t)
				proxy = strings.Replace(proxy, "SOCKS", addr, 1)
			}
			client := proxied(strings.Replace(proxy, "ADDR", addr, 1))
			if tc.hook != nil {
				tc.hook(client.Transport.(*http.Transport))
			}
			_, resp, err := Dial(testContext(t), "ws://example.com/", &Options{HTTPClient: client})
			if err == nil {
				t.Fatal("Dial should fail")
			}
			if text := err.Error(); !strings.HasPrefix(text, "websocket: ") || !strings.Contains(text, strings.Replace(tc.text, "ADDR", addr, 1)) || resp != nil {
				t.Errorf("the error should say %q, and says %q", tc.text, text)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
			if tc.text == boom.Error() && !errors.Is(err, boom) {
				t.Errorf("the error should wrap that of the hook: %#v", err)
			}
		})
	}
}

// For wss, where net/http asks the proxy, a refusal tells as much.
func TestDialProxyRefusesTLS(t *testing.T) {
	addr := serve(t, &relay{user: "user:other"})
	client := proxied("http://user:secret@" + addr)
	_, _, err := Dial(testContext(t), "wss://example.com/", &Options{HTTPClient: client})
	want := "websocket: dial wss://example.com/: proxy http://user:xxxxx@" + addr + ": CONNECT example.com:443: it answers 407 Proxy Authentication Required"
	if err == nil || err.Error() != want {
		t.Errorf("the error should be %q, and is %v", want, err)
	}
	boom := errors.New("the hook says no")
	client.Transport.(*http.Transport).OnProxyConnectResponse = func(context.Context, *url.URL, *http.Request, *http.Response) error { return boom }
	if _, _, err = Dial(testContext(t), "wss://example.com/", &Options{HTTPClient: client}); !errors.Is(err, boom) {
		t.Errorf("the hook of the Transport should be asked: %v", err)
	}
}

// The hooks of the Transport have a say for ws as for wss.
func TestDialProxyHeader(t *testing.T) {
	p := &relay{to: serve(t, acceptor(nil, echo))}
	client := proxied("http://" + serve(t, p))
	client.Transport.(*http.Transport).GetProxyConnectHeader = func(_ context.Context, proxy *url.URL, target string) (http.Header, error) {
		return http.Header{"X-Extra": {proxy.Scheme + " to " + target}}, nil
	}
	c, _, err := Dial(testContext(t), "ws://example.com:8080/", &Options{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantEcho(t, c, "hello")
	if got := p.noted(); len(got) != 1 || got[0] != "CONNECT example.com:8080 http to example.com:8080" {
		t.Errorf("the proxy is asked %q", got)
	}
}

// A redirect to another host has the proxy asked anew, and one that needs no proxy
// is gone to directly.
func TestDialProxyRedirect(t *testing.T) {
	target := serve(t, acceptor(nil, echo))
	p := &relay{to: serve(t, http.RedirectHandler("ws://"+target+"/", http.StatusFound))}
	proxy := serve(t, p)
	client := &http.Client{Transport: &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == target {
			return nil, nil
		}
		return &url.URL{Scheme: "http", Host: proxy}, nil
	}}}
	c, _, err := Dial(testContext(t), "ws://example.com/", &Options{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != target {
		t.Errorf("the connection is to %v, and should be to %s", c.RemoteAddr(), target)
	}
	if got := p.noted(); len(got) != 1 {
		t.Errorf("the proxy is asked %q", got)
	}
}

// A proxy that does not answer is waited for until the context ends, for a minute at
// the most. Nothing is left then.
func TestDialProxyIsSilent(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, time.Hour} {
		synctestRun(t, timeout.String(), func(t *testing.T) {
			s := newPiped(func(nc net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(nc)); err != nil {
					t.Error(err)
				}
				io.Copy(io.Discard, nc)
			})
			s.Client.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example"})
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			start := time.Now()
			_, _, err := Dial(ctx, "ws://example.com", &Options{HTTPClient: s.Client})
			if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d != min(timeout, time.Minute) {
				t.Errorf("Dial returns %v after %v", err, d)
			}
			synctest.Wait() // for the dial, which may have gone on when Dial returned
			s.wg.Wait()
		})
	}
}

// A dial in progress ends with the context of the handshake: http.Transport would
// leave it to go on for a request to come.
func TestDialEndsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := Dial(ctx, "ws://example.com", &Options{HTTPClient: client}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial returns %v", err)
		}
		<-ended
	})
}

// The environment is read once a process, so this test is one.
func TestDialProxyEnvironment(t *testing.T) {
	const inside = "WEBSOCKET_TEST_PROXY"
	if os.Getenv(inside) != "" {
		dialInEnvironment(t)
		return
	}
	p := &relay{to: serve(t, acceptor(nil, echo)), user: "user:secret"}
	secure := &relay{to: startServer(t, "wss", acceptor(nil, echo)).Listener.Addr().String(), user: "user:secret"}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDialProxyEnvironment$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1",
		"HTTP_PROXY=http://user:secret@"+serve(t, p), "HTTPS_PROXY=socks5://user:secret@"+secure.serveSOCKS(t),
		"NO_PROXY=direct.example,.inside.example")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "SKIP") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := p.noted(); len(got) != 1 || got[0] != "CONNECT proxied.example:80 " {
		t.Errorf("the proxy of the environment is asked %q", got)
	}
	if got := secure.noted(); len(got) != 1 || got[0] != "SOCKS 1 proxied.example:443" {
		t.Errorf("the SOCKS proxy of the environment is asked %q", got)
	}
}

func dialInEnvironment(t *testing.T) {
	dialed := make(map[string]bool)
	rt := http.DefaultTransport.(*http.Transport).Clone()
	direct := rt.DialContext
	rt.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	rt.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "127.0.0.1") {
			return direct(ctx, network, addr)
		}
		dialed[addr] = true
		return nil, io.ErrClosedPipe
	}
	opts := &Options{HTTPClient: &http.Client{Transport: rt}}
	for _, u := range []string{"ws://proxied.example", "wss://proxied.example"} {
		c, _, err := Dial(testContext(t), u, opts)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c, "hello")
		c.Close()
	}
	for _, u := range []string{"ws://direct.example", "ws://a.inside.example", "wss://direct.example"} {
		if _, _, err := Dial(testContext(t), u, opts); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Dial(%q) returns %v", u, err)
		}
	}
	want := map[string]bool{"direct.example:80": true, "a.inside.example:80": true, "direct.example:443": true}
	if !maps.Equal(dialed, want) {
		t.Errorf("hosts of NO_PROXY should be dialled directly: %v", dialed)
	}
}
