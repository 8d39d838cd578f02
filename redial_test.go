package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeServer is dialled by a Redialer in a bubble: what is in fails answers the
// first dials, and then each gets a connection, whose other end is in peers.
type fakeServer struct {
	t     *testing.T
	fails []error
	peers chan *rawPeer
	dials []time.Time
}

func newFakeServer(t *testing.T, fails ...error) *fakeServer {
	return &fakeServer{t: t, fails: fails, peers: make(chan *rawPeer, 100)}
}

func (s *fakeServer) Dial(ctx context.Context) (*Conn, error) {
	s.dials = append(s.dials, time.Now())
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		return nil, err
	}
	g := newPlainRig(s.t, client, &Options{KeepAlive: -1})
	s.peers <- g.rawPeer
	return g.c, nil
}

// refusedWith is the error of a handshake that was refused.
func refusedWith(status int, header ...string) error {
	e := &HandshakeError{StatusCode: status, Header: make(http.Header)}
	for i := 0; i < len(header); i += 2 {
		e.Header.Set(header[i], header[i+1])
	}
	return e
}

// wantDial wants a connection within d.
func (s *fakeServer) wantDial(why string, d time.Duration) *rawPeer {
	s.t.Helper()
	select {
	case p := <-s.peers:
		return p
	case <-time.After(d):
		s.t.Fatalf("%s: a dial should come within %v, and none does", why, d)
		return nil
	}
}

// collect loops over r's messages, in the background. The second channel has the
// error at the end, or nil.
func collect(ctx context.Context, r *Redialer) (<-chan string, <-chan error) {
	texts, end := make(chan string, 100), make(chan error, 1)
	go func() {
		var last error
		for m, err := range r.Messages(ctx) {
			if err != nil {
				last = err
				continue // and that is the end of it
			}
			texts <- m.Type.String() + " " + string(m.Data)
		}
		end <- last
	}()
	return texts, end
}

// The loop goes on over all connections, and each begins with OnConnect.
func TestRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		var reasons []string
		r := &Redialer{
			Dial:      s.Dial,
			OnConnect: func(ctx context.Context, c *Conn) error { return c.WriteText(ctx, "subscribe") },
			Retry: func(err error, wait time.Duration) bool {
				reasons = append(reasons, err.Error())
				return true
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		texts, end := collect(ctx, r)
		for i, leave := range []func(p *rawPeer){
			func(p *rawPeer) { p.send(closeF(StatusGoingAway, "")) },
			func(p *rawPeer) { p.send(closeF(StatusNormalClosure, "")) },
			func(p *rawPeer) { p.nc.Close() },
			func(p *rawPeer) { p.send(frame{true, 3, ""}) },
		} {
			p := s.wantDial("the connection was lost", 2*defaultFirstWait<<i)
			p.wantFrame("a connection begins with OnConnect", textF("subscribe"))
			p.send(textF(fmt.Sprint("one of ", i)), binaryF("two"))
			leave(p)
			for _, want := range []string{fmt.Sprint("text one of ", i), "binary two"} {
				if got := <-texts; got != want {
					t.Errorf("the loop should get %q, and gets %q", want, got)
				}
			}
		}
		p := s.wantDial("the last was lost", time.Minute)
		p.wantFrame("a connection begins with OnConnect", textF("subscribe"))
		synctest.Wait()
		cancel()
		if err := <-end; err != context.Canceled {
			t.Errorf("the loop should end with the context's error, and ends with %v", err)
		}
		p.wantClose("the context has ended", StatusGoingAway)
		if len(s.dials) != 5 {
			t.Errorf("%d dials, want 5", len(s.dials))
		}
		for i, want := range []string{"1001 (going away)", "1000 (normal closure)", "connection lost", "broke the protocol"} {
			if i >= len(reasons) || !strings.Contains(reasons[i], want) {
				t.Errorf("Retry should be told that the connection ended with %q: %q", want, reasons)
			}
		}
	})
}

// A loop that is left closes the connection, and nothing is left of it: the bubble
// ends. Another may begin.
func TestRedialLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		r := &Redialer{Dial: s.Dial}
		for range 2 {
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				p := s.wantDial("a loop has begun", time.Second)
				p.send(textF("hello"))
				p.wantClose("the loop was left", StatusNormalClosure)
				p.send(closeF(StatusNormalClosure, ""))
			}()
			for m, err := range r.Messages(t.Context()) {
				if err != nil || string(m.Data) != "hello" {
					t.Errorf("the loop gets %q, %v", m.Data, err)
				}
				break
			}
			<-closed
			if _, err := r.Conn(t.Context()); err != net.ErrClosed {
				t.Errorf("after the loop Conn returns %v", err)
			}
		}
	})
}

func TestRedialOneLoopAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		r := &Redialer{Dial: s.Dial}
		ctx, cancel := context.WithCancel(t.Context())
		_, end := collect(ctx, r)
		s.wantDial("a loop has begun", time.Second)
		if _, second := collect(t.Context(), r); <-second != errRedialing {
			t.Error("a second loop should get an error")
		}
		cancel()
		wantErr(t, "the first loop goes on until its context ends", <-end, context.Canceled)
	})
}

// What will not heal ends the loop; what may, does not.
func TestRedialRefused(t *testing.T) {
	for _, tc := range []struct {
		err  error
		ends bool
	}{
		{refusedWith(400), true},
		{refusedWith(401), true},
		{fmt.Errorf("with a token: %w", refusedWith(403)), true},
		{refusedWith(404), true},
		{refusedWith(410), true},
		{refusedWith(426), true},
		{refusedWith(408), false},
		{refusedWith(421), false},
		{refusedWith(425), false},
		{refusedWith(429), false},
		{refusedWith(200), false},
		{refusedWith(302), false},
		{refusedWith(500), false},
		{refusedWith(502), false},
		{refusedWith(503), false},
		{&net.OpError{Op: "dial", Err: io.EOF}, false},
		{errors.New("no such host"), false},
	} {
		bubble(t, fmt.Sprint(tc.err), func(t *testing.T) {
			s := newFakeServer(t, tc.err)
			asked := 0
			r := &Redialer{Dial: s.Dial, Retry: func(err error, _ time.Duration) bool {
				asked++
				return err == tc.err
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, end := collect(ctx, r)
			if tc.ends {
				wantErr(t, "refused for good", <-end, tc.err)
				if _, err := r.Conn(t.Context()); err != tc.err || asked != 0 || len(s.dials) != 1 {
					t.Errorf("Conn returns %v; Retry is asked %d times, and %d dials", err, asked, len(s.dials))
				}
				return
			}
			s.wantDial("it may heal", defaultFirstWait)
			if asked != 1 {
				t.Errorf("Retry should be asked once, and is asked %d times", asked)
			}
			wantErr(t, "it goes on until the context ends", <-end, context.DeadlineExceeded)
		})
	}
}

// Retry may end it, as may options that no dial can do with.
func TestRedialEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		r := &Redialer{Dial: s.Dial, Retry: func(err error, _ time.Duration) bool {
			var e *CloseError
			return !errors.As(err, &e) || e.Code != 4001
		}}
		_, end := collect(t.Context(), r)
		s.wantDial("the beginning", time.Second).send(closeF(4000, ""))
		s.wantDial("4000 is nothing special", time.Second).send(closeF(4001, "banned"))
		wantCloseError(t, "Retry says so", <-end, 4001)
	})
	for _, r := range []*Redialer{
		{URL: "ftp://example.com"},
		{URL: "ws://example.com", Options: &Options{CheckOrigin: AnyOrigin}},
	} {
		if _, end := collect(t.Context(), r); <-end == nil {
			t.Errorf("%+v should be an error", r)
		}
	}
}

// OnConnect that fails is a dial that has failed, and the connection is closed.
func TestRedialOnConnectFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		ours := errors.New("no subscription")
		first := true
		r := &Redialer{
			Dial: s.Dial,
			OnConnect: func(ctx context.Context, c *Conn) error {
				if _, p, err := c.ReadMessage(ctx); err != nil || string(p) != "challenge" {
					return fmt.Errorf("%q: %w", p, err)
				}
				if first {
					first = false
					return ours
				}
				return nil
			},
			Retry: func(err error, _ time.Duration) bool {
				return errors.Is(err, ours) || errors.Is(err, context.DeadlineExceeded)
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		texts, end := collect(ctx, r)
		p := s.wantDial("the beginning", time.Second)
		p.send(textF("challenge"))
		p.wantClose("OnConnect has failed", StatusGoingAway)
		p = s.wantDial("OnConnect has failed", defaultFirstWait)
		start := time.Now()
		time.Sleep(time.Second) // the peer's patience is as long
		p.wantClose("OnConnect takes too long", StatusGoingAway)
		if d := time.Since(start); d != redialTimeout {
			t.Errorf("OnConnect should be waited for %v, and is for %v", redialTimeout, d)
		}
		p = s.wantDial("OnConnect took too long", 2*defaultFirstWait)
		p.send(textF("challenge"), textF("news"))
		if got := <-texts; got != "text news" {
			t.Errorf("the loop should get what OnConnect has left, and gets %q", got)
		}
		cancel()
		<-end
	})
}

