package websocket

import (
	"context"
	"fmt"
	"time"
)

// The flusher: who holds its role writes what is in the queue to the transport.
//
// An answer to the last message that has arrived goes to the transport at once, in
// the caller's goroutine, as far as that is possible without waiting, and takes
// along what was gathered before it. While further frames are in the reader's hands
// more answers are to be expected: they are gathered, and if none of them is the
// last, the reader writes them before it asks the transport for more. So a
// pipelined exchange costs one write for all that one read has brought, and no
// goroutine has to take part: to write each answer at once costs 20 times as much when
// 64 messages of 64 B are in flight. But since nobody can know what the application
// does next, whatever is gathered also calls a flusher, a goroutine that writes it
// unless somebody has done so before.

// A flusherRole says who holds the flusher role.
type flusherRole byte

const (
	nobody   flusherRole = iota // anybody may take it
	somebody                    // is writing
	awaited                     // it waits for the flusher that was called, since the transport takes nothing at once
)

// kick sees to it that what is in the queue leaves: through the caller's own hands
// if through says so or it is probably an answer that somebody waits for, otherwise
// through the flusher's. Called with out.mu held; returns without it.
func (c *Conn) kick(through bool) {
	w := &c.out
	switch {
	case w.role != nobody || w.empty():
		w.mu.Unlock()
	case c.traits.tries && (through || w.prompt.Load()):
		w.prompt.Store(false)
		c.flushHere()
	default:
		c.callFlusher()
	}
}

// flushGathered writes what has gathered, as far as that is possible without
// waiting. The reader does so before it waits for more, and thus the flusher will
// mostly find nothing to do. It also lets others see what has come.
func (c *Conn) flushGathered() {
	w := &c.out
	w.mu.Lock()
	w.received = c.in.traffic
	if !c.traits.tries || w.role != nobody || w.empty() {
		w.mu.Unlock()
		return
	}
	c.flushHere()
}

// flushHere takes the flusher role, which must be free, and writes in the caller's
// goroutine what the transport takes at once. Called with out.mu held; returns
// without it.
func (c *Conn) flushHere() {
	w := &c.out
	w.role = somebody
	c.takeBatch()
	w.mu.Unlock()
	n, err := c.tryWrite(w.batch)
	w.mu.Lock()
	c.wrote(n, err)
	c.giveRole()
}

// giveRole gives the flusher role up. A batch that is half written is the
// flusher's, who can wait. Called with out.mu held; returns without it.
func (c *Conn) giveRole() {
	w := &c.out
	if len(w.batch) > 0 {
		w.role = awaited
	} else {
		c.appendDuePong()
		c.disarmWrite()
		w.role = nobody
		if w.gone {
			w.watch.off()
		}
		w.wake()
	}
	if w.empty() {
		w.mu.Unlock()
	} else {
		c.callFlusher()
	}
}

// callFlusher sees to it that a flusher is on its way. Called with out.mu held;
// returns without it.
func (c *Conn) callFlusher() {
	w := &c.out
	called := w.called
	w.called = true
	w.mu.Unlock()
	if !called {
		go w.flush()
	}
}

// flush is the flusher: it writes until nothing is left to write, unless somebody
// is writing already.
func (c *Conn) flush() {
	w := &c.out
	w.mu.Lock()
	w.called = false
	if w.role == somebody {
		w.mu.Unlock()
		return
	}
	w.role = somebody
	for c.takeBatch() {
		c.disarmWrite()
		w.mu.Unlock()
		n, err := c.tryWrite(w.batch[w.sent:])
		if err == nil && w.sent+n < len(w.batch) {
			c.took(n)
			var m int
			m, err = c.writeOut(context.Background(), w.batch[w.sent+n:], nil)
			n += m
		}
		w.mu.Lock()
		c.wrote(n, err)
	}
	c.giveRole()
}

