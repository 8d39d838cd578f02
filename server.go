package websocket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
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
// memory is free: an idle connection needs 5.5 KiB then, and not 14. The request's
// context has the values of the original one, and ends with the connection. When the
// function returns, what it has written is sent and the connection closed with
// [StatusNormalClosure], as by [Conn.Shutdown], for which it has 5 s. A panic in it is
// logged as net/http does, and closes the connection with [StatusInternalError].
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
			s.logPanic(hs, c, recover())
		}
		c.shutdownAfter(code)
		if s != nil {
			s.remove(c)
		}
	}()
	h(c, r.WithContext(&requestContext{r.Context(), c}))
	code = StatusNormalClosure
}

// shutdownAfter shuts c down after its function has returned, and waits until the socket
// is closed. Mostly c has ended by then.
func (c *Conn) shutdownAfter(code StatusCode) {
	if c.cause() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), handlerShutdownTimeout)
		defer cancel()
		c.Shutdown(ctx, code, "")
	}
	c.awaitGone() // after Close nothing else does, and what it sends is to be counted
}

// logPanic logs a panic, if there is no Logger where net/http would have.
func (s *Server) logPanic(hs *http.Server, c *Conn, reason any) {
	if reason == nil || reason == http.ErrAbortHandler {
		return
	}
	if s != nil && s.Logger != nil {
		s.Logger.Error("panic in a WebSocket handler", "remote", c.RemoteAddr(), "panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
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
// them: it can limit, count and shut them down. A Server must not be copied after
// its first use, nor its fields changed.
type Server struct {
	Options Options // for the handshake and the connections: see Accept
	Handler Handler // is run for each connection

	// MaxConns is how many connections there may be at a time, and MaxConnsPerAddr
	// how many from one address, each counted from its handshake until its function
	// has returned and its socket is closed. What comes beyond is refused with 503
	// (Service Unavailable). 0 stands for no limit.
	//
	// The address is that of http.Request.RemoteAddr without the port, and of IPv6 the
	// first 64 bits, since that is the least that one customer gets. Behind a proxy it
	// is the proxy's, for everybody, unless a middleware sets RemoteAddr to what the
	// proxy tells. What is not an IP address is not limited.
	MaxConns, MaxConnsPerAddr int

	// Admit may refuse a handshake with which nothing else is wrong, before it is
	// answered, by returning an error: the client gets StatusCode, Header and Reason
	// of a [*HandshakeError], with a status from 300 to 599, and 403 (Forbidden)
	// without a reason for any other. nil admits everybody. It is called by many
	// goroutines at once.
	Admit func(*http.Request) error

	// Logger is told of handshakes that are refused (at level Warn), of connections
	// that end in another way than by a closing handshake or our own Close (Info),
	// and of panics (Error). If it is nil, panics are logged by the http.Server's
	// ErrorLog, and nothing else is.
	Logger *slog.Logger

	mu      sync.Mutex
	conns   map[*Conn]netip.Addr // those whose functions run, and where they come from
	addrs   map[netip.Addr]int   // how many come from there; kept if that is limited
	serving int                  // handshakes and functions that have begun and not ended
	down    bool                 // by Shutdown or Close
	empty   chan struct{}        // closed when it is down and serving is 0; nil until somebody waits
	past    ServerStats          // of connections that have ended, and of handshakes
}

// ServeHTTP accepts the handshake with s.Options and runs s.Handler, as described
// at [Handler]. While the server is shut down it replies with 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	addr := s.limitedAddr(r)
	if refusal := s.begin(addr); refusal != nil {
		s.refused(r, reply(w, refusal))
		return
	}
	var c *Conn
	err := errAborted
	defer func() {
		if err != nil {
			defer s.end(addr)
			s.refused(r, err)
		}
	}()
	if c, err = accept(w, r, &s.Options, s.admit); err != nil {
		return
	}
	if s.add(c, addr) {
		go s.Handler.serve(c, r, s)
	} else { // it went down during the handshake
		go goodbye.serve(c, r, s)
	}
}

// errAborted is why a handshake has failed for which nothing else is said. net/http
// logs the panic.
var errAborted = errors.New("websocket: a function that the server asks about handshakes has panicked")

// goodbye serves a connection that has come too late.
var goodbye Handler = func(c *Conn, r *http.Request) {
	c.Shutdown(r.Context(), StatusGoingAway, "")
}

// limitedAddr returns the address to which MaxConnsPerAddr applies, the zero Addr
// for none.
func (s *Server) limitedAddr(r *http.Request) netip.Addr {
	if s.MaxConnsPerAddr <= 0 {
		return netip.Addr{}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr // a middleware may know no port
	}
	addr, _ := netip.ParseAddr(host)
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64)
		addr = prefix.Addr()
	}
	return addr
}

