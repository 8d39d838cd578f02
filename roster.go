package websocket

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"weak"
)

// An http.Server forgets the connections that were hijacked from it, and its Shutdown
// leaves them as they are. So each server for which we accept connections gets a
// roster of these, and is asked to say when it shuts down.

// A roster holds the connections that came from one http.Server. A nil one is that
// of a request that came from none.
type roster struct {
	mu    sync.Mutex
	conns map[*Conn]struct{}
	down  bool
}

// rosters are those of the servers that there are. A server is registered with once,
// since that cannot be undone, and not kept alive.
var rosters = struct {
	sync.Mutex
	of map[weak.Pointer[http.Server]]*roster
}{of: make(map[weak.Pointer[http.Server]]*roster)}

// rosterOf returns the roster of the server that r comes from. If that is the first
// time, and the server is being shut down already, nobody can know.
func rosterOf(r *http.Request) *roster {
	hs, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if hs == nil {
		return nil
	}
	key := weak.Make(hs)
	rosters.Lock()
	defer rosters.Unlock()
	s := rosters.of[key]
	if s == nil {
		s = &roster{conns: make(map[*Conn]struct{})}
		rosters.of[key] = s
		hs.RegisterOnShutdown(s.shutdown)
		runtime.AddCleanup(hs, forgetRoster, key)
	}
	return s
}

func forgetRoster(key weak.Pointer[http.Server]) {
	rosters.Lock()
	defer rosters.Unlock()
	delete(rosters.of, key)
}

func (s *roster) isDown() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// add adds a connection, or closes one that has come too late.
func (s *roster) add(c *Conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		go c.Shutdown(context.Background(), StatusGoingAway, "")
		return
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if !c.out.gone {
		s.conns[c], c.site = struct{}{}, s
	}
}

func (s *roster) remove(c *Conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// shutdown is called by the http.Server, on a goroutine of its own.
func (s *roster) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	for c := range s.conns {
		go c.Shutdown(context.Background(), StatusGoingAway, "")
	}
}
