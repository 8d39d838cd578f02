package websocket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whole handshakes, with net/http below, against arbitrary bytes of the peer.

// A oneShot is a listener to which one connection comes.
type oneShot struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneShot) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conn:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneShot) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneShot) Addr() net.Addr { return &net.TCPAddr{} }

// hasToken reports whether one of the comma-separated words of a field is token.
func hasToken(h http.Header, name, token string) bool {
	for word := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(word), token) {
			return true
		}
	}
	return false
}

// wantRest waits until the goroutines of an input have ended, and its buffers were given
// back: one more than before may be left if before counted one of the last input's.
func wantRest(t *testing.T, goroutines int, buffers int64) {
	t.Helper()
	if !eventually(func() bool { return runtime.NumGoroutine() <= goroutines && lent.Load() <= buffers }) {
		stacks := make([]byte, 64<<10)
		t.Fatalf("%d goroutines are left, and %d buffers:\n%s", runtime.NumGoroutine()-goroutines,
			lent.Load()-buffers, stacks[:runtime.Stack(stacks, true)])
	}
}

// FuzzRequest: whatever a client sends to a server, in whatever pieces, a connection
// is opened only by a request that has all that section 4.2.1 asks for, the answer is
// then the one 101 that belongs to its key, and in the end nothing is left.
func FuzzRequest(f *testing.F) {
	message := string(session(client, textF("Hello"), closeF(StatusNormalClosure, "")))
	for _, request := range []string{
		handshake() + message,
		handshake("Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits") + message,
		handshake("Origin: http://example.com"), handshake("Origin: https://evil.example"), handshake("Origin: null"),
		handshake("Content-Length: 5") + "Hello", handshake("Transfer-Encoding: chunked") + "0\r\n\r\n" + message,
		handshake("Sec-WebSocket-Key: " + acceptVectors[0].key), handshake("Connection: close"),
		strings.Replace(handshake(), "GET", "POST", 1), strings.Replace(handshake(), "1.1", "1.0", 1),
		strings.Replace(handshake(), ": 13", ": 8", 1), strings.Replace(handshake(), "==", "=", 1),
		"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n" + handshake() + message,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(request), []byte{})
		f.Add([]byte(request), []byte{0, 60, 3})
	}
	f.Fuzz(func(t *testing.T, in, sizes []byte) {
		before, buffers := runtime.NumGoroutine(), lent.Load()
		tape := newTape(in, sizes)
		listener := &oneShot{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		listener.conn <- tape
		var opened []*http.Request
		var handlers sync.WaitGroup
		web := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handlers.Add(1)
			defer handlers.Done()
			c, err := Accept(w, r, &Options{Subprotocols: []string{"chat"}, Compression: &Compression{}, ReadLimit: 4 << 10})
			if err != nil {
				return
			}
			opened = append(opened, r)
			echo(c)
			c.Close()
		})}
		served := inBackground(func() error { return web.Serve(listener) })
		<-tape.closed // after every handler that has seen it open has begun
		web.Close()
		<-served
		handlers.Wait()
		wantRest(t, before, buffers)
		tape.mu.Lock()
		defer tape.mu.Unlock()
		if n := bytes.Count(tape.out.Bytes(), []byte("HTTP/1.1 101 ")); n != len(opened) {
			t.Errorf("%d connections were opened, and the client was told of %d", len(opened), n)
		}
		for _, r := range opened {
			wantOpening(t, r)
			key := r.Header.Get("Sec-WebSocket-Key")
			if !bytes.Contains(tape.out.Bytes(), []byte("\r\nSec-WebSocket-Accept: "+AcceptKey(key)+"\r\n")) {
				t.Errorf("the answer to key %q is %q", key, tape.out.Bytes())
			}
		}
	})
}

// wantOpening checks what 4.2.1 asks of a request.
func wantOpening(t *testing.T, r *http.Request) {
	t.Helper()
	keys := r.Header["Sec-Websocket-Key"]
	ok := len(keys) == 1
	if ok {
		nonce, err := base64.StdEncoding.DecodeString(keys[0])
		ok = err == nil && len(nonce) == 16
	}
	ok = ok && r.Method == "GET" && r.ProtoAtLeast(1, 1) && r.Host != "" && r.ContentLength == 0 && r.TransferEncoding == nil &&
		hasToken(r.Header, "Upgrade", "websocket") && hasToken(r.Header, "Connection", "upgrade") &&
		slices.Equal(r.Header["Sec-Websocket-Version"], []string{"13"})
	if !ok {
		t.Errorf("a connection was opened by %s %s %s, of host %q, %v", r.Method, r.RequestURI, r.Proto, r.Host, r.Header)
	}
}