// takeBatch puts what waits into the flusher's hands, and reports whether there is
// anything. Called with out.mu held, by the holder of the flusher role.
func (c *Conn) takeBatch() bool {
	w := &c.out
	if len(w.batch) > 0 {
		return true
	}
	c.appendDuePong()
	if w.mayRefill() && c.refill() {
		return true
	}
	w.batch, w.queue, w.sent = w.queue, nil, 0
	w.inFlight = len(w.batch)
	return len(w.batch) > 0
}

// appendDuePong appends the pong for which the queue had no room. Called with
// out.mu held.
func (c *Conn) appendDuePong() {
	w := &c.out
	if w.pongDue && w.endBy.IsZero() {
		c.appendFrame(&FrameHeader{Fin: true, Opcode: OpPong}, w.pongData)
	}
	w.pongDue = false
}

// wrote counts n more bytes of the batch as written. Called with out.mu held.
func (c *Conn) wrote(n int, err error) {
	w := &c.out
	w.sent += n
	w.inFlight = len(w.batch) - w.sent
	w.written += uint64(n)
	if w.broken && err == nil {
		err = w.err
	}
	if err != nil {
		w.inFlight = 0
		c.breakOff(fmt.Errorf("websocket: write failed: %w", err))
	}
	if err != nil || w.sent == len(w.batch) {
		if !w.shared {
			putBuffer(w.batch)
		}
		w.batch, w.shared = nil, false
	}
	w.wake()
}

// took counts n bytes of what is in flight as taken, while the flusher goes on with
// the rest: who waits for room need not wait for all of it.
func (c *Conn) took(n int) {
	c.out.mu.Lock()
	c.out.inFlight -= n
	c.out.wake()
	c.out.mu.Unlock()
}

// writeLarge sends a data frame from the caller's memory, with the turn in hand:
// it waits for the flusher role and is the flusher for this one frame.
func (c *Conn) writeLarge(ctx context.Context, h FrameHeader, p []byte, size int) error {
	w := &c.out
	w.mu.Lock()
	c.kick(true) // what was written before goes first
	w.mu.Lock()
	if err := c.awaitAhead(ctx, w.idle); err != nil {
		w.mu.Unlock()
		return err
	}
	w.role, w.inFlight = somebody, maxFrameHeader+len(p)
	w.prompt.Store(false)
	open := w.open
	w.open = !h.Fin
	w.mu.Unlock()

	stop := c.watchWrite(ctx)
	n, err := c.writeDirect(ctx, h, p)
	stop()

	w.mu.Lock()
	w.inFlight = 0
	w.queued += uint64(n)
	w.written += uint64(n)
	if err == nil {
		w.count(h.Fin, size)
	}
	if err != nil && (n > 0 || err != ctx.Err() || !c.traits.resumes) {
		c.breakOff(fmt.Errorf("websocket: write failed: %w", err))
		err = w.err
	} else if err != nil {
		w.open = open // nothing was sent
	}
	c.giveRole()
	return err
}

// watchWrite makes the end of ctx interrupt the flusher's writes. Where a write that
// was interrupted can go on, the watch stays for the next time, since a stale
// interruption does no harm. Elsewhere it would, and the watch ends with stop.
func (c *Conn) watchWrite(ctx context.Context) (stop func()) {
	if x, ok := ctx.(*requestContext); ok && x.c == c || ctx.Done() == nil {
		return func() {}
	}
	if c.traits.resumes {
		c.out.watch.on(ctx, c, (*Conn).interruptWrite)
		return func() {}
	}
	ran := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		c.interruptWrite()
		close(ran)
	})
	return func() {
		if !cancel() {
			<-ran
		}
	}
}

// interruptWrite does nothing once the connection ends: contexts that are made of a
// request's end with it, and what is being written has until endBy to leave.
func (c *Conn) interruptWrite() {
	if c.cause() == nil {
		c.nc.SetWriteDeadline(past)
	}
}

