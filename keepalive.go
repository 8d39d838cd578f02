package websocket

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Keepalive: a peer that is silent is pinged, and one that stays silent is gone.
// RFC 6455 leaves it to the application (5.5.2: "A Ping frame may serve either as a
// keepalive or as a means to verify that the remote endpoint is still
// responsive."), and TCP by itself would notice after hours, or never.
//
// Silence counts only while somebody waits at a socket in which nothing is left:
// the application, in a read, or a pump. While a message waits for the application,
// what is behind it in the socket has not been looked at, and a slow application
// is not a dead peer. Nor does it count while bytes wait for the peer: the pong may
// have to wait behind them, and Options.WriteTimeout is for that.

// An instant is a point of time, on a clock that only serves to tell how much has
// passed. Reading it costs half of what time.Now does.
type instant int64

var epoch = time.Now()

func now() instant { return instant(time.Since(epoch)) }

// A keepAlive is the one timer of a connection that is open. It looks at what has
// happened, when it fires, and is set to the time at which there will be something
// to do if nothing happens: a message costs it nothing. out.mu guards it.
type keepAlive struct {
	every  time.Duration // Options.KeepAlive
	timer  *time.Timer
	due    instant // when the timer should fire
	asked  instant // when its last ping was sent; not after what was heard last if it plays no part any more
	number uint64  // of that ping
}

var errSilent = fmt.Errorf("websocket: the peer is silent and has not answered a ping (Options.KeepAlive): %w", os.ErrDeadlineExceeded)

// keepAlive starts it.
func (c *Conn) keepAlive(opts *Options) {
	every, t := opts.keepAlive(), now()
	c.in.heard.Store(int64(t))
	if every < 0 {
		return
	}
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pings = &pings{alive: keepAlive{every: every, due: t + instant(every), asked: t}}
	w.pings.alive.timer = time.AfterFunc(every, c.look)
}

// stopKeepAlive is called with out.mu held, and what has fired already does nothing.
func (w *writer) stopKeepAlive() {
	if w.pings != nil && w.pings.alive.timer != nil {
		w.pings.alive.timer.Stop()
	}
}

func (k *keepAlive) set(t instant, d time.Duration) {
	k.due = t + instant(d)
	k.timer.Reset(d)
}

// grace is for how long a pump that begins to listen may take to find what the
// socket holds already.
func (k *keepAlive) grace() time.Duration { return min(k.every/4, time.Second) }

// look is what the timer does.
func (c *Conn) look() {
	w := &c.out
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return
	}
	k := &w.pings.alive
	t, heard := now(), instant(c.in.heard.Load())
	silence := time.Duration(t - heard)
	if silence < k.every {
		k.set(t, k.every-silence)
		w.mu.Unlock()
		return
	}
	listens, can := c.listening()
	asked := time.Duration(t - k.asked)
	switch {
	case !can:
		k.asked = heard // silence will have to begin anew
		k.set(t, k.every)
	case k.asked <= heard && !w.hasRoom(8):
		k.set(t, k.grace())
	case k.asked <= heard:
		k.set(t, k.every-k.grace())
		k.asked, k.number = t, c.appendPing()
		c.kick(true)
		return
	case asked < k.every:
		k.set(t, k.every-asked)
	// A timer that is late tells that this process, or the machine, was asleep: the
	// pong may have come meanwhile.
	case !listens, time.Duration(t-k.due) > k.grace(), w.load() > 0 && w.timeout > 0:
		k.set(t, k.grace())
	default:
		w.mu.Unlock()
		c.fail(fmt.Errorf("%w: nothing was heard for %v", errSilent, silence.Round(time.Millisecond)))
		return
	}
	w.mu.Unlock()
}

// listening reports whether somebody waits for the peer; if not, whether somebody
// can, and then sees to it.
func (c *Conn) listening() (listens, can bool) {
	r := &c.in
	if !r.role.tryTake(byPump) {
		listens = !r.holding.Load()
		return listens, listens
	}
	if r.whole != 0 || r.stream != nil && r.stream != discarded {
		r.role.give()
		return false, false
	}
	go c.listen()
	return false, true
}

// listen is a pump that ends as soon as it hears anything. It begins with the reader
// role in hand.
func (c *Conn) listen() {
	r := &c.in
	before := r.heard.Load()
	if r.ended() == nil {
		c.pumpOnce(context.Background(), nil, func() bool {
			return r.wanted.Load() > 0 || r.whole != 0 || r.heard.Load() != before && len(r.unread) == 0
		})
	}
	r.role.give()
}
