// Broadcast is a WebSocket server that sends every message to everybody. Run
//
//	go run ./examples/broadcast
//
// and open the addresses that it prints, side by side. Ctrl-C tells every client.
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
	"sync"
	"syscall"
	"time"

	"example.com/websocket"
	"example.com/websocket/examples/internal/site"
)

//go:embed index.html
var page string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		log.Fatal("broadcast: ", err)
	}
}

// run serves until ctx ends, and then tells every client so.
func run(ctx context.Context, args []string, out io.Writer) error {
	pages, err := site.Open(site.Flags("broadcast", "localhost:3000,localhost:3001", args), page)
	if err != nil {
		return err
	}
	r := &room{logger: log.New(out, "", log.LstdFlags)}
	r.members.Queue = 256 << 10 // bytes that may wait for a member
	r.members.Slow = websocket.SlowClose
	r.members.OnSlow = func(c *websocket.Conn, _ int) { r.logger.Print(c.RemoteAddr(), " is dropped: it reads too slowly") }
	sockets := &websocket.Server{
		Options: websocket.Options{ReadLimit: 16 << 10, CheckOrigin: websocket.AllowOrigins(pages.Origins...)},
		Handler: r.serve,
	}
	web, failed := pages.Start(sockets)
	fmt.Fprintln(out, "broadcast:", pages)
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	sockets.Shutdown(ctx) // a Close frame for every client; those that do not answer are cut off
	return errors.Join(err, web.Close())
}

// A room is where everybody hears everybody. Watchers hear how many are in it.
type room struct {
	logger            *log.Logger
	members, watchers websocket.Group
	counting          sync.Mutex // or an old count could come after a new one
}

// serve serves a connection until it ends.
func (r *room) serve(c *websocket.Conn, req *http.Request) {
	if req.URL.Path == "/count" {
		r.watchers.Add(c)
		r.count()
		<-c.CloseRead(req.Context()).Done()
		return
	}
	from := site.Sender(c.RemoteAddr(), req)
	r.logger.Printf("%v connected from %s", c.RemoteAddr(), from)
	r.members.Add(c) // it leaves by itself
	r.count()
	typ, message, err := c.ReadMessage(req.Context())
	for ; err == nil && typ == websocket.MessageText; typ, message, err = c.ReadMessage(req.Context()) {
		now := time.Now().Format("2006/1/2 15:04:05")
		r.members.Broadcast(typ, fmt.Appendf(nil, "Received: %s from: %s at: %s", message, from, now))
	}
	if err == nil {
		err = c.Shutdown(req.Context(), websocket.StatusUnsupportedData, "this room is for text")
	}
	r.count()
	r.logger.Printf("%v is gone: %v", c.RemoteAddr(), err)
}

// count tells the watchers how many are in the room.
func (r *room) count() {
	r.counting.Lock()
	defer r.counting.Unlock()
	r.watchers.Broadcast(websocket.MessageText, fmt.Append(nil, r.members.Len()))
}
