package websocket

import (
	"context"
	"log"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// A Handler is a function that serves one connection, and as such a complete
// [http.Handler]:
//
//	http.Handle("/", websocket.Handler(func(c *websocket.Conn, r *http.Request) { ... }))
//
// It accepts the handshake with the default options; [Server] has others. The
// function runs on a goroutine of its own, after net/http's has returned and its
// memory is free. The request's context has the values of the original one, and
// ends with the connection. When the function returns, what it has written is
// sent and the connection closed with [StatusNormalClosure], as by
// [Conn.Shutdown], for which it has 5 s. A panic in it is logged as net/http does,
// and closes the connection with [StatusInternalError].
type Handler func(c *Conn, r *http.Request)

// ServeHTTP makes h an [http.Handler].
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c, err := Accept(w, r, nil); err == nil {
		go h.serve(c, r, nil)
	}
}

// handlerShutdownTimeout is for how long a connection whose function has returned
// may take to send what is left and to make the closing handshake.
const handlerShutdownTimeout = 5 * time.Second

// serve runs the function and closes the connection, which belongs to s unless that
// is nil. It is not for this goroutine to do what needs much stack: once grown, it
// stays with the idle connection.
func (h Handler) serve(c *Conn, r *http.Request, s *Server) {
	hs, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	code := StatusInternalError
	defer func() {
		if code == StatusInternalError {
			logPanic(hs, c, recover())
		}
		ctx, cancel := context.WithTimeout(context.Background(), handlerShutdownTimeout)
		defer cancel()
		c.Shutdown(ctx, code, "")
		if s != nil {
			s.remove(c)
		}
	}()
	h(c, r.WithContext(&requestContext{r.Context(), c}))
	code = StatusNormalClosure
}

// logPanic logs a panic where net/http would have.
func logPanic(hs *http.Server, c *Conn, reason any) {
	if reason == nil || reason == http.ErrAbortHandler {
		return
	}
	logf := log.Printf
	if hs != nil && hs.ErrorLog != nil {
		logf = hs.ErrorLog.Printf
	}
	logf("websocket: panic serving %v: %v\n%s", c.RemoteAddr(), reason, debug.Stack())
}

// A requestContext is the context of the request that a Handler gets: it has the
// values of the original context, and ends with the connection. Reading with it
// costs nothing, since the end of the connection ends the reading anyhow.
type requestContext struct {
	values context.Context
	c      *Conn
}

func (x *requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (x *requestContext) Done() <-chan struct{} { return x.c.lifetime().Done() }

func (x *requestContext) Err() error {
	if x.c.cause() == nil {
		return nil
	}
	return context.Canceled
}

// Value asks the lifetime first: package context looks there for a context that it
// knows, to which a derived one can be tied without a goroutine.
func (x *requestContext) Value(key any) any {
	if v := x.c.lifetime().Value(key); v != nil {
		return v
	}
	return x.values.Value(key)
}

// A Server is an [http.Handler] that serves connections with a Handler, and knows
// them: it can shut them down. A Server must not be copied after its first use,
// nor its fields changed.
type Server struct {
	Options Options
	Handler Handler

	mu      sync.Mutex
	conns   map[*Conn]struct{} // those whose functions run
	serving int                // handshakes and functions that have begun and not ended
	down    bool               // by Shutdown or Close
	empty   chan struct{}      // closed when it is down and serving is 0; nil until somebody waits
}

// ServeHTTP accepts the handshake with s.Options and runs s.Handler, as described
// at [Handler]. While the server is shut down it replies with 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		http.Error(w, "this WebSocket server is shutting down", http.StatusServiceUnavailable)
		return
	}
	handed := false
	defer func() {
		if !handed {
			s.end()
		}
	}()
	c, err := Accept(w, r, &s.Options)
	if err != nil {
		return
	}
	handed = true
	if s.add(c) {
		go s.Handler.serve(c, r, s)
	} else { // it went down during the handshake
		go goodbye.serve(c, r, s)
	}
}

// goodbye serves a connection that has come too late.
var goodbye Handler = func(c *Conn, r *http.Request) {
	c.Shutdown(r.Context(), StatusGoingAway, "")
}

// begin takes a place for a handshake and the function after it. It is taken
// before the handshake, so that Shutdown waits for both.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false
	}
	s.serving++
	return true
}

// end gives the place back.
func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving--
	s.signal()
}

// signal tells those who wait that nothing is left. Called with mu held.
func (s *Server) signal() {
	if s.serving == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[*Conn]struct{})
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.end()
}

// Shutdown makes the closing handshake with every connection, with
// [StatusGoingAway], and waits for their functions to return. When ctx ends first
// it closes the connections that are left, and returns the context's error
// without waiting for their functions any longer. New handshakes are refused from
// now on. It is for all connections what [http.Server.Shutdown] is for requests,
// which does not know of them.
func (s *Server) Shutdown(ctx context.Context) error {
	conns, empty := s.stop()
	for _, c := range conns {
		go c.Shutdown(ctx, StatusGoingAway, "")
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
}

// Close closes every connection as [Conn.Close] does, without waiting for their
// functions. New handshakes are refused from now on.
func (s *Server) Close() error {
	conns, _ := s.stop()
	for _, c := range conns {
		go c.Close()
	}
	return nil
}

// stop takes the server down. It returns its connections, and a channel that is
// closed when the last of their functions has returned.
func (s *Server) stop() (conns []*Conn, empty <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	for c := range s.conns {
		conns = append(conns, c)
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty = s.empty
	s.signal()
	return conns, empty
}
