package wstest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/websocket"
	"example.com/websocket/wstest"
)

var bg = context.Background()

// echo is the handler of the tests.
var echo websocket.Handler = func(c *websocket.Conn, r *http.Request) {
	for {
		typ, p, err := c.ReadMessage(r.Context())
		if err != nil || c.WriteMessage(r.Context(), typ, p) != nil {
			return
		}
	}
}

func wantEcho(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteText(bg, text); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.ReadMessage(bg); err != nil || string(p) != text {
		t.Fatalf("the handler should send %q back, and sends %q, %v", text, p, err)
	}
}

// A handler answers a client, and both ends are gone after the test: a bubble
// fails if a goroutine is left.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wstest.Serve(t, echo, nil)
		wantEcho(t, p.Client, "hello")
		wantEcho(t, p.Client, strings.Repeat("x", 1<<20))
		if a := p.Client.RemoteAddr().String(); a != "server" {
			t.Errorf("the client's peer is called %q", a)
		}
		if err := p.Client.Shutdown(bg, websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	})
}

func TestConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wstest.Connect(t, &websocket.Options{Subprotocols: []string{"chat"}}, &websocket.Options{Subprotocols: []string{"x", "chat"}, WriteQueue: 10})
		if a, b := p.Server.Subprotocol(), p.Client.Subprotocol(); a != "chat" || b != "chat" {
			t.Errorf("the handshake should agree on a subprotocol: %q, %q", a, b)
		}
		p.Server.WriteText(bg, "from the server")
		p.Client.WriteText(bg, "from the client")
		_, a, _ := p.Client.ReadMessage(bg)
		_, b, _ := p.Server.ReadMessage(bg)
		if string(a) != "from the server" || string(b) != "from the client" {
			t.Errorf("received %q and %q", a, b)
		}
	})
}

func TestDialRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.URL.String(), http.StatusTeapot) })
		_, resp, err := wstest.Dial(t, refused, "/path?x=y", nil)
		if h := (*websocket.HandshakeError)(nil); !errors.As(err, &h) || resp == nil || resp.StatusCode != http.StatusTeapot || !strings.Contains(err.Error(), "/path?x=y") {
			t.Errorf("a refusal should be returned: %v", err)
		}
	})
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wstest.Connect(t, &websocket.Options{WriteTimeout: time.Minute, KeepAlive: -1}, &websocket.Options{KeepAlive: -1})
		start := time.Now()
		p.ToClient.Stall()
		p.Server.WriteText(bg, "x")
		time.AfterFunc(time.Second, p.ToClient.Resume)
		if _, _, err := p.Client.ReadMessage(bg); err != nil || time.Since(start) != time.Second {
			t.Errorf("after Resume the message should arrive, at once: after %v, %v", time.Since(start), err)
		}
		p.ToClient.Stall()
		p.Server.WriteText(bg, "y")
		if err := p.Server.Flush(bg); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second+time.Minute {
			t.Errorf("a peer that takes nothing should be gone after WriteTimeout: after %v, %v", time.Since(start), err)
		}
	})
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wstest.Connect(t, nil, nil)
		p.Server.WriteText(bg, "lost")
		synctest.Wait()
		p.Cut()
		for _, c := range []*websocket.Conn{p.Server, p.Client} {
			if _, _, err := c.ReadMessage(bg); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("each end should get a reset, and gets %v", err)
			}
		}
	})
}

func TestVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wstest.Connect(t, &websocket.Options{KeepAlive: 10 * time.Second}, &websocket.Options{KeepAlive: -1})
		start := time.Now()
		p.Vanish()
		_, _, err := p.Server.ReadMessage(bg)
		if d := time.Since(start); err == nil || d < 10*time.Second || d > 30*time.Second {
			t.Errorf("a peer that has vanished should be noticed by keepalive: after %v, %v", d, err)
		}
	})
}

