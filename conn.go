package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"example.com/websocket/internal/bridge"
)

// A Conn is an open WebSocket connection, of a server or of a client.
//
// Any number of goroutines may write, ping, shut down and close at the same time.
// One goroutine at a time may read: a second gets an error. Somebody should be
// reading at most times, since pings are answered, and the peer's Close frame is
// noticed, by whoever reads; [Conn.CloseRead] does it for those who only write.
//
// When a connection is no longer needed, call [Conn.Shutdown], which lets the peer
// finish, or [Conn.Close], which does not; otherwise its socket stays open.
type Conn struct {
	nc          net.Conn
	t           transport
	traits      traits
	role        role
	subprotocol string
	flate       *flate // nil: no message is compressed

	end  atomic.Pointer[error] // why the connection has ended
	life atomic.Pointer[lifetime]
	site *roster // of the http.Server that it came from, or nil; guarded by out.mu

	handlers atomic.Pointer[bridge.Handlers] // of a compatibility package, or nil

	in  reader
	out writer
}

// Bounds of the closing handshake.
const (
	lingerTimeout   = time.Second      // for what is queued to leave and for the peer's EOF, before the socket is closed
	shutdownTimeout = 10 * time.Second // for the peer's Close frame
)

// past is a deadline that interrupts what is waiting.
var past = time.Unix(1, 0)

// NewServerConn returns a connection over nc, on which the opening handshake was
// made by other means, as the server. Of opts, what concerns the handshake plays
// no part; nil stands for the defaults. The connection owns nc from now on.
func NewServerConn(nc net.Conn, opts *Options) *Conn {
	return newConn(nc, server, opts, "", nil)
}

// NewClientConn is [NewServerConn] for the client.
func NewClientConn(nc net.Conn, opts *Options) *Conn {
	return newConn(nc, client, opts, "", nil)
}

// newConn makes a connection of nc on which nothing but perhaps a subprotocol was
// agreed on.
func newConn(nc net.Conn, r role, opts *Options, subprotocol string, buffered []byte) *Conn {
	return openConn(nc, newTransport(nc), r, opts, agreement{subprotocol: subprotocol}, buffered)
}

// openConn makes a connection of nc, on which the opening handshake is complete and
// has led to what is agreed. Buffered holds bytes that were read from nc already,
// right behind the handshake: they come first, and belong to the Conn.
func openConn(nc net.Conn, t transport, r role, opts *Options, agreed agreement, buffered []byte) *Conn {
	c := &Conn{nc: nc, t: t, role: r, subprotocol: agreed.subprotocol}
	c.traits = c.t.traits()
	c.in.init(opts, buffered)
	c.out.init(opts)
	c.out.flush = c.flush
	if agreed.deflate != nil {
		c.useDeflate(agreed.deflate, opts.Compression)
	}
	c.keepAlive(opts) // from here on it is in use
	return c
}

// A lifetime is a context that ends when its connection does.
type lifetime struct {
	context.Context
	cancel context.CancelCauseFunc
}

// lifetime returns the connection's, which is made when it is first asked for: an
// idle connection needs none.
func (c *Conn) lifetime() context.Context {
	life := c.life.Load()
	if life == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		if life = (&lifetime{ctx, cancel}); !c.life.CompareAndSwap(nil, life) {
			life = c.life.Load()
		}
	}
	if err := c.cause(); err != nil { // perhaps it has not found the lifetime yet
		life.cancel(err)
	}
	return life.Context
}

// over ends the lifetime, because of err.
func (c *Conn) over(err error) {
	c.end.CompareAndSwap(nil, &err)
	if life := c.life.Load(); life != nil {
		life.cancel(c.cause())
	}
}

// cause returns why the connection has ended, and nil while it has not.
func (c *Conn) cause() error {
	if p := c.end.Load(); p != nil {
		return *p
	}
	return nil
}

// Subprotocol returns the subprotocol that was agreed on in the handshake, or "".
func (c *Conn) Subprotocol() string { return c.subprotocol }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the address of the peer, or of the proxy before it.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// NetConn returns the connection underneath, to look at or to set socket options.
// Whoever reads, writes or sets deadlines on it breaks the WebSocket connection.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Close closes the connection at once: every call on it, pending ones included,
// returns [net.ErrClosed] from now on. What has been written still leaves, with a
// Close frame of [StatusGoingAway] behind it, for which Close waits a second at
// the most; the peer's answer is not waited for. To close with another code, or
// to read what the peer still sends, use [Conn.Shutdown].
//
// Close returns nil at the first call and net.ErrClosed after that.
func (c *Conn) Close() error { return c.close(true) }

// close is Close, with a Close frame or without.
func (c *Conn) close(frame bool) error {
	w := &c.out
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return net.ErrClosed
	}
	w.closed = true
	if w.closing.mayWrite() && w.err == nil {
		c.catchUp()
		if frame {
			c.appendClose(StatusGoingAway, "")
		}
	}
	w.refuse(net.ErrClosed)
	w.err = net.ErrClosed
	c.in.close()
	c.beginEnd(net.ErrClosed)
	c.kick(true)
	c.interruptRead()

	w.mu.Lock()
	c.await(context.Background(), func() (bool, error) { return w.idle(), nil })
	w.mu.Unlock()
	return nil
}

