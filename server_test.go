package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/websocket/internal/memnet"
)

// A site is an http.Server in a bubble, and what it logs.
type site struct {
	t    *testing.T
	http *http.Server
	ends chan net.Conn
	once sync.Once

	mu  sync.Mutex
	log strings.Builder
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *site) Accept() (net.Conn, error) {
	if nc, ok := <-s.ends; ok {
		return nc, nil
	}
	return nil, net.ErrClosed
}

func (s *site) Close() error {
	s.once.Do(func() { close(s.ends) })
	return nil
}

func (s *site) Addr() net.Addr { return memnet.Addr("memory") }

type siteKey struct{}

type otherKey struct{}

// newSite serves h, inside a bubble, until the test ends.
func newSite(t *testing.T, h http.Handler) *site {
	s := &site{t: t, ends: make(chan net.Conn)}
	s.http = &http.Server{
		Handler:  h,
		ErrorLog: log.New(s, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, siteKey{}, "value")
		},
	}
	go s.http.Serve(s)
	t.Cleanup(func() { s.http.Close() })
	return s
}

// connect opens a connection on which room bytes fit towards the client.
func (s *site) connect(room int) *rawPeer {
	mine, far := newMemPipe(room)
	s.ends <- mine
	s.t.Cleanup(func() { far.Close() })
	return &rawPeer{t: s.t, nc: far, role: client}
}

// shake makes the opening handshake on it, and returns the response's status.
func (p *rawPeer) shake() int {
	p.t.Helper()
	p.write([]byte(handshake()))
	br := bufio.NewReader(p.nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		io.Copy(io.Discard, resp.Body)
	}
	p.rest, _ = br.Peek(br.Buffered())
	return resp.StatusCode
}

// visit makes a connection to the site, which should be accepted.
func (s *site) visit() *rawPeer {
	s.t.Helper()
	p := s.connect(64 << 10)
	if status := p.shake(); status != http.StatusSwitchingProtocols {
		s.t.Fatalf("the handshake should be accepted, and is answered with %d", status)
	}
	return p
}

// answerClose answers a Close frame with code, and closes TCP behind the server.
func (p *rawPeer) answerClose(why string, code StatusCode) {
	p.t.Helper()
	p.wantClose(why, code)
	p.send(closeF(code, ""))
	p.wantEOF(why)
	p.nc.Close()
}

// A Handler's return sends what was written, and closes with 1000.
func TestHandlerReturns(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := newSite(t, Handler(func(c *Conn, r *http.Request) {
			for i := range 100 {
				c.WriteText(r.Context(), fmt.Sprint(i, pattern(2000)))
			}
		}))
		p := s.visit()
		for i := range 100 {
			p.wantFrame("what was written before the return", textF(fmt.Sprint(i, pattern(2000))))
		}
		p.answerClose("a Handler's return", StatusNormalClosure)
	})
	bubble(t, "the client does not answer", func(t *testing.T) {
		s := newSite(t, Handler(func(c *Conn, r *http.Request) {}))
		p := s.visit()
		start := time.Now()
		p.wantClose("a Handler's return", StatusNormalClosure)
		p.wantEOF("the server does not wait for ever")
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("a Handler's return should wait for 5 s, and waits for %v", d)
		}
	})
	bubble(t, "the connection is closed already", func(t *testing.T) {
		s := newSite(t, Handler(func(c *Conn, r *http.Request) { c.Shutdown(bg, 4000, "mine") }))
		s.visit().answerClose("the Handler's own Shutdown", 4000)
		s = newSite(t, Handler(func(c *Conn, r *http.Request) { c.Close() }))
		p := s.visit()
		p.wantClose("the Handler's own Close", StatusGoingAway)
		p.wantEOF("the Handler's own Close")
	})
}

func TestHandlerPanics(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    func()
		log  string
	}{
		{"an error", func() { panic(errors.New("boom")) }, "boom"},
		{"what cannot be compared", func() { panic([]int{42}) }, "[42]"},
		{"nil", func() { panic(nil) }, "nil"},
		{"http.ErrAbortHandler", func() { panic(http.ErrAbortHandler) }, ""},
		{"runtime.Goexit", runtime.Goexit, ""},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			s := newSite(t, Handler(func(c *Conn, r *http.Request) {
				c.WriteText(bg, "before")
				tc.f()
			}))
			p := s.visit()
			p.wantFrame("what was written before", textF("before"))
			p.answerClose("a panic", StatusInternalError)
			log := s.logged()
			switch {
			case tc.log == "" && log != "":
				t.Errorf("it should not be logged: %s", log)
			case tc.log != "" && !(strings.Contains(log, tc.log) && strings.Contains(log, "panic serving memory") && strings.Contains(log, "server_test.go")):
				t.Errorf("a panic should be logged with its place: %s", log)
			}
		})
	}
	bubble(t, "a Server without a Handler", func(t *testing.T) {
		s := newSite(t, new(Server))
		s.visit().answerClose("no Handler", StatusInternalError)
	})
}

