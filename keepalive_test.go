package websocket

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What an application may be doing while its peer is silent. Each returns when the
// connection has ended.
var silences = []struct {
	name string
	do   func(c *Conn)
}{
	{"it reads", func(c *Conn) { readErr(c) }},
	{"it reads with a context", func(c *Conn) {
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		c.ReadMessage(ctx)
	}},
	{"it has called CloseRead", func(c *Conn) { <-c.CloseRead(bg).Done() }},
	{"it does nothing", func(c *Conn) { <-c.lifetime().Done() }},
	{"it looks in now and then", func(c *Conn) {
		for c.cause() == nil {
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			c.ReadMessage(ctx)
			cancel()
			time.Sleep(7 * time.Second)
		}
	}},
	{"it waits for a pong", func(c *Conn) { c.Ping(bg) }},
}

// onSilences runs f for connections of every kind, with an application in the
// background that does each of these things. It is attentive if somebody reads what
// comes at once.
func onSilences(t *testing.T, opts *Options, f func(t *testing.T, g *rig, attentive bool)) {
	for _, s := range silences {
		for _, r := range bothRoles {
			for _, rig := range []struct {
				name string
				make func(testing.TB, role, *Options) *rig
			}{{"socket", newRig}, {"plain", newPlainRig}} {
				bubble(t, fmt.Sprintf("%s, %v, %s", s.name, r, rig.name), func(t *testing.T) {
					g := rig.make(t, r, opts)
					done := inBackground(func() bool { s.do(g.c); return true })
					synctest.Wait()
					if s.name == "it waits for a pong" {
						g.pingPayload()
					}
					defer func() {
						g.far.Close()
						g.c.Close()
						<-done
					}()
					f(t, g, s.name != "it looks in now and then")
				})
			}
		}
	}
}

// silentFor lets time pass in which the peer should get nothing.
func (g *rig) silentFor(why string, d time.Duration) {
	g.t.Helper()
	time.Sleep(d - time.Millisecond)
	g.wantSilence(why)
	synctest.Wait()
}

// wantKeepAliveError checks that c has ended because its peer was silent.
func wantKeepAliveError(t *testing.T, c *Conn) {
	t.Helper()
	synctest.Wait()
	err := c.WriteText(bg, "x")
	if err == nil || !isTimeout(err) || !strings.Contains(err.Error(), "Options.KeepAlive") {
		t.Errorf("the peer was silent: the error should be a timeout and name the option, and is %v", err)
	}
}

// After 30 s in which nothing was heard comes a ping, and after 30 s more the end,
// whatever the application does meanwhile.
func TestKeepAlive(t *testing.T) {
	onSilences(t, nil, func(t *testing.T, g *rig, _ bool) {
		g.silentFor("for less than 30 s nothing was heard", 30*time.Second-time.Millisecond)
		time.Sleep(time.Millisecond)
		if len(g.pingPayload()) != 8 {
			t.Error("after 30 s should come a ping")
		}
		g.silentFor("the ping has 30 s", 30*time.Second-time.Millisecond)
		if err := g.c.cause(); err != nil {
			t.Fatalf("it should wait for 60 s, and has ended: %v", err)
		}
		time.Sleep(time.Millisecond)
		wantKeepAliveError(t, g.c)
		g.wantFrame("after 60 s", closeF(StatusInternalError, "no answer to a ping"))
		g.wantEOF("after 60 s")
	})
	bubble(t, "the duration is an option", func(t *testing.T) {
		g := newRig(t, server, &Options{KeepAlive: time.Second})
		read := inBackground(func() error { return readErr(g.c) })
		g.silentFor("for less than a second", time.Second-time.Millisecond)
		time.Sleep(time.Millisecond)
		g.pingPayload()
		time.Sleep(time.Second)
		err := <-read
		wantErr(t, "a read", err, os.ErrDeadlineExceeded)
		if !strings.Contains(err.Error(), "2s") {
			t.Errorf("the error should say for how long it was silent: %v", err)
		}
	})
}

