package websocket_test

// Programs as they are written for golang.org/x/net/websocket. Nothing but the import
// line is another one: compare/compat runs this file with the original, too.

import (
	"bufio"
	"bytes"
	"container/list"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/websocket/compat/xnet"
)

func serve(t *testing.T, h http.Handler) (url string) {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func dial(t *testing.T, url, origin string) *websocket.Conn {
	t.Helper()
	ws, err := websocket.Dial(url, "", origin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetDeadline(time.Now().Add(10 * time.Second))
	return ws
}

func receive(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	var got string
	if err := websocket.Message.Receive(ws, &got); err != nil || got != want {
		t.Fatalf("%q, %v; want %q", got, err, want)
	}
}

// An echo server, into a string and out of it.
func TestProgramEcho(t *testing.T) {
	echo := func(ws *websocket.Conn) {
		for {
			var reply string
			if err := websocket.Message.Receive(ws, &reply); err != nil {
				if err != io.EOF {
					t.Error("can't receive:", err)
				}
				break
			}
			msg := "Received: " + reply
			if err := websocket.Message.Send(ws, msg); err != nil {
				t.Error("can't send:", err)
				break
			}
		}
	}
	ws := dial(t, serve(t, websocket.Handler(echo)), "http://localhost/")
	for _, text := range []string{"Hello, world!", "", strings.Repeat("é", 50_000)} {
		if err := websocket.Message.Send(ws, text); err != nil {
			t.Fatal(err)
		}
		receive(t, ws, "Received: "+text)
	}
	if err := websocket.Message.Send(ws, []byte{0xff}); err != nil {
		t.Fatal(err)
	}
	if err := ws.Close(); err != nil {
		t.Error(err)
	}
}

// A broadcast: whoever sends is named by the host of its page's origin.
func TestProgramBroadcast(t *testing.T) {
	var (
		mu      sync.Mutex
		clients = list.New()
	)
	h := func(ws *websocket.Conn) {
		mu.Lock()
		e := clients.PushBack(ws)
		mu.Unlock()
		defer func() {
			mu.Lock()
			clients.Remove(e)
			mu.Unlock()
			ws.Close()
		}()
		for {
			var msg string
			if err := websocket.Message.Receive(ws, &msg); err != nil {
				return
			}
			text := fmt.Sprintf("Received: %s from: %s", msg, ws.Config().Origin.Host)
			mu.Lock()
			for e := clients.Front(); e != nil; e = e.Next() {
				client := e.Value.(*websocket.Conn)
				if err := websocket.Message.Send(client, text); err != nil {
					t.Error("can't send:", err)
				}
			}
			mu.Unlock()
		}
	}
	url := serve(t, websocket.Handler(h))
	a, b := dial(t, url, "http://localhost:3000"), dial(t, url, "http://localhost:3001")
	for {
		mu.Lock()
		n := clients.Len()
		mu.Unlock()
		if n == 2 {
			break
		}
	}
	websocket.Message.Send(a, "hello")
	receive(t, a, "Received: hello from: localhost:3000")
	receive(t, b, "Received: hello from: localhost:3000")
	websocket.Message.Send(b, "hello yourself")
	receive(t, a, "Received: hello yourself from: localhost:3001")
}

// Values in JSON.
func TestProgramJSON(t *testing.T) {
	type T struct {
		Msg   string
		Count int
	}
	url := serve(t, websocket.Handler(func(ws *websocket.Conn) {
		var data T
		for websocket.JSON.Receive(ws, &data) == nil {
			data.Count++
			websocket.JSON.Send(ws, data)
		}
	}))
	ws := dial(t, url, "http://localhost/")
	for i := range 3 {
		if err := websocket.JSON.Send(ws, T{"hi", i}); err != nil {
			t.Fatal(err)
		}
		var data T
		if err := websocket.JSON.Receive(ws, &data); err != nil || data != (T{"hi", i + 1}) {
			t.Fatalf("%v, %v", data, err)
		}
	}
	if err := websocket.JSON.Send(ws, make(chan int)); err == nil {
		t.Error("a channel is no JSON")
	}
}

// Byte streams: io.Copy on the server, bufio on the client, and a message that is
// read in pieces.
func TestProgramStream(t *testing.T) {
	url := serve(t, websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }))
	ws := dial(t, url, "http://localhost/")
	fmt.Fprintf(ws, "first line\nsecond ")
	fmt.Fprintf(ws, "line\n")
	lines := bufio.NewReader(ws)
	for _, want := range []string{"first line\n", "second line\n"} {
		if got, err := lines.ReadString('\n'); err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	ws.PayloadType = websocket.BinaryFrame
	sent := bytes.Repeat([]byte{0, 1, 2, 0xff}, 100_000)
	go ws.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(lines, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes come back, %v", len(got), err)
	}
	var _ net.Conn = ws
}

// A server that looks at the origin itself, and chooses a subprotocol.
func TestProgramServer(t *testing.T) {
	s := websocket.Server{
		Config: websocket.Config{Header: http.Header{"X-Served-By": {"me"}}},
		Handshake: func(config *websocket.Config, req *http.Request) (err error) {
			if config.Origin, err = websocket.Origin(config, req); err != nil {
				return err
			}
			if config.Origin.Host != "good.example" {
				return fmt.Errorf("no")
			}
			for _, p := range config.Protocol {
				if p == "chat" {
					config.Protocol = []string{p}
				}
			}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			fmt.Fprintf(ws, "%s %s %s", ws.Request().URL.Path, ws.Config().Protocol[0], ws.RemoteAddr())
			io.Copy(io.Discard, ws)
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/chat", s.ServeHTTP)
	url := serve(t, mux) + "/chat"
	if _, err := websocket.Dial(url, "chat", "http://bad.example/"); err == nil || err.(*websocket.DialError).Err != websocket.ErrBadStatus {
		t.Errorf("a foreign origin: %v", err)
	}
	config, err := websocket.NewConfig(url, "http://good.example/")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{"log", "chat"}
	config.Header.Set("Cookie", "a=b")
	ws, err := websocket.DialConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if !ws.IsClientConn() || ws.IsServerConn() || ws.Request() != nil || ws.RemoteAddr().String() != url || ws.LocalAddr().Network() != "websocket" {
		t.Errorf("%v %v %v", ws.Request(), ws.RemoteAddr(), ws.LocalAddr())
	}
	if got := ws.Config().Protocol; len(got) != 1 || got[0] != "chat" {
		t.Errorf("subprotocols %q", got)
	}
	var hello []byte
	if err := websocket.Message.Receive(ws, &hello); err != nil || !strings.HasPrefix(string(hello), "/chat chat http://good.example") {
		t.Errorf("%q, %v", hello, err)
	}
}

// A message that is too large costs only itself.
func TestProgramLimit(t *testing.T) {
	url := serve(t, websocket.Handler(func(ws *websocket.Conn) {
		ws.MaxPayloadBytes = 5
		for {
			var p []byte
			switch err := websocket.Message.Receive(ws, &p); err {
			case nil:
				fmt.Fprintf(ws, "got %s", p)
			case websocket.ErrFrameTooLarge:
				fmt.Fprint(ws, "too large")
			default:
				return
			}
		}
	}))
	ws := dial(t, url, "http://localhost/")
	for text, want := range map[string]string{"hello": "got hello", "hello!": "too large", strings.Repeat("x", 100_000): "too large"} {
		websocket.Message.Send(ws, text)
		receive(t, ws, want)
	}
	// What Receive has found too large can be read as a stream.
	ws.MaxPayloadBytes = 5
	websocket.Message.Send(ws, "hello")
	var p []byte
	if err := websocket.Message.Receive(ws, &p); err != websocket.ErrFrameTooLarge {
		t.Fatal(err)
	}
	got := make([]byte, len("got hello"))
	if _, err := io.ReadFull(ws, got); string(got) != "got hello" {
		t.Errorf("of a message that is too large Read returns %q, %v", got, err)
	}
}

// A client that polls: nothing within its deadline, and then something.
func TestProgramDeadline(t *testing.T) {
	url := serve(t, websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }))
	ws := dial(t, url, "http://localhost/")
	ws.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	var got string
	err := websocket.Message.Receive(ws, &got)
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		t.Fatalf("the error should be a timeout, and is %v", err)
	}
	ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	websocket.Message.Send(ws, "late")
	receive(t, ws, "late")
}

// A client that tells why nobody answers.
func TestProgramNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = websocket.Dial("ws://"+l.Addr().String()+"/", "", "http://localhost/")
	failed, ok := err.(*websocket.DialError)
	if !ok {
		t.Fatalf("Dial returns %T, %v", err, err)
	}
	if op, ok := failed.Err.(*net.OpError); !ok || op.Op != "dial" {
		t.Errorf("the error of the network is %T, %v", failed.Err, failed.Err)
	}
	if want := "websocket.Dial ws://" + l.Addr().String() + "/: dial tcp " + l.Addr().String() + ": "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the error should begin with %q, and is %q", want, err)
	}
}

// A connection that was opened by other means.
func TestProgramNewClient(t *testing.T) {
	url := serve(t, websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }))
	nc, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	config, _ := websocket.NewConfig(url, "http://localhost/")
	ws, err := websocket.NewClient(config, struct{ io.ReadWriteCloser }{nc})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(ws, "hello")
	receive(t, ws, "hello")
	if err := ws.Close(); err != nil {
		t.Error(err)
	}
}
