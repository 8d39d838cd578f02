package websocket_test

// Programs as they are written for github.com/gorilla/websocket. Nothing but the import
// line is another one: compare/compat runs this file with the original, too.

import (
	"bytes"
	"context"
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

	"example.com/websocket/compat/gorilla"
)

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

// serve runs a server whose connections a function serves, and returns its URL.
func serve(t *testing.T, u *websocket.Upgrader, f func(c *websocket.Conn, r *http.Request)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		f(c, r)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err, resp)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return c
}

func echo(c *websocket.Conn, _ *http.Request) {
	for {
		mt, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(mt, message); err != nil {
			return
		}
	}
}

func wantText(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	mt, p, err := c.ReadMessage()
	if err != nil || mt != websocket.TextMessage || string(p) != want {
		t.Fatalf("type %d, %q, %v; want %q", mt, p, err, want)
	}
}

// A hub with a read pump and a write pump for each client. The write pump sends what
// waits in one message, line by line; the hub drops a client whose channel is full.
type hub struct {
	join, leave chan *member
	messages    chan []byte
	members     map[*member]bool
	stopped     chan struct{}
}

type member struct {
	hub  *hub
	conn *websocket.Conn
	send chan []byte
}

func (h *hub) run(ctx context.Context) {
	defer close(h.stopped)
	drop := func(m *member) {
		if h.members[m] {
			delete(h.members, m)
			close(m.send)
		}
	}
	for {
		select {
		case m := <-h.join:
			h.members[m] = true
		case m := <-h.leave:
			drop(m)
		case p := <-h.messages:
			for m := range h.members {
				select {
				case m.send <- p:
				default:
					drop(m)
				}
			}
		case <-ctx.Done():
			for m := range h.members {
				drop(m)
			}
			return
		}
	}
}

func (m *member) readPump() {
	defer func() {
		select {
		case m.hub.leave <- m:
		case <-m.hub.stopped:
		}
		m.conn.Close()
	}()
	const wait = 10 * time.Second
	m.conn.SetReadLimit(512)
	m.conn.SetReadDeadline(time.Now().Add(wait))
	m.conn.SetPongHandler(func(string) error { return m.conn.SetReadDeadline(time.Now().Add(wait)) })
	for {
		_, p, err := m.conn.ReadMessage()
		if err != nil {
			return
		}
		select {
		case m.hub.messages <- p:
		case <-m.hub.stopped:
			return
		}
	}
}

func (m *member) writePump() {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer func() {
		ticker.Stop()
		m.conn.Close()
	}()
	for {
		select {
		case p, ok := <-m.send:
			m.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if !ok {
				m.conn.WriteMessage(websocket.CloseMessage, []byte{})
				return
			}
			w, err := m.conn.NextWriter(websocket.TextMessage)
			if err != nil {
				return
			}
			w.Write(p)
			for range len(m.send) {
				if p, ok := <-m.send; ok {
					w.Write([]byte{'\n'})
					w.Write(p)
				}
			}
			if err := w.Close(); err != nil {
				return
			}
		case <-ticker.C:
			m.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if err := m.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		}
	}
}

func TestProgramHub(t *testing.T) {
	h := &hub{make(chan *member), make(chan *member), make(chan []byte), make(map[*member]bool), make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go h.run(ctx)
	url := serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) {
		m := &member{h, c, make(chan []byte, 256)}
		h.join <- m
		go m.writePump()
		m.readPump()
	})
	const clients, each = 5, 50
	var conns []*websocket.Conn
	for range clients {
		conns = append(conns, dial(t, url))
	}
	// All have joined when each has heard itself.
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			hello := fmt.Sprintf("hello from %d", i)
			c.WriteMessage(websocket.TextMessage, []byte(hello))
			for {
				_, p, err := c.ReadMessage()
				if err != nil {
					t.Error(err)
					return
				}
				if strings.Contains("\n"+string(p)+"\n", "\n"+hello+"\n") {
					return
				}
			}
		}()
	}
	wg.Wait()
	for i, c := range conns {
		wg.Add(2)
		go func() {
			defer wg.Done()
			for k := range each {
				if err := c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%d:%d", i, k)); err != nil {
					t.Error(err)
				}
			}
		}()
		go func() {
			defer wg.Done()
			got := make(map[string]bool)
			for len(got) < clients*each {
				_, p, err := c.ReadMessage()
				if err != nil {
					t.Error(err)
					return
				}
				for line := range strings.SplitSeq(string(p), "\n") {
					if !strings.HasPrefix(line, "hello") {
						got[line] = true
					}
				}
			}
		}()
	}
	wg.Wait()
	if err := conns[0].WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("x"), 513)); err != nil {
		t.Error(err)
	}
	if _, _, err := conns[0].ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a message beyond the hub's limit: %v", err)
	}
	cancel()
	if _, _, err := conns[1].ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("the end of the hub: %v", err)
	}
}

