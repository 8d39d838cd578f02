// Package memnet is a network in memory, for tests. It works in bubbles of
// testing/synctest, and can be stalled, slowed, chopped, cut and watched.
package memnet

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Lane is one direction of a connection: the bytes that have been written at one
// end and not been read at the other. Its fields are changed by Update, or before
// there is traffic.
type Lane struct {
	mu      sync.Mutex
	buf     []byte
	flying  []byte // bytes that have not arrived yet
	landing time.Time
	changed chan struct{}

	Room  int            // bytes that fit in
	Chunk int            // bytes that one read takes at the most; 0: any number
	Rate  int            // bytes a second that arrive; 0: any number
	Delay time.Duration  // until a byte arrives
	Fin   bool           // no more bytes come
	Err   error          // what reading it gives, in place of any bytes that are left
	Dead  bool           // nobody will read it
	Down  bool           // nothing more arrives, no end and no reset either, for as long as this is set
	Tap   func(p []byte) // is told what is written, in order; called with the Lane locked
}

func newLane(room int) *Lane { return &Lane{Room: room, changed: make(chan struct{})} }

// Update changes the lane and wakes those who wait for a change.
func (l *Lane) Update(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.wake()
}

func (l *Lane) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// take moves bytes to p. If there are none it returns a channel to wait for.
func (l *Lane) take(p []byte) (n int, wait <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.Err != nil && !l.Down:
		return 0, nil, l.Err
	case len(l.buf) > 0:
		if l.Chunk > 0 && len(p) > l.Chunk {
			p = p[:l.Chunk]
		}
		n = copy(p, l.buf)
		l.buf = l.buf[n:]
		l.wake()
		return n, nil, nil
	case l.Fin && len(l.flying) == 0 && !l.Down:
		return 0, nil, io.EOF
	}
	return 0, l.changed, nil
}

// put appends as much of p as there is room for.
func (l *Lane) put(p []byte) (n int, wait <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.Fin:
		return 0, nil, net.ErrClosed
	case l.Down:
		return 0, l.changed, nil
	case l.Dead:
		return 0, nil, syscall.EPIPE
	}
	if n = min(len(p), l.Room-len(l.buf)-len(l.flying)); n <= 0 {
		return 0, l.changed, nil
	}
	if l.Tap != nil {
		l.Tap(p[:n])
	}
	l.launch(p[:n])
	return n, nil, nil
}

// launch lets bytes arrive, now or in time.
func (l *Lane) launch(p []byte) {
	if l.Rate == 0 && l.Delay == 0 && len(l.flying) == 0 {
		l.buf = append(l.buf, p...)
		l.wake()
		return
	}
	now := time.Now()
	for len(p) > 0 {
		piece := len(p)
		if l.Rate > 0 {
			piece = min(piece, max(l.Rate/10, 1))
		}
		at := now
		if l.landing.After(at) {
			at = l.landing
		}
		if l.Rate > 0 {
			at = at.Add(time.Duration(piece) * time.Second / time.Duration(l.Rate))
		}
		l.landing = at
		l.flying = append(l.flying, p[:piece]...)
		time.AfterFunc(at.Add(l.Delay).Sub(now), func() { l.Update(func() { l.land(piece) }) })
		p = p[piece:]
	}
}

func (l *Lane) land(n int) {
	n = min(n, len(l.flying))
	if !l.Dead {
		l.buf = append(l.buf, l.flying[:n]...)
	}
	l.flying = l.flying[n:]
}

// Reset makes reading it fail as a TCP reset does: what was on its way is gone.
func (l *Lane) Reset() {
	l.Update(func() {
		if l.Err == nil {
			l.buf, l.flying, l.Err = nil, nil, syscall.ECONNRESET
		}
	})
}

// A limit is a deadline that can be waited for.
type limit struct {
	mu    sync.Mutex
	timer *time.Timer
	done  chan struct{}
}

func (d *limit) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.done // its function has run, or is about to
	}
	d.timer = nil
	if d.done == nil || closed(d.done) {
		d.done = make(chan struct{})
	}
	done := d.done
	switch left := time.Until(at); {
	case at.IsZero():
	case left <= 0:
		close(done)
	default:
		d.timer = time.AfterFunc(left, func() { close(done) })
	}
}

func (d *limit) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return d.done
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A Conn is an end of a connection, and behaves as a TCP connection does: it can be
// half closed, and closing it while input is unread, or writing to an end that is
// closed, resets it. Beyond a net.Conn it has what a socket of the system can do:
// to write only as much as is possible at once, and to read without memory in hand.
type Conn struct {
	In, Out *Lane

	// To be set before there is traffic.
	Fault      func(op string) error // fails the operation it returns an error for
	CloseDelay time.Duration
	Noting     bool // the calls that write
	Addr, Peer Addr

	rdl, wdl limit
	isClosed atomic.Bool
	reads    atomic.Int32 // under way
	writes   atomic.Int32
	misuse   atomic.Pointer[string]
	mu       sync.Mutex
	calls    []string
}

// An Addr is the address of an end.
type Addr string

func (Addr) Network() string  { return "memory" }
func (a Addr) String() string { return string(a) }

// Unlimited is the room of a lane that nobody waits for.
const Unlimited = 1 << 30