// A write waits for a connection, and is never repeated.
func TestRedialConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, io.EOF)
		r := &Redialer{Dial: s.Dial, FirstWait: time.Hour, MaxWait: time.Hour}
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Conn(soon); err != context.DeadlineExceeded {
			t.Errorf("Conn before the loop should wait as long as its context, and returns %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		write := func(text string) <-chan error {
			return inBackground(func() error {
				c, err := r.Conn(t.Context())
				if err != nil {
					return err
				}
				return c.WriteText(t.Context(), text)
			})
		}
		early := write("early")
		messages, end := collect(ctx, r)
		p := s.wantDial("the first dial fails", time.Hour)
		p.wantFrame("a write waits for the connection", textF("early"))
		wantErr(t, "a write that has waited", <-early, nil)

		p.nc.Close()
		synctest.Wait()
		late := write("late")
		synctest.Wait()
		if len(late) > 0 {
			t.Errorf("a write while there is no connection should wait, and returns %v", <-late)
		}
		p = s.wantDial("the connection is lost", time.Hour)
		p.wantFrame("a write waits for the next connection", textF("late"))
		p.wantSilence("what was written is not written again")

		waiting := inBackground(func() error { <-late; p.nc.Close(); return nil })
		<-waiting
		synctest.Wait()
		last := write("last")
		synctest.Wait()
		cancel()
		wantErr(t, "the loop's context has ended", <-end, context.Canceled)
		wantErr(t, "a write that waits when the loop ends", <-last, context.Canceled)
		if len(messages) > 0 {
			t.Errorf("a message: %q", <-messages)
		}
	})
}

// A loop that is busy does not keep the next connection from being made: it may wait
// for that itself.
func TestRedialWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		r := &Redialer{Dial: s.Dial}
		go func() {
			p := s.wantDial("the beginning", time.Second)
			p.send(textF("first"))
			p.nc.Close()
			p = s.wantDial("a write has found the connection lost", time.Minute)
			p.wantFrame("the answer goes over the next connection", textF("answer"))
			p.send(textF("second"))
			p.wantClose("the loop was left", StatusNormalClosure)
			p.send(closeF(StatusNormalClosure, ""))
		}()
		var got []string
		for m, err := range r.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m.Data))
			if len(got) == 2 {
				break
			}
			synctest.Wait()
			for err = io.EOF; err != nil; {
				var c *Conn
				if c, err = r.Conn(t.Context()); err == nil {
					err = c.WriteText(t.Context(), "answer")
				}
				if err == nil {
					err = c.Flush(t.Context())
				}
				synctest.Wait()
			}
		}
		if want := []string{"first", "second"}; !slices.Equal(got, want) {
			t.Errorf("the loop should get %q, and gets %q", want, got)
		}
	})
}

// Somebody else who reads takes the messages away from the loop, which ends that.
func TestRedialForeignReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		foreign, first := make(chan error), true
		r := &Redialer{Dial: s.Dial, OnConnect: func(ctx context.Context, c *Conn) error {
			if first {
				first = false
				go func() { foreign <- readErr(c) }()
				synctest.Wait()
			}
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		texts, end := collect(ctx, r)
		s.wantDial("the beginning", time.Second)
		wantErr(t, "the connection is closed", <-foreign, net.ErrClosed)
		s.wantDial("it was closed", time.Minute).send(textF("hello"))
		if got := <-texts; got != "text hello" {
			t.Errorf("the loop gets %q", got)
		}
		cancel()
		<-end
	})
}