// The context of the request has its values, and ends with the connection and not
// before.
func TestHandlerContext(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		ended := make(chan error, 1)
		s := newSite(t, Handler(func(c *Conn, r *http.Request) {
			ctx := r.Context()
			if ctx.Value(siteKey{}) != "value" || ctx.Value(http.ServerContextKey) == nil || ctx.Value(http.LocalAddrContextKey) == nil {
				t.Error("the request's context should have its values")
			}
			child, cancel := context.WithTimeout(context.WithValue(ctx, otherKey{}, "b"), time.Hour)
			defer cancel()
			stopped := make(chan struct{})
			context.AfterFunc(child, func() { close(stopped) })
			time.Sleep(20 * time.Second)
			if ctx.Err() != nil || child.Err() != nil {
				t.Errorf("the context should live as long as the connection: %v, %v", ctx.Err(), child.Err())
			}
			if _, p, err := c.ReadMessage(child); err != nil || string(p) != "hello" {
				t.Errorf("%q, %v", p, err)
			}
			_, _, err := c.ReadMessage(child)
			wantCloseError(t, "a read with a context that ends with the connection", err, 4000)
			<-stopped
			<-ctx.Done()
			wantErr(t, "a derived context", child.Err(), context.Canceled)
			wantCloseError(t, "a write with it", c.WriteText(child, "x"), 4000)
			ended <- ctx.Err()
		}))
		p := s.visit()
		p.send(textF("hello"))
		time.Sleep(40 * time.Second)
		p.send(closeF(4000, ""))
		wantErr(t, "the request's context", <-ended, context.Canceled)
	})
}

// The context of one connection's request may serve another connection: a proxy's.
func TestContextOfAnotherConnection(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		other := newRig(t, server, nil)
		ctx := &requestContext{bg, other.c}
		read := inBackground(func() error { _, _, err := g.c.ReadMessage(ctx); return err })
		g.stall()
		large := writeAsync(ctx, g.c, pattern(largeWrite))
		wantPending(t, "a read should wait", read)
		wantPending(t, "a large write should wait", large)
		other.c.Close()
		wantNow(t, "a read with the context of a connection that was closed", read, context.Canceled)
		wantNow(t, "a large write with it", large, context.Canceled)
		g.unstall()
		g.send(textF("x"))
		wantRead(t, "this connection goes on", g.c, MessageText, "x")
		g.c.WriteText(bg, "y")
		g.wantFrame("this connection goes on", textF("y"))
	})
}

// Server.Shutdown sends 1001 to everybody, and waits for their functions.
func TestServerShutdown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var running, goingAway atomic.Int32
		server := &Server{Handler: func(c *Conn, r *http.Request) {
			running.Add(1)
			defer running.Add(-1)
			c.WriteText(bg, "welcome")
			var e *CloseError
			if errors.As(readErr(c), &e) && e.Code == StatusGoingAway {
				goingAway.Add(1)
			}
			time.Sleep(3 * time.Second) // cleans up
		}}
		s := newSite(t, server)
		var peers []*rawPeer
		for range 5 {
			p := s.visit()
			p.wantFrame("the function", textF("welcome"))
			peers = append(peers, p)
		}
		gone := s.visit() // has left when Shutdown comes
		gone.nc.Close()
		time.Sleep(5 * time.Second)
		start := time.Now()
		down := inBackground(func() error { return server.Shutdown(bg) })
		again := inBackground(func() error { return server.Shutdown(bg) })
		for _, p := range peers {
			p.answerClose("Server.Shutdown", StatusGoingAway)
		}
		if status := s.connect(1 << 20).shake(); status != http.StatusServiceUnavailable {
			t.Errorf("a server that is going down should answer 503, and answers %d", status)
		}
		if err := errors.Join(<-down, <-again); err != nil {
			t.Error(err)
		}
		if n := goingAway.Load(); n != 5 {
			t.Errorf("5 functions should read the clients' 1001, and %d do", n)
		}
		if d := time.Since(start); running.Load() != 0 || d < 3*time.Second {
			t.Errorf("Shutdown should wait for the functions: %d run after %v", running.Load(), d)
		}
		if status := s.connect(1 << 20).shake(); status != http.StatusServiceUnavailable {
			t.Errorf("a server that is down should answer 503, and answers %d", status)
		}
		if err := server.Shutdown(bg); err != nil {
			t.Errorf("Shutdown of a server that is down returns %v", err)
		}
	})
	bubble(t, "nobody is there", func(t *testing.T) {
		if err := new(Server).Shutdown(bg); err != nil {
			t.Error(err)
		}
	})
	bubble(t, "its context ends", func(t *testing.T) {
		stay := make(chan struct{})
		server := &Server{Handler: func(c *Conn, r *http.Request) { <-stay }}
		s := newSite(t, server)
		p := s.visit()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		if d := took(func() { wantErr(t, "Shutdown", server.Shutdown(ctx), context.DeadlineExceeded) }); d != time.Second {
			t.Errorf("Shutdown should wait until its context ends, and waits for %v", d)
		}
		p.wantClose("Shutdown", StatusGoingAway)
		p.wantEOF("when the context has ended")
		again := inBackground(func() error { return server.Shutdown(bg) })
		wantPending(t, "a function still runs: Shutdown should wait", again)
		close(stay)
		if err := <-again; err != nil {
			t.Error(err)
		}
	})
}

