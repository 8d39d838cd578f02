package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writeAsync writes a message in the background.
func writeAsync(ctx context.Context, c *Conn, text string) <-chan error {
	return inBackground(func() error { return c.WriteMessage(ctx, MessageText, []byte(text)) })
}

// wantPending checks that a call is still waiting.
func wantPending(t *testing.T, why string, result <-chan error) {
	t.Helper()
	synctest.Wait()
	if len(result) > 0 {
		t.Fatalf("%s, and returns %v", why, <-result)
	}
}

// wantNow checks that a call has returned, without any time passing.
func wantNow(t *testing.T, why string, result <-chan error, target error) {
	t.Helper()
	synctest.Wait()
	if len(result) == 0 {
		t.Errorf("%s should return %v at once, and is still waiting", why, target)
		return
	}
	if err := <-result; !errors.Is(err, target) {
		t.Errorf("%s should return %v, and returns %v", why, target, err)
	}
}

// Every message is one frame with the shortest length, and a client's keys differ.
func TestWriteMessage(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 4095, 4096, 4097, largeWrite - 1, largeWrite, 65535, 65536, 65537, 1 << 20}
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for i, n := range sizes {
			s := pattern(n)
			op := []Opcode{OpText, OpBinary}[i%2]
			written := inBackground(func() error {
				if op == OpText && i%4 == 0 {
					return g.c.WriteText(bg, s)
				}
				p := []byte(s)
				err := g.c.WriteMessage(bg, MessageType(op), p)
				if string(p) != s {
					t.Errorf("the caller's slice of %d bytes has been modified", n)
				}
				return err
			})
			g.wantFrame("WriteMessage", frame{true, op, s})
			if err := <-written; err != nil {
				t.Error(err)
			}
		}
		if g.c.role == client && len(g.keys) != len(sizes) {
			t.Errorf("%d frames should have as many masking keys, and have %d", len(sizes), len(g.keys))
		}
		for _, typ := range []MessageType{0, MessageType(OpPing), 3} {
			if err := g.c.WriteMessage(bg, typ, nil); err == nil {
				t.Errorf("%v should be refused", typ)
			}
			if _, err := g.c.NextWriter(bg, typ); err == nil {
				t.Errorf("%v should be refused", typ)
			}
		}
		g.wantSilence("after refused types")
	})
	onNetworks(t, nil, func(t *testing.T, c *Conn, p *rawPeer) {
		for _, n := range sizes {
			go c.WriteMessage(bg, MessageText, []byte(pattern(n)))
			p.wantFrame("WriteMessage", textF(pattern(n)))
		}
	})
}

// Any number of goroutines may write: messages arrive whole, and those of one
// goroutine in its order.
func TestWritersRace(t *testing.T) {
	const writers, each = 8, 60
	sizes := []int{0, 10, 130, 5000, 40_000}
	onNetworks(t, &Options{WriteQueue: 8 << 10}, func(t *testing.T, c *Conn, p *rawPeer) {
		var done sync.WaitGroup
		defer done.Wait()
		for w := range writers {
			done.Go(func() {
				for i := range each {
					text := fmt.Sprintf("%d %d %s", w, i, strings.Repeat("x", sizes[(w+i)%len(sizes)]))
					var err error
					if i%3 == 0 {
						var m io.WriteCloser
						if m, err = c.NextWriter(bg, MessageText); err == nil {
							io.WriteString(m, text[:2])
							io.WriteString(m, text[2:])
							err = m.Close()
						}
					} else {
						err = c.WriteMessage(bg, MessageText, []byte(text))
					}
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
					if i%10 == 0 {
						c.Flush(bg)
					}
				}
			})
		}
		next := make([]int, writers)
		for range writers * each {
			var text strings.Builder
			for op := OpText; ; op = OpContinuation {
				f, err := p.readFrame()
				if err != nil || f.op != op {
					t.Fatalf("frames of messages should not mix: %v, %v", f, err)
				}
				text.WriteString(f.payload)
				if f.fin {
					break
				}
			}
			fields := strings.Split(text.String(), " ")
			w, _ := strconv.Atoi(fields[0])
			i, _ := strconv.Atoi(fields[1])
			rest := fields[2]
			if i != next[w] || len(rest) != sizes[(w+i)%len(sizes)] {
				t.Fatalf("message %d of writer %d, of %d bytes, should be message %d", i, w, len(rest), next[w])
			}
			next[w]++
		}
	})
}

