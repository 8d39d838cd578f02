package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A net.Conn that has no deadlines is closed all the same.
func TestNoDeadlines(t *testing.T) {
	for _, end := range []struct {
		name string
		end  func(c *Conn)
	}{
		{"Close", func(c *Conn) { c.Close() }},
		{"Shutdown", func(c *Conn) {
			ctx, cancel := context.WithTimeout(bg, time.Second)
			defer cancel()
			c.Shutdown(ctx, 1000, "")
		}},
		{"a failed write", func(c *Conn) {
			c.abandon(errFault)
		}},
	} {
		for _, stalled := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, stalled %v", end.name, stalled), func(t *testing.T) {
				g := newPlainRig(t, server, nil)
				g.mine.Fault = func(op string) error {
					if op == "setread" || op == "setwrite" {
						return os.ErrNoDeadline
					}
					return nil
				}
				read := inBackground(func() error { return readErr(g.c) })
				synctest.Wait()
				if stalled {
					g.stall()
					g.c.WriteText(bg, "x")
				}
				start := time.Now()
				end.end(g.c)
				for !g.mine.IsClosed() && time.Since(start) < time.Hour {
					time.Sleep(time.Millisecond)
				}
				if d := time.Since(start); d > 2*time.Second+2*time.Millisecond {
					t.Errorf("the socket should be closed within a second, and is after %v", d)
				}
				<-read
			})
		}
	}
}

// Only the system's own sockets are read and written as such: a wrapper that
// embeds one has the methods of one, and is not to be bypassed.
func TestTransportOf(t *testing.T) {
	type wrapper struct{ *net.TCPConn }
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			watchLeaks(t)
			s, c := n.connect(t)
			defer s.Close()
			defer c.Close()
			traits := newTransport(s).traits()
			if _, isTLS := s.(*tls.Conn); isTLS {
				if traits.tries || traits.resumes || traits.maxWrite != maxTLSWrite {
					t.Errorf("TLS should be written in records, and without trying: %+v", traits)
				}
				return
			}
			if _, plain := newTransport(s).(*plainTransport); plain == socketsAreKnown {
				t.Errorf("%T has transport %T", s, newTransport(s))
			}
			if tcp, ok := s.(*net.TCPConn); ok {
				if _, ok := newTransport(wrapper{tcp}).(*plainTransport); !ok {
					t.Error("a wrapper of a *net.TCPConn should not be bypassed")
				}
			}
		})
	}
}

