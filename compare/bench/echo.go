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
	text     bool
}

// warmUp is for how long a load runs before it is measured.
const warmUp = 200 * time.Millisecond

// cost returns the CPU time that the server needs for a message.
func (e echo) cost(p *process, raw bool, d time.Duration) (float64, error) {
	conns, err := dial(p.addr, e.conns, raw)
	if err != nil {
		return 0, err
	}
	defer closeAll(conns)
	l := &load{}
	for i, nc := range conns {
		nc.SetDeadline(time.Now().Add(warmUp + d + patience))
		l.add(nc, e, raw, uint64(i))
	}
	time.Sleep(warmUp)
	m, err := l.measure(p, d)
	if err != nil {
		return 0, err
	}
	return m, l.finish()
}

// A load is many connections that send and receive.
type load struct {
	messages atomic.Int64
	stopping atomic.Bool
	working  sync.WaitGroup
	failed   atomic.Pointer[error]
}

// measure returns the microseconds of CPU time that the server spends on a message
// in the next d.
func (l *load) measure(p *process, d time.Duration) (float64, error) {
	before, err := p.ask("usage")
	if err != nil {
		return 0, err
	}
	n := l.messages.Load()
	time.Sleep(d)
	after, err := p.ask("usage")
	if err != nil {
		return 0, err
	}
	n = l.messages.Load() - n
	if err := l.failed.Load(); err != nil {
		return 0, *err
	}
	if n == 0 {
		return 0, fmt.Errorf("no message came back in %v", d)
	}
	return float64(after.CPU-before.CPU) / float64(time.Microsecond) / float64(n), nil
}

// finish lets every connection have back what it has sent, and returns the first
// error of any.
func (l *load) finish() error {
	l.stopping.Store(true)
	l.working.Wait()
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// add begins to send on nc.
func (l *load) add(nc net.Conn, e echo, raw bool, seed uint64) {
	batch, check := e.prepare(raw, seed)
	l.working.Go(func() {
		if err := l.run(nc, batch, e.inFlight, check, min(len(batch), 64<<10)); err != nil {
			l.failed.CompareAndSwap(nil, &err)
		}
	})
}

// prepare returns the frames of one write, and what checks the answers.
func (e echo) prepare(raw bool, seed uint64) (batch []byte, check checker) {
	opcode := byte(opBinary)
	if e.text {
		opcode = opText
	}
	messages := payloads(e.inFlight, e.size, e.text, seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	for _, m := range messages {
		key := [4]byte{byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}
		batch = appendFrame(batch, opcode, m, &key)
	}
	if raw {
		return batch, &streamChecker{want: batch, frame: len(batch) / len(messages)}
	}
	return batch, &frameChecker{opcode: opcode, next: round(messages)}
}

// atOnce is what a socket takes without anybody reading at the other end.
const atOnce = 64 << 10

// run sends batch and receives the messages that answer it, over and over, size
// bytes at a time.
func (l *load) run(nc net.Conn, batch []byte, messages int, check checker, size int) error {
	buf := make([]byte, size)
	write := func() error {
		_, err := nc.Write(batch)
		return err
	}
	if len(batch) > atOnce {
		// The raw loop returns the first bytes while the last are being written.
		var stop func()
		write, stop = background(write)
		defer stop()
	}
	for !l.stopping.Load() {
		if err := write(); err != nil {
			return err
		}
		for got := 0; got < messages; {
			n, err := nc.Read(buf)
			if err != nil {
				return err
			}
			done, err := check.feed(buf[:n])
			if err != nil {
				return err
			}
			got += done
			l.messages.Add(int64(done))
		}
	}
	return nil
}

// background returns a function that has another goroutine do it, and returns what
// became of the last time.
func background(do func() error) (begin func() error, stop func()) {
	work := make(chan struct{}, 1)
	result := make(chan error, 2)
	result <- nil
	go func() {
		for range work {
			result <- do()
		}
	}()
	return func() error {
		err := <-result
		work <- struct{}{}
		return err
	}, func() { close(work) }
}
