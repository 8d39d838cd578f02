package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// useConn does with a connection what an application does, all in one, and returns
// the error of each call when the connection has ended or nothing is left to do.
func useConn(c *Conn) map[string]error {
	errs := make(map[string]error)
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	defer cancel()
	pinged := startPing(ctx, c)
	read := inBackground(func() (err error) {
		var buf []byte
		for err == nil {
			_, buf, err = c.AppendMessage(ctx, buf[:0])
		}
		return err
	})
	errs["WriteText"] = c.WriteText(ctx, "small")
	errs["WriteMessage"] = c.WriteMessage(ctx, MessageBinary, []byte(pattern(100_000)))
	w, err := c.NextWriter(ctx, MessageText)
	if err == nil {
		io.WriteString(w, pattern(5000))
		io.WriteString(w, pattern(50_000))
		err = w.Close()
	}
	errs["NextWriter"] = err
	errs["Flush"] = c.Flush(ctx)
	short, cancelShort := context.WithTimeout(ctx, time.Second)
	defer cancelShort()
	if _, err := c.Ping(short); err != short.Err() {
		errs["a Ping"] = err
	}
	errs["Shutdown"] = c.Shutdown(ctx, StatusNormalClosure, "")
	c.Close()
	errs["AppendMessage"] = <-read
	errs["the first Ping"] = <-pinged
	return errs
}

// usePeer answers as a peer does, and sends a little of everything.
func usePeer(p *rawPeer) {
	p.nc.Write(session(p.role, textF("hello"), pingF("1"), binaryF(pattern(20_000)).open(), pingF("2"), contF(pattern(300))))
	for {
		f, err := p.readFrame()
		switch {
		case err != nil:
			p.nc.Close()
			return
		case f.op == OpPing:
			p.nc.Write(pongF(f.payload).bytes(p.role))
		case f.op == OpClose:
			p.nc.Write(f.bytes(p.role))
		}
	}
}

// useDeflatedPeer is usePeer with compression.
func useDeflatedPeer(c *Conn) {
	c.WriteText(bg, "hello")
	c.WriteMessage(bg, MessageBinary, []byte(pattern(20_000)))
	if w, err := c.NextWriter(bg, MessageText); err == nil {
		io.WriteString(w, pattern(30_000))
		w.Close()
	}
	readErr(c)
	c.Close()
}

var errFault = errors.New("an injected fault")

// A fault is what happens to one operation.
type fault struct {
	name string
	err  error
	stay bool             // all operations of that name fail from then on
	wire func(m *memConn) // what happens to the network before it, in place of its failing
	or   error            // how the connection may end as well
	late time.Duration    // how much later it may end than by an error
}

// brings reports whether err is what f leads to.
func (f fault) brings(err error) bool {
	return errors.Is(err, f.err) || f.or != nil && errors.Is(err, f.or)
}

// A faultyWire is what is between a connection and the operations that fail.
type faultyWire struct {
	name   string
	socket bool
	tls    bool
	o      *Compression
}

// Whichever operation on the net.Conn fails, and however, or the network at that
// moment: no panic, no hang, every call returns the right error, and in the end the
// socket is closed and nothing is left behind: no goroutine, which the bubble would
// not end with, no timer, and no buffer of the pools.
func TestFaults(t *testing.T) {
	faults := []fault{
		{name: "an error", err: errFault},
		{name: "an error that stays", err: errFault, stay: true},
		{name: "a timeout", err: os.ErrDeadlineExceeded},
		{name: "a short write", err: io.ErrShortWrite},
		{name: "a reset", err: syscall.ECONNRESET,
			wire: func(m *memConn) { m.In.Reset() }},
		{name: "the end of what comes", err: io.ErrUnexpectedEOF,
			wire: func(m *memConn) { m.In.Update(func() { m.In.Fin = true }) }},
		{name: "a stall", err: os.ErrDeadlineExceeded, or: context.DeadlineExceeded, late: 2 * defaultWriteTimeout,
			wire: func(m *memConn) { m.Out.Update(func() { m.Out.Room = 0 }) }}, // the peer's answer may be what does not come
	}
	wires := []faultyWire{
		{"a socket", true, false, nil},
		{"a socket, compressed", true, false, both(true, 15)},
		{"another net.Conn", false, false, nil},
		{"TLS", false, true, nil},
		{"TLS, compressed", false, true, both(false, 15)},
	}
	certificate(t)
	step := 1
	if raceEnabled {
		step = 3 // a minute less; each of them fails in the run without the race detector
	}
	for _, r := range bothRoles {
		for _, w := range wires {
			for _, f := range faults {
				if f.wire != nil && w.o != nil {
					continue // the network knows nothing of compression
				}
				t.Run(fmt.Sprintf("%v, %s, %s", r, w.name, f.name), func(t *testing.T) {
					for k := 1; w.failAt(t, r, k, f); k += step {
						if k > 1000 {
							t.Fatal("there should not be so many operations")
						}
					}
				})
			}
		}
	}
}