// An answer to the last message that has arrived goes straight to the socket, in
// the caller's goroutine; what is written after it is gathered.
func TestWriteThrough(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // with more, the flusher may be there in the middle of what it gathers
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for range 3 {
			read := inBackground(func() error { _, _, err := g.c.ReadMessage(bg); return err })
			synctest.Wait()
			g.send(textF("question"))
			<-read
			g.c.WriteMessage(bg, MessageText, []byte("answer"))
			if calls := g.mine.Wrote(); len(calls) != 1 || !strings.HasPrefix(calls[0], "try ") {
				t.Errorf("an answer should leave in one try before WriteMessage returns, and leaves in %q", calls)
			}
			for range 10 {
				g.c.WriteMessage(bg, MessageText, []byte("more"))
			}
			synctest.Wait()
			if calls := g.mine.Wrote(); len(calls) > 2 {
				t.Errorf("what follows should be gathered, and leaves in %q", calls)
			}
			g.wantFrame("it", textF("answer"))
			for range 10 {
				g.wantFrame("it", textF("more"))
			}
		}
	})
}

// withoutFlusher makes c believe that a flusher is on its way which never comes.
func withoutFlusher(c *Conn) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.called = true
}

// wantOneTry checks that what was written has left in one call, by somebody who was
// not to wait.
func (g *rig) wantOneTry(why string) {
	g.t.Helper()
	calls := g.mine.Wrote()
	if len(calls) != 1 || !strings.HasPrefix(calls[0], "try ") || g.c.Buffered() != 0 {
		g.t.Errorf("%s, in one try, and it leaves in %q, with %d bytes left", why, calls, g.c.Buffered())
	}
}

// The answers to all messages that one read has brought leave with the last of
// them, or, if that has no answer, before the next read waits. No other goroutine
// has to do anything for it.
func TestAnswersLeaveTogether(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		withoutFlusher(g.c)
		echo := func() {
			typ, p, err := g.c.ReadMessage(bg)
			if err == nil {
				err = g.c.WriteMessage(bg, typ, p)
			}
			if err != nil {
				t.Error(err)
			}
		}
		read := inBackground(func() error { echo(); return nil })
		synctest.Wait()
		next := binaryF(pattern(300)).bytes(g.role)
		g.write(append(session(g.role, textF("1"), pingF("2"), textF("3"), textF("4")), next[:100]...))
		<-read
		echo()
		if calls := g.mine.Wrote(); len(calls) > 0 {
			t.Errorf("while messages are in hand their answers should be gathered, and leave in %q", calls)
		}
		echo()
		read = inBackground(func() error { echo(); return nil })
		synctest.Wait()
		g.wantOneTry("four answers should leave before the read waits for the rest of a message")
		for _, want := range []frame{textF("1"), pongF("2"), textF("3"), textF("4")} {
			g.wantFrame("in order", want)
		}
		g.write(next[100:])
		<-read
		g.wantOneTry("the answer to the last should leave before WriteMessage returns")

		read = inBackground(func() error { echo(); return nil })
		synctest.Wait()
		g.send(pingF("alone"))
		synctest.Wait()
		g.wantOneTry("a pong should leave at once when nothing else has come")
		g.send(textF("5"), textF("6"))
		<-read
		g.c.ReadMessage(bg)
		g.c.WriteText(bg, "the only answer")
		g.wantOneTry("the answer to the last should take along what was gathered")
	})
}

// An answer that was gathered leaves also when the application does not come to
// the next message.
func TestAnswerLeavesWhileApplicationComputes(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF("1"), textF("2"))
		for _, text := range []string{"1", "2"} {
			g.c.ReadMessage(bg)
			g.c.WriteText(bg, text)
			start := time.Now()
			computed := inBackground(func() error { time.Sleep(50 * time.Millisecond); return nil })
			g.wantFrame("while the application computes", textF(text))
			if d := time.Since(start); d != 0 {
				t.Errorf("the answer should leave at once, and leaves after %v", d)
			}
			<-computed
		}
	})
}

// A large message goes behind what was gathered before it.
func TestLargeMessageBehindGathered(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF("1"), textF("2"))
		g.c.ReadMessage(bg)
		g.c.WriteText(bg, "small")
		g.c.WriteText(bg, pattern(largeWrite))
		g.wantFrame("first", textF("small"))
		g.wantMessage("then", OpText, pattern(largeWrite))
	})
}

