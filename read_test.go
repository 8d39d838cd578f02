package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A message as a test sees it.
type received struct {
	typ  MessageType
	text string
}

func (m received) String() string {
	return fmt.Sprintf("%v %.20q (%d bytes)", m.typ, m.text, len(m.text))
}

// A readMethod is a way to read one message. A NextReader returns what it has got
// of the message with its error.
type readMethod struct {
	name string
	read func(ctx context.Context, c *Conn) (received, error)
}

func byReader(size int) func(ctx context.Context, c *Conn) (received, error) {
	return func(ctx context.Context, c *Conn) (received, error) {
		typ, r, err := c.NextReader(ctx)
		if err != nil {
			return received{}, err
		}
		m := received{typ: typ}
		var got []byte
		p := make([]byte, size)
		for err == nil {
			var n int
			n, err = r.Read(p)
			got = append(got, p[:n]...)
		}
		m.text = string(got)
		if err != io.EOF {
			return m, err
		}
		if n, err := r.Read(p); n != 0 || err != io.EOF {
			return m, fmt.Errorf("a reader at its end should stay there: %d, %v", n, err)
		}
		return m, nil
	}
}

func byAppend(room int) func(ctx context.Context, c *Conn) (received, error) {
	return func(ctx context.Context, c *Conn) (received, error) {
		dst := append(make([]byte, 0, room+6), "before"...)
		typ, got, err := c.AppendMessage(ctx, dst)
		switch {
		case !bytes.HasPrefix(got, []byte("before")):
			return received{}, fmt.Errorf("AppendMessage has changed what was in dst: %q", got)
		case err != nil && (len(got) != len(dst) || &got[0] != &dst[0]):
			return received{}, fmt.Errorf("AppendMessage should return dst as it was with the error %v", err)
		case err != nil:
			return received{}, err
		case len(got) <= cap(dst) && &got[0] != &dst[0]:
			return received{}, errors.New("AppendMessage has allocated although dst had room")
		}
		return received{typ, string(got[6:])}, nil
	}
}

var readMethods = []readMethod{
	{"ReadMessage", func(ctx context.Context, c *Conn) (received, error) {
		typ, p, err := c.ReadMessage(ctx)
		return received{typ, string(p)}, err
	}},
	{"AppendMessage without room", byAppend(0)},
	{"AppendMessage with little room", byAppend(100)},
	{"AppendMessage with much room", byAppend(64 << 10)},
	{"NextReader, 7 bytes", byReader(7)},
	{"NextReader, 128 KiB", byReader(128 << 10)},
}

// A fragmentation is a way to send a message.
var fragmentations = []struct {
	name  string
	split func(op Opcode, s string) []frame
}{
	{"one frame", func(op Opcode, s string) []frame { return []frame{{true, op, s}} }},
	{"two frames", func(op Opcode, s string) []frame {
		return []frame{{false, op, s[:len(s)/2]}, contF(s[len(s)/2:])}
	}},
	{"empty frames and pings between", func(op Opcode, s string) []frame {
		third := len(s) / 3
		return []frame{{false, op, ""}, pingF("1"), contF(s[:third]).open(), contF("").open(), pingF(""),
			pongF("unsolicited"), contF(s[third:]).open(), pingF(pattern(125)), contF("")}
	}},
}

// Whatever the network makes of a message, and however it is read, it is the same
// message.
func TestReadAnyway(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20}
	few := 5000 // bytes, one at a time, in which all has been seen that is different about it
	if raceEnabled {
		sizes, few = sizes[:len(sizes)-4], 200 // a minute and a half less for what no other goroutine sees
	}
	texts := make([]string, len(sizes))
	for i, n := range sizes {
		texts[i] = pattern(n)
	}
	for _, r := range bothRoles {
		for _, chunk := range []int{0, 1, 1021, 4096, 70000} {
			for _, m := range readMethods {
				for _, plain := range []bool{false, true} {
					name := fmt.Sprintf("%v, pieces of %d, %s, plain %v", r, chunk, m.name, plain)
					bubble(t, name, func(t *testing.T) {
						g := newRig(t, r, nil)
						if plain {
							g = newPlainRig(t, r, nil)
						}
						g.mine.In.Chunk = chunk
						for i, s := range texts {
							if chunk == 1 && len(s) > few {
								break
							}
							for k, f := range fragmentations {
								op := []Opcode{OpText, OpBinary}[(i+k)%2]
								g.send(f.split(op, s)...)
								got, err := m.read(bg, g.c)
								if want := (received{MessageType(op), s}); err != nil || got != want {
									t.Fatalf("in %s, %v should arrive, but: %v, %v", f.name, want, got, err)
								}
							}
						}
					})
				}
			}
		}
	}
}

// The same over the system's networks, with the peer's writes as they come.
func TestReadNetworks(t *testing.T) {
	onNetworks(t, nil, func(t *testing.T, c *Conn, p *rawPeer) {
		go func() {
			for _, n := range []int{0, 1, 126, 4097, 65536, 1 << 20} {
				for _, f := range fragmentations {
					p.nc.Write(session(p.role, f.split(OpText, pattern(n))...))
				}
			}
		}()
		go io.Copy(io.Discard, p.nc) // the pongs
		for _, n := range []int{0, 1, 126, 4097, 65536, 1 << 20} {
			for i := range fragmentations {
				m := readMethods[(i+n)%len(readMethods)]
				if got, err := m.read(bg, c); err != nil || got.text != pattern(n) {
					t.Fatalf("%s should return a text of %d bytes, and returns %v, %v", m.name, n, got, err)
				}
			}
		}
	})
}

// cancelSession has every state that a reader can be interrupted in: a header, a
// payload, a control frame between fragments, a payload that is read directly into
// its message.
var cancelSession = []frame{
	textF("first"),
	pingF("a ping"),
	textF("é").open(), pingF("between"), contF("").open(), contF("€").open(), pongF("unasked"), contF("😀"),
	binaryF(""),
	binaryF(pattern(300)),
	textF(pattern(5000)).open(), contF(pattern(9000)),
	textF("last"),
}

var cancelMessages = []received{
	{MessageText, "first"}, {MessageText, "é€😀"}, {MessageBinary, ""}, {MessageBinary, pattern(300)},
	{MessageText, pattern(5000) + pattern(9000)}, {MessageText, "last"},
}

