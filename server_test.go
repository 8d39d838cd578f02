package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
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
func (p *rawPeer) shake(lines ...string) int {
	p.t.Helper()
	resp, _ := p.ask(handshake(lines...))
	return resp.StatusCode
}

// ask sends a request, unless that is "" and was sent before, and returns the response,
// and its body unless that is a 101.
func (p *rawPeer) ask(request string) (resp *http.Response, body string) {
	p.t.Helper()
	if request != "" { // or the server may have answered and closed
		p.write([]byte(request))
	}
	br := bufio.NewReader(p.nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(resp.Body)
		body = string(b)
	}
	p.rest, _ = br.Peek(br.Buffered())
	return resp, body
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
		ended, cancel := context.WithCancel(bg)
		cancel()
		for range 50 {
			if err := errors.Join(new(Server).Shutdown(bg), new(Server).Shutdown(ended)); err != nil {
				t.Fatalf("there is nothing to wait for, and Shutdown returns %v", err)
			}
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

// Whatever a function is doing, and whatever its client does, Shutdown is over with its
// context at the latest, and a second later nothing is left. A client that answers is
// not waited for.
func TestServerShutdownCutsAnything(t *testing.T) {
	room := new(Group)
	often := func(f func() error) {
		for f() == nil {
			time.Sleep(300 * time.Millisecond)
		}
	}
	doings := map[string]Handler{
		"reads":                func(c *Conn, r *http.Request) { often(func() error { return readErr(c) }) },
		"writes":               func(c *Conn, r *http.Request) { often(func() error { return c.WriteText(bg, pattern(5000)) }) },
		"writes much":          func(c *Conn, r *http.Request) { often(func() error { return c.WriteText(bg, pattern(200_000)) }) },
		"pings":                func(c *Conn, r *http.Request) { often(func() error { _, err := c.Ping(bg); return err }) },
		"is a member":          func(c *Conn, r *http.Request) { room.Add(c); <-c.CloseRead(bg).Done() },
		"reads half a message": func(c *Conn, r *http.Request) { c.NextReader(bg); <-r.Context().Done() },
		"streams":              func(c *Conn, r *http.Request) { s := Stream(c, MessageBinary); io.Copy(s, s) },
		"closes its stream": func(c *Conn, r *http.Request) {
			time.Sleep(9 * time.Second)
			Stream(c, MessageBinary).Close()
		},
		"closes itself": func(c *Conn, r *http.Request) {
			time.Sleep(9 * time.Second)
			c.Shutdown(bg, 4000, "")
		},
		"writes a message without end": func(c *Conn, r *http.Request) {
			m, _ := c.NextWriter(bg, MessageText)
			often(func() error { _, err := m.Write([]byte(pattern(5000))); return err })
		},
		"writes half a message": func(c *Conn, r *http.Request) {
			m, _ := c.NextWriter(bg, MessageText)
			m.Write([]byte(pattern(5000)))
			<-r.Context().Done()
		},
	}
	clients := map[string]func(p *rawPeer){
		"does nothing": func(p *rawPeer) {},
		"only reads":   func(p *rawPeer) { io.Copy(io.Discard, p.nc) },
		"only sends":   func(p *rawPeer) { often(func() error { _, err := p.nc.Write(textF("x").bytes(client)); return err }) },
		"sends much": func(p *rawPeer) {
			often(func() error { _, err := p.nc.Write(textF(pattern(9000)).bytes(client)); return err })
		},
		"answers": func(p *rawPeer) {
			for f, err := p.readFrame(); err == nil; f, err = p.readFrame() {
				if f.op == OpClose {
					p.nc.Write(closeF(1001, "").bytes(client))
				}
			}
			p.nc.Close()
		},
	}
	for doing, h := range doings {
		for does, f := range clients {
			bubble(t, "it "+doing+", the client "+does, func(t *testing.T) {
				server := &Server{Handler: h}
				p := newSite(t, server).connect(3000)
				p.shake()
				peer := inBackground(func() bool { f(p); return true })
				time.Sleep(10 * time.Second)
				ctx, cancel := context.WithTimeout(bg, 3*time.Second)
				defer cancel()
				var err error
				d := took(func() { err = server.Shutdown(ctx) })
				if does == "answers" && (err != nil || d > time.Second) || d > 3*time.Second || (d == 3*time.Second) != (err != nil) {
					t.Errorf("Shutdown returns %v after %v", err, d)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if open := server.Stats().Open; open > 0 || server.serving > 0 || room.Len() > 0 {
					t.Errorf("%d connections, %d functions and %d members are left", open, server.serving, room.Len())
				}
				p.nc.Close()
				<-peer
			})
		}
	}
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
	}, MaxConns: 20, MaxConnsPerAddr: 20}
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
	stats := server.Stats()
	if stats.Open != 0 || stats.Accepted != 20 || stats.Received.Messages != 20 || stats.Sent.Messages != 20 {
		t.Errorf("20 connections with a message each way have ended: %+v", stats)
	}
	if len(server.addrs) > 0 {
		t.Errorf("addresses should be forgotten: %v", server.addrs)
	}
}

// from is a middleware that knows where a request comes from.
func from(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("X-From")
		h.ServeHTTP(w, r)
	})
}

