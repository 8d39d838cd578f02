package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// What the nodes say to each other.
const (
	subjectMessages = "websocket.messages" // a message for every client of every node
	subjectNodes    = "websocket.nodes"    // the URL of a node that is there
	subjectRoute    = "websocket.route"    // a question: where may another NATS server join?
)

// startTimeout is for how long NATS may take to begin.
const startTimeout = 10 * time.Second

// A bus carries messages between the nodes.
type bus struct {
	*nats.Conn
	embedded *server.Server // nil if this node relies on a NATS server of others
}

// joinBus connects to NATS. Without a URL there is a NATS server in this process, at
// the address listen. With the URL of such a server, of another node, there is one
// too, which joins that one: then any node may die, and the others still hear each
// other. With the URL of any other NATS server, or several, that is relied upon.
func joinBus(url, listen string) (*bus, error) {
	route := ""
	if url != "" {
		nc, err := nats.Connect(url, nats.MaxReconnects(-1))
		if err != nil {
			return nil, fmt.Errorf("-nats %s: %w", url, err)
		}
		answer, err := nc.Request(subjectRoute, nil, startTimeout)
		if errors.Is(err, nats.ErrNoResponders) {
			return &bus{Conn: nc}, nil
		}
		nc.Close()
		if err != nil {
			return nil, fmt.Errorf("-nats %s: %w", url, err)
		}
		route = string(answer.Data)
	}
	s, err := embed(listen, route)
	if err != nil {
		return nil, err
	}
	b := &bus{embedded: s}
	if b.Conn, err = nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1)); err == nil {
		_, err = b.Subscribe(subjectRoute, func(m *nats.Msg) { m.Respond([]byte("nats://" + s.ClusterAddr().String())) })
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// embed starts a NATS server at an address, and lets it join another.
func embed(address, route string) (*server.Server, error) {
	host, p, err := net.SplitHostPort(address)
	port, portErr := strconv.Atoi(p)
	if err = errors.Join(err, portErr); err != nil {
		return nil, fmt.Errorf("-listen %s: %w", address, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	opts := &server.Options{Host: host, Port: port, NoSigs: true, NoLog: true}
	opts.Cluster = server.ClusterOpts{Name: "websocket", Host: host, Port: server.RANDOM_PORT}
	if route != "" {
		opts.Routes = server.RoutesFromStr(route)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("no NATS server can listen at %s; choose another address with -listen", address)
	}
	return s, nil
}

// url returns where other nodes may join.
func (b *bus) url() string {
	if b.embedded != nil {
		return b.embedded.ClientURL()
	}
	return b.ConnectedUrlRedacted()
}

func (b *bus) close() {
	if b.Conn != nil {
		b.Conn.Close()
	}
	if b.embedded != nil {
		b.embedded.Shutdown()
	}
}
