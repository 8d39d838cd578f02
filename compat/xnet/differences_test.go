package websocket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	native "example.com/websocket"
	"example.com/websocket/compat/xnet"
)

// What is not as in x/net: the table of the package comment.

func nativeDial(t *testing.T, url string, origin string) *native.Conn {
	t.Helper()
	c, _, err := native.Dial(t.Context(), url, &native.Options{Header: http.Header{"Origin": {origin}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func wantStatus(t *testing.T, c *native.Conn, want native.StatusCode) {
	t.Helper()
	_, _, err := c.ReadMessage(t.Context())
	var closed *native.CloseError
	if !errors.As(err, &closed) || closed.Code != want {
		t.Errorf("the server should close with %v, and the client reads %v", want, err)
	}
}

// frame is one of a client, masked with zeros.
func frame(fin bool, op native.Opcode, payload string) string {
	h := native.FrameHeader{Fin: fin, Opcode: op, Length: int64(len(payload)), Masked: true}
	return string(native.AppendFrameHeader(nil, h)) + payload
}

func TestFragmentsAreOneMessage(t *testing.T) {
	got := make(chan string, 1)
	c := nativeDial(t, serve(t, websocket.Handler(func(ws *websocket.Conn) {
		var s string
		websocket.Message.Receive(ws, &s)
		got <- s
	})), "http://a.example")
	io.WriteString(c.NetConn(), frame(false, native.OpText, "one ")+frame(true, native.OpPing, "")+frame(true, native.OpContinuation, "message"))
	if s := <-got; s != "one message" {
		t.Errorf("Receive gets %q", s)
	}
	wantStatus(t, c, native.StatusNormalClosure) // for the handler has returned
}

func TestCloseIsAnswered(t *testing.T) {
	ended := make(chan error, 1)
	c := nativeDial(t, serve(t, websocket.Handler(func(ws *websocket.Conn) {
		_, err := ws.Read(make([]byte, 10))
		ended <- err
	})), "http://a.example")
	if err := c.Shutdown(t.Context(), 4000, "done"); err != nil {
		t.Errorf("the closing handshake should be complete: %v", err)
	}
	if err := <-ended; err != io.EOF {
		t.Errorf("the server should read io.EOF, and reads %v", err)
	}
}

func TestCloseSays1000(t *testing.T) {
	c := nativeDial(t, serve(t, websocket.Handler(func(ws *websocket.Conn) {
		fmt.Fprint(ws, "last")
		if err := ws.Close(); err != nil {
			t.Error(err)
		}
		if err := ws.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second Close returns %v", err)
		}
	})), "http://a.example")
	if _, p, err := c.ReadMessage(t.Context()); err != nil || string(p) != "last" {
		t.Errorf("%q, %v", p, err)
	}
	wantStatus(t, c, native.StatusNormalClosure)
}

func TestWriteClose(t *testing.T) {
	c := nativeDial(t, serve(t, websocket.Handler(func(ws *websocket.Conn) {
		if err := ws.WriteClose(1006); err == nil {
			t.Error("1006 must not be sent (RFC 6455 7.4.1)")
		}
		if err := ws.WriteClose(4000); err != nil {
			t.Error(err)
		}
		if _, err := ws.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write behind the Close frame returns %v", err)
		}
		if _, err := ws.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the answer should be io.EOF, and is %v", err)
		}
	})), "http://a.example")
	wantStatus(t, c, 4000)
}

func TestProtocolIsEnforced(t *testing.T) {
	for _, tc := range []struct {
		bytes string
		want  native.StatusCode
	}{
		{"\x91\x80\x00\x00\x00\x00", native.StatusProtocolError}, // RSV3
		{frame(true, native.OpText, "\xff"), native.StatusInvalidPayload},
		{"\x81\x00", native.StatusProtocolError}, // not masked
	} {
		ended := make(chan error, 1)
		c := nativeDial(t, serve(t, websocket.Handler(func(ws *websocket.Conn) {
			var s string
			ended <- websocket.Message.Receive(ws, &s)
		})), "http://a.example")
		io.WriteString(c.NetConn(), tc.bytes)
		wantStatus(t, c, tc.want)
		if err := <-ended; err == nil || err == io.EOF {
			t.Errorf("the server should see what was wrong: %v", err)
		}
	}
}

func TestLostConnection(t *testing.T) {
	for sent, want := range map[string]error{"": io.EOF, frame(true, native.OpText, "half")[:8]: io.ErrUnexpectedEOF} {
		ended := make(chan error, 1)
		c := nativeDial(t, serve(t, websocket.Handler(func(ws *websocket.Conn) {
			_, err := io.ReadAll(ws)
			if err == nil {
				err = io.EOF
			}
			ended <- err
		})), "http://a.example")
		io.WriteString(c.NetConn(), sent)
		c.NetConn().Close()
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("a connection that is lost after %q: %v, want %v", sent, err, want)
		}
	}
}