// A counting wraps a connection, as applications do.
type counting struct {
	*net.TCPConn
	read, written atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

func TestWrapperIsNotBypassed(t *testing.T) {
	watchLeaks(t)
	s, far := networks[0].connect(t)
	wrapped := &counting{TCPConn: s.(*net.TCPConn)}
	c := NewServerConn(wrapped, nil)
	p := &rawPeer{t: t, nc: far, role: client}
	defer far.Close()
	defer c.Close()
	bytes := session(client, textF(pattern(100_000)))
	go p.nc.Write(bytes)
	wantRead(t, "through a wrapper", c, MessageText, pattern(100_000))
	for _, n := range []int{10, 100_000} {
		written := inBackground(func() error { return errors.Join(c.WriteText(bg, pattern(n)), c.Flush(bg)) })
		p.wantFrame("through a wrapper", textF(pattern(n)))
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	if wrapped.read.Load() != int64(len(bytes)) || wrapped.written.Load() < 100_010 {
		t.Errorf("the wrapper's Read and Write should see all bytes, and see %d and %d", wrapped.read.Load(), wrapped.written.Load())
	}
}

// lender lends one slice, and notes what becomes of it.
type lender struct {
	buf  []byte
	lent bool
}

func (l *lender) space() []byte { l.lent = true; return l.buf }
func (l *lender) unused()       { l.lent = false }
func (l *lender) direct() bool  { return false }

// What the transports of all networks promise.
func TestTransportReads(t *testing.T) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			watchLeaks(t)
			nc, far := n.connect(t)
			defer nc.Close()
			defer far.Close()
			tr := newTransport(nc)
			l := &lender{buf: make([]byte, 4096)}

			far.Write([]byte("hello"))
			k, err := tr.read(l)
			if k != 5 || err != nil || string(l.buf[:k]) != "hello" || !l.lent {
				t.Fatalf("a read should give what has come: %d, %v, lent %v", k, err, l.lent)
			}
			// Waiting holds no memory, and can be interrupted as often as one likes.
			for range 3 {
				l.lent = false
				nc.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
				k, err = tr.read(l)
				if k != 0 || !isTimeout(err) || l.lent {
					t.Fatalf("a read should end with its deadline, and give its memory back: %d, %v, lent %v", k, err, l.lent)
				}
				nc.SetReadDeadline(past)
				if k, err = tr.read(l); k != 0 || !isTimeout(err) || l.lent {
					t.Fatalf("a read with a deadline that has passed: %d, %v, lent %v", k, err, l.lent)
				}
			}
			nc.SetReadDeadline(time.Time{})
			again := inBackground(func() error {
				k, err := tr.read(l)
				if k != 5 || err != nil {
					t.Errorf("a read after interrupted ones: %d, %v", k, err)
				}
				return err
			})
			far.Write([]byte("again"))
			<-again

			far.Write([]byte("last"))
			if half, ok := far.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
			if k, err = tr.read(l); k != 4 || err != nil {
				t.Fatalf("the bytes before the end: %d, %v", k, err)
			}
			l.lent = false
			if k, err = tr.read(l); k != 0 || err != io.EOF || l.lent {
				t.Fatalf("the end should be io.EOF, and is %d, %v, lent %v", k, err, l.lent)
			}
			nc.Close()
			if k, err = tr.read(l); k != 0 || err == nil || l.lent {
				t.Fatalf("a read after Close: %d, %v, lent %v", k, err, l.lent)
			}
			if _, err := tr.write([]byte("x"), nil); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("a write after Close: %v", err)
			}
			if _, err := tr.tryWrite([]byte("x")); tr.traits().tries && !errors.Is(err, net.ErrClosed) {
				t.Fatalf("a try after Close: %v", err)
			}
		})
	}
}

func TestTransportWrites(t *testing.T) {
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			watchLeaks(t)
			nc, far := n.connect(t)
			defer nc.Close()
			defer far.Close()
			tr := newTransport(nc)
			var sent, got bytes.Buffer
			block := bytes.Repeat([]byte("0123456789"), 10_000)
			if tr.traits().tries { // until the socket is full
				for range 1000 {
					k, err := tr.tryWrite(block)
					if err != nil {
						t.Fatal(err)
					}
					sent.Write(block[:k])
					if k == 0 {
						break
					}
				}
				if k, err := tr.tryWrite(block); k == len(block) || err != nil {
					t.Fatalf("a try should write what there is room for and not wait: %d, %v", k, err)
				} else {
					sent.Write(block[:k])
				}
				nc.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
				k, err := tr.write(block, block)
				if k == 2*len(block) || !isTimeout(err) {
					t.Fatalf("a write should end with its deadline: %d, %v", k, err)
				}
				sent.Write(append(block, block...)[:k])
				nc.SetWriteDeadline(time.Time{})
			}
			read := inBackground(func() error { _, err := io.Copy(&got, far); return err })
			for _, pq := range [][2][]byte{{block, nil}, {nil, block}, {[]byte("head"), block}} {
				k, err := tr.write(pq[0], pq[1])
				if k != len(pq[0])+len(pq[1]) || err != nil {
					t.Fatalf("a write of %d and %d bytes: %d, %v", len(pq[0]), len(pq[1]), k, err)
				}
				sent.Write(pq[0])
				sent.Write(pq[1])
			}
			nc.Close()
			if err := <-read; err != nil {
				t.Error(err)
			}
			if !bytes.Equal(sent.Bytes(), got.Bytes()) {
				t.Errorf("%d bytes were written, and %d, or others, arrive", sent.Len(), got.Len())
			}
		})
	}
}