// While the peer takes nothing, what is written gathers, and leaves in one call.
func TestWriteGathers(t *testing.T) {
	for _, plain := range []bool{false, true} {
		bubble(t, fmt.Sprint("plain ", plain), func(t *testing.T) {
			g := newRig(t, server, nil)
			if plain {
				g = newPlainRig(t, server, nil)
			}
			g.stall()
			const n = 500
			for i := range n {
				if err := g.c.WriteText(bg, strconv.Itoa(i)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			g.mine.Wrote()
			if b := g.c.Buffered(); b < n*3 {
				t.Errorf("%d frames should be buffered, and Buffered says %d bytes", n, b)
			}
			flushed := inBackground(func() error { return g.c.Flush(bg) })
			wantPending(t, "Flush should wait for the peer", flushed)
			g.unstall()
			if err := <-flushed; err != nil {
				t.Error(err)
			}
			if calls := g.mine.Wrote(); len(calls) > 3 {
				t.Errorf("%d messages should leave in few calls, and leave in %q", n, calls)
			}
			for i := range n {
				g.wantFrame("gathered", textF(strconv.Itoa(i)))
			}
			if b := g.c.Buffered(); b != 0 {
				t.Errorf("afterwards nothing is buffered, and Buffered says %d", b)
			}
		})
	}
}

// Writers wait for room in the queue, in order and with their contexts.
func TestWriteQueueBound(t *testing.T) {
	onBoth(t, &Options{WriteQueue: 1000, WriteTimeout: -1}, func(t *testing.T, g *rig) {
		g.stall()
		big := pattern(20_000)
		if err := g.c.WriteText(bg, big); err != nil {
			t.Fatalf("a message larger than the bound should be taken when the queue is empty: %v", err)
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(bg)
		first := writeAsync(bg, g.c, "first")
		wantPending(t, "a full queue: a writer should wait", first)
		second := writeAsync(ctx, g.c, "cancelled")
		wantPending(t, "a full queue: a writer should wait", second)
		third := writeAsync(bg, g.c, "third")
		wantPending(t, "a full queue: a writer should wait", third)
		next := inBackground(func() error { _, err := g.c.NextWriter(ctx, MessageText); return err })
		wantPending(t, "a full queue: a NextWriter should wait behind the others", next)
		large := writeAsync(ctx, g.c, pattern(largeWrite))
		wantPending(t, "a full queue: a large message should wait", large)
		if b := g.c.Buffered(); b > 20_000+20 {
			t.Errorf("those who wait should not be buffered: %d bytes", b)
		}
		cancel()
		wantNow(t, "a cancelled writer", second, context.Canceled)
		wantNow(t, "a cancelled NextWriter", next, context.Canceled)
		wantNow(t, "a cancelled large write", large, context.Canceled)
		g.unstall()
		g.wantFrame("the first writer", textF(big))
		g.wantFrame("the second writer", textF("first"))
		g.wantFrame("a cancelled writer sends nothing; the third", textF("third"))
		for _, w := range []<-chan error{first, third} {
			if err := <-w; err != nil {
				t.Error(err)
			}
		}
		g.wantSilence("afterwards")
	})
	onBoth(t, &Options{WriteQueue: 100, WriteTimeout: -1}, func(t *testing.T, g *rig) { // in order
		g.stall()
		g.c.WriteText(bg, pattern(200))
		var writers []<-chan error
		for i := range 20 {
			writers = append(writers, writeAsync(bg, g.c, strconv.Itoa(i)))
			synctest.Wait()
		}
		g.unstall()
		g.readFrame()
		for i := range writers {
			g.wantFrame("writers are served in order", textF(strconv.Itoa(i)))
		}
	})
	bubble(t, "a context that has ended", func(t *testing.T) {
		g := newRig(t, server, nil)
		ctx, cancel := context.WithCancel(bg)
		cancel()
		for _, s := range []string{"", pattern(largeWrite)} {
			if err := g.c.WriteText(ctx, s); err != context.Canceled {
				t.Errorf("a write with a context that has ended should return its error, and returns %v", err)
			}
		}
		g.wantSilence("a write that was cancelled before")
		g.c.WriteText(bg, "x")
		g.wantFrame("the connection is as before", textF("x"))
	})
}

// A peer that sends pings and reads no pongs costs no more than the bound, and
// gets the latest when it reads again.
func TestPingFlood(t *testing.T) {
	onBoth(t, &Options{WriteQueue: 1000, WriteTimeout: -1}, func(t *testing.T, g *rig) {
		g.stall()
		ctx := g.c.CloseRead(bg)
		const n = 5000
		for i := range n {
			g.send(pingF(fmt.Sprintf("%0100d", i)))
			if i%100 == 0 {
				synctest.Wait()
				if b := g.c.Buffered(); b > 1000+2*(maxFrameHeader+125) {
					t.Fatalf("after %d pings %d bytes of pongs wait", i, b)
				}
			}
		}
		synctest.Wait()
		closed := inBackground(func() error { return g.c.Shutdown(bg, StatusNormalClosure, "") })
		synctest.Wait()
		g.unstall()
		last := -1
		for {
			f, err := g.readFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == OpClose {
				break
			}
			i, _ := strconv.Atoi(f.payload)
			if f.op != OpPong || i <= last {
				t.Fatalf("pongs should come in the order of their pings: %d after %d (%v)", i, last, f)
			}
			last = i
		}
		g.send(closeF(1000, ""))
		g.far.CloseWrite()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		<-ctx.Done()
	})
	onBoth(t, &Options{WriteQueue: 1000, WriteTimeout: -1}, func(t *testing.T, g *rig) { // without Close
		g.stall()
		g.c.CloseRead(bg)
		for i := range 1000 {
			g.send(pingF(strconv.Itoa(i)))
		}
		synctest.Wait()
		g.unstall()
		for {
			f, err := g.readFrame()
			if err != nil || f.op != OpPong {
				t.Fatalf("the latest ping should be answered in the end: %v, %v", f, err)
			}
			if f.payload == "999" {
				break
			}
		}
		g.wantSilence("after the latest pong")
	})
}

// What is large leaves from the caller's memory, in one call of a server or a few, and
// is not copied into the queue.
func TestWriteLarge(t *testing.T) {
	bubble(t, "one call", func(t *testing.T) {
		g := newRig(t, server, nil)
		g.mine.Out.Room = peerRoom
		g.c.WriteMessage(bg, MessageBinary, make([]byte, 200_000))
		if calls := g.mine.Wrote(); len(calls) != 1 || calls[0] != "writev 200010" {
			t.Errorf("a large message should leave in one writev, and leaves in %q", calls)
		}
	})
	bubble(t, "a few calls", func(t *testing.T) {
		g := newRig(t, server, nil)
		g.mine.Out.Room = peerRoom
		text := pattern(1 << 20)
		g.c.WriteMessage(bg, MessageText, []byte(text))
		if calls := g.mine.Wrote(); len(calls) != 2 || calls[0] != "writev 524298" {
			t.Errorf("a message of 1 MiB should leave in two calls, and leaves in %q", calls)
		}
		g.wantFrame("in pieces of 512 KiB", textF(text))
	})
	// Cancelled before its first byte: nothing was sent.
	onBoth(t, &Options{WriteTimeout: -1}, func(t *testing.T, g *rig) {
		g.stall()
		ctx, cancel := context.WithCancel(bg)
		p := bytes.Repeat([]byte("x"), 100_000)
		large := inBackground(func() error { return g.c.WriteMessage(ctx, MessageBinary, p) })
		wantPending(t, "a large message should wait for the peer", large)
		next := writeAsync(bg, g.c, "next")
		g.send(pingF("while it waits"), textF("x"))
		wantRead(t, "while a large write waits", g.c, MessageText, "x")
		cancel()
		wantNow(t, "a large write, cancelled", large, context.Canceled)
		if !bytes.Equal(p, bytes.Repeat([]byte("x"), 100_000)) {
			t.Error("the caller's slice has been modified")
		}
		g.unstall()
		g.wantFrame("nothing of the large message was sent; the pong", pongF("while it waits"))
		g.wantFrame("and the next message", textF("next"))
		if err := <-next; err != nil {
			t.Errorf("a large write cancelled before its first byte should leave the connection usable, and the next write returns %v", err)
		}
		g.send(textF("y"))
		wantRead(t, "afterwards", g.c, MessageText, "y")
	})
	// After it: half a frame cannot be taken back.
	onBoth(t, &Options{WriteTimeout: -1}, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		p := bytes.Repeat([]byte("x"), 100_000)
		large := inBackground(func() error { return g.c.WriteMessage(ctx, MessageBinary, p) })
		wantPending(t, "a large message should wait for the peer", large)
		next := writeAsync(bg, g.c, "next")
		cancel()
		wantNow(t, "a large write, cancelled in the middle", large, context.Canceled)
		wantNow(t, "a write behind it", next, context.Canceled)
		clear(p) // it is the caller's again
		wantErr(t, "a read afterwards", readErr(g.c), context.Canceled)
	})
	// Nobody waits for the pongs behind a large message.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		large := writeAsync(bg, g.c, pattern(300_000))
		wantPending(t, "a large message should wait for the peer", large)
		g.send(pingF("1"), textF("x"))
		wantRead(t, "while a large write is under way", g.c, MessageText, "x")
		g.wantFrame("the large message", textF(pattern(300_000)))
		g.wantFrame("and then the pong", pongF("1"))
	})
}

