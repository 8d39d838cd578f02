package websocket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Every message, byte and Close frame is counted, whichever way it takes.
func TestStats(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		var want Stats
		wantStats := func(why string) {
			t.Helper()
			if got := g.c.Stats(); got != want {
				t.Errorf("%s: the statistics should be\n%+v, and are\n%+v", why, want, got)
			}
		}
		receives := func(messages, bytes int, frames ...frame) {
			g.send(frames...)
			want.Received.add(Traffic{uint64(messages), uint64(bytes), uint64(len(session(g.role, frames...)))})
		}
		sends := func(messages, bytes int, op Opcode, text string) {
			t.Helper()
			n := 0
			for more := true; more; {
				f, err := g.readFrame()
				if err != nil {
					t.Fatal(err)
				}
				n += len(f.bytes(g.c.role))
				more = !f.fin
			}
			want.Sent.add(Traffic{uint64(messages), uint64(bytes), uint64(n)})
		}
		wantStats("in the beginning")

		receives(1, 5, textF("hello"))
		wantRead(t, "a message", g.c, MessageText, "hello")
		wantStats("a message")
		receives(2, 7, textF("a").open(), contF("bc"), pingF("x"), binaryF("defg"))
		wantRead(t, "fragments", g.c, MessageText, "abc")
		wantRead(t, "behind them", g.c, MessageBinary, "defg")
		sends(0, 0, OpPong, "x")
		wantStats("fragments and a ping")
		receives(1, 100_000, binaryF(pattern(100_000)))
		wantRead(t, "a large message", g.c, MessageBinary, pattern(100_000))
		wantStats("a large message")
		receives(2, 20, textF(pattern(10)), textF(pattern(10)))
		g.c.NextReader(bg)
		wantRead(t, "after one that is discarded", g.c, MessageText, pattern(10))
		wantStats("a message that is discarded")

		for _, n := range []int{0, 10, 1000, largeWrite - 1, largeWrite, 100_000} {
			done := writeAsync(bg, g.c, pattern(n))
			sends(1, n, OpText, pattern(n))
			<-done
			synctest.Wait()
			wantStats("WriteMessage")
			done = inBackground(func() error { return g.c.WritePrepared(bg, NewPreparedMessage(MessageText, []byte(pattern(n)))) })
			sends(1, n, OpText, pattern(n))
			<-done
			synctest.Wait()
			wantStats("WritePrepared")
			go func() {
				m, _ := g.c.NextWriter(bg, MessageText)
				m.Write([]byte(pattern(n)))
				m.Close()
			}()
			sends(1, n, OpText, pattern(n))
			synctest.Wait()
			wantStats("NextWriter")
		}

		read := inBackground(func() error { return readErr(g.c) })
		synctest.Wait()
		receives(1, 1, textF("x"))
		synctest.Wait()
		wantStats("while somebody waits for more")

		pinged := startPing(bg, g.c)
		data := g.pingPayload()
		want.Sent.Wire += uint64(len(pingF(data).bytes(g.c.role)))
		time.Sleep(3 * time.Millisecond)
		receives(0, 0, pongF(data))
		<-pinged
		want.RoundTrip = 3 * time.Millisecond
		synctest.Wait()
		wantStats("a ping")

		receives(1, 4, textF("last"), closeF(4001, "bye"))
		wantCloseError(t, "the peer's Close", <-read, 4001)
		g.wantClose("the answer", 4001)
		want.Sent.Wire += uint64(len(closeF(4001, "").bytes(g.c.role)))
		want.CloseReceived, want.CloseSent = 4001, 4001
		time.Sleep(2 * time.Second)
		wantStats("in the end")
	})
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.mine.In.Reset()
		readErr(g.c)
		if s := g.c.Stats(); s.CloseReceived != StatusAbnormalClosure || s.CloseSent != 0 {
			t.Errorf("a connection that was lost: %+v", s)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF("one"), textF("two"), textF("three"))
		wantRead(t, "one of three", g.c, MessageText, "one")
		wantRead(t, "two of three", g.c, MessageText, "two")
		g.c.Close()
		if s := g.c.Stats(); s.CloseReceived != StatusAbnormalClosure || s.CloseSent != StatusGoingAway || s.Received.Messages != 2 {
			t.Errorf("after our own Close: %+v", s)
		}
	})
}

