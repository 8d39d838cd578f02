package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"example.com/websocket"
)

// A proxy is a reverse proxy. As a peer it has the library at both ends: over TLS,
// its server ends TLS and goes on without, and its client begins it.
type proxy struct {
	program   string
	arguments []string // before the name of the configuration file
	config    string   // a template, executed with a proxyConfig
}

var nginxPeer, haproxyPeer = nginx.peer(), haproxy.peer()

func (p proxy) peer() *peer {
	return &peer{
		name:   p.program,
		needs:  p.installed,
		server: func(f *far) { f.serveOurs(p) },
		client: func(f *far, url string) { f.connectOurs(p, url) },
	}
}

func (p proxy) installed() error {
	_, err := exec.LookPath(p.program)
	return err
}

var nginx = proxy{"nginx", []string{"-e", "stderr", "-c"}, `
daemon off;
pid {{.Directory}}/pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path {{.Directory}}/temporary;
	proxy_temp_path {{.Directory}}/temporary;
	fastcgi_temp_path {{.Directory}}/temporary;
	uwsgi_temp_path {{.Directory}}/temporary;
	scgi_temp_path {{.Directory}}/temporary;
	server {
		listen {{.Address}}{{if .TLS}} ssl{{end}};
		ssl_certificate {{.PEM}};
		ssl_certificate_key {{.PEM}};
		location / {
			proxy_pass {{if .BackendTLS}}https{{else}}http{{end}}://{{.Backend}};
			proxy_ssl_trusted_certificate {{.PEM}};
			proxy_ssl_verify on;
			proxy_ssl_name localhost;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			{{if not .HidesHost}}proxy_set_header Host $http_host;{{end}}
			proxy_read_timeout {{.Idle}}ms;
		}
	}
}`}

var haproxy = proxy{"haproxy", []string{"-db", "-f"}, `
defaults
	mode http
	timeout connect 20s
	timeout client 20s
	timeout server 20s
	timeout tunnel {{.Idle}}ms
	retries 0
	default-server verifyhost localhost
frontend before
	bind fd@3{{if .TLS}} ssl crt {{.PEM}}{{end}}
	{{if .HidesHost}}http-request set-header Host {{.Backend}}{{end}}
	default_backend behind
backend behind
	server ours {{.Backend}}{{if .BackendTLS}} ssl verify required ca-file {{.PEM}}{{end}}
`}

// A route is what a proxy is to do.
type route struct {
	backend   string        // the ws or wss URL that it leads to
	tls       bool          // it ends TLS
	idle      time.Duration // after so much silence it ends a connection; 0: it is patient
	hidesHost bool          // it puts the backend's name in the place of the Host header field
}

type proxyConfig struct {
	Address, Backend           string // host:port
	TLS, BackendTLS, HidesHost bool
	Idle                       int64 // ms
	PEM, Directory             string
}

// start starts the proxy and returns its URL. It gets a socket that listens
// already, as its file descriptor 3, so that nobody has to wait for it.
func (p proxy) start(t testing.TB, r route) string {
	t.Helper()
	backend, err := url.Parse(r.backend)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if r.idle == 0 {
		r.idle = time.Minute
	}
	c := proxyConfig{
		Address: l.Addr().String(), Backend: backend.Host,
		TLS: r.tls, BackendTLS: backend.Scheme == "wss", HidesHost: r.hidesHost,
		Idle: r.idle.Milliseconds(),
		PEM:  localhost().pem, Directory: t.TempDir(),
	}
	p.run(t, l.(*net.TCPListener), c)
	if r.tls {
		return "wss://" + c.Address + "/"
	}
	return "ws://" + c.Address + "/"
}

// run runs the program until the test ends.
func (p proxy) run(t testing.TB, l *net.TCPListener, c proxyConfig) {
	t.Helper()
	var config bytes.Buffer
	if err := template.Must(template.New("").Parse(p.config)).Execute(&config, c); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(c.Directory, "config")
	if err := os.WriteFile(name, config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := exec.Command(p.program, append(p.arguments, name)...)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), "NGINX=3;") // so nginx is told of sockets that it inherits
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // not Kill: nginx ends its workers then
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", p.program, &output)
		}
	})
}