type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func TestHandlerPanics(t *testing.T) {
	logged := make(lines, 10)
	s := httptest.NewUnstartedServer(websocket.Handler(func(ws *websocket.Conn) { panic("oops") }))
	s.Config.ErrorLog = log.New(logged, "", 0)
	s.Start()
	defer s.Close()
	wantStatus(t, nativeDial(t, s.URL, "http://a.example"), native.StatusInternalError)
	if line := <-logged; !strings.Contains(line, "oops") {
		t.Errorf("net/http should log the panic: %q", line)
	}
}

func TestOrigins(t *testing.T) {
	handler := serve(t, websocket.Handler(func(ws *websocket.Conn) {}))
	plain := serve(t, websocket.Server{Handler: func(ws *websocket.Conn) {
		if ws.RemoteAddr().String() != "" || ws.Config().Origin != nil {
			t.Errorf("a client without an origin has %v", ws.RemoteAddr())
		}
	}})
	for _, tc := range []struct {
		url    string
		origin http.Header
		ok     bool
	}{
		{handler, http.Header{"Origin": {"https://anywhere.example"}}, true},
		{handler, nil, false},
		{handler, http.Header{"Origin": {"null"}}, false},
		{plain, nil, true},
	} {
		c, _, err := native.Dial(t.Context(), tc.url, &native.Options{Header: tc.origin})
		if (err == nil) != tc.ok {
			t.Errorf("origin %q: %v", tc.origin, err)
		}
		if err == nil {
			wantStatus(t, c, native.StatusNormalClosure)
		}
	}
}

// A Handshake has a Config of its own, and cannot choose what was not offered.
func TestHandshakeConfig(t *testing.T) {
	s := websocket.Server{
		Config: websocket.Config{Header: http.Header{"X-Server": {"1"}}},
		Handshake: func(config *websocket.Config, r *http.Request) error {
			config.Header.Add("X-Path", r.URL.Path)
			config.Protocol = []string{"foreign"}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			if p := ws.Config().Protocol; len(p) > 0 {
				t.Errorf("%q was not agreed on", p)
			}
		},
	}
	url := serve(t, s)
	for _, path := range []string{"/a", "/b"} {
		c, resp, err := native.Dial(t.Context(), url+path, &native.Options{Subprotocols: []string{"offered"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header["X-Path"]; len(got) != 1 || got[0] != path || resp.Header.Get("X-Server") != "1" {
			t.Errorf("%s is answered with %q", path, resp.Header)
		}
		wantStatus(t, c, native.StatusNormalClosure)
	}
	if len(s.Config.Header) != 1 {
		t.Errorf("the server's own Header has become %q", s.Config.Header)
	}
}

// What is no handshake is answered in HTTP, and no Hijacker is no panic.
func TestNoHandshake(t *testing.T) {
	w := httptest.NewRecorder()
	websocket.Handler(nil).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusUpgradeRequired {
		t.Errorf("a plain GET is answered with %d", w.Code)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Origin": {"http://a.example"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	w = httptest.NewRecorder()
	websocket.Handler(nil).ServeHTTP(w, r)
	if w.Code != http.StatusNotImplemented {
		t.Errorf("a ResponseWriter that is no Hijacker: %d", w.Code)
	}
	r.Header.Set("Sec-WebSocket-Protocol", "a, b")
	w = httptest.NewRecorder()
	websocket.Handler(nil).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("two subprotocols, of which nobody chooses one: %d", w.Code)
	}
}

// script runs a server that answers every request with the same.
func script(t *testing.T, answer string) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				if r, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
					io.WriteString(nc, strings.Replace(answer, "ACCEPT", native.AcceptKey(r.Header.Get("Sec-WebSocket-Key")), 1))
					io.Copy(io.Discard, nc)
				}
			}()
		}
	}()
	return "ws://user:secret@" + l.Addr().String()
}

