package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// forever are options with which a stalled peer is not given up.
var forever = &Options{WriteTimeout: -1, KeepAlive: -1}

// Messages, of whatever type and in whatever frames, are one stream of bytes, and only
// a close as it should be is its end.
func TestStreamRead(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(g *rig)
		want func(err error) bool
	}{
		{"1000", func(g *rig) { g.send(closeF(StatusNormalClosure, "done")) }, func(err error) bool { return err == io.EOF }},
		{"1001", func(g *rig) { g.send(closeF(StatusGoingAway, "")) }, func(err error) bool { return err == io.EOF }},
		{"1005", func(g *rig) { g.send(closeF(StatusNoStatus, "")) }, func(err error) bool { return err == io.EOF }},
		{"1011", func(g *rig) { g.send(closeF(StatusInternalError, "")) }, func(err error) bool {
			var e *CloseError
			return errors.As(err, &e) && e.Code == StatusInternalError
		}},
		{"lost", func(g *rig) { g.far.CloseWrite() }, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF)
		}},
		{"lost in a message", func(g *rig) { g.send(textF("").open()); g.far.CloseWrite() }, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onBoth(t, nil, func(t *testing.T, g *rig) {
				s := Stream(g.c, MessageBinary)
				want := pattern(5000)
				g.send(textF(""), textF(want[:1]), binaryF(want[1:100]).open(), pingF("x"), contF("").open(), contF(want[100:1000]), binaryF(""), binaryF(want[1000:]))
				tc.end(g)
				if n, err := s.Read(nil); n != 0 || err != nil {
					t.Errorf("reading nothing gives %d, %v", n, err)
				}
				var got []byte
				var err error
				for size := 1; err == nil; size = size%700 + 13 {
					p := make([]byte, size)
					var n int
					n, err = s.Read(p)
					if n == 0 && err == nil {
						t.Fatal("Read should not return without bytes and without an error")
					}
					got = append(got, p[:n]...)
				}
				if string(got) != want || !tc.want(err) {
					t.Errorf("it reads %d bytes, equal: %v, and ends with %v", len(got), string(got) == want, err)
				}
				if _, again := s.Read(make([]byte, 1)); !tc.want(again) {
					t.Errorf("and then with %v", again)
				}
			})
		})
	}
}

// A Write is a message, or several if it is long; text is cut between characters.
func TestStreamWrite(t *testing.T) {
	onBoth(t, forever, func(t *testing.T, g *rig) {
		for _, typ := range []MessageType{MessageBinary, MessageText} {
			s := Stream(g.c, typ)
			for _, size := range []int{0, 1, 125, streamMessage - 1, streamMessage, streamMessage + 1, 3*streamMessage + 2, 100_000} {
				want := strings.Repeat("€", size/3) + strings.Repeat("x", size%3)
				written := inBackground(func() error {
					n, err := s.Write([]byte(want))
					if n != size {
						err = fmt.Errorf("%d bytes of %d, and %v", n, size, err)
					}
					return err
				})
				got, messages := "", 0
				for len(got) < size {
					f, err := g.readFrame()
					if err != nil || !f.fin || f.op != Opcode(typ) || len(f.payload) > streamMessage || f.payload == "" {
						t.Fatalf("a message of at most 16 KiB in a frame should come, and: %v, %v", f, err)
					}
					if typ == MessageText && !strings.HasSuffix(f.payload, "€") && !strings.HasSuffix(f.payload, "x") {
						t.Errorf("text is cut within a character: ...%q", f.payload[len(f.payload)-3:])
					}
					got += f.payload
					messages++
				}
				if err := <-written; err != nil || got != want {
					t.Errorf("%v of %d bytes: %v, arrived: %v", typ, size, err, got == want)
				}
				if size <= streamMessage && messages > 1 {
					t.Errorf("a Write of %d bytes is %d messages", size, messages)
				}
			}
		}
		g.wantSilence("a Write of nothing sends nothing, and nothing is sent twice")
	})
}

// wantTimeout checks that err is what a net.Conn returns after its deadline.
func wantTimeout(t *testing.T, why string, err error) {
	t.Helper()
	if e, ok := err.(net.Error); !ok || !e.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: it should be a net.Error, a time-out, and os.ErrDeadlineExceeded, and is %v", why, err)
	}
}