// A read that is cancelled loses nothing, at whichever byte and whatever reads
// next. (The rest of a message whose NextReader was cancelled is discarded by the
// next read, as ever.)
func TestCancelledReadLosesNothing(t *testing.T) {
	for _, r := range bothRoles {
		bytes := session(r.peer(), cancelSession...)
		end := len(textF("last").bytes(r.peer()))
		for _, first := range readMethods {
			bubble(t, fmt.Sprint(r, ", ", first.name), func(t *testing.T) {
				for cut := 0; cut <= len(bytes)-end; cut++ {
					if cut > 450 && cut%211 != 0 && cut < len(bytes)-end-3 {
						continue // in the middle of much payload
					}
					if raceEnabled && cut%5 != 0 {
						continue // the race detector is slow
					}
					second := readMethods[cut%len(readMethods)]
					g := newRig(t, r, nil)
					if cut%2 == 1 {
						g = newPlainRig(t, r, nil)
					}
					if got := cancelAt(t, g, bytes, cut, first, second); !reflect.DeepEqual(got, cancelMessages) {
						t.Fatalf("cancelled after byte %d and read on with %s: messages should be\n%v, and are\n%v",
							cut, second.name, cancelMessages, got)
					}
					g.far.Close()
					g.c.Close()
				}
			})
		}
	}
}

// cancelAt reads with first until nothing is left of bytes[:cut], cancels, and
// reads the rest with second.
func cancelAt(t *testing.T, g *rig, bytes []byte, cut int, first, second readMethod) (got []received) {
	t.Helper()
	ctx, cancel := context.WithCancel(bg)
	cancelled := inBackground(func() error {
		for {
			m, err := first.read(ctx, g.c)
			if err == nil || m.typ != 0 { // what a cancelled reader has got counts: see below
				got = append(got, m)
			}
			if err != nil {
				return err
			}
		}
	})
	g.write(bytes[:cut])
	synctest.Wait()
	cancel()
	if err := <-cancelled; err != context.Canceled {
		t.Fatalf("after byte %d a cancelled %s should return context.Canceled, and returns %v", cut, first.name, err)
	}
	g.write(bytes[cut:])
	for {
		m, err := second.read(bg, g.c)
		if err != nil {
			t.Fatalf("after byte %d %s cannot read on: %v", cut, second.name, err)
		}
		// A message that a reader has begun is not given to anyone else.
		if n := len(got); n > 0 && got[n-1] != cancelMessages[n-1] {
			if !strings.HasPrefix(cancelMessages[n-1].text, got[n-1].text) {
				t.Fatalf("after byte %d a reader has got %v, which is no beginning of %v", cut, got[n-1], cancelMessages[n-1])
			}
			got[n-1] = cancelMessages[n-1]
		}
		got = append(got, m)
		if m.text == "last" {
			return got
		}
	}
}

// The same on one connection: after every byte that comes, a read is cancelled.
func TestReadCancelledAfterEveryByte(t *testing.T) {
	for _, r := range bothRoles {
		for i, m := range readMethods[:4] {
			bubble(t, fmt.Sprint(r, ", ", m.name), func(t *testing.T) {
				g := newRig(t, r, nil)
				if i%2 == 1 {
					g = newPlainRig(t, r, nil)
				}
				var got []received
				for bytes := session(r.peer(), cancelSession...); len(bytes) > 0; {
					ctx, cancel := context.WithTimeout(bg, time.Second)
					step := 1
					if n := len(bytes); 100 < n && n < 8900 || 9100 < n && n < 13900 {
						step = 89 // in the middle of much payload
					}
					g.write(bytes[:step])
					bytes = bytes[step:]
					m, err := m.read(ctx, g.c)
					cancel()
					if err == nil {
						got = append(got, m)
					} else if err != context.DeadlineExceeded {
						t.Fatal(err)
					}
				}
				if !reflect.DeepEqual(got, cancelMessages) {
					t.Fatalf("messages should be\n%v, and are\n%v", cancelMessages, got)
				}
			})
		}
	}
}

// A context that has ended while nobody was reading interrupts no later read with
// another context, and every one with the same.
func TestStaleCancellation(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		g.send(textF("1"))
		if _, _, err := g.c.ReadMessage(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait() // the echo of the cancellation has arrived

		for range 3 {
			if _, _, err := g.c.ReadMessage(ctx); err != context.Canceled {
				t.Fatalf("a read with a context that has ended should return its error, and returns %v", err)
			}
		}
		for _, ctx := range []context.Context{bg, t.Context()} {
			read := inBackground(func() error {
				_, p, err := g.c.ReadMessage(ctx)
				if string(p) != "2" && err == nil {
					t.Errorf("got %q", p)
				}
				return err
			})
			synctest.Wait()
			if len(read) > 0 {
				t.Fatalf("a read with another context should wait, and returns %v", <-read)
			}
			g.send(textF("2"))
			if err := <-read; err != nil {
				t.Fatal(err)
			}
		}

		// Ended, and then another one at once.
		ctx, cancel = context.WithCancel(bg)
		g.send(textF("3"))
		g.c.ReadMessage(ctx)
		cancel()
		g.send(textF("4"))
		wantRead(t, "after a stale cancellation", g.c, MessageText, "4")
	})
}

// Contexts whose comparison panics, or that never end, are contexts too.
type oddContext struct {
	context.Context
	_ []int // not comparable
}

func TestReadOddContexts(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		odd := oddContext{Context: ctx}
		for i := range 3 {
			g.send(textF(fmt.Sprint(i)))
			if _, p, err := g.c.ReadMessage(odd); err != nil || string(p) != fmt.Sprint(i) {
				t.Fatalf("%q, %v", p, err)
			}
		}
		read := inBackground(func() error { _, _, err := g.c.ReadMessage(odd); return err })
		synctest.Wait()
		cancel()
		wantErr(t, "a cancelled read", <-read, context.Canceled)
		g.send(textF("x"))
		wantRead(t, "and then", g.c, MessageText, "x")
	})
}