// What comes beyond a limit is refused with 503, until somebody leaves.
func TestServerLimits(t *testing.T) {
	wait := func(c *Conn, r *http.Request) { readErr(c) }
	bubble(t, "in all", func(t *testing.T) {
		server := &Server{MaxConns: 3, Handler: wait}
		s := newSite(t, server)
		peers := []*rawPeer{s.visit(), s.visit(), s.visit()}
		for range 3 {
			resp, body := s.connect(1 << 20).ask(handshake())
			if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "Server.MaxConns)") {
				t.Errorf("the fourth connection of three should be refused with 503, which names the option, and is with %d: %s", resp.StatusCode, body)
			}
		}
		peers[0].send(closeF(1000, ""))
		time.Sleep(time.Second)
		synctest.Wait()
		s.visit()
		synctest.Wait() // the client may have its answer before the server counts it
		if got := server.Stats(); got.Open != 3 || got.Accepted != 4 || got.Refused["limit"] != 3 {
			t.Errorf("%+v", got)
		}
	})
	bubble(t, "handshakes count", func(t *testing.T) {
		s := newSite(t, &Server{MaxConns: 1, Handler: wait})
		s.connect(1).write([]byte(handshake())) // the answer does not fit
		synctest.Wait()
		if status := s.connect(1 << 20).shake(); status != http.StatusServiceUnavailable {
			t.Errorf("a handshake is under way: the next should be refused with 503, and is with %d", status)
		}
		time.Sleep(time.Minute) // it has failed
		s.visit()
	})
	bubble(t, "for an address", func(t *testing.T) {
		server := &Server{MaxConnsPerAddr: 2, Handler: wait}
		s := newSite(t, from(server))
		visit := func(addr string, want int) *rawPeer {
			t.Helper()
			p := s.connect(1 << 20)
			if status := p.shake("X-From: " + addr); status != want {
				t.Errorf("%q should be answered with %d, and is with %d", addr, want, status)
			}
			return p
		}
		first := visit("192.0.2.1:1", 101)
		visit("192.0.2.1:2", 101)
		visit("192.0.2.1:3", 503)
		visit("192.0.2.1", 503)            // without a port
		visit("[::ffff:192.0.2.1]:4", 503) // the same in IPv6
		visit("192.0.2.2:1", 101)
		visit("[2001:db8::1]:1", 101)
		visit("[2001:db8::ffff:2]:1", 101)
		visit("[2001:db8::3]:1", 503) // the same customer's
		visit("[2001:db8:0:1::1]:1", 101)
		visit("[fe80::1%eth0]:1", 101)
		visit("[fe80::2%eth1]:1", 101)
		visit("[fe80::1]:1", 503)
		for range 3 {
			visit("@", 101) // no address: a proxy's Unix socket
		}
		first.send(closeF(1000, ""))
		time.Sleep(time.Second)
		synctest.Wait()
		visit("192.0.2.1:5", 101)
		visit("192.0.2.1:6", 503)
		if got := server.Stats().Refused["address"]; got != 6 {
			t.Errorf("6 were refused because of their address, and %d are counted", got)
		}
	})
	bubble(t, "what is refused takes no place", func(t *testing.T) {
		server := &Server{MaxConns: 1, MaxConnsPerAddr: 1, Handler: wait}
		s := newSite(t, from(server))
		for range 3 {
			if status := s.connect(1<<20).shake("X-From: 192.0.2.1:1", "Origin: https://example.org"); status != http.StatusForbidden {
				t.Errorf("a foreign origin is answered with %d", status)
			}
		}
		if status := s.connect(1 << 20).shake("X-From: 192.0.2.1:1"); status != http.StatusSwitchingProtocols {
			t.Errorf("the place should be free, and the answer is %d", status)
		}
	})
}