func TestNextWriter(t *testing.T) {
	pieces := [][]int{nil, {0}, {1}, {4096}, {4097}, {1, 4095, 1}, {100, 5000, 3}, {40_000}, {1, 40_000, 1}, {4000, 4000, 4000, 4000}, {100_000, 100_000}}
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for _, sizes := range pieces {
			written := inBackground(func() error {
				w, err := g.c.NextWriter(bg, MessageText)
				if err != nil {
					return err
				}
				for _, n := range sizes {
					if k, err := io.WriteString(w, strings.Repeat("x", n)); k != n || err != nil {
						return fmt.Errorf("Write of %d returns %d, %w", n, k, err)
					}
				}
				return w.Close()
			})
			total := 0
			for _, n := range sizes {
				total += n
			}
			if n := g.wantMessage(fmt.Sprint("a writer of ", sizes), OpText, strings.Repeat("x", total)); n > total/smallBuffer+2 {
				t.Errorf("%d bytes written as %v leave in %d frames", total, sizes, n)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		}
		w, _ := g.c.NextWriter(bg, MessageText)
		w.Close()
		g.wantFrame("an empty message", textF(""))
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("Write after Close should fail")
		}
		if err := w.Close(); err == nil {
			t.Error("a second Close should fail")
		}
	})
	// Others wait, and control frames pass.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		w, _ := g.c.NextWriter(bg, MessageBinary)
		io.WriteString(w, pattern(5000))
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		wantErr(t, "a writer behind a NextWriter", g.c.WriteText(ctx, "x"), context.DeadlineExceeded)
		_, err := g.c.NextWriter(ctx, MessageText)
		wantErr(t, "a NextWriter behind a NextWriter", err, context.DeadlineExceeded)
		other := writeAsync(bg, g.c, "other")
		wantPending(t, "another writer should wait", other)
		g.send(pingF("p"), textF("x"))
		wantRead(t, "meanwhile", g.c, MessageText, "x")
		f, err := g.readFrame()
		if err != nil || f.op != OpBinary || f.fin {
			t.Fatal(f, err)
		}
		g.wantFrame("a pong passes between the frames", pongF("p"))
		pinged := startPing(bg, g.c)
		g.send(pongF(g.pingPayload()))
		if err := <-pinged; err != nil {
			t.Error(err)
		}
		w.Close()
		if n := g.wantMessage("the rest", OpContinuation, pattern(5000)[len(f.payload):]); n != 1 {
			t.Error(n)
		}
		g.wantFrame("then the other", textF("other"))
	})
	// Given up before the first frame, nothing is sent.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		w, _ := g.c.NextWriter(ctx, MessageText)
		io.WriteString(w, "never sent")
		cancel()
		wantErr(t, "Close of a cancelled writer", w.Close(), context.Canceled)
		g.c.WriteText(bg, "next")
		g.wantFrame("nothing was sent of a message that was given up", textF("next"))
	})
	// In the middle, it fails the connection, and the peer is told.
	onBoth(t, nil, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		w, _ := g.c.NextWriter(ctx, MessageText)
		io.WriteString(w, strings.Repeat("x", 5000))
		cancel()
		_, err := io.WriteString(w, strings.Repeat("x", 5000))
		wantErr(t, "Write of a cancelled writer", err, context.Canceled)
		wantErr(t, "Close of a cancelled writer", w.Close(), context.Canceled)
		wantErr(t, "then a write", g.c.WriteText(bg, "x"), errAbandoned)
		wantErr(t, "then a read", readErr(g.c), errAbandoned)
		g.wantFrame("the first frame", textF(strings.Repeat("x", 5000)).open())
		g.wantClose("half a message", StatusInternalError)
		g.wantEOF("then")
	})
}