// Shutdown makes the closing handshake (RFC 6455 7.1.2): it sends what has been
// written and a Close frame with code and reason, waits for the peer's Close
// frame, and closes the connection. No more can be written meanwhile: writers get
// an error that wraps [net.ErrClosed]. A read that is in progress goes on and
// returns messages until the peer's [*CloseError]; while nobody reads, Shutdown
// itself reads, and discards.
//
// It waits until ctx ends, and 10 s at the most. Then it gives the handshake up and
// returns an error that wraps that of the context; what has been written has another
// second to leave, in the background, before the socket is closed. If
// the connection had ended before, it returns the reason, or nil if that was a
// completed closing handshake. After [Conn.Close] it returns net.ErrClosed.
//
// The code must be one that may be sent (1000 to 1003, 1007 to 1014, 3000 to
// 4999), or [StatusNoStatus] for an empty Close frame; the reason is UTF-8 of at
// most 123 bytes.
func (c *Conn) Shutdown(ctx context.Context, code StatusCode, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	c.in.hurry() // before the peer can answer, or a reader at work might not be seen
	c.sendClose(code, reason)
	c.nudgePump()
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	err := c.pump(ctx, nil)
	if err == ctx.Err() {
		unanswered := fmt.Errorf("websocket: the peer did not answer the Close frame: %w", err)
		if c.abandon(unanswered) == unanswered {
			return unanswered
		}
	}
	return c.gone()
}

// sendClose sends a Close frame behind all that was written, and lets nothing more be
// written. It returns an error if that was so before.
func (c *Conn) sendClose(code StatusCode, reason string) error {
	w := &c.out
	w.mu.Lock()
	err := w.err
	if err == nil && w.closing.mayWrite() {
		c.catchUp()
		c.appendClose(code, reason)
		w.refuse(errCloseSent)
	}
	c.kick(true)
	return err
}

var errCloseSent = fmt.Errorf("websocket: a Close frame was sent: %w", net.ErrClosed)

// awaitGone waits until the connection's socket is closed, also after Close.
func (c *Conn) awaitGone() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.await(context.Background(), func() (bool, error) { return c.out.gone, nil })
}

// gone waits until the connection's socket is closed, and returns how it ended:
// nil for a complete closing handshake.
func (c *Conn) gone() error {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	c.await(context.Background(), func() (bool, error) { return w.gone || w.closed, nil })
	switch {
	case w.closed:
		return net.ErrClosed
	case w.closing.complete():
		return nil
	}
	return c.cause()
}

// abandon ends the connection because of err, unless something has before, and
// returns the reason that holds. What is queued still leaves.
func (c *Conn) abandon(err error) error {
	err = c.in.end(err)
	c.out.mu.Lock()
	c.out.refuse(err)
	c.beginEnd(err)
	c.kick(true)
	return err
}

// fail is _Fail the WebSocket Connection_ (7.1.7) because of err, which was found
// in what the peer has sent, or is our own fault. The peer is told what closeFor
// says.
func (c *Conn) fail(err error) error {
	err = c.in.end(err)
	w := &c.out
	w.mu.Lock()
	code, reason, ok := closeFor(err)
	if !ok {
		code, reason = StatusInternalError, ""
	}
	if w.err == nil && w.closing.mayWrite() {
		c.appendClose(code, reason)
	}
	w.refuse(err)
	c.beginEnd(err)
	c.kick(true)
	return err
}

// A lostError is why reading has ended without a Close frame. Its text is made when it
// is asked for: that grows the stack, which costs more than to close the socket.
type lostError struct{ err error }

func (e *lostError) Error() string {
	return "websocket: connection lost without a Close frame: " + e.err.Error()
}

func (e *lostError) Unwrap() error { return e.err }

// lost takes the error of a read from the transport. After an EOF the peer may
// still be reading what is queued for it; after anything else it is not.
func (c *Conn) lost(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	var lost error = &lostError{err}
	if end := c.in.end(lost); end != lost {
		return end
	}
	w := &c.out
	w.mu.Lock()
	w.eof = err == io.ErrUnexpectedEOF
	if !w.eof {
		c.breakOff(lost)
	}
	w.refuse(lost)
	if w.eof && w.idle() && w.endBy.IsZero() && c.traits.tries {
		c.endNow(lost)
		return lost
	}
	c.beginEnd(lost)
	w.mu.Unlock()
	return lost
}

// endNow ends a connection for which nothing is left to do but to close its socket,
// in the goroutine of the reader. Called with the reader role and out.mu held;
// returns without the latter.
func (c *Conn) endNow(cause error) {
	c.noteEnd(cause)
	c.out.mu.Unlock()
	c.nc.Close()
	c.publish()
	c.in.watch.off()
	c.noteClosed()
}

