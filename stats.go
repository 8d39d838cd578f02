package websocket

import (
	"maps"
	"slices"
	"time"
)

// Stats tells what a connection has done so far: see [Conn.Stats].
type Stats struct {
	Received, Sent Traffic // in messages and in bytes

	// CloseReceived and CloseSent are the status codes of the Close frames each way,
	// 0 before there was one. CloseReceived is StatusAbnormalClosure for a connection
	// that has ended without one.
	CloseReceived, CloseSent StatusCode

	// RoundTrip is how long the last ping took that the peer has answered, one of
	// keepalive (Options.KeepAlive) or of Conn.Ping; 0 before the first.
	RoundTrip time.Duration
}

// Traffic counts what goes in one direction.
type Traffic struct {
	Messages uint64 // whole ones
	Bytes    uint64 // of messages, as the application reads and writes them
	Wire     uint64 // bytes on the network: all frames with their headers, but not what TLS adds
}

// message counts a whole message.
func (t *Traffic) message(size int64) {
	t.Messages++
	t.Bytes += uint64(size)
}

func (t *Traffic) add(u Traffic) {
	t.Messages += u.Messages
	t.Bytes += u.Bytes
	t.Wire += u.Wire
}

// Stats returns what the connection has done so far; it may be called at any time,
// also when the connection has ended. While somebody is reading, Received is what had
// come when he last began to wait for more.
func (c *Conn) Stats() Stats {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.in.role.tryTake(byPump) {
		w.received = c.in.traffic
		c.in.role.give()
	}
	s := Stats{Received: w.received, Sent: w.traffic, CloseSent: w.closing.code}
	s.Sent.Wire = w.written
	switch {
	case w.closing.received != nil:
		s.CloseReceived = w.closing.received.Code
	case c.cause() != nil:
		s.CloseReceived = StatusAbnormalClosure
	}
	if w.pings != nil {
		s.RoundTrip = w.pings.rtt
	}
	return s
}

// The reader counts under its role and the writer under out.mu, in plain fields:
// counting costs a message nothing that could be measured. Whoever has the reader
// role lets others see what was counted before he waits.

// publish is called with the reader role in hand.
func (c *Conn) publish() {
	c.out.mu.Lock()
	c.out.received = c.in.traffic
	c.out.mu.Unlock()
}

// count counts a data frame that is sent and brings size bytes of a message, perhaps
// its last. Called with out.mu held.
func (w *writer) count(fin bool, size int) {
	w.traffic.Bytes += uint64(size)
	if fin {
		w.traffic.Messages++
	}
}

// ServerStats tells what a [Server] has done so far: see [Server.Stats].
type ServerStats struct {
	Open           int     // connections that there are
	Accepted       uint64  // and that there have ever been
	Received, Sent Traffic // of all of these

	// CloseReceived and CloseSent count the status codes of connections that have
	// ended, as [Stats] has them, less those that sent none.
	CloseReceived, CloseSent map[StatusCode]uint64

	// Refused counts handshakes that became no connection: "handshake" is what is no
	// valid handshake, "origin" is Options.CheckOrigin's, "host" Options.Hosts',
	// "admit" Server.Admit's, "limit" and "address" are for MaxConns and
	// MaxConnsPerAddr, "shutdown" came too late, and "fault" is no fault of the
	// client's.
	Refused map[string]uint64
}

const (
	refusedHandshake = "handshake"
	refusedOrigin    = "origin"
	refusedHost      = "host"
	refusedAdmit     = "admit"
	refusedLimit     = "limit"
	refusedAddrLimit = "address"
	refusedShutdown  = "shutdown"
	refusedFault     = "fault"
)

// Stats returns what the server has done so far. It asks every connection, which
// takes about a millisecond for 10,000 of them. To publish it as JSON:
//
//	expvar.Publish("websocket", expvar.Func(func() any { return s.Stats() }))
func (s *Server) Stats() ServerStats {
	stats, conns := s.snapshot()
	for _, c := range conns {
		cs := c.Stats()
		stats.Received.add(cs.Received)
		stats.Sent.add(cs.Sent)
	}
	return stats
}

func (s *Server) snapshot() (ServerStats, []*Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.past
	stats.Open = len(s.conns)
	stats.CloseReceived = maps.Clone(stats.CloseReceived)
	stats.CloseSent = maps.Clone(stats.CloseSent)
	stats.Refused = maps.Clone(stats.Refused)
	return stats, slices.Collect(maps.Keys(s.conns))
}

// ended adds a connection that has ended.
func (s *ServerStats) ended(c Stats) {
	s.Received.add(c.Received)
	s.Sent.add(c.Sent)
	increment(&s.CloseReceived, c.CloseReceived)
	if c.CloseSent != 0 {
		increment(&s.CloseSent, c.CloseSent)
	}
}

func increment[K comparable](m *map[K]uint64, key K) {
	if *m == nil {
		*m = make(map[K]uint64)
	}
	(*m)[key]++
}