// A message of which a part was read when the reading was cancelled does not lose
// that part to something that only discards and is cancelled in turn.
func TestDiscardCancelledBetweenFragments(t *testing.T) {
	for name, discard := range map[string]func(*testing.T, *rig){
		"CloseRead": func(t *testing.T, g *rig) {
			ctx, cancel := context.WithCancel(bg)
			g.c.CloseRead(ctx)
			synctest.Wait()
			cancel()
			synctest.Wait()
		},
		"Shutdown": func(t *testing.T, g *rig) {
			go g.c.Shutdown(bg, StatusNormalClosure, "")
			synctest.Wait()
		},
	} {
		bubble(t, name, func(t *testing.T) {
			g := newRig(t, server, nil)
			ctx, cancel := context.WithCancel(bg)
			read := inBackground(func() error { _, _, err := g.c.ReadMessage(ctx); return err })
			g.send(textF("the first part, ").open())
			synctest.Wait()
			cancel()
			<-read
			discard(t, g)

			result := inBackground(func() string {
				_, p, err := g.c.ReadMessage(bg)
				if err != nil {
					return err.Error()
				}
				return string(p)
			})
			synctest.Wait()
			g.send(contF("the rest"), textF("next"))
			if got := <-result; got != "next" && got != "the first part, the rest" {
				t.Errorf("a message should come whole or not at all, and comes as %q", got)
			}
		})
	}
}

// A reader whose message is being discarded is out of date from the beginning of
// that: it must not go on behind the part that is lost.
func TestReaderAfterCancelledDiscard(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF("one two").open())
		_, r, err := g.c.NextReader(bg)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 3)
		if _, err := io.ReadFull(r, p); err != nil || string(p) != "one" {
			t.Fatal(string(p), err)
		}
		ctx, cancel := context.WithCancel(bg)
		read := inBackground(func() error { _, _, err := g.c.ReadMessage(ctx); return err })
		synctest.Wait() // it has discarded " two"
		cancel()
		wantErr(t, "ReadMessage", <-read, context.Canceled)
		g.send(contF(" three"), textF("next"))
		if n, err := r.Read(make([]byte, 100)); n > 0 || err == nil {
			t.Errorf("the reader should be out of date, and returns %d bytes, %v: a message with a hole", n, err)
		}
		wantRead(t, "the next message", g.c, MessageText, "next")
	})
}

func TestReaderDiscarded(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for _, m := range readMethods {
			g.send(textF("one ").open(), pingF("p"), contF(pattern(10_000)), textF("next"))
			_, r, err := g.c.NextReader(bg)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := r.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if n, err := r.Read(nil); n != 0 || err != nil {
				t.Errorf("a Read of nothing should give nothing: %d, %v", n, err)
			}
			got, err := m.read(bg, g.c)
			if err != nil || got.text != "next" {
				t.Fatalf("%s should discard the rest and return the next message, and returns %v, %v", m.name, got, err)
			}
			if _, err := r.Read(make([]byte, 1)); err != errDiscarded {
				t.Errorf("the old reader should say that it is out of date: %v", err)
			}
			g.wantFrame("a ping in what is discarded is answered", pongF("p"))
		}
	})
	for _, tc := range []struct {
		name string
		rest frame
		code StatusCode
	}{
		{"text that is not UTF-8", contF("\xff"), StatusInvalidPayload},
		{"more than the limit", contF(pattern(2000)), StatusMessageTooBig},
		{"a text frame in the middle", textF("x"), StatusProtocolError},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			g := newRig(t, server, &Options{ReadLimit: 1000})
			g.send(textF("one").open())
			if _, _, err := g.c.NextReader(bg); err != nil {
				t.Fatal(err)
			}
			g.send(tc.rest, textF("next"))
			if _, _, err := g.c.ReadMessage(bg); err == nil {
				t.Error("what is discarded should be checked, and is not")
			}
			g.wantClose("a fault in what is discarded", tc.code)
		})
	}
}

// One goroutine at a time reads. A second gets an error, and does no harm.
func TestSecondReader(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		first := inBackground(func() string { _, p, _ := g.c.ReadMessage(bg); return string(p) })
		synctest.Wait()
		for _, m := range readMethods {
			if _, err := m.read(bg, g.c); err != errConcurrentRead {
				t.Errorf("a second %s should return an error that says so, and returns %v", m.name, err)
			}
		}
		ctx := g.c.CloseRead(bg)
		<-ctx.Done()
		wantErr(t, "CloseRead of a connection that is being read", context.Cause(ctx), errConcurrentRead)
		g.send(textF("one"))
		if got := <-first; got != "one" {
			t.Errorf("the first reader should get the message, and gets %q", got)
		}
	})
}

// Misuse by any number of goroutines panics nowhere, and every message comes once.
func TestReadersRace(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		const n = 200
		got := make(chan string, n)
		var readers sync.WaitGroup
		defer readers.Wait()
		for range 8 {
			readers.Go(func() {
				for {
					_, p, err := g.c.ReadMessage(bg)
					switch {
					case err == nil:
						got <- string(p)
					case err != errConcurrentRead:
						return
					default:
						time.Sleep(time.Microsecond)
					}
				}
			})
		}
		for i := range n {
			g.send(textF(fmt.Sprint(i)))
			if i%10 == 0 {
				time.Sleep(time.Microsecond)
			}
		}
		seen := make(map[string]bool)
		for range n {
			seen[<-got] = true
		}
		if len(seen) != n {
			t.Errorf("%d messages should come once each, and %d different ones come", n, len(seen))
		}
		g.c.Close()
	})
}