// A read deadline that passes, at whatever byte, loses nothing.
func TestStreamReadDeadline(t *testing.T) {
	onBoth(t, forever, func(t *testing.T, g *rig) {
		s := Stream(g.c, MessageBinary)
		buf := make([]byte, 100)
		bytes := session(g.role, binaryF("one"), binaryF("two").open(), contF("three"))
		got := ""
		for i, b := range bytes {
			s.SetReadDeadline(time.Now().Add(time.Second))
			start := time.Now()
			for {
				n, err := s.Read(buf)
				got += string(buf[:n])
				if err != nil {
					wantTimeout(t, fmt.Sprint("after byte ", i), err)
					break
				}
			}
			if d := time.Since(start); d != time.Second {
				t.Errorf("after byte %d the deadline of 1 s ends the read after %v", i, d)
			}
			g.write([]byte{b})
			synctest.Wait()
		}
		_, err := s.Read(buf)
		wantTimeout(t, "a deadline that has passed holds, although there are bytes", err)
		s.SetReadDeadline(time.Time{})
		n, err := s.Read(buf)
		if got += string(buf[:n]); err != nil || got != "onetwothree" {
			t.Errorf("all that was read is %q, %v", got, err)
		}

		s.SetDeadline(time.Now().Add(time.Second))
		time.AfterFunc(500*time.Millisecond, func() { s.SetReadDeadline(time.Now().Add(time.Minute)) }) // puts it off
		d := took(func() { _, err = s.Read(buf) })
		wantTimeout(t, "a deadline that was put off", err)
		if d != time.Minute+500*time.Millisecond {
			t.Errorf("it ends the read after %v", d)
		}
		s.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { s.SetReadDeadline(time.Unix(1, 0)) }) // as http.Server interrupts a read
		d = took(func() { _, err = s.Read(buf) })
		wantTimeout(t, "a deadline in the past", err)
		if d != time.Hour {
			t.Errorf("it ends the read after %v", d)
		}
		s.SetReadDeadline(time.Time{})
		g.send(binaryF("and on"))
		if n, err := s.Read(buf); err != nil || string(buf[:n]) != "and on" {
			t.Errorf("it should go on, and reads %q, %v", buf[:n], err)
		}
	})
}

// A write deadline that passes cuts a Write between two messages: what is told to have
// been written arrives, and the rest can be written later.
func TestStreamWriteDeadline(t *testing.T) {
	onBoth(t, forever, func(t *testing.T, g *rig) {
		s := Stream(g.c, MessageBinary)
		want := []byte(pattern(1 << 20))
		g.stall()
		rest := want
		for try := range 3 {
			s.SetWriteDeadline(time.Now().Add(time.Second))
			var n int
			var err error
			d := took(func() { n, err = s.Write(rest) })
			wantTimeout(t, "the peer takes nothing", err)
			if d != time.Second || try > 0 && n > 0 {
				t.Errorf("try %d: %d bytes, after %v", try, n, d)
			}
			rest = rest[n:]
			if n, err := s.Write(rest); n != 0 {
				t.Errorf("a deadline that has passed holds, but: %d bytes, %v", n, err)
			}
		}
		if len(rest) == len(want) || len(rest) < len(want)/2 {
			t.Errorf("of %d bytes %d are left: the queue takes some and is bounded", len(want), len(rest))
		}
		g.unstall()
		s.SetWriteDeadline(time.Time{})
		written := inBackground(func() error { _, err := s.Write(rest); return err })
		var got []byte
		for len(got) < len(want) {
			f, err := g.readFrame()
			if err != nil || f.op != OpBinary {
				t.Fatal(f, err)
			}
			got = append(got, f.payload...)
		}
		if err := <-written; err != nil || !bytes.Equal(got, want) {
			t.Errorf("the rest is written: %v; what arrives is what was written: %v", err, bytes.Equal(got, want))
		}
	})
}