// A peer that answers is pinged every 30 s, and nothing else.
func TestKeepAliveAnswered(t *testing.T) {
	onSilences(t, nil, func(t *testing.T, g *rig, attentive bool) {
		const rtt = 40 * time.Millisecond
		for range 10 {
			g.silentFor("nothing was heard for less than 30 s", 30*time.Second-time.Millisecond)
			time.Sleep(time.Millisecond)
			data := g.pingPayload()
			time.Sleep(rtt)
			g.send(pongF(data))
			synctest.Wait()
			if got := g.c.Stats().RoundTrip; got != rtt && attentive {
				t.Fatalf("the round trip took %v, and is said to have taken %v", rtt, got)
			}
			if r := &g.c.in; r.role.tryTake(byPump) {
				if r.block != nil {
					t.Fatal("nobody reads, and a buffer is held")
				}
				r.role.give()
			}
		}
		if err := g.c.cause(); err != nil {
			t.Error(err)
		}
	})
}

// There is no ping while traffic flows, of whatever kind.
func TestKeepAliveTraffic(t *testing.T) {
	for _, f := range []frame{textF("x"), contF("").open(), pingF(""), pongF("unsolicited")} {
		onBoth(t, nil, func(t *testing.T, g *rig) {
			go readErr(g.c)
			begin := textF("")
			begin.fin = f.op != OpContinuation
			g.send(begin)
			for range 100 {
				g.silentFor("bytes have come in the last 30 s", 30*time.Second-2*time.Millisecond)
				g.send(f)
				synctest.Wait()
				if f.op == OpPing {
					g.wantFrame("its own", pongF(""))
				}
			}
		})
	}
	onBoth(t, nil, func(t *testing.T, g *rig) { // byte by byte
		go readErr(g.c)
		for _, b := range textF(strings.Repeat("x", 20)).bytes(g.role) {
			g.silentFor("a byte has come in the last 30 s", 29*time.Second)
			g.write([]byte{b})
		}
	})
}

// A live peer whose messages wait for the application is never cut, however slow
// the application is, and whether it has begun to read them or not.
func TestKeepAliveSlowApplication(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, g *rig){
		"it has read nothing": func(t *testing.T, g *rig) {
			g.send(textF("begin"), textF("one"), textF("two"))
		},
		"it has read a message": func(t *testing.T, g *rig) {
			g.send(textF("x"), textF("beginone"), textF("two"))
			wantRead(t, "the first", g.c, MessageText, "x")
		},
		"it has read a part of a message": func(t *testing.T, g *rig) {
			g.send(textF("begin").open(), contF("one"), textF("two"))
			_, r, err := g.c.NextReader(bg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
				t.Fatal(err)
			}
		},
		"messages come later": func(t *testing.T, g *rig) {
			time.Sleep(45 * time.Second)
			g.pingPayload()
			g.send(textF("beginone"), textF("two"))
		},
		"a Ping waits behind a message": func(t *testing.T, g *rig) {
			go g.c.Ping(bg)
			g.pingPayload()
			g.send(textF("beginone"), textF("two"))
		},
	} {
		for _, r := range bothRoles {
			bubble(t, name+", "+r.String(), func(t *testing.T) {
				g := newRig(t, r, nil)
				begin(t, g)
				time.Sleep(24 * time.Hour)
				if err := g.c.cause(); err != nil {
					t.Fatalf("its messages wait for the application, and the connection has ended: %v", err)
				}
				// Now it reads, and then is where it would have been at once.
				for got := ""; got != "two"; {
					_, p, err := g.c.ReadMessage(bg)
					if err != nil {
						t.Fatal(err)
					}
					got = string(p)
				}
				read := inBackground(func() error { return readErr(g.c) })
				time.Sleep(91 * time.Second)
				wantNow(t, "and then the peer is silent: a read", read, os.ErrDeadlineExceeded)
			})
		}
	}
}

