// Broadcast is a WebSocket server that sends every message to everybody. Start it
// with
//
//	go run ./examples/broadcast
//
// and open the addresses that it prints, side by side. Ctrl-C ends it, and tells
// every client so.
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
	socketsTimeout = 5 * time.Second // for clients to answer a Close frame
	webTimeout     = time.Second     // for requests to be answered
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "broadcast:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	pages, err := site.Open(site.Flags("broadcast", "localhost:3000,localhost:3001", args), page)
	if err != nil {
		return err
	}
	logger := log.New(out, "", log.LstdFlags)
	room := newRoom(logger)
	sockets := &websocket.Server{
		Options: websocket.Options{
			ReadLimit:   maxMessage,
			WriteQueue:  maxQueue,
			CheckOrigin: websocket.AllowOrigins(pages.Origins...),
		},
		Handler: room.serve,
	}
	web := &http.Server{Handler: route(sockets, pages), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(out, "broadcast:", pages)

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
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsUpgrade(r) {
			sockets.ServeHTTP(w, r)
		} else {
			pages.ServeHTTP(w, r)
		}
	})
}
