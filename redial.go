package websocket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Redialer is a client that stays connected: when its connection is lost, or a
// dial fails, it waits a while and dials again. A loop over [Redialer.Messages] makes
// it work:
//
//	r := &websocket.Redialer{URL: "wss://example.com/news", OnConnect: subscribe}
//	for m, err := range r.Messages(ctx) {
//		if err != nil {
//			return err // ctx has ended, or the server refuses us for good
//		}
//		...
//	}
//
// It waits as RFC 6455 7.2.3 asks for, a random time that grows from failure to
// failure. That a peer has vanished is found out by Options.KeepAlive, which should be
// left on.
//
// What the server sends while there is no connection is lost, unless OnConnect asks for
// it; what the client writes is never sent twice, see [Redialer.Conn]. The fields must
// not be changed, nor a Redialer copied, after its first use.
type Redialer struct {
	// URL and Options are those of [Dial].
	URL     string
	Options *Options

	// Dial, if it is not nil, makes a connection in place of the function Dial with
	// URL and Options: with credentials that expire, for instance, or of several
	// servers in turn. It must return when ctx ends.
	Dial func(ctx context.Context) (*Conn, error)

	// OnConnect is called with each new connection before anything else is done with
	// it: to subscribe anew, to ask for what was missed. It may read. If it returns an
	// error, the connection is closed and that counts as a dial that has failed. A
	// dial and OnConnect together have 30 s, and ctx ends then. It may run while the
	// loop still deals with a message of the connection before.
	OnConnect func(ctx context.Context, c *Conn) error

	// Retry is told why a dial has failed, or how a connection has ended, and after
	// how long the next dial follows. If it returns false, none follows, and the loop
	// ends with err. nil stands for a function that returns true: also after a Close
	// frame with [StatusNormalClosure], which is how many servers end a connection
	// that is old. It is not asked about refusals for good, see Messages, and may be
	// called while the loop deals with a message.
	Retry func(err error, wait time.Duration) bool

	// The wait before a dial is random, between 0 and FirstWait, which by default is
	// 1 s. After each further failure it may be twice as long, up to MaxWait, by
	// default 1 min. A connection that has held for 10 s makes it FirstWait again. If
	// the server has refused a handshake with Retry-After (RFC 9110 10.2.3), that is
	// waited for besides, but for MaxWait at the most.
	FirstWait, MaxWait time.Duration

	mu      sync.Mutex
	running bool
	conn    *Conn         // the newest, which may have ended
	err     error         // why there will be none: how the last loop has ended
	changed chan struct{} // closed when one of these changes; nil if nobody waits
}

const (
	defaultFirstWait = time.Second
	defaultMaxWait   = time.Minute

	redialTimeout = 30 * time.Second // for a dial and OnConnect
	settled       = 10 * time.Second // a connection that has held for so long was no failure
)

var errRedialing = errors.New("websocket: another loop over this Redialer's Messages has not ended: there may be one at a time")

// Messages connects, and returns the messages of all connections, one after the other,
// for a loop. Their bytes belong to the caller. The loop ends
//
//   - when it is left: the connection is closed with [StatusNormalClosure], as by
//     [Conn.Shutdown], for which it has 5 s;
//   - when ctx ends, with ctx's error: the connection is closed as by [Conn.Close];
//   - when the server refuses the handshake for good, with that [*HandshakeError]: with
//     401, 403, 404, or another status from 400 to 499 but 408, 421, 425 and 429, which
//     stand for a server that may think otherwise later (RFC 9110 15.5);
//   - when URL or Options cannot be used, and when Retry says so.
//
// Nothing is left running then, and another loop may begin. There may be one at a
// time: a second gets an error at once.
func (r *Redialer) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if err := r.begin(); err != nil {
			yield(Message{}, err)
			return
		}
		keeping, cancel := context.WithCancel(ctx)
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			r.keep(keeping)
		}()
		defer func() {
			cancel()
			<-kept
			r.end(ctx)
		}()
		if err := r.read(ctx, yield); err != nil {
			yield(Message{}, err)
		}
	}
}

