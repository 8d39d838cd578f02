package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// After Close every call, pending ones included, returns net.ErrClosed at once,
// while what was written still leaves.
func TestCloseEndsAllCalls(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, r := range bothRoles {
			bubble(t, fmt.Sprintf("%v, plain %v", r, plain), func(t *testing.T) {
				opts := &Options{WriteQueue: 1000, WriteTimeout: -1}
				g := newRig(t, r, opts)
				if plain {
					g = newPlainRig(t, r, opts)
				}
				g.stall()
				pinged := startPing(bg, g.c)
				synctest.Wait()
				g.c.WriteText(bg, pattern(900))
				read := inBackground(func() error { return readErr(g.c) })
				first := writeAsync(bg, g.c, pattern(100)) // has the turn
				synctest.Wait()
				pending := map[string]<-chan error{
					"a pending write":       first,
					"a pending large write": writeAsync(bg, g.c, pattern(largeWrite)),
					"a pending NextWriter":  inBackground(func() error { _, err := g.c.NextWriter(bg, MessageText); return err }),
					"a pending Flush":       inBackground(func() error { return g.c.Flush(bg) }),
					"a pending Ping":        pinged,
					"a pending read":        read,
				}
				for why, result := range pending {
					wantPending(t, why+" should wait", result)
				}
				closed := inBackground(g.c.Close)
				for why, result := range pending {
					wantNow(t, why, result, net.ErrClosed)
				}
				_, _, err := g.c.ReadMessage(bg)
				wantErr(t, "a read", err, net.ErrClosed)
				_, _, err = g.c.NextReader(bg)
				wantErr(t, "NextReader", err, net.ErrClosed)
				wantErr(t, "a write", g.c.WriteText(bg, ""), net.ErrClosed)
				wantErr(t, "a large write", g.c.WriteText(bg, pattern(largeWrite)), net.ErrClosed)
				_, err = g.c.NextWriter(bg, MessageText)
				wantErr(t, "NextWriter", err, net.ErrClosed)
				wantErr(t, "Flush", g.c.Flush(bg), net.ErrClosed)
				_, err = g.c.Ping(bg)
				wantErr(t, "Ping", err, net.ErrClosed)
				ctx := g.c.CloseRead(bg)
				<-ctx.Done()
				wantErr(t, "CloseRead", context.Cause(ctx), net.ErrClosed)
				if d := took(func() { wantErr(t, "Shutdown", g.c.Shutdown(bg, 1000, ""), net.ErrClosed) }); d > 0 {
					t.Errorf("after Close, Shutdown should return at once, and takes %v", d)
				}
				wantErr(t, "a second Close", g.c.Close(), net.ErrClosed)

				g.unstall()
				if err := <-closed; err != nil {
					t.Errorf("the first Close should return nil, and returns %v", err)
				}
				g.pingPayload()
				g.wantFrame("what was written before Close", textF(pattern(900)))
				g.wantClose("Close", StatusGoingAway)
				g.wantEOF("then")
			})
		}
	}
}

// The same with the context that a Handler's request has, which ends with the
// connection: the reason is the connection's and not the context's.
func TestCloseEndsCallsWithRequestContext(t *testing.T) {
	for range 10 { // what is chosen at random should not be
		bubble(t, "", func(t *testing.T) {
			g := newRig(t, server, &Options{WriteQueue: 1000, WriteTimeout: -1})
			ctx := &requestContext{bg, g.c}
			g.stall()
			pinged := startPing(ctx, g.c)
			synctest.Wait()
			g.c.WriteText(ctx, pattern(900))
			read := inBackground(func() error { _, _, err := g.c.ReadMessage(ctx); return err })
			first := writeAsync(ctx, g.c, pattern(100)) // has the turn
			synctest.Wait()
			pending := map[string]<-chan error{
				"a pending write":       first,
				"a pending large write": writeAsync(ctx, g.c, pattern(largeWrite)),
				"a pending NextWriter":  inBackground(func() error { _, err := g.c.NextWriter(ctx, MessageText); return err }),
				"a pending Flush":       inBackground(func() error { return g.c.Flush(ctx) }),
				"a pending Ping":        pinged,
				"a pending read":        read,
			}
			synctest.Wait()
			go g.c.Close()
			for why, result := range pending {
				wantNow(t, why, result, net.ErrClosed)
			}
			if ctx.Err() != context.Canceled || !isClosed(ctx.Done()) {
				t.Error("the request's context should end with the connection")
			}
			wantErr(t, "a write", g.c.WriteText(ctx, ""), net.ErrClosed)
			_, err := g.c.NextWriter(ctx, MessageText)
			wantErr(t, "NextWriter", err, net.ErrClosed)
		})
	}
}