// An application that has read a message to its last byte, and not on to io.EOF, as a
// json.Decoder leaves it, or that has given up a message and its reader, has nothing
// that waits for it: its peer's silence counts.
func TestKeepAliveAfterReader(t *testing.T) {
	for name, begin := range map[string]func(g *rig){
		"read to its last byte": func(g *rig) {
			g.send(textF("subscribe"))
			_, r, err := g.c.NextReader(bg)
			if err == nil {
				_, err = io.ReadFull(r, make([]byte, len("subscribe")))
			}
			if err != nil {
				g.t.Fatal(err)
			}
		},
		"read to its last byte, which has come while nobody read": func(g *rig) {
			pinged := inBackground(func() error { _, err := g.c.Ping(bg); return err })
			data := g.pingPayload()
			g.send(pongF(data), textF("subscribe"))
			if err := <-pinged; err != nil {
				g.t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			g.send(pongF(g.pingPayload()))
			synctest.Wait()
			_, r, err := g.c.NextReader(bg)
			if err == nil {
				_, err = io.ReadFull(r, make([]byte, len("subscribe")))
			}
			if err != nil {
				g.t.Fatal(err)
			}
		},
		"discarded in the middle": func(g *rig) {
			g.send(textF("the beginning").open())
			if _, _, err := g.c.NextReader(bg); err != nil {
				g.t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(bg, time.Second)
			defer cancel()
			_, _, err := g.c.ReadMessage(ctx)
			if err != context.DeadlineExceeded {
				g.t.Fatal(err)
			}
		},
	} {
		for _, r := range bothRoles {
			bubble(t, name+", "+r.String(), func(t *testing.T) {
				g := newRig(t, r, nil)
				begin(g)
				time.Sleep(2 * time.Minute)
				wantKeepAliveError(t, g.c)
			})
		}
	}
}

// A read that begins while the pump listens gets what comes, and the peer's pong
// counts whoever reads it.
func TestKeepAliveGivesWay(t *testing.T) {
	for _, m := range readMethods {
		bubble(t, m.name, func(t *testing.T) {
			g := newRig(t, server, nil)
			for i := range 5 {
				time.Sleep(30 * time.Second)
				data := g.pingPayload()
				read := inBackground(func() received {
					got, err := m.read(bg, g.c)
					if err != nil {
						t.Error(err)
					}
					return got
				})
				synctest.Wait()
				g.send(pongF(data), textF(fmt.Sprint(i)))
				if got := <-read; got.text != fmt.Sprint(i) {
					t.Errorf("%s should get the message, and gets %v", m.name, got)
				}
			}
		})
	}
	// It reads for a moment after the ping, and leaves before the pong comes.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for range 5 {
			time.Sleep(30 * time.Second)
			data := g.pingPayload()
			ctx, cancel := context.WithTimeout(bg, time.Second)
			_, _, err := g.c.ReadMessage(ctx)
			wantErr(t, "a read", err, context.DeadlineExceeded)
			cancel()
			g.send(pongF(data))
			time.Sleep(31 * time.Second)
			if err := g.c.cause(); err != nil {
				t.Fatalf("a pong has come that nobody has read yet, and the connection has ended: %v", err)
			}
			time.Sleep(time.Millisecond)
			g.send(pingF(""))
			ctx, cancel = context.WithTimeout(bg, time.Second)
			g.c.ReadMessage(ctx)
			cancel()
			g.wantFrame("the application has looked in", pongF(""))
		}
	})
}

// A message that comes in pieces, while nobody reads, is there when somebody does.
func TestKeepAliveBetweenPieces(t *testing.T) {
	for _, size := range []int{1000, 300_000} {
		onBoth(t, nil, func(t *testing.T, g *rig) {
			text := pattern(size)
			bytes := textF(text).bytes(g.role)
			go io.Copy(io.Discard, g.far)
			for len(bytes) > 0 {
				time.Sleep(45 * time.Second)
				n := min(len(bytes), 1+size/7)
				g.write(bytes[:n])
				bytes = bytes[n:]
			}
			time.Sleep(time.Hour)
			wantRead(t, "a message that came in pieces", g.c, MessageText, text)
		})
	}
}

// While bytes wait for the peer it is for WriteTimeout to say whether it is gone.
func TestKeepAliveSlowPeer(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) { // it takes a little now and then, and sends nothing
		g.mine.Out.Update(func() { g.mine.Out.Room = 64 })
		go readErr(g.c)
		done := writeAsync(bg, g.c, pattern(100_000))
		for range 60 {
			time.Sleep(9 * time.Second)
			g.far.Read(make([]byte, 64))
		}
		wantPending(t, "the peer takes something: a write should go on", done)
		if err := g.c.cause(); err != nil {
			t.Errorf("the peer takes something, and the connection has ended: %v", err)
		}
		time.Sleep(21 * time.Second)
		wantNow(t, "it takes nothing any more: a write", done, errWriteTimeout)
	})
	onBoth(t, &Options{WriteTimeout: -1}, func(t *testing.T, g *rig) { // nobody else would find it
		g.stall()
		go readErr(g.c)
		g.c.WriteText(bg, "x")
		time.Sleep(61 * time.Second)
		wantKeepAliveError(t, g.c)
	})
	onBoth(t, &Options{WriteTimeout: -1, WriteQueue: 1}, func(t *testing.T, g *rig) { // no room for a ping
		g.stall()
		go readErr(g.c)
		g.c.WriteText(bg, "x")
		time.Sleep(10 * time.Minute)
		if n := g.c.Buffered(); n > 20 {
			t.Errorf("pings should wait for room, and %d bytes are queued", n)
		}
		g.unstall()
		g.wantFrame("what was queued", textF("x"))
		time.Sleep(time.Second)
		g.pingPayload()
	})
}