// FuzzResponse: whatever a server answers, a client opens a connection only by what
// section 4.1 asks for, and in the end nothing is left. ACCEPT in the answer stands
// for what belongs to the client's key.
func FuzzResponse(f *testing.F) {
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
	message := string(session(server, textF("Hello"), closeF(StatusNormalClosure, "")))
	for _, a := range []string{
		answer + "\r\n" + message,
		answer + "Sec-WebSocket-Protocol: chat\r\n\r\n" + message, answer + "Sec-WebSocket-Protocol: other\r\n\r\n",
		answer + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n" + message,
		answer + "Sec-WebSocket-Extensions: unknown\r\n\r\n", answer + "Content-Length: 5\r\n\r\n" + message,
		answer + "Sec-WebSocket-Accept: ACCEPT\r\n\r\n", answer + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n" + answer + "\r\n" + message,
		strings.Replace(answer, "101 Switching Protocols", "200 OK", 1) + "\r\n", strings.Replace(answer, "1.1", "1.0", 1) + "\r\n",
		strings.Replace(answer, "ACCEPT", acceptVectors[0].accept, 1) + "\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "\x16\x03\x01", "",
	} {
		f.Add(a, false)
		f.Add(a, true)
	}
	f.Fuzz(func(t *testing.T, answer string, compressed bool) {
		before, buffers := runtime.NumGoroutine(), lent.Load()
		opts := &Options{Subprotocols: []string{"chat"}, ReadLimit: 4 << 10}
		if compressed {
			opts.Compression = &Compression{}
		}
		var key, said string // by the client and by the server, the last time
		s := newPiped(func(nc net.Conn) {
			r, err := http.ReadRequest(bufio.NewReader(nc))
			if err != nil {
				return
			}
			key = r.Header.Get("Sec-WebSocket-Key")
			said = strings.ReplaceAll(answer, "ACCEPT", AcceptKey(key))
			if strings.Contains(said, "HTTP/1.1 101 ") {
				go io.Copy(io.Discard, nc) // the client may have something to say, too
			}
			io.WriteString(nc, said)
		})
		opts.HTTPClient = s.Client
		ctx, cancel := context.WithTimeout(bg, 10*time.Second)
		defer cancel()
		c, resp, err := Dial(ctx, "ws://example.com/chat", opts)
		if err == nil {
			end := readErr(c)
			var closed *CloseError
			var broken *ProtocolError
			if !errors.As(end, &closed) && !errors.As(end, &broken) && !errors.Is(end, ErrMessageTooBig) && !errors.Is(end, io.ErrUnexpectedEOF) {
				t.Errorf("the connection ended with %v, which does not say what the peer did", end)
			}
			c.Close()
			wantOpened(t, key, said, resp, opts)
		} else if c != nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial returns %v, %v", c, err)
		}
		s.Client.CloseIdleConnections()
		s.wg.Wait()
		wantRest(t, before, buffers)
	})
}

// wantOpened checks what 4.1 asks of an answer, of which resp was made.
func wantOpened(t *testing.T, key, said string, resp *http.Response, opts *Options) {
	t.Helper()
	accept := resp.Header["Sec-Websocket-Accept"]
	ok := resp.StatusCode == 101 && strings.Contains(said, " 101") && len(accept) == 1 &&
		accept[0] == AcceptKey(key) &&
		hasToken(resp.Header, "Upgrade", "websocket") && hasToken(resp.Header, "Connection", "upgrade")
	if p := resp.Header["Sec-Websocket-Protocol"]; len(p) > 1 || len(p) == 1 && p[0] != "chat" {
		ok = false
	}
	if opts.Compression == nil && strings.Trim(strings.Join(resp.Header["Sec-Websocket-Extensions"], ""), ", \t") != "" {
		ok = false
	}
	if !ok {
		t.Errorf("a connection was opened by %q", said)
	}
}
