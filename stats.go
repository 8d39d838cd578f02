package websocket

import "time"

// Stats tells what a connection has done so far.
type Stats struct {
	RoundTrip time.Duration // of the last ping that was answered, by keepalive or by Ping; 0 before the first
}

// Stats returns the connection's statistics.
func (c *Conn) Stats() Stats {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	var s Stats
	if w.pings != nil {
		s.RoundTrip = w.pings.rtt
	}
	return s
}