// Close waits for what is queued for a second at the most.
func TestCloseIsBounded(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		if d := took(func() { g.c.Close() }); d > 0 {
			t.Errorf("with nothing queued Close should not wait, and takes %v", d)
		}
	})
	for _, size := range []int{10, 1000, largeWrite - 1, 500_000} {
		onBoth(t, &Options{WriteTimeout: -1}, func(t *testing.T, g *rig) {
			g.stall()
			written := writeAsync(bg, g.c, pattern(size))
			synctest.Wait()
			if d := took(func() { g.c.Close() }); d != time.Second {
				t.Errorf("with %d bytes queued for a peer that takes nothing, Close should take a second, and takes %v", size, d)
			}
			<-written
			synctest.Wait()
			if !g.mine.IsClosed() {
				t.Error("and then the socket should be closed")
			}
		})
	}
	// The socket is closed within that second, also if the peer does not close its own.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.c.Close()
		g.wantClose("Close", StatusGoingAway)
		g.wantEOF("Close")
		time.Sleep(time.Second)
		synctest.Wait()
		if !g.mine.IsClosed() {
			t.Error("after a second the socket should be closed")
		}
	})
	bubble(t, "a net.Conn whose Close takes its time", func(t *testing.T) {
		g := newRig(t, server, nil)
		g.mine.CloseDelay = time.Minute
		g.stall()
		g.c.WriteText(bg, "x")
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		shut := inBackground(func() error { return g.c.Shutdown(ctx, 1000, "") })
		time.Sleep(2 * time.Second)
		if d := took(func() { g.c.Buffered(); g.c.Close() }); d > time.Second {
			t.Errorf("Close should not wait for that of the net.Conn, and takes %v", d)
		}
		<-shut
		time.Sleep(2 * time.Minute) // the bubble's clock stops with this function
	})
}

// Over TLS too, whose own close_notify waits for a stalled peer much longer.
func TestCloseIsBoundedOverTLS(t *testing.T) {
	for _, stalled := range []string{"never", "before the Close frame", "behind it"} {
		bubble(t, "stalled "+stalled, func(t *testing.T) {
			mine, far := newMemPipe(64 << 10)
			s, _ := overTLS(t, mine, far)
			c := NewServerConn(s, nil)
			g := &rig{mine: mine}
			read := inBackground(func() error { return readErr(c) })
			ctx, cancel := context.WithCancel(bg)
			end := func() { c.Close() }
			switch stalled {
			case "before the Close frame":
				g.stall()
				c.WriteText(bg, "x")
			case "behind it": // where TLS has a close_notify to send
				shut := inBackground(func() error { return c.Shutdown(ctx, StatusGoingAway, "") })
				synctest.Wait()
				g.stall()
				end = func() { cancel(); <-shut; c.Close() }
			}
			synctest.Wait()
			if d := took(end); d > time.Second {
				t.Errorf("Close should take a second at the most, and takes %v", d)
			}
			if err := <-read; stalled != "behind it" {
				wantErr(t, "a read", err, net.ErrClosed)
			}
			if d := took(func() {
				for !mine.IsClosed() {
					time.Sleep(time.Millisecond)
				}
			}); d > time.Second+time.Millisecond {
				t.Errorf("the socket should be closed within a second, and is after %v", d)
			}
			cancel()
			far.Close()
		})
	}
}