// A network in memory, for a bubble of testing/synctest.
type memory chan net.Conn

func (m memory) Accept() (net.Conn, error) {
	if c, ok := <-m; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (m memory) Close() error   { return nil }
func (m memory) Addr() net.Addr { return &net.TCPAddr{} }
func (m memory) dial(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	m <- a
	return b, nil
}

// A server with a ping ticker and deadlines: it keeps a client that answers and
// finds out about one that does not.
func TestProgramPings(t *testing.T) {
	const (
		pongWait   = 60 * time.Second
		pingPeriod = pongWait * 9 / 10
	)
	var ended chan error
	serve := func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		done := make(chan struct{})
		defer close(done)
		go func() {
			ticker := time.NewTicker(pingPeriod)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
					if err := c.WriteControl(websocket.PingMessage, []byte("are you there?"), time.Now().Add(time.Second)); err != nil {
						return
					}
				case <-done:
					return
				}
			}
		}()
		c.SetReadDeadline(time.Now().Add(pongWait))
		c.SetPongHandler(func(data string) error {
			if data != "are you there?" {
				t.Errorf("pong with %q", data)
			}
			c.SetReadDeadline(time.Now().Add(pongWait))
			return nil
		})
		for err == nil {
			_, _, err = c.ReadMessage()
		}
		if _, _, again := c.ReadMessage(); again != err {
			t.Errorf("an error should stay: %v, then %v", err, again)
		}
		ended <- err
	}
	synctest.Test(t, func(t *testing.T) {
		network := make(memory)
		ended = make(chan error, 2)
		s := &http.Server{Handler: http.HandlerFunc(serve)}
		go s.Serve(network)
		defer close(network)
		d := websocket.Dialer{NetDialContext: network.dial}
		connect := func() *websocket.Conn {
			c, _, err := d.Dial("ws://example.com", nil)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}

		alive := connect()
		start, pings := time.Now(), 0
		answer := alive.PingHandler()
		alive.SetPingHandler(func(data string) error {
			if pings++; pings == 10 {
				return errors.New("enough")
			}
			return answer(data)
		})
		if _, _, err := alive.ReadMessage(); err == nil || err.Error() != "enough" || time.Since(start) != 10*pingPeriod {
			t.Errorf("a handler's error should end the read after ten pings: %v after %v", err, time.Since(start))
		}
		alive.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "bye"), time.Now().Add(time.Second))
		go io.Copy(io.Discard, alive.NetConn())
		var closed *websocket.CloseError
		if err := <-ended; !errors.As(err, &closed) || closed.Code != websocket.CloseGoingAway || closed.Text != "bye" {
			t.Errorf("the server sees %v", err)
		}
		alive.Close()

		dead := connect()
		start = time.Now()
		dead.SetPingHandler(func(string) error { return nil })
		go dead.ReadMessage()
		err := <-ended
		if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() || time.Since(start) != pongWait {
			t.Errorf("the server should time out, and sees %v after %v", err, time.Since(start))
		}
		dead.Close()
		time.Sleep(time.Minute) // for what is done behind a Close
	})
}