// An end of the input in any state is an error that says so, after the messages
// that are complete.
func TestReadUntilCut(t *testing.T) {
	frames := []frame{textF("first"), textF("a").open(), pingF("ping"), contF("b"), binaryF(pattern(200)), binaryF(pattern(6000))}
	ends := []int{5, 2, 200, 6000}
	for _, r := range bothRoles {
		bytes := session(r.peer(), frames...)
		complete := func(cut int) (n int) {
			for i := 1; i <= len(frames); i++ {
				if frames[i-1].op != OpPing && frames[i-1].fin && len(session(r.peer(), frames[:i]...)) <= cut {
					n++
				}
			}
			return n
		}
		for _, m := range readMethods {
			bubble(t, fmt.Sprint(r, ", ", m.name), func(t *testing.T) {
				for cut := 0; cut <= len(bytes); cut++ {
					if cut > 300 && cut%97 != 0 && cut < len(bytes)-10 {
						continue
					}
					for _, reset := range []bool{false, true} {
						g := newRig(t, r, nil)
						g.write(bytes[:cut])
						var cutErr error = io.ErrUnexpectedEOF
						if reset {
							cutErr = syscall.ECONNRESET
						} else {
							g.far.CloseWrite()
						}
						result := inBackground(func() error {
							for i := 0; ; i++ {
								msg, err := m.read(bg, g.c)
								if err != nil && i != complete(cut) {
									t.Errorf("cut after byte %d, %d messages should come, and %d come", cut, complete(cut), i)
								}
								if err != nil {
									return err
								}
								if len(msg.text) != ends[i] {
									t.Errorf("message %d has %d bytes", i, len(msg.text))
								}
							}
						})
						synctest.Wait()
						if reset {
							g.mine.In.Reset()
						}
						wantErr(t, fmt.Sprintf("cut after byte %d", cut), <-result, cutErr)
						_, again := m.read(bg, g.c)
						wantErr(t, "and read again", again, cutErr)
						wantErr(t, "and then written", g.c.WriteMessage(bg, MessageText, nil), cutErr)
						g.far.Close()
						g.c.Close()
					}
				}
			})
		}
	}
}

// The limit holds for the message, however it comes and is read, and the peer is
// told of it.
func TestReadLimit(t *testing.T) {
	const limit = 1000
	for _, r := range bothRoles {
		for _, m := range readMethods {
			for _, f := range fragmentations {
				bubble(t, fmt.Sprint(r, ", ", m.name, ", ", f.name), func(t *testing.T) {
					g := newRig(t, r, &Options{ReadLimit: limit})
					g.send(f.split(OpBinary, strings.Repeat("x", limit))...)
					if got, err := m.read(bg, g.c); err != nil || len(got.text) != limit {
						t.Fatalf("a message of the limit should pass: %v, %v", got, err)
					}
					for _, f := range f.split(OpBinary, "") {
						if f.op == OpPing {
							g.readFrame()
						}
					}
					g.send(f.split(OpBinary, strings.Repeat("x", limit+1))...)
					_, err := m.read(bg, g.c)
					wantErr(t, "a message of one byte more", err, ErrMessageTooBig)
					if err != nil && !strings.Contains(err.Error(), "1000") {
						t.Errorf("the error should name the limit: %v", err)
					}
					for {
						got, err := g.readFrame()
						if err == nil && got.op == OpPong {
							continue
						}
						if e, _ := parseClosePayload([]byte(got.payload)); err != nil || e == nil || e.Code != StatusMessageTooBig {
							t.Errorf("the peer should be told 1009, and is told %v, %v", got, err)
						}
						break
					}
					_, err = m.read(bg, g.c)
					wantErr(t, "the next read", err, ErrMessageTooBig)
					wantErr(t, "a write", g.c.WriteMessage(bg, MessageText, nil), ErrMessageTooBig)
				})
			}
		}
	}
}

func TestSetReadLimit(t *testing.T) {
	onBoth(t, &Options{ReadLimit: 10}, func(t *testing.T, g *rig) {
		g.c.SetReadLimit(20)
		g.send(textF(pattern(20)))
		wantRead(t, "after SetReadLimit(20)", g.c, MessageText, pattern(20))
		g.c.SetReadLimit(-1)
		g.send(textF(pattern(2 << 20)))
		wantRead(t, "without a limit", g.c, MessageText, pattern(2<<20))
		g.c.SetReadLimit(0)
		g.send(textF(""), textF("x"))
		wantRead(t, "with a limit of 0", g.c, MessageText, "")
		wantErr(t, "with a limit of 0", readErr(g.c), ErrMessageTooBig)
		g.wantClose("a message of one byte", StatusMessageTooBig)
	})
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF(pattern(defaultReadLimit)), textF(pattern(defaultReadLimit+1)))
		wantRead(t, "by default", g.c, MessageText, pattern(1<<20))
		wantErr(t, "by default 1 MiB is the limit", readErr(g.c), ErrMessageTooBig)
	})
}

// Text is refused as soon as it cannot become UTF-8, before the rest has come.
func TestInvalidTextFailsEarly(t *testing.T) {
	for _, r := range bothRoles {
		for _, m := range readMethods {
			for _, bad := range []string{"\xff", "ab\xc3\x28", "\xed\xa0\x80", "é\xf4\x90", "\xf8", pattern(5000) + "\xc0"} {
				bubble(t, fmt.Sprintf("%v, %s, %.8q", r, m.name, bad), func(t *testing.T) {
					g := newRig(t, r, nil)
					whole := textF(bad + pattern(100_000)).open().bytes(r.peer())
					head := len(whole) - 100_000
					g.write(whole[:head])
					_, err := m.read(bg, g.c)
					wantProtocolError(t, "text that is not UTF-8", err, StatusInvalidPayload)
					g.wantClose("the peer", StatusInvalidPayload)
				})
			}
		}
	}
	for _, tc := range [][]frame{
		{textF("\xe2\x82").open(), contF("x")},
		{textF("\xe2\x82")},
		{textF("a").open(), pingF(""), contF("\xf0\x9f").open(), contF("")},
	} {
		bubble(t, fmt.Sprint(tc), func(t *testing.T) {
			g := newRig(t, server, nil)
			g.send(tc...)
			wantProtocolError(t, "a text that ends in the middle of a character", readErr(g.c), StatusInvalidPayload)
		})
	}
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(binaryF("\xff\xfe"), textF("\xe2").open(), contF("\x82").open(), contF("\xac"))
		wantRead(t, "binary is any bytes", g.c, MessageBinary, "\xff\xfe")
		wantRead(t, "a character in three frames", g.c, MessageText, "€")
	})
}

