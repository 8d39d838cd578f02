package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What a second reader of the protocol core has found.

// 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close
// frame, the endpoint MUST send a Close frame in response." It is sent behind the
// frame that is being written, within a second; the request's context, which ends
// when the Close frame has come, must not cut that frame off.
func TestReviewPeerClosesDuringLargeWrite(t *testing.T) {
	contexts := map[string]func(c *Conn) (context.Context, context.CancelFunc){
		"background": func(*Conn) (context.Context, context.CancelFunc) { return bg, func() {} },
		"request":    func(c *Conn) (context.Context, context.CancelFunc) { return &requestContext{bg, c}, func() {} },
		"derived": func(c *Conn) (context.Context, context.CancelFunc) {
			return context.WithTimeout(&requestContext{bg, c}, time.Hour)
		},
	}
	for name, ctxOf := range contexts {
		for _, socket := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%s context, socket %v", name, socket), func(t *testing.T) {
				g := newPlainRig(t, server, nil)
				if socket {
					g = newRig(t, server, nil)
				}
				ctx, cancel := ctxOf(g.c)
				defer cancel()
				read := inBackground(func() error { return readErr(g.c) })
				text := pattern(300_000) // five times what is on its way
				written := inBackground(func() error { return g.c.WriteMessage(ctx, MessageText, []byte(text)) })
				synctest.Wait()
				g.send(closeF(4000, ""))
				wantCloseError(t, "the reader", <-read, 4000)
				synctest.Wait()
				time.Sleep(time.Second / 4)
				g.wantMessage("the message in the middle of which the peer has closed", OpText, text)
				if err := <-written; err != nil {
					t.Errorf("the message left whole, and WriteMessage returns %v", err)
				}
				g.wantClose("the answer", 4000)
			})
		}
	}
}

// "Close: from now on every call, pending ones too, gets net.ErrClosed."
func TestReviewLargeWriteClosedWithRequestContext(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		g := newRig(t, server, &Options{WriteTimeout: -1})
		g.stall()
		written := inBackground(func() error {
			return g.c.WriteMessage(&requestContext{bg, g.c}, MessageText, make([]byte, largeWrite))
		})
		synctest.Wait()
		g.c.Close()
		wantErr(t, "a write that Close has ended", <-written, net.ErrClosed)
	})
}