// A client that closes properly: it sends a Close frame, and waits for the server's.
func TestProgramClient(t *testing.T) {
	serverSaw := make(chan error, 1)
	url := serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) {
		for {
			mt, p, err := c.ReadMessage()
			if err != nil {
				serverSaw <- err
				return
			}
			c.WriteMessage(mt, p)
		}
	})
	c := dial(t, url)
	done := make(chan error)
	received := make(chan string, 10)
	go func() {
		for {
			_, p, err := c.ReadMessage()
			if err != nil {
				done <- err
				return
			}
			received <- string(p)
		}
	}()
	for i := range 3 {
		if err := c.WriteMessage(websocket.TextMessage, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if got := <-received; got != fmt.Sprint(i) {
			t.Errorf("received %q, want %d", got, i)
		}
	}
	if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteMessage(websocket.TextMessage, nil); err != websocket.ErrCloseSent {
		t.Errorf("a write behind the Close frame: %v", err)
	}
	select {
	case err := <-done:
		if !websocket.IsCloseError(err, websocket.CloseNormalClosure) || websocket.IsUnexpectedCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("the client reads %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("no answer to the Close frame")
	}
	if err := <-serverSaw; !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("the server reads %v", err)
	}
	c.Close()
	if err := c.WriteMessage(websocket.TextMessage, nil); err != websocket.ErrCloseSent {
		t.Errorf("a write behind the Close frame and Close: %v", err)
	}
}

// A connection that just ends.
func TestProgramAbnormalClosure(t *testing.T) {
	for name, end := range map[string]func(c *websocket.Conn){
		"the process is gone": func(c *websocket.Conn) { c.NetConn().Close() },
		"Close":               func(c *websocket.Conn) { c.Close() },
	} {
		c := dial(t, serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) { end(c) }))
		_, _, err := c.ReadMessage()
		if !websocket.IsUnexpectedCloseError(err, websocket.CloseGoingAway) || !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Programs tell the ends of connections apart by the texts, too.
func TestProgramCloseErrorText(t *testing.T) {
	for code, want := range map[int]string{
		websocket.CloseNormalClosure:           "websocket: close 1000 (normal): bye",
		websocket.CloseGoingAway:               "websocket: close 1001 (going away): bye",
		websocket.CloseProtocolError:           "websocket: close 1002 (protocol error): bye",
		websocket.CloseUnsupportedData:         "websocket: close 1003 (unsupported data): bye",
		websocket.CloseNoStatusReceived:        "websocket: close 1005 (no status): bye",
		websocket.CloseAbnormalClosure:         "websocket: close 1006 (abnormal closure): bye",
		websocket.CloseInvalidFramePayloadData: "websocket: close 1007 (invalid payload data): bye",
		websocket.ClosePolicyViolation:         "websocket: close 1008 (policy violation): bye",
		websocket.CloseMessageTooBig:           "websocket: close 1009 (message too big): bye",
		websocket.CloseMandatoryExtension:      "websocket: close 1010 (mandatory extension missing): bye",
		websocket.CloseInternalServerErr:       "websocket: close 1011 (internal server error): bye",
		websocket.CloseServiceRestart:          "websocket: close 1012: bye",
		websocket.CloseTryAgainLater:           "websocket: close 1013: bye",
		websocket.CloseTLSHandshake:            "websocket: close 1015 (TLS handshake error): bye",
		4000:                                   "websocket: close 4000: bye",
	} {
		if got := (&websocket.CloseError{Code: code, Text: "bye"}).Error(); got != want {
			t.Errorf("the error is %q, want %q", got, want)
		}
	}
	if got, want := (&websocket.CloseError{Code: 1000}).Error(), "websocket: close 1000 (normal)"; got != want {
		t.Errorf("the error is %q, want %q", got, want)
	}
}

func TestProgramJSON(t *testing.T) {
	type point struct{ X, Y int }
	c := dial(t, serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) {
		for {
			var p point
			if err := c.ReadJSON(&p); err != nil {
				return
			}
			p.X, p.Y = p.Y, p.X
			c.WriteJSON(p)
		}
	}))
	c.WriteJSON(point{1, 2})
	wantText(t, c, `{"X":2,"Y":1}`+"\n")
	websocket.WriteJSON(c, point{3, 4})
	var p point
	if err := websocket.ReadJSON(c, &p); err != nil || p != (point{4, 3}) {
		t.Errorf("%v, %v", p, err)
	}
}