// What breaks the protocol fails the connection with 1002.
func TestReadProtocolErrors(t *testing.T) {
	for _, r := range bothRoles {
		unmasked := session(r, textF("x")) // as this role would send it, not its peer
		for name, bytes := range map[string][]byte{
			"the wrong mask":                        unmasked,
			"a continuation of nothing":             session(r.peer(), contF("x")),
			"a text frame inside a message":         session(r.peer(), textF("x").open(), textF("y")),
			"a reserved opcode":                     session(r.peer(), frame{true, 3, ""}),
			"a fragmented ping":                     session(r.peer(), pingF("x").open()),
			"a ping of 126 bytes":                   session(r.peer(), pingF(pattern(126))),
			"a length not in its minimal form":      {0x82, byte(r.peer())<<7 | 126, 0, 1, 0, 0, 0, 0, 0},
			"a length with its top bit set":         {0x82, byte(r.peer())<<7 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
			"a reserved bit":                        append([]byte{0xc2, byte(r.peer()) << 7}, make([]byte, 4)...),
			"a Close frame with one byte":           session(r.peer(), frame{true, OpClose, "x"}),
			"a Close frame with a reserved code":    session(r.peer(), closeF(1005+1, "")),
			"a Close frame with code 999":           session(r.peer(), closeF(999, "")),
			"a Close frame in the wrong mask, also": session(r, closeF(1000, "")),
		} {
			bubble(t, fmt.Sprint(r, ", ", name), func(t *testing.T) {
				for _, chunk := range []int{0, 1} {
					g := newRig(t, r, nil)
					g.mine.In.Chunk = chunk
					g.write(bytes)
					wantProtocolError(t, name, readErr(g.c), StatusProtocolError)
					g.wantClose(name, StatusProtocolError)
					g.wantEOF("after a failure")
				}
			})
		}
		bubble(t, fmt.Sprint(r, ", a Close frame with a reason that is not UTF-8"), func(t *testing.T) {
			g := newRig(t, r, nil)
			g.send(closeF(1000, "\xff"))
			wantProtocolError(t, "the reader", readErr(g.c), StatusInvalidPayload)
			g.wantClose("the peer", StatusInvalidPayload)
		})
	}
}

// Memory follows what has arrived and not what is announced.
func TestAnnouncedMemory(t *testing.T) {
	for _, m := range readMethods[:3] {
		bubble(t, m.name, func(t *testing.T) {
			g := newRig(t, server, &Options{ReadLimit: -1})
			ctx, cancel := context.WithCancel(bg)
			h := FrameHeader{Fin: true, Opcode: OpBinary, Masked: true, Length: 1 << 40}
			read := inBackground(func() error { _, err := m.read(ctx, g.c); return err })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			g.write(append(AppendFrameHeader(nil, h), make([]byte, 10_000)...))
			synctest.Wait()
			runtime.ReadMemStats(&after)
			cancel()
			wantErr(t, "cancelled", <-read, context.Canceled)
			if n := after.TotalAlloc - before.TotalAlloc; n > 300_000 {
				t.Errorf("10,000 bytes of 2^40 have come, and %d bytes were allocated", n)
			}
		})
	}
}

func TestCloseRead(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx := g.c.CloseRead(bg)
		synctest.Wait()
		if _, _, err := g.c.ReadMessage(bg); err != errConcurrentRead {
			t.Errorf("after CloseRead the application should not read: %v", err)
		}
		g.send(textF("discarded"), pingF("1"), binaryF(pattern(100_000)).open(), pingF("2"), contF("x"), pingF("3"))
		for _, s := range []string{"1", "2", "3"} {
			g.wantFrame("CloseRead answers pings", pongF(s))
		}
		if err := g.c.WriteText(bg, "hi"); err != nil {
			t.Error(err)
		}
		g.wantFrame("writing goes on", textF("hi"))
		if ctx.Err() != nil {
			t.Fatalf("the context has ended early: %v", context.Cause(ctx))
		}
		g.send(closeF(4000, "enough"))
		<-ctx.Done()
		wantCloseError(t, "the context's cause", context.Cause(ctx), 4000)
		g.wantClose("a Close frame is answered", 4000)
	})
	// When its context ends it gives the reading back.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		derived := g.c.CloseRead(ctx)
		g.send(textF("discarded"), textF("half ").open())
		synctest.Wait()
		cancel()
		<-derived.Done()
		synctest.Wait()
		g.send(contF("of it"), textF("read"))
		wantRead(t, "after CloseRead's end", g.c, MessageText, "read")
	})
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx := g.c.CloseRead(bg)
		synctest.Wait()
		g.c.Close()
		<-ctx.Done()
		wantErr(t, "the cause after Close", context.Cause(ctx), net.ErrClosed)
	})
}

// pingPayload reads a ping from the connection under test.
func (p *rawPeer) pingPayload() string {
	p.t.Helper()
	f, err := p.readFrame()
	if err != nil || f.op != OpPing {
		p.t.Fatalf("it should send a ping, and sends %v, %v", f, err)
	}
	return f.payload
}

// startPing runs Ping in the background.
func startPing(ctx context.Context, c *Conn) <-chan error {
	return inBackground(func() error { _, err := c.Ping(ctx); return err })
}