func TestServerClose(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		returned := make(chan error, 3)
		server := &Server{Handler: func(c *Conn, r *http.Request) { returned <- readErr(c) }}
		s := newSite(t, server)
		var peers []*rawPeer
		for range 3 {
			peers = append(peers, s.visit())
		}
		synctest.Wait()
		start := time.Now()
		shut := inBackground(func() error { return server.Shutdown(bg) })
		synctest.Wait()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		for _, p := range peers {
			wantErr(t, "a function's read", <-returned, net.ErrClosed)
			p.wantClose("Close", StatusGoingAway)
			p.wantEOF("Close")
		}
		if err := <-shut; err != nil {
			t.Errorf("Close during Shutdown: Shutdown should still return when the functions have, and returns %v", err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("Close should not wait for peers, and takes %v", d)
		}
		if status := s.connect(1 << 20).shake(); status != http.StatusServiceUnavailable {
			t.Errorf("a server that is closed should answer 503, and answers %d", status)
		}
	})
}

// A connection whose handshake is under way when the server goes down is closed
// with 1001, and Shutdown waits for that too.
func TestServerShutdownDuringHandshake(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		server := &Server{Handler: func(c *Conn, r *http.Request) { t.Error("the function should not run any more") }}
		s := newSite(t, server)
		p := s.connect(10) // the answer does not fit
		p.write([]byte(handshake()))
		synctest.Wait()
		down := inBackground(func() error { return server.Shutdown(bg) })
		wantPending(t, "a handshake is under way: Shutdown should wait", down)
		br := bufio.NewReader(p.nc)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		p.rest, _ = br.Peek(br.Buffered())
		p.answerClose("a server that has gone down", StatusGoingAway)
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
	bubble(t, "many", func(t *testing.T) {
		server := &Server{Handler: func(c *Conn, r *http.Request) { readErr(c) }}
		s := newSite(t, server)
		var visitors sync.WaitGroup
		for i := range 30 {
			visitors.Go(func() {
				p := s.connect(1 << 20)
				p.nc.(*memConn).In.Update(func() { p.nc.(*memConn).In.Chunk = 1 + i })
				switch status := p.shake(); status {
				case http.StatusSwitchingProtocols:
					p.answerClose("Server.Shutdown", StatusGoingAway)
				case http.StatusServiceUnavailable:
				default:
					t.Errorf("the handshake is answered with %d", status)
				}
			})
			if i == 15 {
				visitors.Go(func() {
					if err := server.Shutdown(bg); err != nil {
						t.Error(err)
					}
				})
			}
		}
		visitors.Wait()
	})
}

// Over the system's network, by net/http as it is, nothing is left behind.
func TestServerLeaksNothing(t *testing.T) {
	watchLeaks(t)
	server := &Server{Handler: func(c *Conn, r *http.Request) {
		for {
			typ, p, err := c.ReadMessage(r.Context())
			if err != nil {
				return
			}
			c.WriteMessage(r.Context(), typ, p)
		}
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: server}
	served := inBackground(func() error { return hs.Serve(l) })
	var clients, echoed sync.WaitGroup
	echoed.Add(20)
	for i := range 20 {
		clients.Go(func() {
			done := sync.OnceFunc(echoed.Done)
			defer done()
			c, _, err := Dial(bg, "ws://"+l.Addr().String(), &Options{HTTPClient: &http.Client{Transport: new(http.Transport)}})
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.WriteText(bg, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
			if _, p, err := c.ReadMessage(bg); err != nil || string(p) != fmt.Sprint(i) {
				t.Errorf("the echo of %d is %q, %v", i, p, err)
			}
			done()
			switch i % 4 {
			case 0:
				c.Close()
			case 1:
				c.Shutdown(bg, 1000, "")
			case 2:
				c.NetConn().Close()
				readErr(c)
			case 3:
				wantCloseError(t, "the rest", readErr(c), StatusGoingAway)
			}
		})
	}
	echoed.Wait()
	if !eventually(func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return len(server.conns) == 5
	}) {
		t.Error("connections that have ended should be forgotten")
	}
	if err := server.Shutdown(bg); err != nil {
		t.Error(err)
	}
	clients.Wait()
	hs.Close()
	<-served
}