// Messages in pieces, both ways.
func TestProgramStreams(t *testing.T) {
	c := dial(t, serve(t, &upgrader, func(c *websocket.Conn, _ *http.Request) {
		for {
			mt, r, err := c.NextReader()
			if err != nil {
				return
			}
			w, err := c.NextWriter(mt)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.Copy(w, r); err != nil {
				t.Error(err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
	}))
	sent := strings.Repeat("0123456789", 20_000)
	w, err := c.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	for p := sent; p != ""; p = p[1000:] {
		io.WriteString(w, p[:1000])
	}
	// The next one ends it.
	w2, err := c.NextWriter(websocket.PingMessage)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w2, "ping")
	w2.Close()
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a writer should be at its end when the next has begun")
	}
	pong := ""
	c.SetPongHandler(func(data string) error { pong = data; return nil })
	_, r, err := c.NextReader()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != sent {
		t.Errorf("%d bytes come back, %v", len(got), err)
	}
	c.WriteMessage(websocket.TextMessage, []byte("second"))
	c.WriteMessage(websocket.TextMessage, []byte("third"))
	_, r, err = c.NextReader()
	if err != nil || pong != "ping" {
		t.Fatal(err, pong)
	}
	r.Read(make([]byte, 3))
	wantText(t, c, "third") // what was not read of a message is discarded
	if n, err := r.Read(make([]byte, 3)); n != 0 || err != io.EOF {
		t.Errorf("a reader of a message that was left: %d, %v", n, err)
	}
	c.WriteMessage(websocket.TextMessage, []byte("a"))
	c.WriteMessage(websocket.BinaryMessage, []byte("b"))
	c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
	all, err := io.ReadAll(websocket.JoinMessages(c, ";"))
	if string(all) != "a;b;" || !websocket.IsCloseError(err, 1000) {
		t.Errorf("joined: %q, %v", all, err)
	}
}

// A message that was not ended is ended by the next, whatever that is.
func TestProgramUnfinishedMessages(t *testing.T) {
	u := websocket.Upgrader{EnableCompression: true}
	for _, d := range []*websocket.Dialer{{}, {EnableCompression: true}} {
		for _, compress := range []bool{true, false} {
			c, _, err := d.Dial(serve(t, &u, func(c *websocket.Conn, _ *http.Request) {
				c.EnableWriteCompression(compress)
				begin := func(typ int, text string) io.Writer {
					w, err := c.NextWriter(typ)
					if err != nil {
						t.Error(err)
						return io.Discard
					}
					io.WriteString(w, text)
					return w
				}
				first := begin(websocket.TextMessage, "first")
				begin(websocket.TextMessage, "second")
				if _, err := io.WriteString(first, "late"); err == nil {
					t.Error("the first writer should be at its end")
				}
				c.WriteMessage(websocket.TextMessage, []byte("third"))
				begin(websocket.PingMessage, "ping")
				c.WriteJSON("fourth")
				begin(websocket.TextMessage, "last")
				if err := c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")); err != nil {
					t.Error(err)
				}
				c.ReadMessage()
			}), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ping := ""
			c.SetPingHandler(func(data string) error { ping = data; return nil })
			for _, want := range []string{"first", "second", "third", "\"fourth\"\n", "last"} {
				wantText(t, c, want)
			}
			if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1000) || ping != "ping" {
				t.Errorf("in the end: %v, and the ping was %q", err, ping)
			}
		}
	}
}

// One message for many.
func TestProgramPrepared(t *testing.T) {
	pm, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(strings.Repeat("prepared ", 200)))
	if err != nil {
		t.Fatal(err)
	}
	u := websocket.Upgrader{EnableCompression: true}
	url := serve(t, &u, func(c *websocket.Conn, _ *http.Request) {
		c.WritePreparedMessage(pm)
		c.EnableWriteCompression(false)
		c.WritePreparedMessage(pm)
		c.SetCompressionLevel(9)
		c.EnableWriteCompression(true)
		w, _ := c.NextWriter(websocket.TextMessage)
		io.WriteString(w, strings.Repeat("prepared ", 200))
		w.Close()
		c.ReadMessage()
	})
	for _, compress := range []bool{false, true} {
		d := websocket.Dialer{EnableCompression: compress}
		c, resp, err := d.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); (got != "") != compress {
			t.Errorf("extensions %q", got)
		}
		for range 3 {
			wantText(t, c, strings.Repeat("prepared ", 200))
		}
		if err := c.WritePreparedMessage(pm); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	if _, err := websocket.NewPreparedMessage(3, nil); err == nil {
		t.Error("there is no message of type 3")
	}
}

