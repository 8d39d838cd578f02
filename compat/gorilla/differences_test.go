package websocket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	native "example.com/websocket"
	"example.com/websocket/compat/gorilla"
)

// What is not as in gorilla/websocket: the table of the package comment.

// nativeDial opens a connection that shows everything.
func nativeDial(t *testing.T, url string) *native.Conn {
	t.Helper()
	c, _, err := native.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Any number of goroutines write, in every way, and every message arrives whole.
func TestConcurrentWrites(t *testing.T) {
	const writers, each = 4, 50
	pm, _ := websocket.NewPreparedMessage(websocket.TextMessage, []byte(strings.Repeat("p", 1000)))
	ways := map[string]func(c *websocket.Conn) error{
		"message": func(c *websocket.Conn) error {
			return c.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("m", 5000)))
		},
		"large":    func(c *websocket.Conn) error { return c.WriteMessage(websocket.TextMessage, make([]byte, 50_000)) },
		"json":     func(c *websocket.Conn) error { return c.WriteJSON(map[string]int{"x": 1}) },
		"prepared": func(c *websocket.Conn) error { return c.WritePreparedMessage(pm) },
		"ping": func(c *websocket.Conn) error {
			return c.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(10*time.Second))
		},
		"deadline": func(c *websocket.Conn) error {
			c.EnableWriteCompression(true)
			return c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		},
	}
	c := dial(t, serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) {
		var all sync.WaitGroup
		for name, write := range ways {
			for range writers {
				all.Go(func() {
					for range each {
						if err := write(c); err != nil {
							t.Errorf("%s: %v", name, err)
						}
					}
				})
			}
		}
		all.Go(func() {
			for range each {
				w, err := c.NextWriter(websocket.TextMessage)
				if err != nil {
					t.Error(err)
					return
				}
				// Another's message may end this one, which is an error and no more.
				w.Write([]byte("w"))
				w.Close()
			}
		})
		all.Wait()
		c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
		c.ReadMessage()
	}))
	got := make(map[string]int)
	for {
		_, p, err := c.ReadMessage()
		if websocket.IsCloseError(err, 1000) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[string(p)]++
	}
	for _, want := range []string{strings.Repeat("m", 5000), string(make([]byte, 50_000)), "{\"x\":1}\n", strings.Repeat("p", 1000)} {
		if got[want] != writers*each {
			t.Errorf("%d messages of %d bytes arrive, and %d were sent", got[want], len(want), writers*each)
		}
		delete(got, want)
	}
	if got["w"]+got[""] != each || len(got) > 2 {
		t.Errorf("of the NextWriters' arrive %v", got)
	}
}

// Two who read share the messages.
func TestConcurrentReads(t *testing.T) {
	const messages = 200
	c := dial(t, serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) {
		for i := range messages {
			c.WriteMessage(websocket.TextMessage, fmt.Append(nil, i))
		}
		c.WriteMessage(websocket.CloseMessage, nil)
		c.ReadMessage()
	}))
	var mu sync.Mutex
	got := make(map[string]bool)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				_, p, err := c.ReadMessage()
				if err != nil {
					if !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				got[string(p)] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(got) != messages {
		t.Errorf("%d of %d messages were read", len(got), messages)
	}
	_, _, first := c.NextReader()
	for range 2000 {
		if _, _, err := c.NextReader(); err != first {
			t.Fatalf("the error should stay: %v, then %v", first, err)
		}
	}
}