func TestShutdown(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) { // the peer answers after a while
		shut := inBackground(func() error { return g.c.Shutdown(bg, 4000, "reason") })
		g.wantFrame("Shutdown", closeF(4000, "reason"))
		g.send(textF("still here"), pingF("p"), textF("and here").open())
		wantPending(t, "Shutdown should wait for the peer's Close", shut)
		g.wantFrame("a ping before the peer's Close", pongF("p"))
		wantErr(t, "meanwhile a write", g.c.WriteText(bg, "x"), net.ErrClosed)
		_, err := g.c.NextWriter(bg, MessageText)
		wantErr(t, "meanwhile NextWriter", err, net.ErrClosed)
		time.Sleep(3 * time.Second)
		g.send(closeF(4000, ""))
		if g.c.role == server {
			g.wantEOF("the server closes TCP first")
		}
		g.far.CloseWrite()
		if err := <-shut; err != nil {
			t.Errorf("the handshake is complete, and Shutdown returns %v", err)
		}
		if !g.mine.IsClosed() {
			t.Error("after Shutdown the socket should be closed")
		}
		wantCloseError(t, "a read afterwards", readErr(g.c), 4000)
		if err := g.c.Shutdown(bg, 1000, ""); err != nil {
			t.Errorf("Shutdown after Shutdown returns %v", err)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // the peer never answers
		start := time.Now()
		err := g.c.Shutdown(bg, 1000, "")
		wantErr(t, "Shutdown without an answer", err, context.DeadlineExceeded)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("Shutdown should wait for 10 s, and waits for %v", d)
		}
		wantErr(t, "a read", readErr(g.c), context.DeadlineExceeded)
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // nor takes anything
		g.stall()
		g.c.WriteText(bg, pattern(1000))
		ctx, cancel := context.WithTimeout(bg, 2*time.Second)
		defer cancel()
		if d := took(func() {
			wantErr(t, "Shutdown", g.c.Shutdown(ctx, 1000, ""), context.DeadlineExceeded)
		}); d != 2*time.Second {
			t.Errorf("Shutdown should wait until its context ends after 2 s, and waits for %v", d)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // cancelled
		ctx, cancel := context.WithCancel(bg)
		shut := inBackground(func() error { return g.c.Shutdown(ctx, 1000, "") })
		wantPending(t, "Shutdown should wait", shut)
		cancel()
		wantNow(t, "a cancelled Shutdown", shut, context.Canceled)
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // both at once
		g.send(closeF(4001, ""))
		shut := inBackground(func() error { return g.c.Shutdown(bg, 4000, "") })
		g.wantClose("either", 4000)
		g.far.CloseWrite()
		if err := <-shut; err != nil {
			t.Error(err)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // what was written comes first
		for range 100 {
			g.c.WriteText(bg, pattern(500))
		}
		shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
		for range 100 {
			g.wantFrame("what was written", textF(pattern(500)))
		}
		g.wantClose("Shutdown", 1000)
		g.send(closeF(1000, ""))
		g.far.CloseWrite()
		if err := <-shut; err != nil {
			t.Error(err)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // the peer closes TCP instead
		shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
		g.wantClose("Shutdown", 1000)
		g.far.CloseWrite()
		wantErr(t, "Shutdown", <-shut, io.ErrUnexpectedEOF)
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // the peer breaks the protocol
		shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
		g.wantClose("Shutdown", 1000)
		g.send(contF(""))
		wantProtocolError(t, "Shutdown", <-shut, StatusProtocolError)
		g.wantEOF("a second Close frame is not sent")
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // twice at once
		a := inBackground(func() error { return g.c.Shutdown(bg, 4000, "") })
		b := inBackground(func() error { return g.c.Shutdown(bg, 4001, "") })
		if f, err := g.readFrame(); err != nil || f.op != OpClose {
			t.Fatal(f, err)
		}
		g.wantSilence("one Close frame is enough")
		wantPending(t, "Shutdown should wait", a)
		wantPending(t, "Shutdown should wait", b)
		g.send(closeF(4000, ""))
		g.far.CloseWrite()
		if err := errors.Join(<-a, <-b); err != nil {
			t.Error(err)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // after a failure
		g.send(contF(""))
		readErr(g.c)
		wantProtocolError(t, "Shutdown after a failure", g.c.Shutdown(bg, 1000, ""), StatusProtocolError)
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // after the peer's Close
		g.send(closeF(4000, ""))
		readErr(g.c)
		if err := g.c.Shutdown(bg, 1000, ""); err != nil {
			t.Errorf("Shutdown after a complete handshake should return nil, and returns %v", err)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // Close in the middle
		shut := inBackground(func() error { return g.c.Shutdown(bg, 4000, "") })
		g.wantClose("Shutdown", 4000)
		if d := took(func() { g.c.Close() }); d != 0 {
			t.Errorf("Close with nothing queued takes %v", d)
		}
		wantNow(t, "a pending Shutdown", shut, net.ErrClosed)
		g.wantEOF("one Close frame is enough")
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // what may not be sent
		for _, err := range []error{
			g.c.Shutdown(bg, 1006, ""), g.c.Shutdown(bg, 0, ""), g.c.Shutdown(bg, 1005, "x"),
			g.c.Shutdown(bg, 1000, "\xff"), g.c.Shutdown(bg, 1000, strings.Repeat("x", 124)),
		} {
			if err == nil {
				t.Error("a code or reason that may not be sent should be refused")
			}
		}
		g.wantSilence("refused Shutdowns")
		shut := inBackground(func() error { return g.c.Shutdown(bg, StatusNoStatus, "") })
		g.wantFrame("1005", frame{true, OpClose, ""})
		g.send(frame{true, OpClose, ""})
		g.far.CloseWrite()
		if err := <-shut; err != nil {
			t.Error(err)
		}
	})
}

// After the closing handshake a client waits a second for the server to close TCP.
func TestShutdownWaitsForEOF(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		start := time.Now()
		shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
		g.wantClose("Shutdown", 1000)
		g.send(closeF(1000, ""))
		if g.c.role == server {
			g.wantEOF("the server closes TCP first")
		} else {
			g.wantSilence("the client waits for the server")
		}
		if err := <-shut; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > time.Second+time.Millisecond {
			t.Errorf("the peer does not close TCP, and Shutdown should take a second, and takes %v", d)
		}
		if g.c.role == client {
			g.wantEOF("then the client closes TCP")
		}
	})
}

// A goroutine that is reading gets all messages until the peer's Close.
func TestShutdownWhileReading(t *testing.T) {
	for _, m := range readMethods {
		bubble(t, m.name, func(t *testing.T) {
			g := newRig(t, server, nil)
			const n = 100
			done := inBackground(func() error {
				for i := 0; ; i++ {
					got, err := m.read(bg, g.c)
					if err != nil {
						if i != n {
							t.Errorf("the reader should get %d messages, and gets %d", n, i)
						}
						return err
					}
					if got.text != fmt.Sprint(i) {
						t.Errorf("message %d is %v", i, got)
					}
					if i%9 == 0 {
						time.Sleep(time.Millisecond) // work
					}
				}
			})
			synctest.Wait()
			shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
			g.wantClose("Shutdown", 1000)
			for i := range n {
				g.send(textF(fmt.Sprint(i)))
				if i%7 == 0 {
					synctest.Wait()
				}
			}
			g.send(closeF(1000, "bye"))
			wantCloseError(t, "the reader", <-done, 1000)
			g.far.CloseWrite()
			if err := <-shut; err != nil {
				t.Error(err)
			}
		})
	}
}

// A reader that a Shutdown finds at work has a second for each next read. Who takes
// longer reads no more, and the Shutdown goes on without him.
func TestShutdownWhenReaderStops(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		wantText := func(want string) {
			t.Helper()
			wantRead(t, "the reader", g.c, MessageText, want)
		}
		first := inBackground(func() error { _, _, err := g.c.ReadMessage(bg); return err })
		synctest.Wait()
		shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
		g.wantClose("Shutdown", 1000)
		g.send(textF("one"), textF("two"), textF("three"), textF("four"), closeF(1000, ""))
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"two", "three"} {
			time.Sleep(time.Second - time.Millisecond)
			wantText(text)
		}
		g.far.CloseWrite()
		d := took(func() {
			if err := <-shut; err != nil {
				t.Error(err)
			}
		})
		if d != time.Second {
			t.Errorf("the reader has a second, and Shutdown goes on after %v", d)
		}
		wantCloseError(t, "a read that comes too late", readErr(g.c), 1000)
	})
}

