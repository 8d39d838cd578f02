package websocket_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/rpc"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"example.com/websocket"
	"example.com/websocket/wstest"
)

// A server that sends each message back.
func Example_server() {
	http.Handle("/echo", websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				log.Print(err)
				return
			}
			c.WriteMessage(r.Context(), m.Type, m.Data)
		}
	}))
	log.Fatal(http.ListenAndServe("localhost:1234", nil))
}

// A client that sends one message and reads one.
func Example_client() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		_, p, _ := c.ReadMessage(r.Context())
		c.WriteText(r.Context(), "Hello, "+string(p))
		c.ReadMessage(r.Context()) // the client closes
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := c.WriteText(ctx, "Ada"); err != nil {
		log.Fatal(err)
	}
	typ, p, err := c.ReadMessage(ctx)
	fmt.Printf("%v %s %v\n", typ, p, err)
	fmt.Println(c.Shutdown(ctx, websocket.StatusNormalClosure, ""))
	// Output:
	// text Hello, Ada <nil>
	// <nil>
}

// Values as JSON, a message each.
func Example_json() {
	type order struct {
		Item  string
		Count int
	}
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		for {
			var o order
			err := c.ReadJSON(r.Context(), &o)
			switch {
			case errors.Is(err, websocket.ErrJSON): // nothing is wrong with the connection
				c.WriteJSON(r.Context(), map[string]string{"error": "that is no order"})
			case err != nil:
				return
			default:
				o.Count *= 2
				c.WriteJSON(r.Context(), o)
			}
		}
	}))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	c.WriteJSON(ctx, order{"tea", 2})
	c.WriteText(ctx, "two cups of tea")
	for range 2 {
		_, p, _ := c.ReadMessage(ctx)
		fmt.Printf("%s\n", p)
	}
	// Output:
	// {"Item":"tea","Count":4}
	// {"error":"that is no order"}
}

// A file of any size, as one message that is never in memory as a whole.
func ExampleConn_NextWriter() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.SetReadLimit(-1) // since what comes is not kept
		typ, body, err := c.NextReader(r.Context())
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, body)
		c.WriteText(r.Context(), fmt.Sprint(typ, " ", n, " ", err))
	}))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	file := io.LimitReader(zeros{}, 20<<20) // os.Open
	w, err := c.NextWriter(ctx, websocket.MessageBinary)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(w, file); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil { // which ends the message
		log.Fatal(err)
	}
	_, p, _ := c.ReadMessage(ctx)
	fmt.Printf("%s\n", p)
	// Output: binary 20971520 <nil>
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A read that its context ends loses nothing, and the connection goes on.
func Example_deadline() {
	question := make(chan struct{})
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		<-question
		c.WriteText(r.Context(), "better late")
		c.ReadMessage(r.Context())
	}))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, _, err = c.ReadMessage(soon)
	fmt.Println(err)
	close(question)
	_, p, err := c.ReadMessage(ctx)
	fmt.Printf("%s, %v\n", p, err)
	// Output:
	// context deadline exceeded
	// better late, <nil>
}

// Keepalive is on, with 30 s. A shorter one finds a vanished peer sooner, and keeps a
// connection open through what forgets quiet ones after 30 s.
func Example_keepalive() {
	ended := make(chan error)
	server := httptest.NewServer(&websocket.Server{
		Options: websocket.Options{
			KeepAlive:    20 * time.Millisecond, // of silence: a ping; of 20 ms more: gone. Elsewhere rather 15 s
			WriteTimeout: 5 * time.Second,       // for a peer that takes nothing
		},
		Handler: func(c *websocket.Conn, r *http.Request) {
			_, _, err := c.ReadMessage(r.Context())
			ended <- err
		},
	})
	defer server.Close()
	// Who neither reads nor has keepalive answers no ping, like a machine that is gone.
	c, _, err := websocket.Dial(context.Background(), server.URL, &websocket.Options{KeepAlive: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(errors.Is(<-ended, os.ErrDeadlineExceeded))
	// Output: true
}

// How long the peer takes to answer.
func ExampleConn_Ping() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.ReadMessage(r.Context()) // who reads answers pings
	}))
	defer server.Close()
	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	rtt, err := c.Ping(context.Background())
	fmt.Println(rtt > 0, err)
	// Output: true <nil>
}

