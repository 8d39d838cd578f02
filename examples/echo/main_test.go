package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/websocket"
	"example.com/websocket/examples/internal/exampletest"
)

func start(t *testing.T, args ...string) *exampletest.Example {
	t.Helper()
	return exampletest.Start(t, run, append([]string{"-addr", "localhost:0", "-page", "localhost:0"}, args...)...)
}

// port returns the colon and the port at the end of a URL.
func port(url string) string { return url[strings.LastIndex(url, ":"):] }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// exchange sends a message and returns the answer.
func exchange(t *testing.T, c *websocket.Conn, typ websocket.MessageType, message []byte) (websocket.MessageType, []byte) {
	t.Helper()
	ctx := testContext(t)
	go c.WriteMessage(ctx, typ, message) // the answer to a large one may have to be read meanwhile
	typ, answer, err := c.ReadMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return typ, answer
}

func TestEchoReturnsEachMessageWithItsType(t *testing.T) {
	c := start(t).Dial("/", &websocket.Options{ReadLimit: maxMessage})
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20, maxMessage} {
		binary := make([]byte, size)
		rand.Read(binary)
		text := bytes.Repeat([]byte("é"), size/2)
		for typ, message := range map[websocket.MessageType][]byte{
			websocket.MessageBinary: binary,
			websocket.MessageText:   text,
		} {
			gotType, got := exchange(t, c, typ, message)
			if gotType != typ || !bytes.Equal(got, message) {
				t.Errorf("a %v message of %d bytes came back as a %v message of %d bytes that is not the same", typ, len(message), gotType, len(got))
			}
		}
	}
}

func TestEchoRefusesMoreThanItsLimit(t *testing.T) {
	c := start(t).Dial("/", nil)
	ctx := testContext(t)
	go c.WriteMessage(ctx, websocket.MessageBinary, make([]byte, maxMessage+1))
	_, _, err := c.ReadMessage(ctx)
	if e := (*websocket.CloseError)(nil); !errors.As(err, &e) || e.Code != websocket.StatusMessageTooBig {
		t.Errorf("a message of 16 MiB and a byte ends in %v, want a close with 1009", err)
	}
}

func TestEchoCompresses(t *testing.T) {
	c, resp, err := websocket.Dial(testContext(t), start(t).Sockets, &websocket.Options{Compression: &websocket.Compression{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if agreed := resp.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(agreed, "permessage-deflate") {
		t.Errorf("the server agrees on the extensions %q, want permessage-deflate", agreed)
	}
	message := bytes.Repeat([]byte("Hello, world! "), 1000)
	if _, got := exchange(t, c, websocket.MessageText, message); !bytes.Equal(got, message) {
		t.Errorf("a compressed message of %d bytes came back as one of %d that is not the same", len(message), len(got))
	}
}

func TestStampTellsTheTimeOfReceipt(t *testing.T) {
	c := start(t).Dial("/stamp", nil)
	before := time.Now().Truncate(time.Second)
	typ, answer := exchange(t, c, websocket.MessageText, []byte("Hello, world!"))
	m := regexp.MustCompile(`^Received: Hello, world! at: (.*)$`).FindSubmatch(answer)
	if typ != websocket.MessageText || m == nil {
		t.Fatalf("got the %v message %q", typ, answer)
	}
	at, err := time.ParseInLocation("2006/1/2 15:04:05", string(m[1]), time.Local)
	if err != nil {
		t.Fatal(err)
	}
	if at.Before(before) || at.After(time.Now()) {
		t.Errorf("received at %v, which is not between %v and now", at, before)
	}
}

func TestOnlyExpectedPagesMayConnect(t *testing.T) {
	e := start(t, "-origin", "https://example.com, https://www.example.org:8443")
	for origin, allowed := range map[string]bool{
		"https://example.com":                  true,
		"https://www.example.org:8443":         true,
		"http://localhost" + port(e.Pages[0]):  true,
		"http://127.0.0.1" + port(e.Pages[0]):  true,
		"http://[::1]" + port(e.Pages[0]):      true,
		"http://127.0.0.1" + port(e.Sockets):   true,
		"http://localhost" + port(e.Sockets):   true,
		"https://localhost" + port(e.Pages[0]): false,
		"http://localhost":                     false,
		"http://example.com":                   false,
		"https://example.com.attacker.example": false,
		"null":                                 false,
	} {
		opts := &websocket.Options{Header: http.Header{"Origin": {origin}}}
		c, resp, err := websocket.Dial(testContext(t), e.Sockets, opts)
		if err == nil {
			c.Close()
		}
		if allowed && err != nil {
			t.Errorf("a page of %s is refused: %v", origin, err)
		}
		if !allowed && (err == nil || resp == nil || resp.StatusCode != http.StatusForbidden) {
			t.Errorf("a page of %s is not refused with 403: %v", origin, err)
		}
	}
}

func TestShutdownTellsClients(t *testing.T) {
	e := start(t)
	c := e.Dial("/", nil)
	exchange(t, c, websocket.MessageText, []byte("we are connected"))
	go e.Stop()
	_, _, err := c.ReadMessage(testContext(t))
	if ce := (*websocket.CloseError)(nil); !errors.As(err, &ce) || ce.Code != websocket.StatusGoingAway {
		t.Errorf("at the shutdown a client gets %v, want a close with 1001", err)
	}
}

func TestConnectionsAreLogged(t *testing.T) {
	e := start(t)
	c := e.Dial("/stamp", &websocket.Options{Header: http.Header{"Origin": {e.Pages[0]}}})
	e.WaitLog("connects to /stamp from \"" + e.Pages[0] + "\"")
	c.Shutdown(testContext(t), websocket.StatusNormalClosure, "that was all")
	e.WaitLog("is gone: websocket: closed by the peer with 1000 (normal closure): \"that was all\"")
}

func TestAddressInUse(t *testing.T) {
	e := start(t)
	for flag, address := range map[string]string{"-addr": e.Sockets, "-page": e.Pages[0]} {
		args := []string{"-addr", "localhost:0", "-page", "localhost:0", flag, "localhost" + port(address)}
		err := run(testContext(t), args, t.Output())
		if err == nil || !strings.Contains(err.Error(), "another address with "+flag) {
			t.Errorf("%s in use: the error is %v, and does not name the flag", flag, err)
		}
	}
}

// A path may hold any character, %0a too; a log has one line for an event.
func TestLogLines(t *testing.T) {
	var out bytes.Buffer
	h := announce(http.NotFoundHandler(), log.New(&out, "", 0))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/a%0a127.0.0.1:1%20connects%20to%20/", nil))
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("one request makes %d lines in the log: %q", n, out.String())
	}
}

// An -origin that websocket.AllowOrigins does not take is an error with a text, and
// not a panic.
func TestOriginFlag(t *testing.T) {
	for _, origin := range []string{"http://:80", "http://münchen.example", "*"} {
		func() {
			defer func() {
				if x := recover(); x != nil {
					t.Errorf("-origin %s panics: %v", origin, x)
				}
			}()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := run(ctx, []string{"-addr", "127.0.0.1:0", "-page", "127.0.0.1:0", "-origin", origin}, io.Discard)
			if err == nil {
				t.Errorf("-origin %s should be an error", origin)
			}
		}()
	}
}
