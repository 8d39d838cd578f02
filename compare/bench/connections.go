package main

import (
	"fmt"
	"net"
	"time"
)

// handshakeCost returns what the server needs for a connection that is opened, and
// closed at once by its client.
func handshakeCost(p *process, d time.Duration) (float64, error) {
	l := &load{}
	for range 16 {
		l.add(func() error {
			conns, err := dial(p, 1)
			closeAll(conns)
			return err
		}, 1, func() {})
	}
	return l.cost(p, d)
}

// idleMemory returns the KiB of resident memory that each of n idle connections
// needs. What a server needs for its first connections it needs once, and is not
// counted.
func idleMemory(n int) measure {
	return func(p *process, _ time.Duration) (float64, error) {
		if _, err := memoryAfter(p, 100, 1, 64); err != nil {
			return 0, err
		}
		return memoryAfter(p, n, 1, 64)
	}
}

// burstMemory returns the KiB by which the server has grown for each of n
// connections, when a burst of messages of size bytes has come and gone on all of them
// at once. What the first burst needs for ever is not counted.
func burstMemory(n, size int) measure {
	burst := func(p *process, d time.Duration) (float64, error) {
		return grown(p, n, func() (end func(), err error) {
			work, err := echo{n, 1, size}.begin(p)
			if err != nil {
				return nil, err
			}
			time.Sleep(d)
			return work.end, work.finish()
		})
	}
	return func(p *process, d time.Duration) (float64, error) {
		if _, err := burst(p, d); err != nil {
			return 0, err
		}
		return burst(p, d)
	}
}

// memoryAfter opens n connections, exchanges messages over each, and returns by how
// many KiB the server has grown for each of them.
func memoryAfter(p *process, n, messages, size int) (float64, error) {
	return grown(p, n, func() (end func(), err error) {
		conns, err := dial(p, n)
		if err != nil {
			return nil, err
		}
		return func() { closeAll(conns) }, exchangeOnce(p, conns, messages, size)
	})
}

// grown returns by how many KiB the server has grown for each of n connections, when do
// has opened them and they are at rest. It closes them with end.
func grown(p *process, n int, do func() (end func(), err error)) (float64, error) {
	before, err := p.memory()
	if err != nil {
		return 0, err
	}
	end, err := do()
	if end != nil {
		defer end()
	}
	if err != nil {
		return 0, err
	}
	after, err := p.memory()
	return float64(after-before) / 1024 / float64(n), err
}

// exchangeOnce has messages back on each connection, one after the other.
func exchangeOnce(p *process, conns []net.Conn, messages, size int) error {
	for i, nc := range conns {
		nc.SetDeadline(time.Now().Add(patience))
		exchange, stop := echo{inFlight: 1, size: size}.exchange(p, nc, uint64(i))
		for range messages {
			if err := exchange(); err != nil {
				stop()
				return fmt.Errorf("connection %d: %w", i, err)
			}
		}
		stop()
		nc.SetDeadline(time.Time{})
	}
	return nil
}

// manyAgainstFew returns how much more a message costs when it is one of many
// connections that are all active.
func manyAgainstFew(few, many int) measure {
	return func(p *process, d time.Duration) (float64, error) {
		cost := func(n int) (float64, error) { return echo{conns: n, inFlight: 1, size: 64}.cost(p, d) }
		x, err := cost(few)
		if err != nil {
			return 0, err
		}
		y, err := cost(many)
		return y / x, err
	}
}

// allocations returns how many objects the server allocates for a message.
func (e echo) allocations(p *process, d time.Duration) (float64, error) {
	work, err := e.begin(p)
	if err != nil {
		return 0, err
	}
	defer work.end()
	time.Sleep(warmUp)
	t, err := work.during(p, d)
	return float64(t.Mallocs) / float64(t.messages), err
}

// compressedMemory returns by how many KiB more an idle connection needs that has
// agreed on compression, and has had some messages.
func compressedMemory(n, messages int) measure {
	const size = 2 << 10
	return func(p *process, _ time.Duration) (float64, error) {
		plain := p.cfg
		plain.Deflate, plain.Takeover = false, false
		q, err := start(plain)
		if err != nil {
			return 0, err
		}
		defer q.stop()
		var grown [2]float64
		for i, p := range []*process{q, p} {
			if _, err := memoryAfter(p, 20, messages, size); err != nil {
				return 0, err
			}
			if grown[i], err = memoryAfter(p, n, messages, size); err != nil {
				return 0, err
			}
		}
		return grown[1] - grown[0], nil
	}
}