// grace gives a reader time to find out why a write has failed. A context that is
// derived from the request's must not take that away.
func TestReviewDerivedContextAfterWriteFails(t *testing.T) {
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

// A pump has no reason to wait for an application that has given up the rest of a
// message: there is nothing in it for anybody.
func TestReviewPingAfterDiscard(t *testing.T) {
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
func TestReviewPingAfterCloseRead(t *testing.T) {
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
func TestReviewPongAfterCloseSent(t *testing.T) {
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

// DESIGN 8: "Endless empty fragments [...]: bounded memory, and an end."
func TestReviewEndlessEmptyFragments(t *testing.T) {
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

// DESIGN 4: "An idle connection holds no buffer. [...] Elsewhere (TLS, Windows,
// net.Pipe) keep a small buffer." Whatever was the size of the last message.
func TestReviewIdlePlainHoldsNoBuffer(t *testing.T) {
	for _, r := range bothRoles {
		bubble(t, r.String(), func(t *testing.T) {
			g := newPlainRig(t, r, nil)
			read := inBackground(func() error { return readErr(g.c) })
			g.send(textF(pattern(20_000)))
			synctest.Wait()
			// Of all that a read gets at once, exactly what fits into the small buffer.
			small := len(g.c.t.(*plainTransport).small)
			header := len(frame{true, OpText, pattern(200)}.bytes(g.role)) - 200
			g.send(textF(pattern(small - header)))
			synctest.Wait()
			if n := len(g.c.in.block); n > 0 {
				t.Errorf("an idle connection waits with a buffer of %d bytes", n)
			}
			g.far.Close()
			<-read
		})
	}
}

// Somebody's own connection around TLS: each Write after one that has timed out
// gives the same time-out at once.
type wrappedTLS struct {
	*tls.Conn
	writes atomic.Int64
}

func (w *wrappedTLS) Write(p []byte) (int, error) {
	w.writes.Add(1)
	return w.Conn.Write(p)
}

// The end of a context of a large write that is over long since must not hurt what
// others write now; and whatever happens, nobody may spin.
func TestReviewWrappedTLS(t *testing.T) {
	watchLeaks(t)
	s, far := networks[2].connect(t)
	w := &wrappedTLS{Conn: s.(*tls.Conn)}
	c := NewServerConn(w, &Options{WriteTimeout: time.Second})
	defer func() { far.Close(); c.Close() }()
	ctx, cancel := context.WithCancel(bg)
	go io.CopyN(io.Discard, far, 100_000)
	if err := c.WriteMessage(ctx, MessageBinary, make([]byte, 200_000)); err != nil {
		t.Fatal(err)
	}
	// Now the peer takes nothing more: write until a flusher waits for it.
	for err := error(nil); err == nil; {
		short, stop := context.WithTimeout(bg, 50*time.Millisecond)
		err = c.WriteMessage(short, MessageBinary, make([]byte, 20_000))
		stop()
	}
	before := w.writes.Load()
	cancel()
	time.Sleep(200 * time.Millisecond)
	if n := w.writes.Load() - before; n > 100 {
		t.Errorf("in a fifth of a second Write was called %d times", n)
	}
}

// A message that is being read in pieces is a read in progress: a Shutdown that
// falls between two of its Reads should not throw the rest away at once.
func TestReviewShutdownBetweenReadsOfAMessage(t *testing.T) {
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

// CloseRead's context says that the connection has ended, or ctx.
func TestReviewCloseReadTwice(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		a := g.c.CloseRead(bg)
		synctest.Wait()
		b := g.c.CloseRead(bg)
		synctest.Wait()
		if a.Err() != nil || b.Err() != nil {
			t.Errorf("the connection is open, and the contexts say %v, %v", context.Cause(a), context.Cause(b))
		}
	})
}

// Many reads, by every method, cancelled at any time, with pings in between, that
// are cancelled too: every message comes once, in order, whole.
func TestReviewReadAnyhow(t *testing.T) {
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

// Requests as they may come, however odd, and what is right to answer.
func TestReviewHandshakeEdges(t *testing.T) {
	srv := httptest.NewServer(Handler(func(c *Conn, r *http.Request) {
		for typ, p, err := c.ReadMessage(r.Context()); err == nil; typ, p, err = c.ReadMessage(r.Context()) {
			c.WriteMessage(r.Context(), typ, p)
		}
	}))
	defer srv.Close()
	host := srv.Listener.Addr().String()
	own := "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	up := "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	for _, x := range []struct {
		name, request string
		status        int
	}{
		{"plain", "GET / HTTP/1.1\r\nHost: " + host + "\r\n" + up + own, 101},
		{"keep-alive, Upgrade", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" + own, 101},
		{"two lines of Connection", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\n" + own, 101},
		{"several upgrades", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: h2c, websocket\r\nConnection: Upgrade\r\n" + own, 101},
		{"folded", "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: keep-alive,\r\n Upgrade\r\n" + own, 101},
		{"pipelined", "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\nGET / HTTP/1.1\r\nHost: " + host + "\r\n" + up + own, 426},
		{"absolute form", "GET http://" + host + "/ HTTP/1.1\r\nHost: other.example\r\nOrigin: http://" + host + "\r\n" + up + own, 101},
		{"absolute form, foreign", "GET http://victim.example/ HTTP/1.1\r\nHost: " + host + "\r\nOrigin: http://" + host + "\r\n" + up + own, 403},
		{"Host twice", "GET / HTTP/1.1\r\nHost: " + host + "\r\nHost: " + host + "\r\n" + up + own, 400},
		{"no Host", "GET / HTTP/1.1\r\n" + up + own, 400},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n" + up + own, 400},
		{"Origin twice", "GET / HTTP/1.1\r\nHost: " + host + "\r\nOrigin: http://" + host + "\r\nOrigin: http://" + host + "\r\n" + up + own, 403},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: " + host + "\r\n" + up + own, 505},
		{"body", "GET / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\n" + up + own + "\r\nx", 400},
		{"chunked", "GET / HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n" + up + own + "\r\n0\r\n", 400},
		{"empty body, expected", "GET / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\nExpect: 100-continue\r\n" + up + own, 101},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: " + host + "\r\n" + up + own, 405},
		{"key with spaces around", "GET / HTTP/1.1\r\nHost: " + host + "\r\n" + up + "Sec-WebSocket-Version:13 \r\nSec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ== \r\n", 101},
	} {
		t.Run(x.name, func(t *testing.T) {
			nc, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprintf(nc, "%s\r\n%s", x.request, textF("at once").bytes(client))
			br := bufio.NewReader(nc)
			method := &http.Request{Method: strings.Fields(x.request)[0]}
			resp, err := http.ReadResponse(br, method)
			if err != nil || resp.StatusCode != x.status {
				t.Fatalf("it should answer %d, and answers %v, %v", x.status, resp, err)
			}
			if x.name == "pipelined" {
				io.Copy(io.Discard, resp.Body)
				if resp, err = http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
					t.Fatalf("the second request: %v, %v", resp, err)
				}
				x.status = 101
			}
			if x.status == 101 {
				got := make([]byte, 9)
				if _, err := io.ReadFull(br, got); err != nil || string(got[2:]) != "at once" {
					t.Errorf("what was sent with the request: %q, %v", got, err)
				}
			}
		})
	}
}

// Many writers by every method, cancelled at any time, to a peer that stalls now
// and then: what has succeeded arrives once and whole, what was cancelled not at
// all, as long as the connection has not failed.
func TestReviewWriteAnyhow(t *testing.T) {
	for seed := range uint64(16) {
		for _, plain := range []bool{false, true} {
			bubble(t, fmt.Sprint("seed ", seed, " plain ", plain), func(t *testing.T) {
				writeAnyhow(t, rand.New(rand.NewPCG(seed, 7)), bothRoles[seed%2], plain)
			})
		}
	}
}

func writeAnyhow(t *testing.T, rnd *rand.Rand, r role, plain bool) {
	opts := &Options{WriteTimeout: -1, WriteQueue: 1 << (8 + rnd.IntN(10))}
	g := newRig(t, r, opts)
	if plain {
		g = newPlainRig(t, r, opts)
	}
	type result struct {
		text string
		err  error
	}
	var mu sync.Mutex
	var results []result
	var all sync.WaitGroup
	for w := range 5 {
		pace := rnd.Uint64()
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(pace, 1))
			sizes := []int{0, 10, 125, 4096, 5000, 32 << 10, 33_000, 70_000, 200_000}
			for i := range 30 {
				text := fmt.Sprint(w, ".", i, " ") + pattern(sizes[rnd.IntN(len(sizes))])
				way := rnd.IntN(3)
				timeout := time.Duration(rnd.IntN(40)) * time.Microsecond
				if (way == 2 || len(text) >= largeWrite) && rnd.IntN(100) > 0 {
					timeout = time.Hour // to be cut off in the middle fails the connection: seldom
				}
				ctx, cancel := context.WithTimeout(bg, timeout)
				var err error
				switch way {
				case 0:
					err = g.c.WriteText(ctx, text)
				case 1:
					err = g.c.WriteMessage(ctx, MessageText, []byte(text))
				case 2:
					var m io.WriteCloser
					if m, err = g.c.NextWriter(ctx, MessageText); err == nil {
						for rest := text; rest != "" && err == nil; {
							n := 1 + rnd.IntN(len(rest))
							_, err = m.Write([]byte(rest[:n]))
							rest = rest[n:]
							if rnd.IntN(3) == 0 {
								time.Sleep(time.Microsecond)
							}
						}
						err = errors.Join(err, m.Close())
					}
				}
				cancel()
				mu.Lock()
				results = append(results, result{text, err})
				mu.Unlock()
			}
		})
	}
	all.Go(func() {
		for i := range 20 {
			ctx, cancel := context.WithTimeout(bg, time.Duration(i)*time.Microsecond)
			g.c.Ping(ctx)
			g.c.Flush(ctx)
			cancel()
			time.Sleep(3 * time.Microsecond)
		}
	})
	got := make(map[string]int)
	var last frame
	var readErr error
	pace := rnd.Uint64()
	read := inBackground(func() bool {
		rnd := rand.New(rand.NewPCG(pace, 3))
		var text strings.Builder
		for {
			f, err := g.readFrame()
			if readErr = err; err != nil {
				return true
			}
			last = f
			switch last.op {
			case OpText, OpContinuation:
				if (last.op == OpText) != (text.Len() == 0) && text.Len() > 0 {
					t.Errorf("%v in the middle of a message", last)
				}
				text.WriteString(last.payload)
				if last.fin {
					got[text.String()]++
					text.Reset()
				}
			}
			if rnd.IntN(4) == 0 {
				time.Sleep(time.Duration(rnd.IntN(30)) * time.Microsecond)
			}
		}
	})
	all.Wait()
	failed := g.c.writeErr()
	flushed := g.c.Flush(bg)
	g.c.Close()
	g.far.CloseWrite()
	<-read
	if failed == nil && flushed != nil {
		t.Error(flushed)
	}
	sent := 0
	for _, x := range results {
		switch n := got[x.text]; {
		case n > 1, n > 0 && x.err != nil, n == 0 && x.err == nil && failed == nil:
			t.Errorf("a message of %d bytes has arrived %d times, and its writer was told %v (the connection: %v)", len(x.text), n, x.err, failed)
		}
		if x.err == nil {
			sent++
		}
		delete(got, x.text)
	}
	for text := range got {
		t.Errorf("nobody has sent %.40q", text)
	}
	if failed == nil && last.op != OpClose {
		t.Errorf("the last frame is %v, %v", last, readErr)
	}
}

// Buffered "returns how many bytes of frames wait for the peer in the connection's
// queue", and writers wait for room in it: both follow what a slow peer takes, and
// not only when it has taken everything that the flusher had in its hands.
func TestReviewBufferedFollowsThePeer(t *testing.T) {
	onBoth(t, &Options{WriteQueue: 512 << 10, WriteTimeout: -1}, func(t *testing.T, g *rig) {
		g.stall()
		for range 26 {
			if err := g.c.WriteText(bg, pattern(20_000)); err != nil { // the first is in the flusher's hands
				t.Fatal(err)
			}
		}
		g.unstall()
		synctest.Wait()
		if n, err := io.CopyN(io.Discard, g.far, 300_000); err != nil {
			t.Fatal(n, err)
		}
		synctest.Wait()
		if n := g.c.Buffered(); n > 520_000-300_000 {
			t.Errorf("of 520,000 bytes the peer has read 300,000, and Buffered says %d", n)
		}
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		if err := g.c.WriteText(ctx, pattern(20_000)); err != nil {
			t.Errorf("a write, with more than half of the queue gone: %v", err)
		}
	})
}

// A NextWriter's writer is for one goroutine. Whoever closes it while another is in
// the middle of a Write gets an error, and the peer no frame that it has to refuse;
// nor may the writer's pooled buffer end up in two hands.
func TestReviewWriterMisused(t *testing.T) {
	onBoth(t, &Options{WriteQueue: 1 << 10, WriteTimeout: -1}, func(t *testing.T, g *rig) {
		g.stall()
		for g.c.Buffered() == 0 {
			g.c.WriteText(bg, pattern(900))
			synctest.Wait()
		}
		m, err := g.c.NextWriter(bg, MessageText)
		if err != nil {
			t.Fatal(err)
		}
		m.Write([]byte("in the buffer"))
		wrote := inBackground(func() error { _, err := m.Write([]byte(pattern(10_000))); return err })
		synctest.Wait() // it waits for room
		closed := inBackground(m.Close)
		synctest.Wait()
		g.unstall()
		var msgs assembler
		msgs.limit = -1
		go func() {
			<-wrote
			<-closed
			m.Close()
			g.c.WriteText(bg, "end")
		}()
		for {
			f, err := g.readFrame()
			if err != nil {
				t.Fatal(err)
			}
			if err := msgs.beginFrame(FrameHeader{Fin: f.fin, Opcode: f.op, Length: int64(len(f.payload))}); err != nil {
				t.Fatalf("the peer has to refuse %v: %v", f, err)
			}
			if _, err := msgs.endFrame(); err != nil {
				t.Fatal(err)
			}
			if f.payload == "end" {
				break
			}
		}
	})
}

// Shutdown "sends what has been written and a Close frame", also if nobody wants to
// wait for the answer.
func TestReviewShutdownWithEndedContext(t *testing.T) {
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