// WriteTimeout is about progress.
func TestWriteTimeout(t *testing.T) {
	big := pattern(30_000)
	for _, text := range []string{big, pattern(500_000)} {
		for _, plain := range []bool{false, true} {
			name := fmt.Sprintf("%d bytes, plain %v, ", len(text), plain)
			for _, r := range bothRoles {
				rig := func(t *testing.T) *rig {
					if plain {
						return newPlainRig(t, r, &Options{WriteTimeout: time.Second})
					}
					return newRig(t, r, &Options{WriteTimeout: time.Second})
				}
				bubble(t, name+r.String()+", no progress", func(t *testing.T) {
					g := rig(t)
					g.mine.Out.Room = 1000
					start := time.Now()
					var err error
					if err = g.c.WriteText(bg, text); err == nil {
						err = g.c.Flush(bg)
					}
					if d := time.Since(start); d < time.Second || d > 2*time.Second {
						t.Errorf("a peer that takes nothing should be given up after the second of WriteTimeout, and is after %v", d)
					}
					wantErr(t, "the write", err, os.ErrDeadlineExceeded)
					if err == nil || !strings.Contains(err.Error(), "WriteTimeout") {
						t.Errorf("the error should name the option: %v", err)
					}
					wantErr(t, "the next write", g.c.WriteText(bg, ""), os.ErrDeadlineExceeded)
					wantErr(t, "the next read", readErr(g.c), os.ErrDeadlineExceeded)
				})
				bubble(t, name+r.String()+", slow progress", func(t *testing.T) {
					g := rig(t)
					g.mine.Out.Room = 1000
					written := inBackground(func() error {
						if err := g.c.WriteText(bg, text); err != nil {
							return err
						}
						return g.c.Flush(bg)
					})
					buf := make([]byte, 5000)
					for len(written) == 0 {
						time.Sleep(900 * time.Millisecond)
						n, _ := g.far.Read(buf)
						if n == 0 {
							break
						}
						g.far.SetReadDeadline(time.Now().Add(time.Hour))
						synctest.Wait()
					}
					if err := <-written; err != nil {
						t.Errorf("a slow peer is not gone: %v", err)
					}
				})
			}
		}
	}
	bubble(t, "-1 is no limit", func(t *testing.T) {
		g := newRig(t, server, &Options{WriteTimeout: -1})
		g.stall()
		written := writeAsync(bg, g.c, pattern(100_000))
		time.Sleep(time.Hour)
		wantPending(t, "without a WriteTimeout a write should wait", written)
		g.unstall()
		g.wantFrame("after an hour", textF(pattern(100_000)))
	})
}