// However many handshakes come at a time, and however they end, no more than the limit
// are served at once, and all places are free in the end.
func TestServerLimitsHold(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const limit, perAddr = 7, 3
		var running, most, served atomic.Int32
		server := &Server{
			MaxConns: limit, MaxConnsPerAddr: perAddr,
			Options: Options{CheckOrigin: func(r *http.Request) bool {
				if r.Header.Get("Origin") == "http://panic" {
					panic(http.ErrAbortHandler)
				}
				return false
			}},
			Admit: func(r *http.Request) error {
				switch r.Header.Get("X-Admit") {
				case "no":
					return errors.New("no")
				case "exit":
					runtime.Goexit()
				}
				return nil
			},
			Handler: func(c *Conn, r *http.Request) {
				n := running.Add(1)
				defer running.Add(-1)
				served.Add(1)
				if n > most.Load() {
					most.Store(n)
				}
				if r.Header.Get("X-Panic") != "" {
					panic(http.ErrAbortHandler)
				}
				readErr(c)
			},
		}
		s := newSite(t, from(server))
		lines := []string{"", "Origin: http://foreign", "Origin: http://panic", "X-Admit: no", "X-Admit: exit", "X-Panic: yes", "Upgrade: other", ""}
		var visitors sync.WaitGroup
		for i := range 400 {
			room := 1 << 20
			if i%11 == 0 {
				room = 1 // the answer does not fit
			}
			p := s.connect(room)
			visitors.Go(func() {
				time.Sleep(time.Duration(i%20) * time.Second)
				fields := []string{fmt.Sprintf("X-From: 192.0.2.%d:1", i%5)}
				if line := lines[i%len(lines)]; line != "" {
					fields = append(fields, line)
				}
				p.write([]byte(handshake(fields...)))
				time.Sleep(time.Duration(i%3) * time.Second)
				p.nc.Close()
			})
		}
		visitors.Wait()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if served.Load() < limit || most.Load() > limit {
			t.Errorf("%d functions ran, of which %d at once; the limit is %d", served.Load(), most.Load(), limit)
		}
		if stats := server.Stats(); stats.Open != 0 || server.serving != 0 || len(server.addrs) != 0 {
			t.Errorf("all places should be free, and %d of %v are taken: %+v", server.serving, server.addrs, stats)
		}
	})
}