// Pipe returns two connected ends. Writes stall when as many bytes as fit are on
// their way: roomA for those of a.
func Pipe(roomA, roomB int) (a, b *Conn) {
	ab, ba := newLane(roomA), newLane(roomB)
	return &Conn{In: ba, Out: ab, Addr: "memory", Peer: "memory"}, &Conn{In: ab, Out: ba, Addr: "memory", Peer: "memory"}
}

// IsClosed reports whether Close has been called.
func (m *Conn) IsClosed() bool { return m.isClosed.Load() }

// Misuse returns what was called twice at the same time and may not be, or "".
func (m *Conn) Misuse() string {
	if s := m.misuse.Load(); s != nil {
		return *s
	}
	return ""
}

// Wrote returns the calls that have written since it was last asked: "try 12",
// "write 3", ..., if Noting is set.
func (m *Conn) Wrote() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}

func (m *Conn) note(call string, n int) {
	if !m.Noting {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprint(call, " ", n))
}

func (m *Conn) enter(op string, busy *atomic.Int32) (leave func(), err error) {
	if m.Fault != nil {
		if err := m.Fault(op); err != nil {
			return nil, err
		}
	}
	if busy == nil {
		return func() {}, nil
	}
	if busy.Add(1) > 1 {
		s := "two at once: " + op
		m.misuse.Store(&s)
	}
	return func() { busy.Add(-1) }, nil
}

func (m *Conn) Read(p []byte) (int, error) {
	n, err := m.Receive(func() []byte { return p }, func() {})
	return n, err
}

// Receive reads into memory that it asks space for when there is something to put
// there, or a reason to believe so; unused takes that back.
func (m *Conn) Receive(space func() []byte, unused func()) (n int, err error) {
	leave, err := m.enter("read", &m.reads)
	if err != nil {
		return 0, err
	}
	defer leave()
	for {
		expired := m.rdl.wait()
		switch {
		case m.isClosed.Load():
			return 0, net.ErrClosed
		case closed(expired):
			return 0, os.ErrDeadlineExceeded
		}
		n, wait, err := m.In.take(space())
		if n == 0 {
			unused()
		}
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-wait:
		case <-expired:
		}
	}
}

func (m *Conn) Write(p []byte) (n int, err error) {
	leave, err := m.enter("write", &m.writes)
	if err != nil {
		if err == io.ErrShortWrite && len(p) > 1 {
			n, _, _ = m.Out.put(p[:len(p)/2])
		}
		return n, err
	}
	defer leave()
	m.note("write", len(p))
	return m.send(p, false)
}

// Try writes what can be written without waiting.
func (m *Conn) Try(p []byte) (int, error) {
	leave, err := m.enter("try", &m.writes)
	if err != nil {
		return 0, err
	}
	defer leave()
	m.note("try", len(p))
	return m.send(p, true)
}

// WriteV writes p and then q, as one call.
func (m *Conn) WriteV(p, q []byte) (int, error) {
	leave, err := m.enter("write", &m.writes)
	if err != nil {
		return 0, err
	}
	defer leave()
	if len(p) == 0 || len(q) == 0 {
		m.note("write", len(p)+len(q))
		return m.send(append(p[:len(p):len(p)], q...), false)
	}
	m.note("writev", len(p)+len(q))
	n, err := m.send(p, false)
	if err != nil {
		return n, err
	}
	k, err := m.send(q, false)
	return n + k, err
}

func (m *Conn) send(p []byte, try bool) (n int, err error) {
	for {
		expired := m.wdl.wait()
		switch {
		case m.isClosed.Load():
			return n, net.ErrClosed
		case closed(expired):
			return n, os.ErrDeadlineExceeded
		}
		k, wait, err := m.Out.put(p[n:])
		n += k
		switch {
		case err == syscall.EPIPE:
			m.In.Reset()
			return n, err
		case err != nil || n == len(p) || try:
			return n, err
		case k > 0:
			continue
		}
		select {
		case <-wait:
		case <-expired:
		}
	}
}

// Close closes the connection, and does so even if it returns a fault.
func (m *Conn) Close() error {
	leave, err := m.enter("close", nil)
	if err != nil {
		m.shut()
		return err
	}
	defer leave()
	if m.CloseDelay > 0 {
		time.Sleep(m.CloseDelay)
	}
	return m.shut()
}

func (m *Conn) shut() error {
	if m.isClosed.Swap(true) {
		return net.ErrClosed
	}
	unread := false
	m.In.Update(func() {
		unread = len(m.In.buf) > 0
		m.In.Dead, m.In.buf = true, nil
	})
	if unread {
		m.Out.Reset()
	}
	m.Out.Update(func() { m.Out.Fin = true })
	return nil
}

// CloseWrite ends what the peer reads.
func (m *Conn) CloseWrite() error {
	leave, err := m.enter("closewrite", nil)
	if err != nil {
		return err
	}
	defer leave()
	m.Out.Update(func() { m.Out.Fin = true })
	return nil
}

func (m *Conn) SetReadDeadline(at time.Time) error {
	if _, err := m.enter("setread", nil); err != nil {
		return err
	}
	m.rdl.set(at)
	return nil
}

func (m *Conn) SetWriteDeadline(at time.Time) error {
	if _, err := m.enter("setwrite", nil); err != nil {
		return err
	}
	m.wdl.set(at)
	return nil
}

func (m *Conn) SetDeadline(at time.Time) error {
	m.rdl.set(at)
	m.wdl.set(at)
	return nil
}

func (m *Conn) LocalAddr() net.Addr  { return m.Addr }
func (m *Conn) RemoteAddr() net.Addr { return m.Peer }