// Messages count by what they are to the application, and what is on the network by
// what it is there, compressed or not, from a group or not.
func TestStatsCompressed(t *testing.T) {
	for _, o := range []*Compression{nil, both(false, 15), both(true, 15)} {
		bubble(t, "", func(t *testing.T) {
			pair := newDeflatePair(t, o)
			g := &Group{Queue: 1 << 20}
			g.Add(pair[server])
			g.Add(pair[client])
			for i, c := range pair {
				done := inBackground(func() error { return readErr(pair[1-i]) })
				var want Traffic
				for _, size := range []int{0, 40, 600, 5000, 33_000, 100_000} {
					p := []byte(strings.Repeat("it repeats itself. ", size/19+1)[:size])
					for _, write := range append(writings, func(c *Conn, typ MessageType, p []byte) error {
						return c.WritePrepared(bg, NewPreparedMessage(typ, p))
					}, func(c *Conn, typ MessageType, p []byte) error {
						return g.Broadcast(typ, p, pair[1-i])
					}) {
						if err := write(c, MessageBinary, p); err != nil {
							t.Fatal(err)
						}
						want.Messages++
						want.Bytes += uint64(size)
					}
				}
				synctest.Wait()
				sent, received := c.Stats().Sent, pair[1-i].Stats().Received
				want.Wire = sent.Wire
				if sent != want || received != want {
					t.Errorf("%+v should have been sent and received, and are counted as %+v and %+v", want, sent, received)
				}
				if smaller := sent.Wire < sent.Bytes/2; smaller != (o != nil) {
					t.Errorf("%+v, compressed: %v", sent, o != nil)
				}
				defer func() { pair[0].Close(); <-done }()
			}
		})
	}
}

// What came with the handshake counts.
func TestStatsBuffered(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		a, b := newMemPipe(1 << 20)
		defer b.Close()
		c := newConn(a, server, nil, "", textF("early").bytes(client))
		defer c.Close()
		wantRead(t, "what came early", c, MessageText, "early")
		if got, want := c.Stats().Received, (Traffic{1, 5, 11}); got != want {
			t.Errorf("it should be %+v, and is %+v", want, got)
		}
	})
}

// A Server adds up the connections that there are and that have been.
func TestServerStats(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		server := &Server{Handler: func(c *Conn, r *http.Request) { echo(c) }}
		s := newSite(t, server)
		say := func(p *rawPeer, text string) {
			p.send(textF(text))
			p.wantFrame("the echo", textF(text))
			synctest.Wait()
		}
		stays, leaves, vanishes := s.visit(), s.visit(), s.visit()
		say(stays, "one")
		say(leaves, "three")
		say(vanishes, "")
		say(vanishes, "x")
		leaves.send(closeF(1000, ""))
		leaves.wantClose("the answer", 1000)
		leaves.nc.Close()
		vanishes.nc.Close()
		s.connect(1 << 20).shake("Origin: https://example.org")
		time.Sleep(10 * time.Second)

		want := ServerStats{
			Open:          1,
			Accepted:      3,
			Received:      Traffic{4, 9, 4*6 + 9 + 8},
			Sent:          Traffic{4, 9, 4*2 + 9 + 4},
			CloseReceived: map[StatusCode]uint64{1000: 1, 1006: 1},
			CloseSent:     map[StatusCode]uint64{1000: 1},
			Refused:       map[string]uint64{"origin": 1},
		}
		got := server.Stats()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("it should be\n%+v, and is\n%+v", want, got)
		}
		text, err := json.Marshal(got)
		if err != nil || !strings.Contains(string(text), `"CloseReceived":{"1000":1,"1006":1}`) {
			t.Errorf("for expvar: %s, %v", text, err)
		}
		got.Refused["origin"]++
		if server.Stats().Refused["origin"] != 1 {
			t.Error("the caller should own what he gets")
		}
	})
}