// A close handler may do without an answer; the peer does not.
func TestCloseHandler(t *testing.T) {
	for name, handler := range map[string]func(c *websocket.Conn) func(int, string) error{
		"that sends nothing": func(*websocket.Conn) func(int, string) error {
			return func(int, string) error { return nil }
		},
		"that calls the default": func(c *websocket.Conn) func(int, string) error {
			h := c.CloseHandler()
			return func(code int, text string) error { return h(code, text) }
		},
		"nil": func(*websocket.Conn) func(int, string) error { return nil },
		"that fails": func(*websocket.Conn) func(int, string) error {
			return func(int, string) error { return errors.New("failed") }
		},
	} {
		ended := make(chan error, 1)
		c := nativeDial(t, serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) {
			c.SetCloseHandler(handler(c))
			_, _, err := c.ReadMessage()
			if err := c.WriteMessage(websocket.TextMessage, nil); err != websocket.ErrCloseSent {
				t.Errorf("a handler %s: a write behind the answer returns %v", name, err)
			}
			ended <- err
		}))
		if err := c.Shutdown(t.Context(), 4001, "bye"); err != nil {
			t.Errorf("a handler %s: the closing handshake should be complete: %v", name, err)
		}
		err := <-ended
		if want := name == "that fails"; (err.Error() == "failed") != want || !want && !websocket.IsCloseError(fmt.Errorf("wrapped: %w", err), 4001) {
			t.Errorf("a handler %s: the read returns %v", name, err)
		}
		if websocket.IsUnexpectedCloseError(fmt.Errorf("wrapped: %w", err), 4001) {
			t.Errorf("4001 is expected: %v", err)
		}
	}
}

func TestServerIsShutDown(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrader.Upgrade(w, r, nil)
	}))
	defer s.Close()
	c := dial(t, "ws"+strings.TrimPrefix(s.URL, "http"))
	s.Config.Shutdown(t.Context())
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("behind the server's shutdown: %v", err)
	}
}

func TestProtocolIsEnforced(t *testing.T) {
	c := dial(t, serve(t, &upgrader, echo))
	c.WriteMessage(websocket.TextMessage, []byte("\xff"))
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseInvalidFramePayloadData) {
		t.Errorf("text that is not UTF-8: %v", err)
	}
	c = dial(t, serve(t, &upgrader, echo))
	for _, data := range [][]byte{websocket.FormatCloseMessage(websocket.CloseAbnormalClosure, ""), {1}, websocket.FormatCloseMessage(1000, "\xff")} {
		if err := c.WriteMessage(websocket.CloseMessage, data); err == nil {
			t.Errorf("a Close frame with %q must not be sent", data)
		}
	}
	c.WriteMessage(websocket.TextMessage, []byte("still here"))
	wantText(t, c, "still here")
	c.Close()
	if err := c.WriteMessage(websocket.TextMessage, nil); !errors.Is(err, net.ErrClosed) || err == websocket.ErrCloseSent {
		t.Errorf("a write behind Close: %v", err)
	}
}

// CheckOrigin is asked about every handshake, also one without an Origin.
func TestCheckOriginIsAlwaysAsked(t *testing.T) {
	u := websocket.Upgrader{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "http://good.example" }}
	url := serve(t, &u, echo)
	_, resp, err := websocket.DefaultDialer.Dial(url, nil)
	if err != websocket.ErrBadHandshake || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a client without an origin: %v", err)
	}
	c, _, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"http://good.example"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Without CheckOrigin an Origin is one of a browser's.
func TestOriginsAreOrigins(t *testing.T) {
	url := serve(t, &upgrader, echo)
	host := strings.TrimPrefix(url, "ws://")
	for origin, ok := range map[string]bool{"http://" + host: true, "https://" + host: true, url: false, "http://" + host + "/page": false} {
		c, _, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {origin}})
		if (err == nil) != ok {
			t.Errorf("origin %s may connect: %v; %v", origin, ok, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// Without CheckOrigin a name that leads to this machine is not taken for the server's
// own, since any site's can; with it the program decides.
func TestNamesOverLoopback(t *testing.T) {
	for _, tc := range []struct {
		u      websocket.Upgrader
		status int
	}{
		{websocket.Upgrader{}, http.StatusMisdirectedRequest},
		{websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}, http.StatusSwitchingProtocols},
	} {
		h := http.Header{"Host": {"site.example"}, "Origin": {"http://site.example"}}
		c, resp, err := websocket.DefaultDialer.Dial(serve(t, &tc.u, echo), h)
		if resp == nil || resp.StatusCode != tc.status {
			t.Fatalf("status %d is expected: %v", tc.status, err)
		}
		if body, _ := io.ReadAll(resp.Body); err != nil && !strings.Contains(string(body), `"http://site.example" may not connect to host "site.example", unless Upgrader.CheckOrigin says so`) {
			t.Errorf("the answer does not show the way out: %s", body)
		}
		if err == nil {
			c.Close()
		}
	}
}

// What JSON has not sends nothing.
func TestWriteJSONFails(t *testing.T) {
	c := dial(t, serve(t, &upgrader, echo))
	if err := c.WriteJSON(make(chan int)); err == nil {
		t.Error("a channel is not JSON")
	}
	c.WriteMessage(websocket.TextMessage, []byte("the first"))
	wantText(t, c, "the first")
}

// A Cookie of the requestHeader is sent with those of the Jar.
func TestCookies(t *testing.T) {
	cookies := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { cookies <- r.Header.Get("Cookie") }))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	jar, _ := cookiejar.New(nil)
	jar.SetCookies(u, []*http.Cookie{{Name: "jar", Value: "1"}})
	d := websocket.Dialer{Jar: jar}
	d.Dial("ws://"+u.Host, http.Header{"Cookie": {"own=1"}})
	if got := <-cookies; got != "own=1; jar=1" {
		t.Errorf("the cookies are %q", got)
	}
}

func TestNetDialTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := upgrader.Upgrade(w, r, nil); err == nil {
			echo(c, r)
			c.Close()
		}
	}))
	defer s.Close()
	at, config := "wss"+strings.TrimPrefix(s.URL, "https"), s.Client().Transport.(*http.Transport).TLSClientConfig
	for name, d := range map[string]*websocket.Dialer{
		"TLSClientConfig": {TLSClientConfig: config},
		"NetDial":         {TLSClientConfig: config, NetDial: net.Dial},
		"NetDialTLSContext": {NetDialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
		}},
	} {
		c, _, err := d.Dial(at, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.WriteMessage(websocket.TextMessage, []byte("hello"))
		wantText(t, c, "hello")
		c.Close()
	}
	if _, _, err := websocket.DefaultDialer.Dial(at, nil); err == nil || err == websocket.ErrBadHandshake {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	if _, _, err := (*websocket.Dialer)(nil).Dial("ws://127.0.0.1:1", nil); err == nil {
		t.Error("nobody listens there")
	}
}

// A deadline that was passed while nobody read, and then put off, does not count; one
// that ends a read stays.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := make(memory)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer c.Close()
			w1, _ := c.NextWriter(websocket.TextMessage)
			c.SetWriteDeadline(time.Now().Add(time.Second))
			io.WriteString(w1, strings.Repeat("x", 5000))
			time.Sleep(2 * time.Second)
			c.SetWriteDeadline(time.Now().Add(time.Second))
			io.WriteString(w1, strings.Repeat("y", 5000))
			if err := w1.Close(); err != nil {
				t.Errorf("a deadline that was put off: %v", err)
			}
			c.ReadMessage()
		})}
		go s.Serve(network)
		defer close(network)
		c, _, err := (&websocket.Dialer{NetDialContext: network.dial}).Dial("ws://example.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(r, make([]byte, 10))
		c.SetReadDeadline(time.Now().Add(time.Second))
		time.Sleep(3 * time.Second)
		c.SetReadDeadline(time.Now().Add(time.Second))
		if p, err := io.ReadAll(r); err != nil || len(p) != 9990 {
			t.Errorf("%d bytes, %v", len(p), err)
		}
		start := time.Now()
		_, _, err = c.ReadMessage()
		c.SetReadDeadline(time.Time{})
		if _, _, again := c.ReadMessage(); err == nil || again != err || time.Since(start) != time.Second {
			t.Errorf("a deadline ends reads for good: %v, then %v, after %v", err, again, time.Since(start))
		}
		if err := c.WriteControl(websocket.PingMessage, nil, start.Add(-time.Second)); err == nil || !err.(net.Error).Timeout() {
			t.Errorf("a deadline that has passed: %v", err)
		}
		if err := c.WriteControl(websocket.TextMessage, nil, time.Time{}); err == nil {
			t.Error("text is no control frame")
		}
		c.Close()
		time.Sleep(time.Minute)
	})
}