// begin takes a place for a handshake from addr and the function after it. It is
// taken before the handshake, so that Shutdown waits for both, and handshakes that
// come at the same time do not exceed a limit together.
func (s *Server) begin(addr netip.Addr) *HandshakeError {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return goingDown()
	case s.MaxConns > 0 && s.serving >= s.MaxConns:
		return unavailable(refusedLimit, "there are as many WebSocket connections as this server takes (Server.MaxConns)")
	case addr.IsValid() && s.addrs[addr] >= s.MaxConnsPerAddr:
		return unavailable(refusedAddrLimit, "there are as many WebSocket connections from your address as this server takes (Server.MaxConnsPerAddr)")
	}
	s.serving++
	if addr.IsValid() {
		if s.addrs == nil {
			s.addrs = make(map[netip.Addr]int)
		}
		s.addrs[addr]++
	}
	return nil
}

// unavailable is a refusal with 503. There is no Retry-After in it, since nobody
// knows.
func unavailable(kind, reason string) *HandshakeError {
	return &HandshakeError{StatusCode: http.StatusServiceUnavailable, Reason: reason, kind: kind}
}

func goingDown() *HandshakeError {
	return unavailable(refusedShutdown, "this WebSocket server is shutting down")
}

// end gives the place back.
func (s *Server) end(addr netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving--
	if addr.IsValid() {
		if s.addrs[addr]--; s.addrs[addr] == 0 {
			delete(s.addrs, addr)
		}
	}
	s.signal()
}

// signal tells those who wait that nothing is left. Called with mu held.
func (s *Server) signal() {
	if s.serving == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// admit asks s.Admit.
func (s *Server) admit(r *http.Request) *HandshakeError {
	if s.Admit == nil {
		return nil
	}
	err := s.Admit(r)
	if err == nil {
		return nil
	}
	refusal := &HandshakeError{StatusCode: http.StatusForbidden, Reason: "the server does not admit this client", Err: err}
	if e := (*HandshakeError)(nil); errors.As(err, &e) {
		*refusal = *e
		if e.StatusCode < 300 || e.StatusCode > 599 {
			refusal = failure(fmt.Errorf("the status of a refusal by Server.Admit is from 300 to 599, and not %d: %w", e.StatusCode, err))
		}
	}
	refusal.kind = refusedAdmit
	return refusal
}

// refused counts and logs a handshake that has become no connection.
func (s *Server) refused(r *http.Request, err error) {
	kind := refusedFault
	if refusal := (*HandshakeError)(nil); errors.As(err, &refusal) {
		kind = cmp.Or(refusal.kind, refusedHandshake)
	}
	s.mu.Lock()
	increment(&s.past.Refused, kind)
	s.mu.Unlock()
	if s.Logger != nil {
		s.Logger.Warn("WebSocket handshake refused", "remote", r.RemoteAddr, "path", r.URL.Path, "kind", kind, "error", err)
	}
}

func (s *Server) add(c *Conn, addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.Accepted++
	if s.conns == nil {
		s.conns = make(map[*Conn]netip.Addr)
	}
	s.conns[c] = addr
	return !s.down
}

// remove takes a connection out whose function has returned and which is closed.
func (s *Server) remove(c *Conn) {
	stats := c.Stats()
	s.mu.Lock()
	addr := s.conns[c]
	delete(s.conns, c)
	s.past.ended(stats)
	s.mu.Unlock()
	if cause := c.cause(); s.Logger != nil && !ordinary(cause) {
		s.Logger.Info("WebSocket connection ended", "remote", c.RemoteAddr(), "error", cause)
	}
	s.end(addr)
}

// ordinary reports whether err is an end of a connection of which nothing need be
// said.
func ordinary(err error) bool {
	return isNormalClose(err) || errors.Is(err, net.ErrClosed)
}

// Shutdown makes the closing handshake with every connection, with
// [StatusGoingAway], and waits for their functions to return. When ctx ends first
// it closes the connections that are left, and returns the context's error
// without waiting for their functions any longer. New handshakes are refused from
// now on. It is for all connections what [http.Server.Shutdown] is for requests;
// that tells connections to close, too, but waits neither for them nor for their
// functions.
func (s *Server) Shutdown(ctx context.Context) error {
	conns, empty := s.stop()
	for _, c := range conns {
		go c.Shutdown(ctx, StatusGoingAway, "")
	}
	select {
	case <-empty:
	case <-ctx.Done():
		if !isClosed(empty) { // also if ctx had ended before
			s.Close()
			return ctx.Err()
		}
	}
	return nil
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