func TestPing(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) { // nobody reads
		type result struct {
			rtt time.Duration
			err error
		}
		got := inBackground(func() result { rtt, err := g.c.Ping(bg); return result{rtt, err} })
		data := g.pingPayload()
		time.Sleep(time.Second)
		g.send(pingF("yours"), pongF("nonsense"), pongF(""), pongF(data))
		if r := <-got; r.err != nil || r.rtt != time.Second {
			t.Errorf("Ping should return the second that it took, and returns %v, %v", r.rtt, r.err)
		}
		g.wantFrame("while it waits, Ping answers pings", pongF("yours"))
		g.send(textF("x"))
		wantRead(t, "after a ping", g.c, MessageText, "x")
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // somebody reads
		read := inBackground(func() string { _, p, _ := g.c.ReadMessage(bg); return string(p) })
		synctest.Wait()
		pinged := startPing(bg, g.c)
		g.send(pongF(g.pingPayload()))
		if err := <-pinged; err != nil {
			t.Error(err)
		}
		g.send(textF("x"))
		if got := <-read; got != "x" {
			t.Errorf("the reader got %q", got)
		}
	})
	for _, m := range readMethods { // a message comes before the pong
		bubble(t, m.name, func(t *testing.T) {
			for _, s := range []string{"", "x", pattern(10_000)} {
				g := newRig(t, server, nil)
				pinged := startPing(bg, g.c)
				data := g.pingPayload()
				g.send(textF(s).open(), contF(""), pongF(data), textF("next"))
				synctest.Wait()
				if len(pinged) > 0 {
					t.Errorf("a pong behind a message that nobody reads: Ping should wait for the message to be read, and returns %v", <-pinged)
				}
				got, err := m.read(bg, g.c)
				if err != nil || got != (received{MessageText, s}) {
					t.Fatalf("the message before the pong should be kept, and it is %v, %v", got, err)
				}
				if err := <-pinged; err != nil {
					t.Error(err)
				}
				wantRead(t, "the message after the pong", g.c, MessageText, "next")
				g.c.Close()
				g.far.Close()
			}
		})
	}
	onBoth(t, nil, func(t *testing.T, g *rig) { // several at once; the last pong answers all
		a, b, c := startPing(bg, g.c), startPing(bg, g.c), startPing(bg, g.c)
		g.pingPayload()
		g.pingPayload()
		g.send(pongF(g.pingPayload()))
		for _, p := range []<-chan error{a, b, c} {
			if err := <-p; err != nil {
				t.Error(err)
			}
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // cancelled
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		a, b := startPing(ctx, g.c), startPing(bg, g.c)
		first := g.pingPayload()
		second := g.pingPayload()
		wantErr(t, "a cancelled Ping", <-a, context.DeadlineExceeded)
		g.send(pongF(first))
		time.Sleep(time.Second)
		g.send(pongF(second))
		if err := <-b; err != nil {
			t.Errorf("the other Ping should go on, and returns %v", err)
		}
		g.send(textF("x"))
		wantRead(t, "afterwards", g.c, MessageText, "x")
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // the end of the connection ends it
		p := startPing(bg, g.c)
		g.pingPayload()
		g.send(closeF(1000, ""))
		wantCloseError(t, "a Ping that the peer answers with Close", <-p, 1000)
		_, err := g.c.Ping(bg)
		wantCloseError(t, "and one after that", err, 1000)
	})
}

// A pump gives way to an application's read, and goes on afterwards.
func TestPumpGivesWay(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		pinged := startPing(bg, g.c)
		data := g.pingPayload()
		for i, m := range readMethods {
			synctest.Wait() // the pump is reading
			read := inBackground(func() received {
				got, err := m.read(bg, g.c)
				if err != nil {
					t.Error(err)
				}
				return got
			})
			synctest.Wait()
			if len(read) > 0 {
				t.Fatal("no message has come")
			}
			g.send(textF(fmt.Sprint(i)))
			if got := <-read; got.text != fmt.Sprint(i) {
				t.Errorf("%s should get the message, and gets %v", m.name, got)
			}
		}
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		synctest.Wait()
		_, _, err := g.c.ReadMessage(ctx)
		wantErr(t, "a read in place of a pump, cancelled", err, context.DeadlineExceeded)
		g.send(pongF(data))
		if err := <-pinged; err != nil {
			t.Error(err)
		}
	})
}

// While a Ping holds back a message that nobody reads, a Shutdown gets through.
func TestShutdownWhilePingHoldsMessage(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		pinged := startPing(ctx, g.c)
		g.pingPayload()
		g.send(textF("nobody reads this"))
		synctest.Wait()
		shut := inBackground(func() error { return g.c.Shutdown(bg, StatusNormalClosure, "") })
		g.wantClose("Shutdown", StatusNormalClosure)
		g.send(closeF(StatusNormalClosure, ""))
		g.far.CloseWrite()
		if d := took(func() {
			if err := <-shut; err != nil {
				t.Errorf("the peer has answered, and Shutdown returns %v", err)
			}
		}); d > time.Second {
			t.Errorf("the peer has answered at once, and Shutdown takes %v", d)
		}
		cancel()
		<-pinged
	})
}

// The same if a goroutine was reading when Shutdown began, and reads no more.
func TestShutdownWhileReaderLeavesAndPingHolds(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		read := inBackground(func() error { _, _, err := g.c.ReadMessage(bg); return err })
		synctest.Wait()
		pinged := startPing(ctx, g.c)
		g.pingPayload()
		shut := inBackground(func() error { return g.c.Shutdown(bg, StatusNormalClosure, "") })
		g.wantClose("Shutdown", StatusNormalClosure)
		g.send(textF("read"), textF("not read"), textF("nor this"), closeF(StatusNormalClosure, ""))
		g.far.CloseWrite()
		if err := <-read; err != nil {
			t.Error(err)
		}
		if d := took(func() {
			if err := <-shut; err != nil {
				t.Errorf("the peer has answered, and Shutdown returns %v", err)
			}
		}); d > 2*time.Second {
			t.Errorf("the peer has answered at once, and Shutdown takes %v", d)
		}
		<-pinged
	})
}

// The bytes of a message belong to the caller: later traffic does not change them.
func TestMessagesAreTheCallers(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		var got [][]byte
		for i := range 60 {
			n := []int{3, 200, 3000, 5000, 40_000}[i%5]
			frames := []frame{binaryF(strings.Repeat(string(rune('a'+i%26)), n))}
			if i%3 == 0 {
				frames = []frame{frames[0].open(), pingF("x"), contF("")}
			}
			ctx, cancel := context.WithCancel(bg)
			read := inBackground(func() error { _, _, err := g.c.ReadMessage(ctx); return err })
			bytes := session(g.role, frames...)
			g.write(bytes[:len(bytes)/2])
			synctest.Wait()
			cancel()
			<-read
			g.write(bytes[len(bytes)/2:])
			_, p, err := g.c.ReadMessage(bg)
			if err != nil || len(p) != n {
				t.Fatal(len(p), err)
			}
			got = append(got, p)
			g.c.WriteMessage(bg, MessageBinary, p[:1])
		}
		for i, p := range got {
			if want := strings.Repeat(string(rune('a'+i%26)), len(p)); string(p) != want {
				t.Errorf("message %d has changed after it was returned", i)
			}
		}
	})
}

