package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// An echo is a load of messages that come back.
type echo struct {
	conns    int
	inFlight int // messages that a connection sends in one write, and has back before the next
	size     int
}

// warmUp is for how long a load runs before it is measured.
const warmUp = 200 * time.Millisecond

// begin opens the connections and lets them work.
func (e echo) begin(p *process) (*load, error) {
	conns, err := dial(p, e.conns)
	if err != nil {
		return nil, err
	}
	work := &load{conns: conns}
	for i, nc := range conns {
		exchange, stop := e.exchange(p, nc, uint64(i))
		work.add(exchange, e.inFlight, stop)
	}
	return work, nil
}

// cost returns the CPU time that the server needs for a message.
func (e echo) cost(p *process, d time.Duration) (float64, error) {
	work, err := e.begin(p)
	if err != nil {
		return 0, err
	}
	defer work.end()
	return work.cost(p, d)
}

// exchange returns a function that sends what a connection has in flight, and
// receives it back.
func (e echo) exchange(p *process, nc net.Conn, seed uint64) (exchange func() error, stop func()) {
	opcode := byte(opBinary)
	if p.cfg.Text {
		opcode = opText
	}
	messages := payloads(e.inFlight, e.size, p.cfg.Text, seed)
	if p.cfg.Deflate {
		messages = documents(e.inFlight, e.size, seed)
	}
	rnd := rand.New(rand.NewPCG(seed, 2))
	var batch []byte
	for _, m := range messages {
		key := [4]byte{byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}
		if p.cfg.Deflate {
			at := len(batch)
			batch = appendFrame(batch, opcode, compress(m), &key)
			batch[at] |= rsv1
		} else {
			batch = appendFrame(batch, opcode, m, &key)
		}
	}
	in := newReceiver(nc, min(len(batch), max(64<<10, len(batch)/len(messages))))
	in.deflate = p.cfg.Deflate
	send, stop := sender(nc, batch)
	receive := in.expectAll(opcode, messages)
	switch {
	case p.raw:
		receive = in.expectStream(batch, len(messages))
	case p.cfg.Deflate:
		receive = in.expectCompressed(opcode, messages, p.cfg.Takeover)
	}
	return func() error {
		if err := send(); err != nil {
			return err
		}
		return receive()
	}, stop
}

// expectAll returns a function that receives messages.
func (m *receiver) expectAll(opcode byte, messages [][]byte) func() error {
	return func() error {
		for _, want := range messages {
			if err := m.expect(opcode, want); err != nil {
				return err
			}
		}
		return nil
	}
}

// expectStream returns a function that receives n messages of the same size as the
// bytes that they were sent in, which is what the raw loop returns.
func (m *receiver) expectStream(batch []byte, n int) func() error {
	size := len(batch) / n
	return func() error {
		for at := 0; at < len(batch); at += size {
			if err := m.expectBytes(batch[at : at+size]); err != nil {
				return err
			}
		}
		return nil
	}
}

// sender returns a function that writes batch. What a socket does not take at once
// is written by another goroutine, since the raw loop returns the first bytes while
// the last are not sent yet.
func sender(nc net.Conn, batch []byte) (send func() error, stop func()) {
	write := func() error {
		_, err := nc.Write(batch)
		return err
	}
	if len(batch) < 64<<10 {
		return write, func() {}
	}
	again, last := make(chan struct{}, 1), make(chan error, 2)
	last <- nil
	go func() {
		for range again {
			last <- write()
		}
	}()
	return func() error {
		err := <-last
		again <- struct{}{}
		return err
	}, func() { close(again) }
}

// A load is many connections that send and receive.
type load struct {
	conns    []net.Conn
	messages atomic.Int64
	stopping atomic.Bool
	working  sync.WaitGroup
	failed   atomic.Pointer[error]
}

// patience is for how long a server may be silent when it has something to say.
const patience = 20 * time.Second

// add has a goroutine call exchange over and over, and count that many messages each
// time, until the load ends.
func (l *load) add(exchange func() error, messages int, stop func()) {
	l.addUntil(l.stopping.Load, exchange, messages, stop)
}

// addUntil is add for a goroutine that has an end of its own.
func (l *load) addUntil(done func() bool, exchange func() error, messages int, stop func()) {
	l.working.Go(func() {
		defer stop()
		for !done() {
			if err := exchange(); err != nil {
				l.failed.CompareAndSwap(nil, &err)
				return
			}
			l.messages.Add(int64(messages))
		}
	})
}

// A total is what has been done, and what it has cost.
type total struct {
	usage
	messages int64
}

// during returns what the load does and costs in the next d.
func (l *load) during(p *process, d time.Duration) (t total, err error) {
	before, err := p.ask("usage")
	if err != nil {
		return t, err
	}
	n := l.messages.Load()
	time.Sleep(d)
	if t.usage, err = p.ask("usage"); err != nil {
		return t, err
	}
	t.CPU -= before.CPU
	t.Mallocs -= before.Mallocs
	t.messages = l.messages.Load() - n
	if t.messages == 0 {
		err = fmt.Errorf("no message came back in %v", d)
	}
	return t, err
}

// cost measures the load for d and ends it. It returns the microseconds of CPU time
// that the server has spent on a message.
func (l *load) cost(p *process, d time.Duration) (float64, error) {
	time.Sleep(warmUp)
	t, err := l.during(p, d)
	if failed := l.finish(); failed != nil {
		err = failed
	}
	return float64(t.CPU) / float64(time.Microsecond) / float64(t.messages), err
}

// finish lets every connection have back what it has sent, and returns the first
// error of any.
func (l *load) finish() error {
	l.stopping.Store(true)
	for _, nc := range l.conns {
		nc.SetReadDeadline(time.Now().Add(patience))
	}
	l.working.Wait()
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// end closes the connections.
func (l *load) end() {
	l.stopping.Store(true)
	for _, nc := range l.conns {
		nc.Close()
	}
	l.working.Wait()
}