// A failing counts operations, and fails one of them.
type failing struct {
	fault
	mine   *memConn
	at     int64
	n      atomic.Int64
	failed atomic.Value // the name of the operation that has failed
}

func (f *failing) do(op string) error {
	if f.n.Add(1) == f.at {
		f.failed.Store(op)
		if f.wire != nil {
			f.wire(f.mine)
			return nil
		}
		return f.err
	}
	if f.stay && f.failed.Load() == op {
		return f.err
	}
	return nil
}

// op returns the name of the operation that has failed, or "" if there were fewer.
func (f *failing) op() string {
	op, _ := f.failed.Load().(string)
	return op
}

// failAt uses a connection whose k-th operation fails. It returns false when there
// were fewer.
func (w faultyWire) failAt(t *testing.T, r role, k int, f fault) (reached bool) {
	before := lent.Load()
	failing := &failing{fault: f, at: int64(k)}
	synctest.Test(t, func(t *testing.T) {
		mine, far := newMemPipe(64 << 10)
		var nc, peer net.Conn = mine, far
		if w.tls && r == server {
			nc, peer = overTLS(t, mine, far)
		} else if w.tls {
			peer, nc = overTLS(t, far, mine)
		}
		failing.mine, mine.Fault = mine, failing.do
		c := withDeflate(newConn(nc, r, nil, "", nil), w.o)
		if w.socket {
			c.t = memSocket{mine}
			c.traits = c.t.traits()
		}
		if w.o == nil {
			go usePeer(&rawPeer{t: t, nc: peer, role: r.peer()})
		} else {
			go useDeflatedPeer(withDeflate(newConn(peer, r.peer(), nil, "", nil), w.o))
		}
		start := time.Now()
		errs := useConn(c)
		synctest.Wait()
		time.Sleep(time.Second + time.Millisecond) // what is left has a second
		synctest.Wait()
		reached = failing.op() != ""
		if d := time.Since(start); d > 15*time.Second+f.late {
			t.Errorf("operation %d (%s) failed, and the connection took %v to end", k, failing.op(), d)
		}
		if !mine.IsClosed() {
			t.Errorf("operation %d (%s) failed, and the socket was not closed", k, failing.op())
		}
		failing.judge(t, c, errs)
		wantUnwatched(t, fmt.Sprintf("operation %d (%s) failed", k, failing.op()), c)
		far.Close()
	})
	if n := lent.Load() - before; n > 0 { // fewer: those of a test before, whose connections were still closing
		t.Errorf("operation %d (%s) failed, and %d buffers were not given back", k, failing.op(), n)
	}
	return reached
}

// judge says whether a connection has ended as it should: with the fault, or with
// the closing handshake, if what has failed does not matter to it; and whether its
// calls have returned that.
func (f *failing) judge(t *testing.T, c *Conn, errs map[string]error) {
	t.Helper()
	var closed *CloseError
	end := c.cause()
	byFault := f.brings(end)
	if !byFault && (!errors.As(end, &closed) || closed.Code != StatusNormalClosure) {
		t.Errorf("operation %d (%s) failed, and the connection ended with %v", f.at, f.op(), end)
	}
	for call, err := range errs {
		switch {
		case err == nil, byFault && f.brings(err), errors.Is(err, net.ErrClosed), !byFault && errors.As(err, &closed):
		default:
			t.Errorf("operation %d (%s) failed, the connection ended with %v, and %s returns %v", f.at, f.op(), end, call, err)
		}
	}
	if err := errs["Shutdown"]; byFault == (err == nil) {
		t.Errorf("operation %d (%s) failed, the connection ended with %v, and Shutdown returns %v", f.at, f.op(), end, err)
	}
}

// The same over the system's sockets, where a descriptor could be left.
func TestFaultsOfSockets(t *testing.T) {
	watchLeaks(t)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for _, n := range networks {
		for _, r := range bothRoles {
			for k := range 24 {
				s, cl := n.connect(t)
				mine, peer := s, cl
				if r == client {
					mine, peer = cl, s
				}
				f := &failing{fault: fault{err: errFault}, at: int64(k)}
				c := newConn(mine, r, &Options{KeepAlive: -1}, "", nil)
				c.t = failingTransport{c.t, f}
				sessions.Go(func() { usePeer(&rawPeer{t: t, nc: peer, role: r.peer()}) })
				sessions.Go(func() {
					errs := useConn(c)
					f.judge(t, c, errs)
				})
			}
		}
	}
}

// A failingTransport is a socket with operations that fail.
type failingTransport struct {
	transport
	f *failing
}

func (t failingTransport) read(m memory) (int, error) {
	if err := t.f.do("read"); err != nil {
		return 0, err
	}
	return t.transport.read(m)
}

func (t failingTransport) tryWrite(p []byte) (int, error) {
	if err := t.f.do("try"); err != nil {
		return 0, err
	}
	return t.transport.tryWrite(p)
}

func (t failingTransport) write(p, q []byte) (int, error) {
	if err := t.f.do("write"); err != nil {
		return 0, err
	}
	return t.transport.write(p, q)
}