// What is copied each way arrives whole, whoever sets which deadlines meanwhile.
func TestStreamDeadlinesWhileBlocked(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		a, b := newMemPipe(5000)
		b.Out.Update(func() { b.Out.Room, b.Out.Chunk = 3000, 777 })
		ends := []net.Conn{
			Stream(newConn(a, server, forever, "", nil), MessageBinary),
			Stream(newConn(b, client, forever, "", nil), MessageBinary),
		}
		want := pattern(1 << 20)
		var copying sync.WaitGroup
		done := make(chan struct{})
		for _, s := range ends {
			copying.Go(func() {
				for rest := []byte(want); len(rest) > 0; {
					n, err := s.Write(rest)
					if rest = rest[n:]; err != nil && !isTimeout(err) {
						t.Errorf("Write: %v", err)
						return
					}
					time.Sleep(time.Microsecond)
				}
			})
			copying.Go(func() {
				var got []byte
				for buf := make([]byte, 1000); len(got) < len(want); {
					n, err := s.Read(buf)
					if got = append(got, buf[:n]...); err != nil && !isTimeout(err) {
						t.Errorf("Read: %v", err)
						return
					} else if err != nil {
						time.Sleep(time.Microsecond)
					}
				}
				if string(got) != want {
					t.Error("what arrives is not what was sent")
				}
			})
			go func() {
				for i := 0; !isClosed(done); i++ {
					s.SetReadDeadline(time.Now().Add(time.Duration(i%7-3) * time.Microsecond))
					s.SetWriteDeadline(time.Now().Add(time.Duration(i%5-2) * time.Microsecond))
					time.Sleep(time.Microsecond)
					s.SetDeadline(time.Time{})
					time.Sleep(3 * time.Microsecond)
				}
			}()
		}
		copying.Wait()
		close(done)
		copied := inBackground(func() []byte { p, _ := io.ReadAll(ends[1]); return p })
		ends[0].SetDeadline(time.Time{})
		time.Sleep(time.Millisecond)
		ends[1].SetDeadline(time.Time{})
		ends[0].Write([]byte("the last"))
		if err := ends[0].Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if p := <-copied; string(p) != "the last" {
			t.Errorf("a copy should end with the stream, after %q, and has %q", "the last", p)
		}
	})
}

// Close makes the closing handshake, and ends all calls.
func TestStreamClose(t *testing.T) {
	onBoth(t, forever, func(t *testing.T, g *rig) {
		s := Stream(g.c, MessageBinary)
		reading := inBackground(func() error { _, err := s.Read(make([]byte, 1)); return err })
		second := inBackground(func() error { _, err := s.Read(make([]byte, 1)); return err })
		s.Write([]byte("last words"))
		synctest.Wait()
		closing := inBackground(s.Close)
		g.wantFrame("what was written comes first", binaryF("last words"))
		g.wantClose("then the Close frame", StatusNormalClosure)
		wantErr(t, "a Read under way", <-reading, net.ErrClosed)
		wantErr(t, "a Read that waits for the other", <-second, net.ErrClosed)
		_, err := s.Read(make([]byte, 1))
		wantErr(t, "Read", err, net.ErrClosed)
		_, err = s.Write([]byte("x"))
		wantErr(t, "Write", err, net.ErrClosed)
		wantErr(t, "SetDeadline", s.SetDeadline(time.Time{}), net.ErrClosed)
		wantErr(t, "a second Close", s.Close(), net.ErrClosed)
		g.send(binaryF(pattern(100_000)), closeF(StatusNormalClosure, "")) // what is not read is discarded
		g.far.CloseWrite()
		if err := <-closing; err != nil {
			t.Errorf("the closing handshake is complete, but Close returns %v", err)
		}
		_, err = s.Read(make([]byte, 1))
		wantErr(t, "Read after all", err, net.ErrClosed)
	})
	onBoth(t, forever, func(t *testing.T, g *rig) {
		s := Stream(g.c, MessageBinary)
		g.stall()
		writing := inBackground(func() error { _, err := s.Write(make([]byte, 1<<20)); return err })
		synctest.Wait()
		var err error
		d := took(func() { err = s.Close() })
		if err == nil || d != 5*time.Second {
			t.Errorf("a peer that does nothing: Close should give up after 5 s, and returns %v after %v", err, d)
		}
		wantErr(t, "a Write under way", <-writing, net.ErrClosed)
	})
	onBoth(t, forever, func(t *testing.T, g *rig) {
		s := Stream(g.c, MessageBinary)
		g.send(closeF(StatusNormalClosure, ""))
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the peer has closed: %v", err)
		}
		g.wantClose("it is answered", StatusNormalClosure)
		g.nc.Close()
		if err := s.Close(); err != nil {
			t.Errorf("Close behind it: %v", err)
		}
	})
}