// A loop over the messages sees each of them, and an error only if the connection did
// not end as it should.
func TestMessages(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(g *rig)
		want func(err error) bool // nil: no error
	}{
		{"1000", func(g *rig) { g.send(closeF(StatusNormalClosure, "done")) }, nil},
		{"1001", func(g *rig) { g.send(closeF(StatusGoingAway, "")) }, nil},
		{"1005", func(g *rig) { g.send(closeF(StatusNoStatus, "")) }, nil},
		{"1011", func(g *rig) { g.send(closeF(StatusInternalError, "")) }, func(err error) bool {
			var e *CloseError
			return errors.As(err, &e) && e.Code == StatusInternalError
		}},
		{"4000", func(g *rig) { g.send(closeF(4000, "")) }, func(err error) bool {
			var e *CloseError
			return errors.As(err, &e) && e.Code == 4000
		}},
		{"lost", func(g *rig) { g.nc.Close() }, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"protocol error", func(g *rig) { g.send(contF("")) }, func(err error) bool {
			var e *ProtocolError
			return errors.As(err, &e)
		}},
		{"our Close", func(g *rig) { g.c.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"our Shutdown", func(g *rig) {
			go g.c.Shutdown(bg, StatusGoingAway, "")
			g.answerClose("Shutdown", StatusGoingAway)
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onBoth(t, nil, func(t *testing.T, g *rig) {
				g.send(textF("one"), pingF(""), binaryF("t").open(), contF("wo"), textF(""))
				var got []string
				var errs []error
				for m, err := range g.c.Messages(bg) {
					if err != nil {
						if m.Type != 0 || m.Data != nil {
							t.Errorf("an error comes with a message: %v", m)
						}
						errs = append(errs, err)
						continue // and nothing more should come
					}
					if got = append(got, fmt.Sprint(m.Type, " ", string(m.Data))); len(got) == 3 {
						g.wantFrame("a ping is answered", pongF(""))
						tc.end(g)
					}
				}
				if want := []string{"text one", "binary two", "text "}; !reflect.DeepEqual(got, want) {
					t.Errorf("the loop sees %q, and should see %q", got, want)
				}
				if tc.want == nil && errs != nil || tc.want != nil && (len(errs) != 1 || !tc.want(errs[0])) {
					t.Errorf("the loop ends with the errors %v", errs)
				}
			})
		})
	}
}

// A loop that is left, or cancelled, goes on later.
func TestMessagesGoesOn(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		g.send(textF("1"), textF("2"), textF("3").open())
		loop := g.c.Messages(ctx)
		for range loop {
			break
		}
		time.AfterFunc(time.Second, cancel)
		var got []string
		for m, err := range loop {
			if err != nil {
				wantErr(t, "the context has ended", err, context.Canceled)
				break
			}
			got = append(got, string(m.Data))
		}
		g.send(contF("!"), closeF(StatusNormalClosure, ""))
		for m, err := range g.c.Messages(bg) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, string(m.Data))
		}
		if want := []string{"2", "3!"}; !reflect.DeepEqual(got, want) {
			t.Errorf("the loops should see %q, and see %q", want, got)
		}
	})
}

// A message of a loop costs one allocation, that of its bytes.
func TestMessagesAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 500
	var frames []frame
	for range n {
		frames = append(frames, textF(strings.Repeat("x", 100)))
	}
	tape := newTape(nil, nil)
	c := newConn(tape, client, nil, "", nil)
	defer c.Close()
	bytes := session(server, frames...)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	allocs := testing.AllocsPerRun(5, func() {
		tape.in = bytes
		left := n
		for m, err := range c.Messages(ctx) {
			if err != nil || len(m.Data) != 100 {
				t.Fatal(err)
			}
			if left--; left == 0 {
				break
			}
		}
	})
	if allocs > n+5 {
		t.Errorf("a loop over %d messages allocates %v times", n, allocs)
	}
}

// Bytes that were read with the handshake come first.
func TestReadBuffered(t *testing.T) {
	for _, r := range bothRoles {
		bytes := session(r.peer(), cancelSession...)
		for cut := 0; cut <= len(bytes); cut += 13 {
			bubble(t, "", func(t *testing.T) {
				mine, far := newMemPipe(peerRoom)
				c := newConn(mine, r, nil, "", bytes[:cut:cut])
				far.Write(bytes[cut:])
				for _, want := range cancelMessages {
					wantRead(t, fmt.Sprintf("with %d bytes buffered", cut), c, want.typ, want.text)
				}
				far.Close()
				c.Close()
			})
		}
	}
}

// An idle connection holds no buffer, however its reader came to wait.
func TestIdleHoldsNoBuffer(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for _, traffic := range [][]frame{{textF("x")}, {textF(pattern(100_000))}, {pingF("x")}, {textF("x").open()}, {contF("").open()}} {
			g.send(traffic...)
			ctx, cancel := context.WithCancel(bg)
			done := inBackground(func() error {
				for {
					if _, _, err := g.c.ReadMessage(ctx); err != nil {
						return err
					}
				}
			})
			synctest.Wait()
			if g.c.in.block != nil {
				t.Errorf("after %v a connection that waits holds a block of %d bytes", traffic, len(g.c.in.block))
			}
			cancel()
			<-done
		}
	})
}

// grace gives a reader time to find out why a write has failed. A context that is
// derived from the request's must not take that away.
func TestDerivedContextAfterWriteFails(t *testing.T) {
	for _, derived := range []bool{false, true} {
		bubble(t, fmt.Sprint("derived ", derived), func(t *testing.T) {
			g := newRig(t, server, nil)
			var ctx context.Context = &requestContext{bg, g.c}
			if derived {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Hour)
				defer cancel()
			}
			read := inBackground(func() error { _, _, err := g.c.ReadMessage(ctx); return err })
			synctest.Wait()
			g.mine.Fault = func(op string) error {
				if op == "try" || op == "write" {
					return errors.New("broken")
				}
				return nil
			}
			g.c.WriteText(bg, "does not leave")
			synctest.Wait()
			g.send(closeF(4000, "the reason"))
			wantCloseError(t, "a read while the write side is broken", <-read, 4000)
		})
	}
}

