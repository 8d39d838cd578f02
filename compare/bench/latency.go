package main

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// delays are how long messages took.
type delays struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *delays) add(x time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, x)
}

// take returns what was added, and forgets it.
func (d *delays) take() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all
	d.all = nil
	return all
}

// quantile returns in milliseconds what the share q of all delays does not exceed.
func quantile(all []time.Duration, q float64) (float64, error) {
	if len(all) == 0 {
		return 0, errors.New("no message came back")
	}
	slices.Sort(all)
	i := min(len(all)-1, int(q*float64(len(all))))
	return float64(all[i]) / float64(time.Millisecond), nil
}

// errNotStamped tells that a message is another than a stamped one.
var errNotStamped = errors.New("a message is not the one that was expected")

// age returns how long ago a stamped message was sent. Client and server have the
// same clock.
func age(message []byte) (time.Duration, error) {
	if len(message) != len(stamped) || string(message[8:]) != stamped[8:] {
		return 0, errNotStamped
	}
	return time.Duration(time.Now().UnixNano() - int64(binary.BigEndian.Uint64(message))), nil
}

// computeDelay returns how long the last of n messages of a handler takes to the
// client when the handler computes for 50 ms after it: the median.
func computeDelay(n int) measure {
	const computing, orders = 50 * time.Millisecond, 25
	return func(p *process, _ time.Duration) (float64, error) {
		conns, err := dial(p, 1)
		if err != nil {
			return 0, err
		}
		defer closeAll(conns)
		conns[0].SetDeadline(time.Now().Add(patience))
		in := newReceiver(conns[0], 1<<10)
		var all []time.Duration
		for range orders {
			if _, err := conns[0].Write(order(n, int(computing.Microseconds()))); err != nil {
				return 0, err
			}
			var took time.Duration
			for range n {
				if took, err = in.age(); err != nil {
					return 0, err
				}
			}
			all = append(all, took)
			time.Sleep(computing + 10*time.Millisecond) // so that the server waits for the next order
		}
		return quantile(all, 0.5)
	}
}

// age reads a stamped message.
func (m *receiver) age() (time.Duration, error) {
	_, p, err := m.next()
	if err != nil {
		return 0, err
	}
	return age(p)
}

// A ticking is a server that sends bursts of messages to clients which say nothing.
type ticking struct {
	conns, burst int
	interval     time.Duration
}

func (t ticking) begin(p *process) (*load, *delays, error) {
	conns, err := dial(p, t.conns)
	if err != nil {
		return nil, nil, err
	}
	l, d := &load{conns: conns}, &delays{}
	for _, nc := range conns {
		in := newReceiver(nc, 16<<10)
		if _, err := nc.Write(order(t.burst, int(t.interval.Microseconds()))); err != nil {
			l.end()
			return nil, nil, err
		}
		l.add(func() error {
			for range t.burst {
				took, err := in.age()
				if err != nil {
					return err
				}
				d.add(took)
			}
			return nil
		}, t.burst, func() {})
	}
	return l, d, nil
}

func (t ticking) cost(p *process, d time.Duration) (float64, error) {
	l, _, err := t.begin(p)
	if err != nil {
		return 0, err
	}
	defer l.end()
	return l.cost(p, d)
}

func (t ticking) delay(q float64) measure {
	return func(p *process, d time.Duration) (float64, error) {
		l, all, err := t.begin(p)
		if err != nil {
			return 0, err
		}
		defer l.end()
		return l.delay(all, d, q)
	}
}

// delay lets the load work for d and returns a quantile of the delays.
func (l *load) delay(all *delays, d time.Duration, q float64) (float64, error) {
	time.Sleep(warmUp)
	all.take()
	time.Sleep(d)
	took := all.take()
	if err := l.finish(); err != nil {
		return 0, err
	}
	return quantile(took, q)
}

// busyDelay returns a quantile of the delay of messages that one goroutine sends now
// and then, while another sends without waiting over the same connection.
func busyDelay(q float64) measure {
	return func(p *process, d time.Duration) (float64, error) {
		conns, err := dial(p, 1)
		if err != nil {
			return 0, err
		}
		l, all := &load{conns: conns}, &delays{}
		defer l.end()
		if _, err := conns[0].Write(order(0, 2000)); err != nil {
			return 0, err
		}
		in := newReceiver(conns[0], 64<<10)
		l.add(func() error {
			_, m, err := in.next()
			if err != nil || string(m) == numbered {
				return err
			}
			took, err := age(m)
			all.add(took)
			return err
		}, 1, func() {})
		return l.delay(all, d, q)
	}
}

// A pinging is connections which send a message every interval and have it back,
// while others may flood the server.
type pinging struct {
	conns    int
	interval time.Duration
	flooding int // connections that send without a pause
}

func (g pinging) delay(q float64) measure {
	return func(p *process, d time.Duration) (float64, error) {
		conns, err := dial(p, g.conns+g.flooding)
		if err != nil {
			return 0, err
		}
		l, all := &load{conns: conns}, &delays{}
		defer l.end()
		for i, nc := range conns {
			if i < g.flooding {
				flood := echo{inFlight: 256, size: 64}
				exchange, stop := flood.exchange(p, nc, uint64(i))
				l.add(exchange, flood.inFlight, stop)
			} else {
				l.add(g.ping(p, nc, uint64(i), all), 1, func() {})
			}
		}
		return l.delay(all, d, q)
	}
}

// ping returns a function that waits for the time of the next message, and
// exchanges it.
func (g pinging) ping(p *process, nc net.Conn, seed uint64, all *delays) func() error {
	exchange, _ := echo{inFlight: 1, size: 64}.exchange(p, nc, seed)
	next := time.Now().Add(rand.N(g.interval))
	return func() error {
		time.Sleep(time.Until(next))
		begin := time.Now()
		if next = next.Add(g.interval); next.Before(begin) {
			next = begin
		}
		err := exchange()
		all.add(time.Since(begin))
		return err
	}
}