// The handshake, with all that a Dialer and an Upgrader take.
func TestProgramHandshake(t *testing.T) {
	u := websocket.Upgrader{
		Subprotocols: []string{"b", "a"},
		CheckOrigin:  func(r *http.Request) bool { return r.Header.Get("Origin") != "http://evil.example" },
		Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
			if _, ok := reason.(websocket.HandshakeError); !ok {
				t.Errorf("the reason is %T", reason)
			}
			w.WriteHeader(status)
			io.WriteString(w, "our own words")
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, http.Header{"Set-Cookie": {"seen=yes"}})
		if err != nil {
			if _, ok := err.(websocket.HandshakeError); !ok {
				t.Errorf("Upgrade returns %T %v", err, err)
			}
			return
		}
		defer c.Close()
		cookie, _ := r.Cookie("seen")
		c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%s %v %s %s", r.Host, cookie, c.Subprotocol(), websocket.Subprotocols(r)))
	}))
	defer s.Close()
	at := "ws" + strings.TrimPrefix(s.URL, "http")
	jar, _ := cookiejar.New(nil)
	dials := 0
	d := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		Jar:              jar,
		HandshakeTimeout: 10 * time.Second,
		Subprotocols:     []string{"a", "b"},
		WriteBufferPool:  new(sync.Pool),
	}
	for _, want := range []string{"chat.example  b [a b]", "chat.example seen=yes b [a b]"} {
		c, resp, err := d.Dial(at, http.Header{"Host": {"chat.example"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "b" || resp.StatusCode != 101 || c.RemoteAddr().String() != strings.TrimPrefix(at, "ws://") {
			t.Errorf("subprotocol %q, status %d, from %v", c.Subprotocol(), resp.StatusCode, c.RemoteAddr())
		}
		wantText(t, c, want)
		c.Close()
	}
	if dials != 2 {
		t.Errorf("%d dials", dials)
	}
	_, resp, err := d.Dial(at, http.Header{"Origin": {"http://evil.example"}})
	if err != websocket.ErrBadHandshake || resp.StatusCode != 403 {
		t.Fatalf("a foreign origin: %v, %v", err, resp)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "our own words" {
		t.Errorf("the body is %q", body)
	}
	get, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer get.Body.Close()
	if body, _ := io.ReadAll(get.Body); get.StatusCode < 400 || string(body) != "our own words" {
		t.Errorf("a plain GET: %d, %q", get.StatusCode, body)
	}
	d.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("no proxy today") }
	if _, _, err := d.Dial(at, nil); err == nil || !strings.Contains(err.Error(), "no proxy today") {
		t.Errorf("an error of Proxy: %v", err)
	}
	if _, _, err := d.Dial("ftp://example.com", nil); err == nil {
		t.Error("ftp is none of its schemes")
	}
}

// Without CheckOrigin only pages of the server's own host may connect; the deprecated
// function takes all.
func TestProgramOrigins(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c *websocket.Conn
		var err error
		if !websocket.IsWebSocketUpgrade(r) {
			return
		}
		if r.URL.Path == "/old" {
			c, err = websocket.Upgrade(w, r, http.Header{"Sec-Websocket-Protocol": {"old"}}, 1024, 1024)
		} else {
			c, err = upgrader.Upgrade(w, r, nil)
		}
		if err == nil {
			c.Close()
		}
	}))
	defer s.Close()
	at := "ws" + strings.TrimPrefix(s.URL, "http")
	for _, tc := range []struct {
		url, origin string
		ok          bool
	}{
		{at, s.URL, true}, {at, "http://evil.example", false}, {at, "", true}, {at + "/old", "http://evil.example", true},
	} {
		h := http.Header{"Sec-Websocket-Protocol": {"new, old"}}
		if tc.origin != "" {
			h.Set("Origin", tc.origin)
		}
		c, _, err := websocket.DefaultDialer.Dial(tc.url, h)
		if (err == nil) != tc.ok {
			t.Errorf("%s from %q: %v", tc.url, tc.origin, err)
		}
		if err == nil {
			if old := strings.HasSuffix(tc.url, "/old"); (c.Subprotocol() == "old") != old {
				t.Errorf("subprotocol %q", c.Subprotocol())
			}
			c.Close()
		}
	}
}