// What both sides want is compressed.
func ExampleCompression() {
	compressed := &websocket.Options{Compression: &websocket.Compression{}}
	server := httptest.NewServer(&websocket.Server{Options: *compressed, Handler: func(c *websocket.Conn, r *http.Request) {
		c.WriteText(r.Context(), strings.Repeat("what is said often ", 1000))
		c.WriteUncompressed(r.Context(), websocket.MessageText, []byte("a secret"))
		c.ReadMessage(r.Context())
	}})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, compressed)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if _, _, err := c.ReadMessage(ctx); err != nil {
			log.Fatal(err)
		}
	}
	received := c.Stats().Received
	fmt.Println(received.Bytes, "bytes came in fewer than a tenth:", received.Wire < received.Bytes/10)
	// Output: 19008 bytes came in fewer than a tenth: true
}

// Ctrl-C tells every client, waits for their functions, and ends.
func ExampleServer_Shutdown() {
	sockets := &websocket.Server{Handler: func(c *websocket.Conn, r *http.Request) {
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			c.WriteMessage(r.Context(), m.Type, m.Data)
		}
	}}
	web := &http.Server{Handler: sockets}
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	go web.Serve(listener)

	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	seen := make(chan error)
	go client("ws://"+listener.Addr().String(), stop, seen) // which stands for Ctrl-C here
	<-interrupted.Done()
	stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(sockets.Shutdown(ctx)) // 1001 for every client
	fmt.Println(web.Shutdown(ctx))
	fmt.Println(<-seen)
	// Output:
	// <nil>
	// <nil>
	// websocket: closed by the peer with 1001 (going away)
}

// client connects, calls a function, and tells how the connection ends.
func client(url string, connected func(), seen chan<- error) {
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, url, nil)
	connected()
	if err == nil {
		_, _, err = c.ReadMessage(ctx)
	}
	seen <- err
}

// The server chooses the first of its own that the client offers.
func ExampleOptions_subprotocols() {
	server := httptest.NewServer(&websocket.Server{
		Options: websocket.Options{Subprotocols: []string{"chat.v2", "chat.v1"}},
		Handler: func(c *websocket.Conn, r *http.Request) { c.ReadMessage(r.Context()) },
	})
	defer server.Close()
	c, _, err := websocket.Dial(context.Background(), server.URL, &websocket.Options{Subprotocols: []string{"chat.v1", "chat.v2"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Subprotocol())
	// Output: chat.v2
}

// Pages of other origins may connect if they are listed.
func ExampleAllowOrigins() {
	server := httptest.NewServer(&websocket.Server{
		Options: websocket.Options{CheckOrigin: websocket.AllowOrigins("https://app.example.com")},
		Handler: func(c *websocket.Conn, r *http.Request) { c.ReadMessage(r.Context()) },
	})
	defer server.Close()
	for _, origin := range []string{"https://app.example.com", "https://evil.example"} {
		c, _, err := websocket.Dial(context.Background(), server.URL, &websocket.Options{Header: http.Header{"Origin": {origin}}})
		var refused *websocket.HandshakeError
		switch {
		case err == nil:
			fmt.Println(origin, "connected")
			c.Close()
		case errors.As(err, &refused):
			fmt.Println(origin, refused.StatusCode)
		}
	}
	// Output:
	// https://app.example.com connected
	// https://evil.example 403
}

// Behind a proxy that ends TLS, as nginx with
//
//	location /ws/ {
//		proxy_pass http://127.0.0.1:1234;
//		proxy_http_version 1.1;
//		proxy_set_header Upgrade $http_upgrade;
//		proxy_set_header Connection upgrade;
//		proxy_set_header Host $http_host;
//		proxy_set_header X-Real-IP $remote_addr;
//	}
//
// The Host, with its port, is for the check of origins; a proxy without TLS on the same
// machine needs Options.Hosts besides. nginx forgets a connection after 60 s of
// silence; keepalive, on by default, does not let it come to that. What the proxy says
// of addresses is believed because nobody but the proxy reaches this port.
func Example_behindNginx() {
	sockets := &websocket.Server{
		MaxConnsPerAddr: 20,
		Handler:         func(c *websocket.Conn, r *http.Request) { log.Print("from ", r.RemoteAddr) },
	}
	http.HandleFunc("/ws/", func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("X-Real-IP")
		sockets.ServeHTTP(w, r)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:1234", nil))
}

// A server with a certificate, and a client that trusts no other.
func Example_tls() {
	server := httptest.NewTLSServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.WriteText(r.Context(), "for your eyes only")
		c.ReadMessage(r.Context())
	})) // elsewhere: http.ListenAndServeTLS(":443", "cert.pem", "key.pem", handler)
	defer server.Close()

	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate()) // elsewhere: trusted.AppendCertsFromPEM(file)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: trusted,
		// Certificates: what the client shows, if the server asks for it
	}}}
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, "wss"+strings.TrimPrefix(server.URL, "https"), &websocket.Options{HTTPClient: client})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, p, err := c.ReadMessage(ctx)
	fmt.Printf("%s, %v\n", p, err)
	// Output: for your eyes only, <nil>
}