// receivedClose takes the peer's Close frame, answers it if it is not itself the
// answer, and ends the connection.
func (c *Conn) receivedClose(e *CloseError) error {
	w := &c.out
	w.mu.Lock()
	w.closing.received = e
	// 5.5.1: "If an endpoint receives a Close frame and did not previously send a
	// Close frame, the endpoint MUST send a Close frame in response."
	if w.closing.mayWrite() && w.err == nil {
		c.appendClose(w.closing.replyCode(), "")
	}
	w.refuse(e)
	err := c.in.end(e)
	c.beginEnd(e)
	c.kick(true)
	return err
}

// breakOff gives up what is queued: nothing more can be sent. Called with
// out.mu held.
func (c *Conn) breakOff(err error) {
	w := &c.out
	w.refuse(err)
	w.drop()
	c.beginEnd(err)
}

// beginEnd begins the end of the connection, once; the rest is done in the background.
// Called with out.mu held.
func (c *Conn) beginEnd(cause error) {
	w := &c.out
	if !w.endBy.IsZero() {
		return
	}
	c.noteEnd(cause)
	if w.role != nobody {
		c.armWrite() // who is in the middle of a write has until then
	}
	go c.finish(w.endBy)
}

// noteEnd takes note that the end of the connection has begun. Called with out.mu held.
func (c *Conn) noteEnd(cause error) {
	c.out.endBy = time.Now().Add(lingerTimeout)
	c.out.stopKeepAlive()
	c.over(cause)
}

// finish lets what is queued leave, tells the peer by TCP's means that no more
// comes, and closes the socket when the peer has closed its own: closing it while
// unread input is there would send a reset, which destroys what was sent (7.1.1
// describes the same steps). All of it ends at by.
func (c *Conn) finish(by time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	// Whatever holds out longer than that is cut off: the close_notify of TLS, for
	// one, which waits for its peer much longer, or a net.Conn without deadlines.
	defer context.AfterFunc(ctx, func() {
		c.in.end(c.cause())
		cut(c.nc)
	})()
	w := &c.out
	w.mu.Lock()
	c.await(ctx, func() (bool, error) { return w.idle(), nil })
	linger := !w.broken && w.idle()
	complete, eof := w.closing.complete(), w.eof
	w.mu.Unlock()

	role := false
	switch {
	case !linger:
		c.grace(ctx)
		cut(c.nc)
	case !eof: // else no input is there that could cause a reset
		role = c.linger(ctx, by, complete)
	}
	c.nc.Close()
	if !role {
		c.takeReader(context.Background()) // whoever reads gets an error now
	}
	c.in.release()
	c.in.watch.off()
	c.noteClosed()
}

// noteClosed takes note that the socket is closed.
func (c *Conn) noteClosed() {
	w := &c.out
	w.mu.Lock()
	w.gone = true
	if w.role == nobody {
		w.watch.off()
	}
	w.wake()
	site := c.site
	w.mu.Unlock()
	site.remove(c)
}

// cut closes the socket of nc, without a word of any protocol above it: of TLS, and
// that of TLS to a proxy.
func cut(nc net.Conn) {
	for t, ok := nc.(interface{ NetConn() net.Conn }); ok; t, ok = nc.(interface{ NetConn() net.Conn }) {
		nc = t.NetConn()
	}
	nc.Close()
}

// linger waits for the peer's EOF. It reports whether it has taken the reader
// role, which is never given back.
func (c *Conn) linger(ctx context.Context, by time.Time, complete bool) (role bool) {
	// 7.1.1: "The client SHOULD wait for the server to close the connection".
	if c.role.closesTCPFirst() || !complete {
		half, ok := c.nc.(interface{ CloseWrite() error })
		if !ok && complete {
			return false // net.Pipe, for one: nothing is there to be destroyed
		}
		if ok {
			half.CloseWrite()
		}
	}
	c.interruptRead()
	if !c.takeReader(ctx) {
		return false
	}
	buf := getSmallBuffer()
	defer putBuffer(buf)
	for time.Now().Before(by) {
		unset := c.nc.SetReadDeadline(by)
		if _, err := c.nc.Read(buf); err != nil && (unset != nil || !isTimeout(err)) {
			break
		}
	}
	return true
}

// takeReader takes the reader role for finish, which never gives it back, and
// publishes what has come, all at once unless somebody else has the role.
func (c *Conn) takeReader(ctx context.Context) bool {
	r := &c.in
	c.out.mu.Lock()
	taken := r.role.tryTake(byFinish)
	if taken {
		c.out.received = r.traffic
	}
	c.out.mu.Unlock()
	if !taken {
		if taken = r.role.take(ctx, byFinish, nil, nil); taken {
			c.publish()
		}
	}
	return taken
}

// grace lets a reader come to the end of what the peer has sent before a write
// failed: often a Close frame is there that says why.
func (c *Conn) grace(ctx context.Context) {
	w := &c.out
	w.mu.Lock()
	cause := w.err
	if w.broken && !errors.Is(cause, errWriteTimeout) {
		c.await(ctx, func() (bool, error) { return c.in.err.Load() != nil, nil })
	}
	w.mu.Unlock()
	c.in.end(cause)
}