// A write over TLS cannot go on after a timeout, so it is made in pieces, each of
// which has its own.
func TestWriteTimeoutOverTLS(t *testing.T) {
	for _, slow := range []bool{false, true} {
		bubble(t, fmt.Sprint("slow ", slow), func(t *testing.T) {
			mine, far := newMemPipe(20 << 10)
			s, cl := overTLS(t, mine, far)
			c := NewServerConn(s, &Options{WriteTimeout: time.Second})
			defer c.Close()
			defer far.Close()
			written := inBackground(func() error {
				if err := c.WriteText(bg, pattern(200_000)); err != nil {
					return err
				}
				return c.Flush(bg)
			})
			if !slow {
				start := time.Now()
				wantErr(t, "a peer that takes nothing", <-written, os.ErrDeadlineExceeded)
				if d := time.Since(start); d != time.Second {
					t.Errorf("it should be given up after a second, and is after %v", d)
				}
				return
			}
			p := &rawPeer{t: t, nc: &slowConn{Conn: cl, pause: 100 * time.Millisecond}, role: client}
			p.wantFrame("a slow peer is not gone", textF(pattern(200_000)))
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}

// A slowConn pauses before each read, and then takes 5000 bytes: a record of TLS in
// four.
type slowConn struct {
	net.Conn
	pause time.Duration
}

func (s *slowConn) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.Conn.Read(p[:min(len(p), 5000)])
}

// Deadlines and cancellations of earlier writes do not harm later ones: neither
// one that passes between two batches, nor the end of a large write's context when
// that write is long over.
func TestStaleWriteDeadline(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, timeout := range []time.Duration{-1, time.Second} {
			bubble(t, fmt.Sprintf("plain %v, timeout %v", plain, timeout), func(t *testing.T) {
				opts := &Options{WriteTimeout: timeout, KeepAlive: -1}
				g := newRig(t, client, opts)
				if plain {
					g = newPlainRig(t, client, opts)
				}
				ctx, cancel := context.WithCancel(bg)
				large := writeAsync(ctx, g.c, pattern(50_000))
				g.wantFrame("a large message", textF(pattern(50_000)))
				if err := <-large; err != nil {
					t.Fatal(err)
				}
				g.stall()
				g.c.WriteText(bg, "one")
				synctest.Wait() // its flusher waits
				cancel()
				time.Sleep(999 * time.Millisecond)
				g.c.WriteText(bg, "two")
				g.unstall()
				g.wantFrame("written while a stale context ended", textF("one"))
				g.wantFrame("written at the same time", textF("two"))
				synctest.Wait()
				for i := range 3 {
					time.Sleep(time.Hour)
					read := inBackground(func() error { _, _, err := g.c.ReadMessage(bg); return err })
					synctest.Wait()
					g.send(textF("question"))
					<-read
					if err := g.c.WriteText(bg, fmt.Sprint(i)); err != nil {
						t.Fatal(err)
					}
					g.wantFrame("written later", textF(fmt.Sprint(i)))
				}
				wantErr(t, "a large write with that context", g.c.WriteText(ctx, pattern(50_000)), context.Canceled)
				g.c.WriteText(bg, "three")
				g.wantFrame("afterwards", textF("three"))
			})
		}
	}
	bubble(t, "the peer reads in the instant of the deadline", func(t *testing.T) {
		for range 20 {
			g := newRig(t, server, &Options{WriteTimeout: time.Second})
			g.mine.Out.Room = 10
			g.c.WriteText(bg, "12345678") // fits exactly
			synctest.Wait()
			for i := range 5 {
				g.c.WriteText(bg, fmt.Sprint("abcdefg", i))
				time.Sleep(time.Second - 1)
				synctest.Wait()
				if _, err := g.readFrame(); err != nil {
					t.Fatalf("a peer that takes something within WriteTimeout should not be given up: %v", err)
				}
				synctest.Wait()
			}
			g.c.Close()
			g.far.Close()
		}
	})
}

// An error of writing stays.
func TestWriteErrorIsSticky(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []string{"try", "write"} {
		onBoth(t, nil, func(t *testing.T, g *rig) {
			broken := false
			g.mine.Fault = func(o string) error {
				if broken && (o == "try" || o == "write") {
					return boom
				}
				return nil
			}
			broken = true
			if op == "write" {
				g.stall()
			}
			g.c.WriteText(bg, "one")
			synctest.Wait()
			for range 2 {
				wantErr(t, "a write", g.c.WriteText(bg, "two"), boom)
				wantErr(t, "a large write", g.c.WriteText(bg, pattern(largeWrite)), boom)
				wantErr(t, "Flush", g.c.Flush(bg), boom)
				_, err := g.c.Ping(bg)
				wantErr(t, "Ping", err, boom)
				_, err = g.c.NextWriter(bg, MessageText)
				if err == nil {
					t.Error("NextWriter should fail")
				}
			}
			wantErr(t, "a read", readErr(g.c), boom)
		})
	}
}

// A write that fails does not keep a reader from the Close frame that says why.
func TestWriteFailureThenClose(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.mine.Fault = func(op string) error {
			if op == "try" || op == "write" {
				return errors.New("boom")
			}
			return nil
		}
		read := inBackground(func() error { return readErr(g.c) })
		synctest.Wait()
		g.c.WriteText(bg, "x")
		synctest.Wait()
		g.send(textF("a message"), closeF(4001, "because"))
		wantCloseError(t, "the reader", <-read, 4001)
	})
	onBoth(t, nil, func(t *testing.T, g *rig) { // and nobody was reading
		g.mine.Fault = func(op string) error {
			if op == "try" || op == "write" {
				return errors.New("boom")
			}
			return nil
		}
		g.send(textF("a message"), closeF(4001, "because"))
		g.c.WriteText(bg, "x")
		synctest.Wait()
		wantCloseError(t, "the reader", readErr(g.c), 4001)
	})
}