// Shutdown with the context of a request, which ends with the connection.
func TestShutdownWithRequestContext(t *testing.T) {
	for _, derived := range []bool{false, true} {
		bubble(t, fmt.Sprint("derived ", derived), func(t *testing.T) {
			g := newRig(t, server, nil)
			var ctx context.Context = &requestContext{bg, g.c}
			if derived {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Minute)
				defer cancel()
			}
			shut := inBackground(func() error { return g.c.Shutdown(ctx, 1000, "") })
			g.wantClose("Shutdown", 1000)
			g.send(closeF(1000, ""))
			synctest.Wait()
			if g.mine.IsClosed() {
				t.Error("the server should wait for the client's EOF before it closes its socket")
			}
			g.wantEOF("the server closes TCP first")
			g.far.CloseWrite()
			if err := <-shut; err != nil {
				t.Error(err)
			}
		})
	}
}

// Shutdown ends the waiting of writers, since nothing more can be written.
func TestShutdownEndsWriters(t *testing.T) {
	onBoth(t, &Options{WriteQueue: 1000, WriteTimeout: -1}, func(t *testing.T, g *rig) {
		g.stall()
		g.c.WriteText(bg, pattern(900))
		first := writeAsync(bg, g.c, pattern(100)) // has the turn
		synctest.Wait()
		pending := map[string]<-chan error{
			"a pending write":       first,
			"a pending large write": writeAsync(bg, g.c, pattern(largeWrite)),
			"a pending NextWriter":  inBackground(func() error { _, err := g.c.NextWriter(bg, MessageText); return err }),
		}
		synctest.Wait()
		shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
		for why, result := range pending {
			wantNow(t, why, result, net.ErrClosed)
		}
		g.unstall()
		g.wantFrame("what was written", textF(pattern(900)))
		g.wantClose("Shutdown", 1000)
		g.send(closeF(1000, ""))
		g.far.CloseWrite()
		if err := <-shut; err != nil {
			t.Error(err)
		}
	})
	// Also of those behind a NextWriter, whose Close does no harm.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		w, _ := g.c.NextWriter(bg, MessageText)
		io.WriteString(w, pattern(5000))
		pending := writeAsync(bg, g.c, "x")
		synctest.Wait()
		shut := inBackground(func() error { return g.c.Shutdown(bg, 1000, "") })
		wantNow(t, "a write behind a NextWriter", pending, net.ErrClosed)
		_, err := io.WriteString(w, pattern(5000))
		wantErr(t, "the writer's Write", err, net.ErrClosed)
		wantErr(t, "the writer's Close", w.Close(), net.ErrClosed)
		wantPending(t, "Shutdown should still wait for the peer", shut)
		g.wantFrame("the message's first frame", textF(pattern(5000)).open())
		g.wantClose("Shutdown", 1000)
		g.send(closeF(1000, ""))
		g.far.CloseWrite()
		if err := <-shut; err != nil {
			t.Errorf("a NextWriter that was open should not fail the handshake: %v", err)
		}
	})
}