// DESIGN 8: "Endless empty fragments [...]: bounded memory, and an end."
func TestEndlessEmptyFragments(t *testing.T) {
	onBoth(t, &Options{ReadLimit: 1000}, func(t *testing.T, g *rig) {
		read := inBackground(func() error { _, _, err := g.c.ReadMessage(bg); return err })
		g.send(textF("").open())
		empty := session(g.role, contF("").open())
		for range 100 {
			g.write(bytes.Repeat(empty, 1000))
			synctest.Wait()
		}
		select {
		case err := <-read:
			if err == nil {
				t.Error("the message has not ended")
			}
		default:
			t.Error("100,000 empty fragments of a message of at most 1000 bytes should have come to an end")
		}
	})
}

// CloseRead has the reader role when it returns, and the context of a second call
// has ended, and says why.
func TestCloseReadTwice(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		a := g.c.CloseRead(bg)
		wantErr(t, "a read after CloseRead", readErr(g.c), errConcurrentRead)
		b := g.c.CloseRead(bg)
		wantErr(t, "a second CloseRead", context.Cause(b), errConcurrentRead)
		if a.Err() != nil {
			t.Errorf("the connection is open, and the first context says %v", context.Cause(a))
		}
	})
}

// Many reads, by every method, cancelled at any time, with pings in between, that
// are cancelled too: every message comes once, in order, whole.
func TestReadAnyhow(t *testing.T) {
	for seed := range uint64(16) {
		for _, plain := range []bool{false, true} {
			bubble(t, fmt.Sprint("seed ", seed, " plain ", plain), func(t *testing.T) {
				readAnyhow(t, rand.New(rand.NewPCG(seed, 7)), bothRoles[seed%2], plain)
			})
		}
	}
}

func readAnyhow(t *testing.T, rnd *rand.Rand, r role, plain bool) {
	g := newRig(t, r, nil)
	if plain {
		g = newPlainRig(t, r, nil)
	}
	const messages = 40
	sizes := []int{0, 1, 125, 126, 4000, 4096, 5000, 65_535, 65_536, 70_000, 200_000}
	var want []string
	var stream []byte
	for i := range messages {
		size := sizes[rnd.IntN(len(sizes))] + rnd.IntN(3)
		text := fmt.Sprint(i, " ") + pattern(size)
		want = append(want, text)
		op := OpText
		for rest := text; ; op = OpContinuation {
			n := len(rest)
			if rnd.IntN(2) == 0 {
				n = rnd.IntN(n + 1)
			}
			fin := n == len(rest) && rnd.IntN(4) > 0
			stream = append(stream, frame{fin, op, rest[:n]}.bytes(r.peer())...)
			rest = rest[n:]
			if rnd.IntN(3) == 0 {
				stream = append(stream, pingF(fmt.Sprint(i)).bytes(r.peer())...)
			}
			if fin {
				break
			}
		}
	}
	var mu sync.Mutex // of the peer's writing
	stop := make(chan struct{})
	var all sync.WaitGroup
	lengths := []int{1, 3, 100, 4096, 50_000, 1 << 20}
	pace := rnd.Uint64()
	all.Go(func() { // the peer
		rnd := rand.New(rand.NewPCG(pace, 1))
		for len(stream) > 0 {
			n := min(len(stream), 1+rnd.IntN(lengths[rnd.IntN(len(lengths))]))
			mu.Lock()
			g.far.Write(stream[:n])
			mu.Unlock()
			stream = stream[n:]
			time.Sleep(time.Duration(rnd.IntN(3)) * time.Microsecond)
		}
	})
	all.Go(func() { io.Copy(io.Discard, g.far) }) // pongs are not answered: they would fall into frames
	all.Go(func() {
		rnd := rand.New(rand.NewPCG(pace, 2))
		for {
			select {
			case <-stop:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(bg, time.Duration(1+rnd.IntN(20))*time.Microsecond)
			g.c.Ping(ctx)
			cancel()
			time.Sleep(time.Duration(rnd.IntN(10)) * time.Microsecond)
		}
	})
	check := func(i int, p []byte) {
		if string(p) != want[i] {
			at := 0
			for at < min(len(p), len(want[i])) && p[at] == want[i][at] {
				at++
			}
			t.Errorf("message %d should have %d bytes and has %d, the first that differs is %d", i, len(want[i]), len(p), at)
		}
	}
	for i := 0; i < messages && !t.Failed(); {
		ctx, cancel := context.WithTimeout(bg, time.Duration(rnd.IntN(4))*time.Microsecond)
		switch rnd.IntN(4) {
		case 0:
			if _, p, err := g.c.ReadMessage(ctx); err == nil {
				check(i, p)
				i++
			} else if err != context.DeadlineExceeded {
				t.Error(err)
			}
		case 1:
			dst := append(make([]byte, 0, 1+rnd.IntN(100_000)), "dst"...)
			_, p, err := g.c.AppendMessage(ctx, dst)
			if !bytes.HasPrefix(p, []byte("dst")) {
				t.Error("dst is not as it was")
			}
			if err == nil {
				check(i, p[3:])
				i++
			} else if len(p) != 3 {
				t.Error("dst has grown")
			} else if err != context.DeadlineExceeded {
				t.Error(err)
			}
			clear(dst[:cap(dst)])
		case 2: // whole, in pieces
			_, m, err := g.c.NextReader(ctx)
			if err == nil {
				cancel()
				m.(*messageReader).ctx = bg
				var p []byte
				buf := make([]byte, 1+rnd.IntN(100_000))
				for err == nil {
					var n int
					n, err = m.Read(buf)
					p = append(p, buf[:n]...)
				}
				if err != io.EOF {
					t.Error(err)
				}
				check(i, p)
				i++
			} else if err != context.DeadlineExceeded {
				t.Error(err)
			}
		case 3: // begun and left, now and then
			if rnd.IntN(4) > 0 {
				break
			}
			_, m, err := g.c.NextReader(ctx)
			if err == nil {
				buf := make([]byte, rnd.IntN(70_000))
				n, err := m.Read(buf)
				if !strings.HasPrefix(want[i], string(buf[:n])) {
					t.Errorf("message %d begins otherwise", i)
				}
				if err != nil && err != io.EOF && err != context.DeadlineExceeded && err != context.Canceled {
					t.Error(err)
				}
				i++
			}
		}
		cancel()
	}
	close(stop)
	g.far.Close()
	g.c.Close()
	all.Wait()
}