func TestFlush(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		if err := g.c.Flush(bg); err != nil {
			t.Errorf("Flush of nothing: %v", err)
		}
		g.stall()
		g.c.WriteText(bg, "x")
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		wantErr(t, "a cancelled Flush", g.c.Flush(ctx), context.DeadlineExceeded)
		flushed := inBackground(func() error { return g.c.Flush(bg) })
		wantPending(t, "Flush should wait", flushed)
		g.unstall()
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		g.wantFrame("flushed", textF("x"))
	})
}

// What is not to cost an allocation.
func TestAllocations(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, n := range networks[:2] {
		for _, r := range bothRoles {
			t.Run(n.name+" "+r.String(), func(t *testing.T) {
				c, p := newNetPair(t, n, r, nil)
				go func() { // an echo, in the other role
					e := newConn(p.nc, p.role, nil, "", nil)
					var buf []byte
					for {
						typ, p, err := e.AppendMessage(bg, buf[:0])
						if err != nil || e.WriteMessage(bg, typ, p) != nil {
							return
						}
						buf = p
					}
				}()
				for _, size := range []int{10, 1000, 20_000, 100_000} {
					ctx, cancel := context.WithCancel(bg)
					msg, buf := make([]byte, size), make([]byte, 0, 2*size)
					prepared := NewPreparedMessage(MessageBinary, msg)
					write := func() error { return c.WriteMessage(ctx, MessageBinary, msg) }
					append := func() error { _, _, err := c.AppendMessage(ctx, buf); return err }
					echo := func(write, read func() error) func() {
						return func() {
							if err := write(); err != nil {
								t.Fatal(err)
							}
							if err := read(); err != nil {
								t.Fatal(err)
							}
						}
					}
					appending := echo(write, append)
					reading := echo(write, func() error { _, _, err := c.ReadMessage(ctx); return err })
					preparedly := echo(func() error { return c.WritePrepared(ctx, prepared) }, append)
					appending()
					if n := testing.AllocsPerRun(200, appending); n >= 1 {
						t.Errorf("WriteMessage and AppendMessage of %d bytes allocate %v times", size, n)
					}
					if n := testing.AllocsPerRun(200, preparedly); n >= 1 {
						t.Errorf("WritePrepared and AppendMessage of %d bytes allocate %v times", size, n)
					}
					// Memory follows what has arrived, at most doubled.
					most := 2 + float64(bits.Len(uint(size/smallBuffer)))
					if n := testing.AllocsPerRun(200, reading); n >= most {
						t.Errorf("WriteMessage and ReadMessage of %d bytes allocate %v times", size, n)
					}
					cancel()
				}
			})
		}
	}
}