// A client behind a proxy that the environment does not name.
func ExampleDial_proxy() {
	proxy := &url.URL{Scheme: "http", Host: "proxy.example:3128", User: url.UserPassword("me", "secret")} // or https, or socks5
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	c, _, err := websocket.Dial(context.Background(), "wss://example.com/", &websocket.Options{HTTPClient: client})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// A protocol that wants a net.Conn, here net/rpc, over a WebSocket.
func ExampleStream() {
	calls := rpc.NewServer()
	calls.RegisterName("Text", new(text))
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		calls.ServeConn(websocket.Stream(c, websocket.MessageBinary)) // until the client closes
	}))
	defer server.Close()

	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	client := rpc.NewClient(websocket.Stream(c, websocket.MessageBinary))
	var upper string
	err = client.Call("Text.Upper", "hello", &upper)
	fmt.Println(upper, err)
	fmt.Println(client.Close())
	// Output:
	// HELLO <nil>
	// <nil>
}

type text struct{}

func (*text) Upper(s string, upper *string) error {
	*upper = strings.ToUpper(s)
	return nil
}

// A handler is tested without a network.
func Example_test() {
	greeter := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		_, p, _ := c.ReadMessage(r.Context())
		c.WriteText(r.Context(), "Hello, "+string(p))
	})
	// In a file _test.go:
	_ = func(t *testing.T) {
		p := wstest.Serve(t, greeter, nil)
		p.Client.WriteText(t.Context(), "Ada")
		if _, got, err := p.Client.ReadMessage(t.Context()); err != nil || string(got) != "Hello, Ada" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// A client that stays connected, through the restart of the server and through this
// server's habit to close after one message.
func ExampleRedialer() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		_, topic, err := c.ReadMessage(r.Context())
		if err == nil {
			c.WriteText(r.Context(), "news of "+string(topic))
		}
	}))
	defer server.Close()

	client := &websocket.Redialer{
		URL: server.URL,
		OnConnect: func(ctx context.Context, c *websocket.Conn) error {
			return c.WriteText(ctx, "cats") // each connection subscribes anew
		},
		FirstWait: time.Millisecond, // leave it out elsewhere
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n := 0
	for m, err := range client.Messages(ctx) {
		if err != nil {
			log.Fatal(err) // ctx has ended, or the server refuses us for good
		}
		fmt.Printf("%s\n", m.Data)
		if n++; n == 3 {
			break
		}
	}
	// Output:
	// news of cats
	// news of cats
	// news of cats
}
