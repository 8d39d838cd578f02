package main

import (
	"sync/atomic"
	"time"
)

// A broadcast is a load of messages to many connections, in bursts: the next when all
// have the last.
type broadcast struct {
	conns, burst int
}

// cost returns what the server needs to send a message to one of the connections.
func (b broadcast) cost(p *process, d time.Duration) (float64, error) {
	conns, err := dial(p, b.conns)
	if err != nil {
		return 0, err
	}
	l := &load{conns: conns}
	defer l.end()
	order := order(b.burst, 0)
	var received atomic.Int64
	var end atomic.Uint64 // how many messages there are in all; 0 while that is open
	for _, nc := range conns {
		in, message, n := newReceiver(nc, 4<<10), announcement(), uint64(0)
		done := func() bool { return end.Load() > 0 && n >= end.Load() }
		l.addUntil(done, func() error {
			for range b.burst {
				mark(message, n)
				if err := in.expect(opBinary, message); err != nil {
					return err
				}
				n++
			}
			if received.Add(1)%int64(b.conns) > 0 || done() {
				return nil
			}
			// The last one asks for more: at the end for one more burst, for those who
			// wait for it already.
			if l.stopping.Load() {
				end.Store(n + uint64(b.burst))
			}
			_, err := conns[0].Write(order)
			return err
		}, b.burst, func() {})
	}
	time.Sleep(warmUp) // until the last has joined
	if _, err := conns[0].Write(order); err != nil {
		return 0, err
	}
	return l.cost(p, d)
}