var _ net.Conn = (*memConn)(nil)

// 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close
// frame, the endpoint MUST send a Close frame in response." It is sent behind the
// frame that is being written, within a second; the request's context, which ends
// when the Close frame has come, must not cut that frame off.
func TestPeerClosesDuringLargeWrite(t *testing.T) {
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
func TestLargeWriteClosedWithRequestContext(t *testing.T) {
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

// Many writers by every method, cancelled at any time, to a peer that stalls now
// and then: what has succeeded arrives once and whole, what was cancelled not at
// all, as long as the connection has not failed.
func TestWriteAnyhow(t *testing.T) {
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
func TestBufferedFollowsThePeer(t *testing.T) {
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
func TestWriterMisused(t *testing.T) {
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

// A network that takes and brings one byte at a time gets all messages through, in
// whatever way they are written.
func TestWriteByteByByte(t *testing.T) {
	rigs := map[string]func(testing.TB, role, *Options) *rig{"socket": newRig, "net.Conn": newPlainRig}
	text := pattern(largeWrite + 100)
	if raceEnabled {
		text = pattern(6000) // a large one takes it twelve seconds
	}
	for name, newRig := range rigs {
		for _, r := range bothRoles {
			for _, o := range []*Compression{nil, both(true, 15)} {
				bubble(t, fmt.Sprintf("%s, %v, compressed %v", name, r, o != nil), func(t *testing.T) {
					g := newRig(t, r, nil)
					g.mine.Out.Room, g.mine.In.Chunk = 1, 1
					c := withDeflate(g.c, o)
					peer := withDeflate(newConn(g.far, r.peer(), nil, "", nil), o)
					var group Group
					group.Add(c)
					written := inBackground(func() error {
						w, err := c.NextWriter(bg, MessageText)
						if err != nil {
							return err
						}
						io.WriteString(w, text[:10])
						io.WriteString(w, text[10:])
						if err := w.Close(); err != nil {
							return err
						}
						return errors.Join(
							c.WriteMessage(bg, MessageBinary, nil),
							c.WriteText(bg, pattern(126)),
							c.WriteMessage(bg, MessageText, []byte(text)),
							c.Flush(bg),
							group.Broadcast(MessageText, []byte(pattern(200))),
						)
					})
					wantRead(t, "NextWriter", peer, MessageText, text)
					wantRead(t, "an empty message", peer, MessageBinary, "")
					wantRead(t, "WriteText", peer, MessageText, pattern(126))
					wantRead(t, "WriteMessage", peer, MessageText, text)
					wantRead(t, "Broadcast", peer, MessageText, pattern(200))
					if err := <-written; err != nil {
						t.Error(err)
					}
					read := inBackground(func() error { return readErr(c) })
					if err := peer.WriteText(bg, "x"); err != nil {
						t.Error(err)
					}
					go readErr(peer)
					if err := c.Shutdown(bg, StatusNormalClosure, ""); err != nil {
						t.Errorf("Shutdown: %v", err)
					}
					wantCloseError(t, "the reading", <-read, StatusNormalClosure)
					peer.Close()
				})
			}
		}
	}
}