// Each end has to find out by itself: when one has, the other still hears nothing, until
// the line is there again or is cut.
func TestVanishForBoth(t *testing.T) {
	for name, then := range map[string]struct {
		do   func(p *wstest.Pair)
		want error
	}{
		"nothing": {func(*wstest.Pair) {}, os.ErrDeadlineExceeded},
		"Resume":  {func(p *wstest.Pair) { p.ToServer.Resume() }, io.ErrUnexpectedEOF},
		"Cut":     {func(p *wstest.Pair) { p.Cut() }, syscall.ECONNRESET},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := wstest.Connect(t, &websocket.Options{KeepAlive: time.Minute}, &websocket.Options{KeepAlive: 5 * time.Second})
			ended := make(chan error, 1)
			go func() {
				_, _, err := p.Server.ReadMessage(bg)
				ended <- err
			}()
			start := time.Now()
			p.Vanish()
			p.Client.WriteText(bg, "never heard")
			if _, _, err := p.Client.ReadMessage(bg); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the client should find out, and has %v", err)
			}
			p.Client.Close()
			time.Sleep(5 * time.Second) // longer than the end of a connection takes
			if len(ended) > 0 {
				t.Fatalf("the server hears something %v after that: %v", time.Since(start), <-ended)
			}
			then.do(p)
			if err := <-ended; !errors.Is(err, then.want) {
				t.Errorf("after %s the server should get %v, and gets %v", name, then.want, err)
			}
		})
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wstest.Serve(t, echo, nil)
		wantEcho(t, p.Client, "warm")
		p.ToServer.Slow(0, time.Second)
		p.ToClient.Slow(1000, 0)
		start := time.Now()
		wantEcho(t, p.Client, strings.Repeat("x", 4996))
		if d := time.Since(start).Round(10 * time.Millisecond); d != 6*time.Second {
			t.Errorf("a second there, and 5000 bytes at 1000 a second back, should take 6 s and take %v", d)
		}
		p.ToServer.Slow(0, 0)
		p.ToClient.Slow(0, 0)
		p.ToClient.SetChunk(1)
		start = time.Now()
		wantEcho(t, p.Client, "quick again")
		if d := time.Since(start); d > 0 {
			t.Errorf("at full speed it takes %v", d)
		}
	})
}

func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := wstest.Serve(t, echo, nil)
		wantEcho(t, p.Client, "not recorded")
		p.ToServer.Record()
		p.ToClient.Record()
		wantEcho(t, p.Client, "Hello")
		m, _ := p.Client.NextWriter(bg, websocket.MessageBinary)
		m.Write(bytes.Repeat([]byte{1}, 5000))
		m.Close()
		p.Client.ReadMessage(bg)
		p.Client.Ping(bg)
		p.Client.Shutdown(bg, 4000, "enough")
		frames := p.ToServer.Frames()
		if len(frames) != 5 || len(frames[1].Payload)+len(frames[2].Payload) != 5000 || !frames[1].Masked {
			t.Fatalf("recorded: %v", frames)
		}
		if a, b := frames[0].String(), frames[1].String(); a != `text "Hello"` || !strings.HasPrefix(b, `binary (more follows) "\x01\x01`) {
			t.Errorf("frames are told as %s and %s", a, b)
		}
		p.ToServer.Record()
		if n := len(p.ToServer.Frames()); n != 0 {
			t.Errorf("Record should forget what was recorded, and keeps %d frames", n)
		}
		const pong = `pong "\x00\x00\x00\x00\x00\x00\x00\x01"` + "\n"
		got := p.ToClient.Transcript()
		if !strings.HasPrefix(got, `text "Hello"`+"\n"+`binary "\x01`) || !strings.HasSuffix(got, pong+"close 4000\n") {
			t.Errorf("the transcript is %q", got)
		}
	})
}

// Frames are recorded as they are on the wire: a compressed message is told as one.
func TestRecordCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := &websocket.Options{Compression: &websocket.Compression{}}
		p := wstest.Connect(t, opts, opts)
		p.ToClient.Record()
		p.Server.WriteText(bg, strings.Repeat("much of the same ", 1000))
		if _, m, err := p.Client.ReadMessage(bg); err != nil || len(m) != 17000 {
			t.Fatalf("received %d bytes, %v", len(m), err)
		}
		if got := p.ToClient.Transcript(); !strings.HasPrefix(got, "text (compressed) ") || len(got) > 2000 {
			t.Errorf("the transcript is %q", got)
		}
	})
}