// A read limit, and deadlines of writes.
func TestProgramLimits(t *testing.T) {
	c := dial(t, serve(t, &upgrader, echo))
	c.SetReadLimit(10)
	c.WriteMessage(websocket.TextMessage, []byte("0123456789"))
	wantText(t, c, "0123456789")
	c.WriteMessage(websocket.TextMessage, []byte("0123456789a"))
	if _, _, err := c.ReadMessage(); err != websocket.ErrReadLimit {
		t.Errorf("a message beyond the limit: %v", err)
	}

	stop := make(chan struct{})
	c = dial(t, serve(t, &upgrader, func(*websocket.Conn, *http.Request) { <-stop }))
	defer close(stop)
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	big := make([]byte, 1<<20)
	var err error
	for range 100 {
		if err = c.WriteMessage(websocket.BinaryMessage, big); err != nil {
			break
		}
	}
	if !isLastingTimeout(err) {
		t.Errorf("writes to a peer that takes nothing: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	_, _, err = c.ReadMessage()
	if !isLastingTimeout(err) {
		t.Errorf("who tries again for ever after an error that is temporary must not for this one: %v", err)
	}
	c.SetWriteDeadline(time.Time{})
	if err := c.WriteMessage(websocket.TextMessage, nil); err == nil {
		t.Error("an error of a deadline should stay")
	}
	if err := c.WriteControl(websocket.PingMessage, make([]byte, 126), time.Time{}); err == nil {
		t.Error("a ping of 126 bytes is too long")
	}
	if _, err := websocket.NewPreparedMessage(websocket.PingMessage, make([]byte, 126)); err == nil {
		t.Error("nor can it be prepared")
	}
	if err := c.WriteMessage(7, nil); err == nil {
		t.Error("there is no message of type 7")
	}
}

// What an error of the network is, programs ask by an assertion.
func TestProgramDialErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := websocket.Dialer{HandshakeTimeout: 20 * time.Millisecond}
	_, _, err = d.Dial("ws://"+l.Addr().String(), nil)
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		t.Errorf("a server that does not answer: %T %v", err, err)
	}
	d.HandshakeTimeout = -1
	_, _, err = d.Dial("ws://"+l.Addr().String(), nil)
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		t.Errorf("a time that is over before it begins: %T %v", err, err)
	}
	d.HandshakeTimeout = 0
	l.Close()
	_, _, err = d.Dial("ws://"+l.Addr().String(), nil)
	if _, ok := err.(*net.OpError); !ok {
		t.Errorf("nobody listens: %T %v", err, err)
	}
}

// Many programs hand over the header that they have set already.
func TestProgramResponseHeader(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "a=1")
		if c, err := upgrader.Upgrade(w, r, w.Header()); err == nil {
			c.Close()
		}
	}))
	defer s.Close()
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := resp.Header["Set-Cookie"]; len(got) != 1 || got[0] != "a=1" {
		t.Errorf("the cookies of the answer are %q", got)
	}
}

func TestProgramNewClient(t *testing.T) {
	at := serve(t, &upgrader, echo)
	u, _ := url.Parse(at)
	nc, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := websocket.NewClient(nc, u, http.Header{"Origin": {"http://" + u.Host}}, 1024, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.WriteMessage(websocket.TextMessage, []byte("hello"))
	wantText(t, c, "hello")
}

// isLastingTimeout reports whether err is a time-out, and one that a program which asks
// the deprecated Temporary does not take for worth another try.
func isLastingTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	var temporary interface{ Temporary() bool }
	return errors.As(err, &timeout) && timeout.Timeout() &&
		errors.As(err, &temporary) && !temporary.Temporary()
}