// Admit refuses with the status that it likes, handshakes with which nothing else is
// wrong.
func TestServerAdmit(t *testing.T) {
	forbidden := errors.New("the database says no")
	var result error
	asked := 0
	server := &Server{
		Handler: func(c *Conn, r *http.Request) { readErr(c) },
		Admit: func(r *http.Request) error {
			asked++
			if r.URL.Path != "/chat" {
				return errors.New("not the request")
			}
			return result
		},
	}
	for _, tc := range []struct {
		result error
		status int
		body   string
		header string
	}{
		{nil, 101, "", ""},
		{&HandshakeError{StatusCode: 401, Header: http.Header{"Www-Authenticate": {"Basic"}}, Reason: "who are you?"}, 401, "401 Unauthorized: who are you?", "Basic"},
		{fmt.Errorf("wrapped: %w", &HandshakeError{StatusCode: 429}), 429, "429 Too Many Requests", ""},
		{&HandshakeError{StatusCode: 307, Header: http.Header{"Location": {"/there"}}, Reason: "there"}, 307, "307 Temporary Redirect: there", ""},
		{forbidden, 403, "403 Forbidden: the server does not admit this client", ""},
		{&HandshakeError{StatusCode: 200, Reason: "mistake"}, 500, "500 Internal Server Error: the server cannot complete the handshake", ""},
		{&HandshakeError{Reason: "mistake"}, 500, "500 Internal Server Error: the server cannot complete the handshake", ""},
	} {
		bubble(t, fmt.Sprint(tc.result), func(t *testing.T) {
			result = tc.result
			resp, body := newSite(t, server).connect(1 << 20).ask(handshake())
			if resp.StatusCode != tc.status || strings.TrimSpace(body) != tc.body || resp.Header.Get("Www-Authenticate") != tc.header {
				t.Errorf("the answer should be %d %q, and is %d %q, %v", tc.status, tc.body, resp.StatusCode, body, resp.Header)
			}
		})
	}
	bubble(t, "what is wrong anyhow", func(t *testing.T) {
		before := asked
		s := newSite(t, server)
		s.connect(1 << 20).shake("Origin: https://example.org")
		s.connect(1 << 20).ask("GET /chat HTTP/1.1\r\nHost: example.com\r\n\r\n")
		if asked != before {
			t.Error("Admit should not be asked")
		}
	})
	bubble(t, "a panic", func(t *testing.T) {
		for name, server := range map[string]*Server{
			"Admit":       {Admit: func(*http.Request) error { panic("boom") }},
			"CheckOrigin": {Options: Options{CheckOrigin: func(*http.Request) bool { panic("boom") }}},
		} {
			server.MaxConns = 1
			s := newSite(t, server)
			for i := range 3 { // it takes no place
				p := s.connect(1 << 20)
				p.write([]byte(handshake("Origin: http://example.com")))
				p.wantEOF("net/http ends the connection of a handler that panics")
				if log := s.logged(); strings.Count(log, "serving memory: boom") != i+1 {
					t.Errorf("a panic in %s should be logged each time, and the log is %s", name, log)
				}
			}
			if got := server.Stats(); got.Refused["fault"] != 3 || len(got.Refused) != 1 {
				t.Errorf("a handshake that a panic in %s has ended should be counted as the server's fault: %v", name, got.Refused)
			}
		}
	})
	if got := server.Stats().Refused; got["admit"] != 6 || got["origin"] != 1 || got["handshake"] != 1 {
		t.Errorf("refusals should be counted by reason: %v", got)
	}
}

// The Logger is told of what an operator wants to know.
func TestServerLogger(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var log strings.Builder
		server := &Server{
			Logger:  slog.New(slog.NewTextHandler(&log, nil)),
			Handler: func(c *Conn, r *http.Request) { readErr(c) },
		}
		s := newSite(t, server)
		wantLog := func(why string, want ...string) {
			t.Helper()
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			for _, w := range want {
				if !strings.Contains(log.String(), w) {
					t.Errorf("%s: the log should have %q, and is %s", why, w, log.String())
				}
			}
			if len(want) == 0 && log.Len() > 0 {
				t.Errorf("%s: nothing should be logged, and it is %s", why, log.String())
			}
			if logged := s.logged(); logged != "" {
				t.Errorf("the http.Server's log should have nothing: %s", logged)
			}
			log.Reset()
		}
		for _, code := range []StatusCode{1000, 1001, 1005} {
			p := s.visit()
			p.send(closeF(code, ""))
			p.nc.Close()
			wantLog(fmt.Sprint("a close with ", code))
		}
		s.connect(1 << 20).shake("Origin: https://example.org")
		wantLog("an origin", "level=WARN", "kind=origin", "remote=memory", "path=/chat", "AllowOrigins")
		s.visit().nc.Close()
		wantLog("a client that is lost", "level=INFO", "remote=memory", "connection lost without a Close frame")
		s.visit()
		wantLog("a silent client", "level=INFO", "Options.KeepAlive")
		s.visit().send(closeF(4000, "why"))
		wantLog("a close with a code of its own", "level=INFO", "4000", "why")
		server.Handler = func(c *Conn, r *http.Request) { panic("boom") }
		s.visit()
		wantLog("a panic", "level=ERROR", "panic=boom", "server_test.go")
		server.Handler = func(c *Conn, r *http.Request) { c.Close() }
		s.visit().nc.Close()
		wantLog("our own Close")
	})
}