func TestDialErrors(t *testing.T) {
	const switching = "HTTP/1.1 101 Switching Protocols\r\n"
	const upgrade = switching + "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	u := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	at := func(answer string) *websocket.Config {
		config, _ := websocket.NewConfig(script(t, answer), "http://a.example")
		return config
	}
	for _, tc := range []struct {
		config *websocket.Config
		want   error
	}{
		{at("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), websocket.ErrBadStatus},
		{at("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), websocket.ErrBadStatus},
		{at(switching + "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"), websocket.ErrBadUpgrade},
		{at(upgrade + "Sec-WebSocket-Accept: x\r\n\r\n"), websocket.ErrChallengeResponse},
		{at(upgrade + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: x\r\n\r\n"), websocket.ErrUnsupportedExtensions},
		{at(upgrade + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: x\r\n\r\n"), websocket.ErrBadWebSocketProtocol},
		{&websocket.Config{}, websocket.ErrBadWebSocketLocation},
		{&websocket.Config{Location: u("http://a.example")}, websocket.ErrBadScheme},
		{&websocket.Config{Location: u("ws://a.example")}, websocket.ErrBadWebSocketOrigin},
		{&websocket.Config{Location: u("ws://a.example"), Origin: u("http://a.example")}, websocket.ErrBadProtocolVersion},
	} {
		_, err := websocket.DialConfig(tc.config)
		var dialErr *websocket.DialError
		if !errors.As(err, &dialErr) || dialErr.Err != tc.want || dialErr.Config != tc.config || !errors.Is(err, tc.want) {
			t.Errorf("%v: %v, want %v", tc.config.Location, err, tc.want)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if _, err := websocket.Dial("not a URL", "", "http://a.example"); err == nil {
		t.Error("what is no URL should be an error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := at("").DialContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// A deadline in the middle of a message loses nothing of it, for Receive as for Read.
func TestDeadlineLosesNothing(t *testing.T) {
	for _, tc := range []struct{ name, first, then string }{
		{"Receive, Receive", "receive", "receive"},
		{"Read, Read", "read", "read"},
		{"Receive, Read", "receive", "read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				go func() {
					r, err := http.ReadRequest(bufio.NewReader(b))
					if err != nil {
						return
					}
					io.WriteString(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+native.AcceptKey(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
					h := native.AppendFrameHeader(nil, native.FrameHeader{Fin: true, Opcode: native.OpText, Length: 9})
					io.WriteString(b, string(h)+"a mes")
					time.Sleep(2 * time.Second)
					io.WriteString(b, "sage")
					io.Copy(io.Discard, b)
				}()
				config, _ := websocket.NewConfig("ws://a.example", "http://a.example")
				ws, err := websocket.NewClient(config, a)
				if err != nil {
					t.Fatal(err)
				}
				var got string
				do := func(how string) (err error) {
					if how == "receive" {
						return websocket.Message.Receive(ws, &got)
					}
					p := make([]byte, 100)
					for len(got) < len("a message") {
						n, err := ws.Read(p)
						got += string(p[:n])
						if err != nil {
							return err
						}
					}
					return nil
				}
				ws.SetReadDeadline(time.Now().Add(time.Second))
				if err := do(tc.first); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("the error is %v", err)
				}
				ws.SetReadDeadline(time.Time{})
				if err := do(tc.then); err != nil || got != "a message" {
					t.Errorf("%q, %v; want %q", got, err, "a message")
				}
				ws.Close()
				b.Close()
			})
		})
	}
}