// What is to be known of reverse proxies beyond the rows.
func TestProxies(t *testing.T) {
	for _, p := range []proxy{nginx, haproxy} {
		t.Run(p.program, func(t *testing.T) {
			t.Parallel()
			require(t, p.installed)
			t.Run("origin", p.testOrigin)
			t.Run("idle", p.testIdle)
			t.Run("shutdown", p.testShutdown)
			t.Run("gone", p.testGone)
		})
	}
}

// A page from the proxy's own address may connect by default: if the proxy hands
// the Host header field on, and if TLS ends there, too.
func (p proxy) testOrigin(t *testing.T) {
	backend := "ws" + strings.TrimPrefix(echoServer(t, nil), "http")
	for _, tt := range []struct {
		name    string
		route   route
		foreign bool
		allowed bool
	}{
		{"own", route{}, false, true},
		{"own, over TLS", route{tls: true}, false, true},
		{"foreign", route{}, true, false},
		{"own, but the proxy hides it", route{hidesHost: true}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.route.backend = backend
			target := p.start(t, tt.route)
			origin := "http" + strings.TrimSuffix(strings.TrimPrefix(target, "ws"), "/")
			if tt.foreign {
				origin = "http://elsewhere.example"
			}
			opts := wire{}.clientOptions()
			opts.Header = http.Header{"Origin": {origin}}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			c, _, err := websocket.Dial(ctx, target, opts)
			if err == nil {
				defer c.Close()
			}
			var refused *websocket.HandshakeError
			switch {
			case tt.allowed && err != nil:
				t.Errorf("a page from %s should be let in by %s: %v", origin, target, err)
			case !tt.allowed && (!errors.As(err, &refused) || refused.StatusCode != http.StatusForbidden):
				t.Errorf("a page from %s should be refused with 403 by %s: %v", origin, target, err)
			}
		})
	}
}

// echoServer starts a server of our own, which tells of nothing, and returns its
// http URL.
func echoServer(t testing.TB, ended chan<- error) string {
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		for {
			typ, p, err := c.ReadMessage(r.Context())
			if err == nil {
				err = c.WriteMessage(r.Context(), typ, p)
			}
			if err != nil {
				if ended != nil {
					ended <- err
				}
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A proxy ends what is silent for too long. Both ends learn of it, and keepalive
// prevents it.
func (p proxy) testIdle(t *testing.T) {
	const idle = 500 * time.Millisecond
	ended := make(chan error, 3)
	target := p.start(t, route{backend: "ws" + strings.TrimPrefix(echoServer(t, ended), "http"), idle: idle})
	opts := wire{}.clientOptions()
	opts.KeepAlive = idle / 5
	kept := dial(t, target, opts)
	defer kept.Close()
	heard := make(chan error, 1) // somebody has to read, or there is nothing to wait for
	go func() {
		_, _, err := kept.ReadMessage(context.Background())
		heard <- err
	}()
	for range 3 {
		silent := dial(t, target, wire{}.clientOptions())
		_, _, err := silent.ReadMessage(context.Background())
		silent.Close()
		for end, err := range map[string]error{"client": err, "server": receive(t, "the server should see the end", ended)} {
			if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the %s should see that the connection is lost, and sees %v", end, err)
			}
		}
	}
	if err := kept.WriteText(context.Background(), "still here"); err != nil {
		t.Error(err)
	}
	if err := receive(t, "the connection with keepalive should be there still", heard); err != nil {
		t.Error(err)
	}
}

// Clients behind a proxy see the server's Close frame when it shuts down.
func (p proxy) testShutdown(t *testing.T) {
	ours := &websocket.Server{Handler: func(c *websocket.Conn, r *http.Request) { c.ReadMessage(r.Context()) }}
	s := httptest.NewServer(ours)
	defer s.Close()
	c := dial(t, p.start(t, route{backend: "ws" + strings.TrimPrefix(s.URL, "http")}), wire{}.clientOptions())
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- ours.Shutdown(ctx) }()
	_, _, err := c.ReadMessage(ctx)
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != websocket.StatusGoingAway {
		t.Errorf("the client should see %v, and sees %v", websocket.StatusGoingAway, err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown through a proxy: %v", err)
	}
}

// When there is no backend the client gets what the proxy has to say.
func (p proxy) testGone(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	target := p.start(t, route{backend: "ws" + strings.TrimPrefix(s.URL, "http")})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _, err := websocket.Dial(ctx, target, nil)
	var refused *websocket.HandshakeError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusBadGateway && refused.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the client should see the proxy's status 502 or 503, and sees %v", err)
	}
}
