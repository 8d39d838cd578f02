package websocket

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// An ordinary http.Server's Shutdown sends 1001 to every connection, however it was
// accepted.
func TestHTTPServerShutdown(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"Handler": Handler(func(c *Conn, r *http.Request) { readErr(c) }),
		"Server":  &Server{Handler: func(c *Conn, r *http.Request) { readErr(c) }},
		"Accept, and nobody reads": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			Accept(w, r, nil)
		}),
	} {
		bubble(t, name, func(t *testing.T) {
			s := newSite(t, h)
			peers := []*rawPeer{s.visit(), s.visit(), s.visit()}
			gone := s.visit()
			gone.send(closeF(1000, ""))
			gone.nc.Close()
			synctest.Wait()
			time.Sleep(2 * time.Second)
			if n := rosterIn(t, s.http).len(); n > 4 || name == "Handler" && n != 3 {
				t.Errorf("a connection that has ended should be forgotten: there are %d", n)
			}
			if err := s.http.Shutdown(bg); err != nil {
				t.Error(err)
			}
			for _, p := range peers {
				p.answerClose("http.Server.Shutdown", StatusGoingAway)
			}
			gone.nc.Close()
			time.Sleep(11 * time.Second)
			if n := rosterIn(t, s.http).len(); n > 0 {
				t.Errorf("all should be forgotten, and %d are not", n)
			}
		})
	}
	bubble(t, "peers that do not answer", func(t *testing.T) {
		s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Accept(w, r, nil) }))
		peers := []*rawPeer{s.visit(), s.visit()}
		start := time.Now()
		s.http.Shutdown(bg)
		for _, p := range peers {
			p.wantClose("http.Server.Shutdown", StatusGoingAway)
			p.wantEOF("it does not wait for ever")
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("a closing handshake has 10 s, and ends after %v", d)
		}
	})
	// A request that net/http has begun to serve before, and that is a handshake.
	bubble(t, "during it", func(t *testing.T) {
		late := make(chan bool)
		s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Late") != "" {
				<-late
			}
			Accept(w, r, nil)
		}))
		s.visit().nc.Close()
		p := s.connect(1 << 20)
		p.write([]byte(handshake("X-Late: yes")))
		synctest.Wait()
		down := inBackground(func() error { return s.http.Shutdown(bg) })
		synctest.Wait()
		close(late)
		synctest.Wait()
		if resp, _ := p.ask(""); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a handshake that comes too late should be answered with 503, and is with %s", resp.Status)
		}
		p.nc.Close()
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
	bubble(t, "between the handshake's check and its end", func(t *testing.T) {
		s := newSite(t, Handler(func(c *Conn, r *http.Request) { readErr(c) }))
		s.visit().nc.Close()
		p := s.connect(10) // the answer does not fit
		p.write([]byte(handshake()))
		synctest.Wait()
		go s.http.Shutdown(bg)
		synctest.Wait()
		resp, _ := p.ask("")
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(resp.Status)
		}
		p.answerClose("it came too late", StatusGoingAway)
	})
}

func rosterIn(t *testing.T, hs *http.Server) *roster {
	r, err := http.NewRequestWithContext(context.WithValue(bg, http.ServerContextKey, hs), "GET", "http://example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return rosterOf(r)
}

func (s *roster) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// A server is registered with once, and not kept alive by that.
func TestRosterOfServer(t *testing.T) {
	hs := new(http.Server)
	first := rosterIn(t, hs)
	if first == nil || rosterIn(t, hs) != first || rosterIn(t, new(http.Server)) == first {
		t.Error("each http.Server should have one roster")
	}
	rosters.Lock()
	before := len(rosters.of)
	rosters.Unlock()
	runtime.KeepAlive(hs)
	hs, first = nil, nil
	if !eventually(func() bool {
		runtime.GC()
		rosters.Lock()
		defer rosters.Unlock()
		return len(rosters.of) <= before-2
	}) {
		t.Error("the roster of a server that is no more should go with it")
	}
}

// One that was not allocated is never collected, and served all the same.
func TestRosterOfStaticServer(t *testing.T) {
	if first := rosterIn(t, &staticServer); first == nil || rosterIn(t, &staticServer) != first {
		t.Error("an http.Server that is a variable should have a roster")
	}
	app := &struct {
		name [100]byte
		http.Server
	}{}
	if first := rosterIn(t, &app.Server); first == nil || rosterIn(t, &app.Server) != first {
		t.Error("an http.Server within another struct should have a roster")
	}
}

var staticServer http.Server

// Without an http.Server nothing is to be done.
func TestNoRoster(t *testing.T) {
	r, _ := http.NewRequest("GET", "http://example.com/", nil)
	s := rosterOf(r)
	if s != nil || s.isDown() {
		t.Error("a request from no server has no roster")
	}
	s.add(nil)
	s.remove(nil)
}