// The peer's Close frame ends the connection: it is answered with its own code,
// and what comes behind it is ignored.
func TestPeerCloses(t *testing.T) {
	for _, tc := range []struct {
		frame  frame
		code   StatusCode
		reason string
	}{
		{closeF(1000, "bye"), 1000, "bye"},
		{closeF(1001, ""), 1001, ""},
		{closeF(4999, "é"), 4999, "é"},
		{frame{true, OpClose, ""}, StatusNoStatus, ""},
	} {
		onBoth(t, nil, func(t *testing.T, g *rig) {
			g.send(textF("last"), tc.frame, textF("ignored"), contF(""), pingF("ignored"), closeF(1011, ""))
			wantRead(t, "before Close", g.c, MessageText, "last")
			for range 2 {
				err := readErr(g.c)
				var e *CloseError
				if !errors.As(err, &e) || e.Code != tc.code || e.Reason != tc.reason {
					t.Errorf("a read should return the peer's Close %v %q, and returns %v", tc.code, tc.reason, err)
				}
			}
			want := frame{true, OpClose, ""}
			if tc.code != StatusNoStatus {
				want = closeF(tc.code, "")
			}
			g.wantFrame("the answer has the same code", want)
			wantCloseError(t, "a write afterwards", g.c.WriteText(bg, "x"), tc.code)
			_, err := g.c.Ping(bg)
			wantCloseError(t, "a Ping afterwards", err, tc.code)
			if err := g.c.Shutdown(bg, 1000, ""); err != nil {
				t.Errorf("Shutdown afterwards returns %v", err)
			}
			wantCloseError(t, "a read in the end", readErr(g.c), tc.code)
			if err := g.c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A failure tells the peer why, even while the peer goes on sending: closing the
// socket at once would reset it, and destroy the Close frame.
func TestFailureReachesPeer(t *testing.T) {
	onNetworks(t, nil, func(t *testing.T, c *Conn, p *rawPeer) {
		// The peer sends without end and reads only later.
		sent := inBackground(func() error {
			junk := session(p.role, binaryF(pattern(60_000)))
			for i := range 40 {
				if i == 20 {
					p.nc.Write(session(p.role, contF("")))
				}
				if _, err := p.nc.Write(junk); err != nil {
					return err
				}
			}
			return nil
		})
		wantProtocolError(t, "the reader", readErr(c), StatusProtocolError)
		if err := <-sent; err != nil {
			t.Fatalf("while the peer sends, the connection should take it: %v", err)
		}
		p.wantClose("the peer reads at last", StatusProtocolError)
		p.wantEOF("then")
	})
}

// The closing handshake over the system's networks, in both directions.
func TestShutdownNetworks(t *testing.T) {
	onNetworks(t, nil, func(t *testing.T, c *Conn, p *rawPeer) {
		e := newConn(p.nc, p.role, nil, "", nil)
		read := inBackground(func() error { return readErr(e) })
		for range 50 {
			if err := c.WriteText(bg, pattern(20_000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Shutdown(bg, 4000, "done"); err != nil {
			t.Errorf("Shutdown returns %v", err)
		}
		wantCloseError(t, "the peer", <-read, 4000)
		if err := e.Shutdown(bg, 1000, ""); err != nil {
			t.Errorf("the peer's Shutdown returns %v", err)
		}
		wantCloseError(t, "afterwards a read", readErr(c), 4000)
	})
	onNetworks(t, nil, func(t *testing.T, c *Conn, p *rawPeer) { // Close, with a lot on its way
		for range 5 {
			c.WriteText(bg, pattern(20_000))
		}
		closed := inBackground(c.Close)
		for range 5 {
			p.wantFrame("what was written", textF(pattern(20_000)))
		}
		p.wantClose("Close", StatusGoingAway)
		p.wantEOF("Close")
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	onNetworks(t, nil, func(t *testing.T, c *Conn, p *rawPeer) { // a reset
		if s, ok := p.nc.(*net.TCPConn); ok {
			s.SetLinger(0)
		}
		read := inBackground(func() error { return readErr(c) })
		p.nc.Close()
		if err := <-read; err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("a connection that was lost should say so: %v", err)
		}
		if err := c.WriteText(bg, "x"); err == nil {
			t.Error("a write should fail")
		}
	})
}

// net.Pipe has no buffer, no half-close and no one-sided deadlines; all the same.
func TestNetPipe(t *testing.T) {
	for _, r := range bothRoles {
		bubble(t, r.String(), func(t *testing.T) {
			a, b := net.Pipe()
			c := newConn(a, r, nil, "", nil)
			e := newConn(b, r.peer(), nil, "", nil)
			go func() {
				for {
					typ, p, err := e.ReadMessage(bg)
					if err != nil {
						return
					}
					e.WriteMessage(bg, typ, p)
				}
			}()
			for _, n := range []int{0, 1, 5000, 100_000} {
				written := writeAsync(bg, c, pattern(n))
				wantRead(t, "an echo", c, MessageText, pattern(n))
				if err := <-written; err != nil {
					t.Error(err)
				}
			}
			if d := took(func() {
				if err := c.Shutdown(bg, 1000, ""); err != nil {
					t.Errorf("Shutdown returns %v", err)
				}
			}); d > 0 {
				t.Errorf("Shutdown with a peer that answers at once takes %v", d)
			}
		})
	}
}

// Any calls at the same time: no race, no panic, no hang.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range 12 {
		bubble(t, "", func(t *testing.T) {
			r := bothRoles[seed%2]
			a, b := newMemPipe(2000)
			c := newConn(a, r, &Options{WriteQueue: 1000}, "", nil)
			e := newConn(b, r.peer(), nil, "", nil)
			if seed%4 < 2 {
				c.t = memSocket{a}
				c.traits = c.t.traits()
			}
			for _, x := range []*Conn{c, e} {
				for i := range 3 {
					go func() {
						ctx, cancel := context.WithTimeout(bg, time.Duration(seed*i)*time.Millisecond)
						defer cancel()
						for ctx.Err() == nil && x.WriteText(ctx, pattern(i*20_000)) == nil {
							time.Sleep(100 * time.Microsecond) // or the bubble's clock would stand still
						}
					}()
					go func() {
						ctx, cancel := context.WithTimeout(bg, time.Duration(seed+i)*time.Millisecond)
						defer cancel()
						x.Ping(ctx)
					}()
					go func() {
						for {
							ctx, cancel := context.WithTimeout(bg, time.Duration(i+1)*time.Millisecond)
							_, _, err := x.ReadMessage(ctx)
							cancel()
							if err != nil && err != errConcurrentRead && err != context.DeadlineExceeded {
								return
							}
							time.Sleep(time.Duration(i+1) * time.Millisecond)
						}
					}()
				}
			}
			time.Sleep(time.Duration(seed) * time.Millisecond)
			for i, x := range []*Conn{c, e, c, e} {
				go func() {
					ctx, cancel := context.WithTimeout(bg, time.Duration(seed*i)*100*time.Millisecond)
					defer cancel()
					x.Shutdown(ctx, 1000, "")
					if i%2 == seed%2 {
						x.Close()
					}
				}()
			}
			time.Sleep(20 * time.Second)
			for _, m := range []*memConn{a, b} {
				if !m.IsClosed() {
					t.Errorf("run %d: a socket is still open", seed)
				}
				if s := m.Misuse(); s != "" {
					t.Errorf("run %d: %s", seed, s)
				}
			}
		})
	}
}

// A pump has no reason to wait for an application that has given up the rest of a
// message: there is nothing in it for anybody.
func TestPingAfterDiscard(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF("the beginning").open())
		if _, _, err := g.c.NextReader(bg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(bg)
		read := inBackground(func() error { _, _, err := g.c.ReadMessage(ctx); return err })
		synctest.Wait()
		cancel()
		wantErr(t, "a read that discards", <-read, context.Canceled)

		ctx, cancel = context.WithTimeout(bg, time.Minute)
		defer cancel()
		pinged := inBackground(func() error { _, err := g.c.Ping(ctx); return err })
		f, err := g.readFrame()
		if err != nil || f.op != OpPing {
			t.Fatal(f, err)
		}
		g.send(pongF(f.payload))
		if err := <-pinged; err != nil {
			t.Errorf("a ping that was answered inside a message nobody wants: %v", err)
		}
		g.send(contF("the end"), textF("next"))
		wantRead(t, "the next message", g.c, MessageText, "next")
	})
}

// The same after CloseRead has been ended by its context.
func TestPingAfterCloseRead(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		g.c.CloseRead(ctx)
		g.send(textF("the beginning").open())
		synctest.Wait()
		cancel()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(bg, time.Minute)
		defer cancel()
		pinged := inBackground(func() error { _, err := g.c.Ping(ctx); return err })
		f, err := g.readFrame()
		if err != nil || f.op != OpPing {
			t.Fatal(f, err)
		}
		g.send(pongF(f.payload))
		if err := <-pinged; err != nil {
			t.Errorf("a ping that was answered: %v", err)
		}
	})
}

// 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
// response, unless it already received a Close frame." That it has sent one is no
// reason: 5.5.1 forbids data frames only.
func TestPongAfterCloseSent(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		done := inBackground(func() error { return g.c.Shutdown(bg, StatusNormalClosure, "") })
		g.wantClose("Shutdown", StatusNormalClosure)
		g.send(pingF("are you there"))
		synctest.Wait()
		g.send(closeF(1000, ""))
		g.wantFrame("a ping before the peer's Close", pongF("are you there"))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A message that is being read in pieces is a read in progress: a Shutdown that
// falls between two of its Reads should not throw the rest away at once.
func TestShutdownBetweenReadsOfAMessage(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF("first ").open())
		_, r, err := g.c.NextReader(bg)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(r, make([]byte, 6))
		done := inBackground(func() error { return g.c.Shutdown(bg, 1001, "") })
		synctest.Wait()
		g.send(contF("last"), closeF(1001, ""))
		rest, err := io.ReadAll(r)
		if err != nil || string(rest) != "last" {
			t.Errorf("the rest of the message should be %q, and is %q, %v", "last", rest, err)
		}
		readErr(g.c)
		<-done
	})
}

// Shutdown "sends what has been written and a Close frame", also if nobody wants to
// wait for the answer.
func TestShutdownWithEndedContext(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, r := range bothRoles {
			bubble(t, fmt.Sprint(r, " plain ", plain), func(t *testing.T) {
				g := newRig(t, r, nil)
				if plain {
					g = newPlainRig(t, r, nil)
				}
				ctx, cancel := context.WithCancel(bg)
				cancel()
				g.c.WriteText(bg, "written before")
				wantErr(t, "Shutdown", g.c.Shutdown(ctx, StatusGoingAway, ""), context.Canceled)
				g.wantFrame("what was written", textF("written before"))
				g.wantClose("Shutdown", StatusGoingAway)
			})
		}
	}
}