// What many clients say that they have sent and received is, together, what the server
// says that it has received and sent, whoever asks it meanwhile.
func TestServerStatsAddUp(t *testing.T) {
	const clients, messages = 30, 15
	for _, compression := range []*Compression{nil, {}} {
		opts := &Options{Compression: compression}
		var room Group
		server := &Server{Options: *opts, Handler: func(c *Conn, r *http.Request) {
			room.Add(c)
			for m := range c.Messages(r.Context()) {
				if string(m.Data) == "bye" {
					return
				}
				room.Broadcast(m.Type, m.Data, c)
				c.WriteMessage(r.Context(), m.Type, m.Data)
			}
		}}
		addr := serve(t, server)
		var mu sync.Mutex
		want := ServerStats{Accepted: clients, CloseReceived: make(map[StatusCode]uint64), CloseSent: make(map[StatusCode]uint64)}
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				c, _, err := Dial(bg, "ws://"+addr, opts)
				if err != nil {
					t.Error(err)
					return
				}
				for j := range messages {
					text := strings.Repeat(fmt.Sprint(i, " ", j, " "), 1+i*j%200)
					c.WriteText(bg, text)
					for got := []byte(nil); string(got) != text && err == nil; {
						_, got, err = c.ReadMessage(bg)
					}
				}
				if i%2 == 0 {
					c.WriteText(bg, "bye")
					readErr(c)
				} // and the Shutdown waits for the end
				if err = errors.Join(err, c.Shutdown(bg, StatusCode(4000+i%3), "")); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				s := c.Stats()
				want.Received.add(s.Sent)
				want.Sent.add(s.Received)
				want.CloseReceived[s.CloseSent]++
				want.CloseSent[s.CloseReceived]++
			})
		}
		over := make(chan struct{})
		asked := inBackground(func() (last ServerStats) {
			for !isClosed(over) {
				now := server.Stats()
				if now.Accepted < last.Accepted || now.Received.Wire < last.Received.Wire || now.Sent.Wire < last.Sent.Wire || now.Sent.Messages < last.Sent.Messages {
					t.Errorf("counters should not shrink: %+v, then %+v", last, now)
				}
				last = now
				time.Sleep(time.Millisecond)
			}
			return last
		})
		all.Wait()
		close(over)
		<-asked
		if err := server.Shutdown(bg); err != nil {
			t.Error(err)
		}
		if got := server.Stats(); !reflect.DeepEqual(got, want) {
			t.Errorf("compression %v: the clients add up to\n%+v, and the server to\n%+v", compression != nil, want, got)
		}
	}
}

// What leaves while a connection is being closed is counted too.
func TestServerStatsAfterClose(t *testing.T) {
	for name, closeIt := range map[string]func(*Server, *Conn){
		"Server.Close": func(s *Server, _ *Conn) { s.Close() },
		"Conn.Close":   func(_ *Server, c *Conn) { go c.Close() },
	} {
		bubble(t, name, func(t *testing.T) {
			conns := make(chan *Conn, 1)
			server := &Server{Handler: func(c *Conn, r *http.Request) {
				c.WriteText(bg, pattern(5000))
				conns <- c
				readErr(c)
			}}
			p := newSite(t, server).connect(300)
			p.shake()
			closeIt(server, <-conns)
			synctest.Wait() // the function has returned
			if open := server.Stats().Open; open != 1 {
				t.Errorf("while its socket is open, the connection should be there: %d are", open)
			}
			p.wantFrame("what was written", textF(pattern(5000)))
			p.wantClose("then", StatusGoingAway)
			p.nc.Close()
			synctest.Wait()
			want := ServerStats{
				Accepted:      1,
				Sent:          Traffic{1, 5000, 4 + 5000 + 4},
				CloseReceived: map[StatusCode]uint64{1006: 1},
				CloseSent:     map[StatusCode]uint64{1001: 1},
			}
			if got := server.Stats(); !reflect.DeepEqual(got, want) {
				t.Errorf("it should be\n%+v, and is\n%+v", want, got)
			}
		})
	}
}

// Statistics may be asked for at any time.
func TestStatsRace(t *testing.T) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			c, p := newNetPair(t, n, server, nil)
			done := inBackground(func() error { echo(c); return nil })
			stop := make(chan struct{})
			asked := inBackground(func() (s Stats) {
				for !isClosed(stop) {
					if now := c.Stats(); now.Received.Messages < s.Received.Messages || now.Sent.Wire < s.Sent.Wire {
						t.Errorf("it should not shrink: %+v, then %+v", s, now)
					} else {
						s = now
					}
				}
				return s
			})
			for range 300 {
				p.send(textF("x"))
				p.wantFrame("the echo", textF("x"))
			}
			close(stop)
			<-asked
			if s := c.Stats(); s.Received.Messages != 300 || s.Sent.Messages != 300 {
				t.Errorf("300 messages went each way: %+v", s)
			}
			p.nc.Close()
			<-done
		})
	}
}