// An end that comes while the peer takes nothing: the socket is closed within a
// second, and what can leave until then does.
func TestEndWhileStalled(t *testing.T) {
	ends := map[string]func(g *rig) error{
		"the peer's Close": func(g *rig) error { g.send(closeF(4000, "")); return readErr(g.c) },
		"a failure":        func(g *rig) error { g.send(contF("")); return readErr(g.c) },
		"the peer's EOF":   func(g *rig) error { g.far.CloseWrite(); return readErr(g.c) },
	}
	for name, end := range ends {
		for _, resumes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the peer resumes %v", name, resumes), func(t *testing.T) {
				onBoth(t, &Options{WriteTimeout: -1}, func(t *testing.T, g *rig) {
					g.stall()
					g.c.WriteText(bg, "on its way")
					synctest.Wait()
					start := time.Now()
					err := end(g)
					if err == nil || time.Since(start) > 0 {
						t.Errorf("the reader should know at once: %v after %v", err, time.Since(start))
					}
					if resumes {
						time.Sleep(time.Second / 2)
						g.unstall()
						g.wantFrame("what was queued", textF("on its way"))
						switch name {
						case "the peer's Close":
							g.wantClose("the answer", 4000)
						case "a failure":
							g.wantClose("the reason", StatusProtocolError)
						}
						g.far.CloseWrite()
						g.wantEOF("then")
					}
					for !g.mine.IsClosed() && time.Since(start) < time.Hour {
						time.Sleep(time.Millisecond)
						synctest.Wait()
					}
					if d := time.Since(start); d > time.Second+time.Millisecond {
						t.Errorf("the socket should be closed within a second, and is after %v", d)
					}
					wantErr(t, "a read", readErr(g.c), err)
				})
			})
		}
	}
}

// Everything at once over the system's networks, and then an end in the middle.
func TestEndInTheMiddle(t *testing.T) {
	for i := range 8 {
		n, r, end := networks[i%len(networks)], bothRoles[i%2], i/2
		t.Run(fmt.Sprint(n.name, " ", r, " ", end), func(t *testing.T) {
			c, p := newNetPair(t, n, r, &Options{WriteQueue: 4 << 10})
			e := newConn(p.nc, p.role, nil, "", nil)
			var all sync.WaitGroup
			for _, x := range []*Conn{c, e} {
				all.Go(func() { readErr(x) })
				for _, n := range []int{10, 3000, 50_000} {
					all.Go(func() {
						for x.WriteText(bg, pattern(n)) == nil {
						}
					})
				}
				all.Go(func() {
					for {
						if _, err := x.Ping(bg); err != nil {
							return
						}
					}
				})
			}
			for range 3 {
				if _, err := c.Ping(bg); err != nil {
					t.Errorf("in the middle of traffic: %v", err)
				}
			}
			switch end {
			case 0:
				c.Close()
			case 1:
				start := time.Now()
				err := c.Shutdown(bg, 1000, "")
				if err != nil && time.Since(start) < lingerTimeout { // after which e may break off what it cannot send
					t.Errorf("Shutdown in the middle of traffic returns %v", err)
				}
			case 2:
				p.nc.Close()
			case 3:
				e.Shutdown(bg, 1000, "")
			}
			all.Wait()
			e.Close()
		})
	}
}

// DESIGN 4: "An idle connection holds no buffer. [...] Elsewhere (TLS, Windows,
// net.Pipe) keep a small buffer." Whatever was the size of the last message.
func TestIdlePlainHoldsNoBuffer(t *testing.T) {
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
func TestWrappedTLS(t *testing.T) {
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
