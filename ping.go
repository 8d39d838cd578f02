package websocket

import (
	"context"
	"encoding/binary"
	"time"
)

// Pings, pongs (5.5.2, 5.5.3), and the pump, which reads for somebody who waits for a
// control frame while the application does not read.

// pings are the pings of a connection that may still be answered.
type pings struct {
	last    uint64 // the number of the last one, which is its payload
	waiting []*ping
	rtt     time.Duration // of the last pong; 0 before the first
	alive   keepAlive
}

// A ping is one that somebody waits for.
type ping struct {
	number uint64
	sent   instant
	done   chan struct{} // closed when the pong has come
}

// Ping sends a ping and waits for its pong (RFC 6455 5.5.2), and returns how long
// that took. It works whether or not somebody is reading: if not, it reads itself,
// and keeps a message that comes before the pong for the next read. Behind a
// message that the application does not read it has to wait.
//
// When ctx ends first, Ping returns its error and the connection stays as it was.
// Other errors are those of [Conn.ReadMessage].
func (c *Conn) Ping(ctx context.Context) (rtt time.Duration, err error) {
	w := &c.out
	w.mu.Lock()
	if err := c.awaitRoom(ctx, 8); err != nil {
		w.mu.Unlock()
		return 0, err
	}
	p := &ping{c.appendPing(), now(), make(chan struct{})}
	w.pings.waiting = append(w.pings.waiting, p)
	c.kick(true)

	err = c.pump(ctx, p.done)
	rtt = time.Duration(now() - p.sent)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pings.remove(p)
	if isClosed(p.done) {
		return rtt, nil
	}
	return 0, err
}

// appendPing appends the next ping to the queue, and returns its number. Called
// with out.mu held.
func (c *Conn) appendPing() (number uint64) {
	w := &c.out
	if w.pings == nil {
		w.pings = new(pings)
	}
	w.pings.last++
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], w.pings.last)
	c.appendFrame(&FrameHeader{Fin: true, Opcode: OpPing}, data[:])
	return w.pings.last
}

// pong answers a ping. It never waits: a peer that sends pings and reads no pongs
// gets only the latest, when it reads again. 5.5.3: "If an endpoint receives a
// Ping frame and has not yet sent Pong frame(s) in response to previous Ping
// frame(s), the endpoint MAY elect to send a Pong frame for only the most recently
// processed Ping frame."
func (c *Conn) pong(p []byte) {
	w := &c.out
	w.mu.Lock()
	switch {
	case !w.endBy.IsZero(): // but after our own Close frame alone pings are answered (5.5.2)
	case w.load() >= w.bound:
		w.pongDue, w.pongData = true, append(w.pongData[:0], p...)
	default:
		w.pongDue = false
		c.appendFrame(&FrameHeader{Fin: true, Opcode: OpPong}, p)
	}
	c.kick(len(c.in.unread) == 0)
}

// ponged takes a pong. 5.5.3: "A Pong frame MAY be sent unsolicited"; and a pong
// may answer all pings before the one that it answers.
func (c *Conn) ponged(data []byte) {
	if len(data) != 8 {
		return
	}
	number := binary.BigEndian.Uint64(data)
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pings == nil || number > w.pings.last {
		return
	}
	if number == w.pings.alive.number {
		w.pings.rtt = time.Duration(now() - w.pings.alive.asked)
	}
	for _, p := range w.pings.waiting {
		if p.number == number {
			w.pings.rtt = time.Duration(now() - p.sent)
		}
		if p.number <= number && !isClosed(p.done) {
			close(p.done)
		}
	}
}

func (s *pings) remove(p *ping) {
	for i, q := range s.waiting {
		if q == p {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			return
		}
	}
}

// A pump reads for somebody who waits for a control frame while the application
// does not read. It reads until done is closed, or ctx or the connection ends,
// and gives way to the application's reads. A message that it gets it holds for
// the application, and stops reading; once Shutdown has begun, only for a while: then
// this one and those that follow are discarded.
func (c *Conn) pump(ctx context.Context, done <-chan struct{}) error {
	r := &c.in
	c.out.mu.Lock()
	if r.want == nil {
		r.want = make(chan struct{}, 1)
	}
	c.out.mu.Unlock()
	for {
		if !r.role.take(ctx, byPump, done, c.lifetime().Done()) {
			return c.waitError(ctx)
		}
		err := r.ended()
		if err == nil {
			err = c.pumpOnce(ctx, done, func() bool { return r.wanted.Load() > 0 || isClosed(done) })
		}
		r.role.give()
		if err != errGiveWay || isClosed(done) {
			return err
		}
	}
}

// pumpOnce pumps with the reader role in hand. It returns errGiveWay when quit says
// that it should be given back for now.
func (c *Conn) pumpOnce(ctx context.Context, done <-chan struct{}, quit func() bool) (err error) {
	r := &c.in
	c.watchRead(ctx)
	r.quit = quit
	defer func() { r.quit = nil }()
	for err == nil && (r.landed > 0 || !quit()) {
		switch {
		case r.landed == 0 && (r.discarding.Load() || r.stream == discarded):
			err = c.discard()
		case r.whole == 0 && r.stream == nil:
			r.whole, err = c.assemble()
		default:
			err = c.pumpWait(ctx, done)
		}
		switch {
		case err != errMore:
		case quit():
			r.target, err = nil, errGiveWay
		default:
			err = c.fill(ctx)
		}
	}
	r.tidy()
	if err == nil {
		err = errGiveWay
	}
	return err
}

// pumpWait waits without reading: there is a message in hand that belongs to the
// application.
func (c *Conn) pumpWait(ctx context.Context, done <-chan struct{}) error {
	c.in.holding.Store(true)
	defer c.in.holding.Store(false)
	var timeout <-chan time.Time
	if c.in.impatient.Load() {
		timer := time.NewTimer(lingerTimeout)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-c.in.want:
		return nil
	case <-done:
		return nil
	case <-timeout:
		c.in.discarding.Store(true)
		return nil
	case <-ctx.Done():
	case <-c.lifetime().Done():
	}
	return c.waitError(ctx)
}

// nudgePump makes a pump that holds a message look whether it still should.
func (c *Conn) nudgePump() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.in.want != nil {
		select {
		case c.in.want <- struct{}{}:
		default:
		}
	}
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
