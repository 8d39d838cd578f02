// Cluster is the broadcast server on several machines: what a client of one node
// sends, the clients of all nodes receive. The nodes hear each other through NATS.
// See README.md.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		log.Fatal("cluster: ", err)
	}
}

// run serves until ctx ends, and then tells every client so.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cluster", flag.ExitOnError)
	addr := flags.String("addr", "localhost:1234", "`address` of the page and the WebSocket server")
	public := flags.String("url", "", "`URL` at which browsers find this node, as in ws://node1.example:1234 (default as -addr says)")
	natsURL := flags.String("nats", "", "`URL` of another node's NATS server to join, or of any other")
	listen := flags.String("listen", "", "`address` of this node's own NATS server (default localhost:4222, or with -nats any free port)")
	flags.Parse(args)
	if *listen == "" {
		*listen = "localhost:4222"
		if *natsURL != "" {
			*listen = "localhost:0"
		}
	}

	pages, err := site.Open(site.Config{Addr: *addr}, page)
	if err != nil {
		return err
	}
	b, err := joinBus(*natsURL, *listen)
	if err != nil {
		return errors.Join(err, pages.Close())
	}
	defer b.close()
	if *public == "" {
		host, _, _ := net.SplitHostPort(*addr)
		_, port, _ := net.SplitHostPort(pages.Listeners[0].Addr().String())
		*public = "ws://" + net.JoinHostPort(host, port)
	}
	n := newNode(*public, b, log.New(out, "", log.LstdFlags))
	if err := n.join(ctx); err != nil {
		return errors.Join(err, pages.Close())
	}
	own := websocket.AllowOrigins(pages.Origins...)
	sockets := &websocket.Server{
		Options: websocket.Options{
			ReadLimit:   16 << 10,
			CheckOrigin: func(r *http.Request) bool { return own(r) || n.knowsOrigin(r) },
		},
		Handler: n.serve,
	}
	web, failed := pages.Start(sockets)
	fmt.Fprintf(out, "cluster: %v; join by -nats %s\n", pages, b.url())
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	sockets.Shutdown(ctx) // a Close frame for every client; those that do not answer are cut off
	return errors.Join(err, web.Close())
}