// Writes of several goroutines do not mix, however long they are.
func TestStreamWritersRace(t *testing.T) {
	onNetworks(t, nil, func(t *testing.T, c *Conn, p *rawPeer) {
		s := Stream(c, MessageBinary)
		const writers, each, size = 4, 3, 3*streamMessage + 5
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range each {
					if n, err := s.Write(bytes.Repeat([]byte{byte(w)}, size)); n != size || err != nil {
						t.Error(n, err)
					}
				}
			})
		}
		peer := Stream(newConn(p.nc, p.role, nil, "", nil), MessageBinary)
		got := make([]byte, size)
		for range writers * each {
			if _, err := io.ReadFull(peer, got); err != nil {
				t.Fatal(err)
			}
			if bytes.Count(got, got[:1]) != size {
				t.Error("a Write has another one in its middle")
			}
		}
		wg.Wait()
		if s.LocalAddr() != c.nc.LocalAddr() || s.RemoteAddr() != c.nc.RemoteAddr() {
			t.Error("the addresses should be those of the connection")
		}
		closed := inBackground(peer.Close)
		if _, err := s.Read(got); err != io.EOF {
			t.Errorf("the peer has closed: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A streamListener yields the connections of a Handler as streams.
type streamListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newStreamListener() *streamListener {
	return &streamListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *streamListener) serve(c *Conn, r *http.Request) {
	select {
	case l.conns <- Stream(c, MessageBinary):
		<-r.Context().Done()
	case <-l.done:
	}
}

func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *streamListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *streamListener) Addr() net.Addr { return &net.TCPAddr{} }

// dialStream connects to a handler of serve.
func dialStream(ctx context.Context, addr string) (net.Conn, error) {
	c, _, err := Dial(ctx, "ws://"+addr, nil)
	if err != nil {
		return nil, err
	}
	return Stream(c, MessageBinary), nil
}

// An HTTP/1.1 server and its client over WebSocket connections: net/http leans on
// deadlines, on reads that it interrupts, and on EOF.
func TestStreamHTTP(t *testing.T) {
	l := newStreamListener()
	addr := serve(t, Handler(l.serve))
	inner := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/echo":
				if body, err := io.ReadAll(r.Body); err == nil {
					w.Write(body)
				}
			case "/wait": // until the client is gone: net/http reads ahead for that
				<-r.Context().Done()
			case "/panic":
				panic(http.ErrAbortHandler)
			}
		}),
	}
	served := inBackground(func() error { return inner.Serve(l) })
	var dials atomic.Int32
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dials.Add(1)
		return dialStream(ctx, addr)
	}}
	cl := &http.Client{Transport: transport}

	ctx := testContext(t)
	post := func(ctx context.Context, path, body string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, "POST", "http://inner.example"+path, strings.NewReader(body))
		if err != nil {
			return "", err
		}
		resp, err := cl.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		return string(got), err
	}
	for _, size := range []int{0, 1, 1000, 1 << 20} {
		for range 3 {
			if got, err := post(ctx, "/echo", pattern(size)); err != nil || got != pattern(size) {
				t.Fatalf("a body of %d bytes comes back as one of %d, %v", size, len(got), err)
			}
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("all requests fit on one connection, and %d were made", n)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := post(short, "/wait", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that is given up: %v", err)
	}
	if _, err := post(ctx, "/panic", ""); err == nil {
		t.Error("the server closes the connection in place of an answer, but there is no error")
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			want := pattern(10_000 * i)
			if got, err := post(ctx, "/echo", want); err != nil || got != want {
				t.Errorf("one of several at once: %d bytes for %d, %v", len(got), len(want), err)
			}
		})
	}
	wg.Wait()
	transport.CloseIdleConnections()
	if err := inner.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown of the inner server: %v", err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
}

// Arith is a service of net/rpc.
type Arith struct{}

type Factors struct{ A, B int }

func (Arith) Multiply(f Factors, product *int) error { *product = f.A * f.B; return nil }

func (Arith) Repeat(n int, text *string) error { *text = pattern(n); return nil }

// net/rpc over a WebSocket connection, by many goroutines at once.
func TestStreamRPC(t *testing.T) {
	watchLeaks(t)
	service := rpc.NewServer()
	if err := service.Register(Arith{}); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	addr := serve(t, Handler(func(c *Conn, r *http.Request) {
		service.ServeConn(Stream(c, MessageBinary)) // returns on EOF, and closes
		close(served)
	}))
	nc, err := dialStream(testContext(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	cl := rpc.NewClient(nc)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				var product int
				if err := cl.Call("Arith.Multiply", Factors{i, j}, &product); err != nil || product != i*j {
					t.Errorf("%d x %d is %d, %v", i, j, product, err)
				}
			}
			var text string
			if err := cl.Call("Arith.Repeat", 50_000*i, &text); err != nil || text != pattern(50_000*i) {
				t.Errorf("a text of %d bytes: %d bytes, %v", 50_000*i, len(text), err)
			}
		})
	}
	wg.Wait()
	if err := cl.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	<-served
}