// A program that only writes notices that its peer has vanished.
func TestKeepAliveOnlyWriting(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		start := time.Now()
		for {
			if err := g.c.WriteText(bg, "x"); err != nil {
				wantErr(t, "a write", err, errSilent)
				break
			}
			time.Sleep(71 * time.Millisecond)
		}
		if d := time.Since(start); d < time.Minute || d > time.Minute+2*time.Second { // it waits while a write is under way
			t.Errorf("it should notice after a minute, and does after %v", d)
		}
	})
}

// A process that was asleep for the time that the peer had looks once more before
// it judges.
func TestKeepAliveAsleep(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		go readErr(g.c)
		time.Sleep(30 * time.Second)
		data := g.pingPayload()
		time.Sleep(30*time.Second - time.Millisecond)
		synctest.Wait()
		g.c.out.mu.Lock()
		g.c.out.pings.alive.due -= instant(10 * time.Second)
		g.c.out.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if err := g.c.cause(); err != nil {
			t.Fatalf("the timer was late, and the connection has ended: %v", err)
		}
		g.send(pongF(data))
		g.silentFor("the pong had come", 29*time.Second)
		time.Sleep(2 * time.Second)
		g.pingPayload()
	})
}

func TestKeepAliveOff(t *testing.T) {
	onSilences(t, &Options{KeepAlive: -1}, func(t *testing.T, g *rig, _ bool) {
		g.silentFor("there is no keepalive", 10*time.Minute)
		if err := g.c.cause(); err != nil {
			t.Error(err)
		}
	})
}

// The timer of a connection is gone with it, however it ends.
func TestKeepAliveTimerIsGone(t *testing.T) {
	for name, end := range map[string]func(g *rig){
		"Close":               func(g *rig) { g.c.Close() },
		"the peer's Close":    func(g *rig) { g.send(closeF(1000, "")); readErr(g.c) },
		"the peer's EOF":      func(g *rig) { g.far.CloseWrite(); readErr(g.c) },
		"the peer's reset":    func(g *rig) { g.mine.In.Reset(); readErr(g.c) },
		"the peer's mistake":  func(g *rig) { g.write([]byte{0xff, 0xff}); readErr(g.c) },
		"a Shutdown":          func(g *rig) { go g.c.Shutdown(bg, 1000, ""); g.wantClose("Shutdown", 1000); g.send(closeF(1000, "")) },
		"a Shutdown, alone":   func(g *rig) { g.c.Shutdown(bg, 1000, "") },
		"a silent peer":       func(g *rig) { time.Sleep(time.Minute) },
		"a peer that is full": func(g *rig) { g.stall(); g.c.WriteText(bg, "x"); time.Sleep(10 * time.Second) },
	} {
		for _, r := range bothRoles {
			bubble(t, name+", "+r.String(), func(t *testing.T) {
				g := newRig(t, r, nil)
				end(g)
				synctest.Wait()
				if g.c.cause() == nil {
					t.Fatal("the connection should have ended")
				}
				time.Sleep(time.Second) // for the peer's EOF
				synctest.Wait()
				wantUnwatched(t, "the connection has ended", g.c)
			})
		}
	}
}

// A Handler whose client has vanished returns.
func TestKeepAliveHandler(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		returned := make(chan error, 1)
		s := newSite(t, Handler(func(c *Conn, r *http.Request) {
			_, _, err := c.ReadMessage(r.Context())
			returned <- err
		}))
		s.visit()
		if d := took(func() { wantErr(t, "a Handler's read", <-returned, errSilent) }); d != time.Minute {
			t.Errorf("it should return after a minute, and does after %v", d)
		}
	})
}