// read yields what comes. It returns an error for the end of it, and nil if the loop
// was left.
func (r *Redialer) read(ctx context.Context, yield func(Message, error) bool) error {
	var last *Conn
	for {
		c, err := r.await(ctx, func(c *Conn) bool { return c != last })
		if err != nil {
			return err
		}
		last = c
		for {
			typ, p, err := c.ReadMessage(ctx)
			if err != nil {
				break
			}
			if !yield(Message{typ, p}, nil) {
				return nil
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		c.Close() // it has ended, unless somebody else reads from it
	}
}

// Conn returns the connection that there is, or waits for one, to write to it. It
// returns ctx's error if that ends first, and when the loop over Messages has ended
// the reason: [net.ErrClosed] if it was left.
//
// So a write waits while there is no connection, as long as its caller likes, and is
// not kept in a queue. If it returns an error the connection is lost, and the message
// perhaps too, or not: whether to send it again over the next one is for the
// application to decide. Any number of goroutines may call Conn; reading from the
// connection is for Messages alone. OnConnect must not call Conn, which would wait
// for it.
func (r *Redialer) Conn(ctx context.Context) (*Conn, error) {
	return r.await(ctx, func(c *Conn) bool { return c.cause() == nil })
}

// await waits for a connection that will do.
func (r *Redialer) await(ctx context.Context, ok func(*Conn) bool) (*Conn, error) {
	for {
		r.mu.Lock()
		c, err := r.conn, r.err
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		switch {
		case c != nil && ok(c):
			return c, nil
		case err != nil:
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// set takes note of a new connection, or of why there will be none.
func (r *Redialer) set(c *Conn, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c != nil {
		r.conn = c
	}
	r.err = err
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// begin begins a loop.
func (r *Redialer) begin() error {
	if r.Dial == nil {
		_, err := parseURL(r.URL)
		if err := errors.Join(err, cmp.Or(r.Options, new(Options)).checkHandshake(client)); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return errRedialing
	}
	r.running, r.conn, r.err = true, nil, nil
	return nil
}

// end ends the loop, after everything that it has started but the connection.
func (r *Redialer) end(ctx context.Context) {
	r.mu.Lock()
	c, err := r.conn, r.err
	r.conn = nil
	r.mu.Unlock()
	if err == nil {
		if err = ctx.Err(); err == nil {
			err = net.ErrClosed
		}
		r.set(nil, err)
	}
	switch {
	case c == nil:
	case ctx.Err() != nil:
		c.Close()
	default:
		ctx, cancel := context.WithTimeout(ctx, handlerShutdownTimeout)
		defer cancel()
		c.Shutdown(ctx, StatusNormalClosure, "")
	}
	r.mu.Lock()
	r.running = false
	r.mu.Unlock()
}

// keep sees to it that there is a connection, whatever the loop is busy with.
func (r *Redialer) keep(ctx context.Context) {
	b := newBackoff(r.FirstWait, r.MaxWait)
	for {
		c, err := r.connect(ctx)
		if err == nil {
			since := time.Now()
			r.set(c, nil)
			select {
			case <-c.lifetime().Done():
			case <-ctx.Done():
				return
			}
			if time.Since(since) >= settled {
				b.reset()
			}
			err = c.cause()
		}
		if ctx.Err() != nil {
			return
		}
		wait := b.next() + min(retryAfter(err), b.max)
		if forGood(err) || r.Retry != nil && !r.Retry(err, wait) {
			r.set(nil, err)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// connect makes a connection that is ready for use.
func (r *Redialer) connect(ctx context.Context) (c *Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, redialTimeout)
	defer cancel()
	if r.Dial != nil {
		c, err = r.Dial(ctx)
	} else {
		c, _, err = Dial(ctx, r.URL, r.Options)
	}
	switch {
	case err == nil && c == nil:
		return nil, errors.New("websocket: Redialer.Dial returns neither a connection nor an error")
	case err == nil && r.OnConnect != nil:
		if err = r.OnConnect(ctx, c); err != nil {
			err = fmt.Errorf("websocket: Redialer.OnConnect: %w", err)
		}
	}
	if err != nil && c != nil {
		c.Close()
	}
	return c, err
}

// forGood reports whether a handshake was refused in a way that does not heal by
// itself.
func forGood(err error) bool {
	var e *HandshakeError
	if !errors.As(err, &e) {
		return false
	}
	switch e.StatusCode {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.StatusCode/100 == 4
}

// retryAfter returns how long the server that has refused a handshake asks to be left
// alone (RFC 9110 10.2.3: "Retry-After = HTTP-date / delay-seconds").
func retryAfter(err error) time.Duration {
	var e *HandshakeError
	if !errors.As(err, &e) {
		return 0
	}
	field := e.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(field, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(field); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// A backoff is how long to wait between dials. 7.2.3: "The first reconnect attempt
// SHOULD be delayed by a random amount of time [...] Should the first reconnect
// attempt fail, subsequent reconnect attempts SHOULD be delayed by increasingly longer
// amounts of time, using a method such as truncated binary exponential backoff." The
// whole wait is random, so that clients which have lost their server together do not
// come back together.
type backoff struct{ first, max, bound time.Duration }

func newBackoff(first, most time.Duration) *backoff {
	if first <= 0 {
		first = defaultFirstWait
	}
	if most <= 0 {
		most = defaultMaxWait
	}
	first = min(first, most)
	return &backoff{first, most, first}
}

func (b *backoff) reset() { b.bound = b.first }

func (b *backoff) next() time.Duration {
	wait := rand.N(b.bound)
	b.bound += min(b.bound, b.max-b.bound)
	return wait
}