// 7.2.3: waits are random and grow, up to a bound; a connection that has held makes
// them short again.
func TestRedialWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 200
		fails := slices.Repeat([]error{io.EOF}, rounds)
		s := newFakeServer(t, fails...)
		var waits []time.Duration
		r := &Redialer{Dial: s.Dial, FirstWait: time.Second, MaxWait: 20 * time.Second, Retry: func(_ error, wait time.Duration) bool {
			waits = append(waits, wait)
			return true
		}}
		ctx, cancel := context.WithCancel(t.Context())
		_, end := collect(ctx, r)
		p := s.wantDial("the server has come back", time.Hour*rounds)
		for i, wait := range waits {
			if bound := min(time.Second<<min(i, 10), 20*time.Second); wait < 0 || wait >= bound {
				t.Errorf("wait %d is %v, and should be below %v", i, wait, bound)
			}
			if got := s.dials[i+1].Sub(s.dials[i]); got != wait {
				t.Errorf("Retry is told of a wait of %v, which takes %v", wait, got)
			}
		}
		late := waits[10:]
		low, high := slices.Min(late), slices.Max(late)
		// 190 waits that are all in one half of the range: once in 10^57 runs.
		if low > 10*time.Second || high < 10*time.Second {
			t.Errorf("waits should be anywhere below 20 s, and are between %v and %v", low, high)
		}

		time.Sleep(settled - time.Millisecond)
		waits = nil
		p.nc.Close()
		p = s.wantDial("the connection was lost at once", time.Minute)
		time.Sleep(settled)
		p.nc.Close()
		s.wantDial("the connection has held", time.Second)
		cancel()
		<-end
	})
	var b = newBackoff(0, 0)
	if b.first != defaultFirstWait || b.max != defaultMaxWait {
		t.Errorf("the defaults are %+v", b)
	}
	if b = newBackoff(time.Hour, time.Second); b.first != time.Second {
		t.Errorf("the first wait is below MaxWait: %+v", b)
	}
	b = newBackoff(1<<62, 1<<63-1)
	for range 3 {
		b.next()
	}
	if b.bound != 1<<63-1 {
		t.Errorf("the longest bound is %v", b.bound)
	}
}

// A server that says when to come back is heeded, but not beyond MaxWait.
func TestRedialRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			field string
			want  time.Duration // at least, and at most 1 s more
		}{
			{"", 0},
			{"7", 7 * time.Second},
			{"4294967295", time.Minute},
			{"18446744073709551616", 0},
			{"-7", 0},
			{"soon", 0},
			{time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat), 30 * time.Second},
			{time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0},
		} {
			var got time.Duration
			s := newFakeServer(t, refusedWith(503, "Retry-After", tc.field))
			r := &Redialer{Dial: s.Dial, Retry: func(_ error, wait time.Duration) bool { got = wait; return false }}
			start := time.Now()
			_, end := collect(t.Context(), r)
			<-end
			if time.Since(start) != 0 || got < tc.want || got >= tc.want+defaultFirstWait {
				t.Errorf("Retry-After %q should be a wait of %v and up to 1 s more, and is %v", tc.field, tc.want, got)
			}
		}
	})
}

// While it waits, or dials, the end of the context ends it at once.
func TestRedialContextEnds(t *testing.T) {
	for _, tc := range []struct {
		during string
		dial   func(context.Context) (*Conn, error)
	}{
		{"a dial", func(ctx context.Context) (*Conn, error) { <-ctx.Done(); return nil, ctx.Err() }},
		{"a wait", func(context.Context) (*Conn, error) { return nil, io.EOF }},
		{"a wait after nothing at all", func(context.Context) (*Conn, error) { return nil, nil }},
	} {
		bubble(t, tc.during, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r := &Redialer{Dial: tc.dial, FirstWait: 1000 * time.Hour, MaxWait: 1000 * time.Hour}
			_, end := collect(ctx, r)
			start := time.Now()
			if err := <-end; err != context.DeadlineExceeded || time.Since(start) != time.Second {
				t.Errorf("after %v the loop ends with %v", time.Since(start), err)
			}
		})
	}
}

// With a server of net/http that goes down and comes back.
func TestRedialServer(t *testing.T) {
	watchLeaks(t)
	var served atomic.Int32
	addr := serve(t, Handler(func(c *Conn, r *http.Request) {
		_, p, _ := c.ReadMessage(r.Context())
		c.WriteText(r.Context(), fmt.Sprintf("%s, visit %d", p, served.Add(1)))
	}))
	r := &Redialer{
		URL:       "ws://" + addr,
		OnConnect: func(ctx context.Context, c *Conn) error { return c.WriteText(ctx, "hello") },
		FirstWait: time.Millisecond,
		MaxWait:   time.Millisecond,
	}
	n := 0
	for m, err := range r.Messages(testContext(t)) {
		n++
		if want := fmt.Sprintf("hello, visit %d", n); err != nil || string(m.Data) != want {
			t.Fatalf("the loop should get %q, and gets %q, %v", want, m.Data, err)
		}
		if n == 5 {
			break
		}
	}
}