// tryWrite is that of the transport, less the echo of an interruption which no
// longer matters: what was not written then is the flusher's.
func (c *Conn) tryWrite(p []byte) (int, error) {
	n, err := c.t.tryWrite(p)
	if err != nil && isTimeout(err) {
		c.nc.SetWriteDeadline(time.Time{})
		return n, nil
	}
	return n, err
}

// writeDirect writes a frame in as few calls as the transport allows. It returns
// how many bytes have left.
func (c *Conn) writeDirect(ctx context.Context, h FrameHeader, p []byte) (n int, err error) {
	h.Length = int64(len(p))
	if h.Masked = c.role.masks(); h.Masked {
		h.MaskKey = newMaskKey()
	}
	if c.traits.vectored && !h.Masked {
		head := AppendFrameHeader(getSmallBuffer()[:0], h)
		defer putBuffer(head)
		return c.writeOut(ctx, head, p)
	}
	block := getLargeBuffer()
	defer putBuffer(block)
	chunk := AppendFrameHeader(block[:0], h)
	for offset := 0; offset < len(p) && err == nil; {
		room := chunk[len(chunk):min(cap(chunk), int(c.traits.maxWrite))]
		k := min(len(room), len(p)-offset)
		if h.Masked {
			Mask(room, p[offset:offset+k], h.MaskKey, offset)
		} else {
			copy(room, p[offset:offset+k])
		}
		var m int
		m, err = c.writeOut(ctx, chunk[:len(chunk)+k], nil)
		n, offset, chunk = n+m, offset+k, block[:0]
	}
	return n, err
}

// maxVectored is how much of a large payload a writev is given. The operating system
// would take more in one call, and copy it past its caches: messages of 1 MiB in pieces
// of this size take 0.8 of the time.
const maxVectored = 512 << 10

// writeOut writes p, and q behind it, and waits for the peer as long as it takes
// something within Options.WriteTimeout. Only the flusher calls it.
func (c *Conn) writeOut(ctx context.Context, p, q []byte) (n int, err error) {
	for {
		piece := p[:min(len(p), int(c.traits.maxWrite))]
		deadline, err := c.arm()
		if err != nil {
			return n, err
		}
		// Looked at after arm, which may have undone the interruption.
		if err := ctx.Err(); err != nil && c.cause() == nil {
			return n, err
		}
		k, err := c.t.write(piece, q[:min(len(q), maxVectored)])
		n += k
		p, q = skip(p, q, k)
		if len(p)+len(q) > 0 {
			c.took(k)
		}
		switch {
		case err == nil && len(p)+len(q) == 0:
			return n, nil
		case err == nil:
		case !isTimeout(err):
			return n, err
		case ctx.Err() != nil && !c.traits.resumes:
			return n, ctx.Err()
		case k > 0: // if it cannot go on, the next one says so at once
		case !c.traits.resumes, !deadline.IsZero() && !time.Now().Before(deadline):
			return n, errWriteTimeout
		}
	}
}

// skip drops the first n bytes of p and q together.
func skip(p, q []byte, n int) ([]byte, []byte) {
	if n < len(p) {
		return p[n:], q
	}
	return nil, q[n-len(p):]
}

// arm sets the deadline of the next write.
func (c *Conn) arm() (deadline time.Time, err error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.armWrite()
}

// armWrite sets the write deadline: WriteTimeout from now, and not after the end
// of the connection. Called with out.mu held.
func (c *Conn) armWrite() (deadline time.Time, err error) {
	w := &c.out
	if w.timeout > 0 {
		deadline = time.Now().Add(w.timeout)
	}
	if !w.endBy.IsZero() && (deadline.IsZero() || w.endBy.Before(deadline)) {
		deadline = w.endBy
	}
	w.armed = true
	return deadline, c.nc.SetWriteDeadline(deadline)
}

// disarmWrite clears the write deadline: left over and expired, it would make a
// later tryWrite fail untried. Called with out.mu held, before the flusher role is
// given up.
func (c *Conn) disarmWrite() {
	if c.out.armed {
		c.nc.SetWriteDeadline(time.Time{})
		c.out.armed = false
	}
}
