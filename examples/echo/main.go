// Echo is a WebSocket server that sends every message back. Start it with
//
//	go run ./examples/echo
//
// and open the address that it prints. Messages to / come back as they are,
// messages to /stamp with the time at which they were received. Ctrl-C ends it,
// and tells every client so.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/websocket"
	"example.com/websocket/examples/internal/site"
)

//go:embed index.html
var page string

const (
	maxMessage     = 16 << 20        // bytes
	socketsTimeout = 5 * time.Second // for clients to answer a Close frame
	webTimeout     = time.Second     // for requests to be answered
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	pages, err := site.Open(site.Flags("echo", "localhost:3000", args), page)
	if err != nil {
		return err
	}
	logger := log.New(out, "", log.LstdFlags)
	sockets := &websocket.Server{
		Options: websocket.Options{
			ReadLimit:   maxMessage,
			Compression: &websocket.Compression{},
			CheckOrigin: websocket.AllowOrigins(pages.Origins...),
		},
		Handler: func(c *websocket.Conn, r *http.Request) { serve(c, r, logger) },
	}
	web := &http.Server{Handler: route(announce(sockets, logger), pages), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(out, "echo:", pages)

	failed := make(chan error, len(pages.Listeners))
	for _, ln := range pages.Listeners {
		go func() { failed <- web.Serve(ln) }()
	}
	select {
	case err := <-failed:
		return errors.Join(err, sockets.Close(), web.Close())
	case <-ctx.Done():
	}

	shutdown(sockets, web, logger)
	return nil
}

// shutdown ends the WebSockets, whose clients get a Close frame with 1001, and
// then the rest: http.Server.Shutdown does not know of requests that have become
// WebSockets.
func shutdown(sockets *websocket.Server, web *http.Server, logger *log.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), socketsTimeout)
	defer cancel()
	if err := sockets.Shutdown(ctx); err != nil {
		logger.Printf("clients that did not answer the Close frame are cut off: %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), webTimeout)
	defer cancel()
	if web.Shutdown(ctx) != nil {
		web.Close() // browsers keep connections in reserve that it would wait for
	}
}

// route tells WebSocket handshakes from requests for the page.
func route(sockets, pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/stamp", sockets)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsUpgrade(r) {
			sockets.ServeHTTP(w, r)
		} else {
			pages.ServeHTTP(w, r)
		}
	})
	return mux
}

// announce logs who connects. It does so before the handshake, on a goroutine that
// ends: what serve's goroutine once needed for its stack, an idle connection keeps.
func announce(sockets http.Handler, logger *log.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logger.Printf("%s connects to %s from %q", r.RemoteAddr, r.URL.EscapedPath(), r.Header.Get("Origin"))
		sockets.ServeHTTP(w, r)
	})
}

// serve answers the messages of one connection until it ends. When serve returns,
// the websocket.Server closes the connection.
func serve(c *websocket.Conn, r *http.Request, logger *log.Logger) {
	answer := echo
	if r.URL.Path == "/stamp" {
		answer = stamp
	}
	farewell(c, converse(r.Context(), c, answer), logger)
}

func farewell(c *websocket.Conn, err error, logger *log.Logger) {
	logger.Printf("%v is gone: %v", c.RemoteAddr(), err)
}

func converse(ctx context.Context, c *websocket.Conn, answer func([]byte) []byte) error {
	for {
		typ, message, err := c.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if err := c.WriteMessage(ctx, typ, answer(message)); err != nil {
			return err
		}
	}
}

func echo(message []byte) []byte { return message }

func stamp(message []byte) []byte {
	return fmt.Appendf(nil, "Received: %s at: %s", message, time.Now().Format("2006/1/2 15:04:05"))
}
