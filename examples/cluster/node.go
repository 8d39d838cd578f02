package main

import (
	"context"
	"encoding/json"
	"log"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/websocket"
	"example.com/websocket/examples/internal/site"
	"github.com/nats-io/nats.go"
)

// A node says every second that it is there. One that has not said so for some time
// is not offered to clients any more.
const (
	heartbeat = time.Second
	silence   = 3 * heartbeat
)

// What a client is sent is one of these, in JSON.
type (
	chatMessage struct {
		Text string `json:"text"`
		From string `json:"from"`
		Node string `json:"node"` // the one that From is connected to
	}
	nodeList struct {
		Nodes []string `json:"nodes"`
		Own   string   `json:"own"`
	}
)

// A node is one of the servers, with its clients.
type node struct {
	url    string
	bus    *bus
	logger *log.Logger
	room   websocket.Group

	mu    sync.Mutex
	heard map[string]time.Time // when each node, by its URL, was last heard of
	nodes []string             // those that are there, which the clients know
}

func newNode(url string, b *bus, logger *log.Logger) *node {
	return &node{url: url, bus: b, logger: logger, heard: make(map[string]time.Time), nodes: []string{url}}
}

// join begins to listen to the other nodes, and tells them of this one until ctx ends.
func (n *node) join(ctx context.Context) error {
	_, err := n.bus.Subscribe(subjectMessages, func(m *nats.Msg) {
		n.room.Broadcast(websocket.MessageText, m.Data)
	})
	if err != nil {
		return err
	}
	_, err = n.bus.Subscribe(subjectNodes, func(m *nats.Msg) { n.hear(string(m.Data)) })
	if err != nil {
		return err
	}
	go n.beat(ctx)
	return nil
}

func (n *node) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		n.sayHere()
		n.hear(n.url)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sayHere tells the other nodes of this one. While NATS is away it waits in a buffer.
func (n *node) sayHere() { n.bus.Publish(subjectNodes, []byte(n.url)) }

// hear notes that a node is there, and tells the clients if that, or the silence of
// another, is news.
func (n *node) hear(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.heard[url].IsZero() {
		n.sayHere() // a new one does not know us either
	}
	n.heard[url] = now
	var nodes []string
	for url, last := range n.heard {
		if now.Sub(last) < silence {
			nodes = append(nodes, url)
		}
	}
	slices.Sort(nodes)
	if slices.Equal(nodes, n.nodes) {
		return
	}
	n.nodes = nodes
	n.logger.Print("the nodes are ", strings.Join(nodes, ", "))
	list, _ := json.Marshal(nodeList{nodes, n.url})
	n.room.Broadcast(websocket.MessageText, list)
}

// enter tells c of the nodes and makes it a member. It does not wait for c, to which
// nothing else is on its way yet.
func (n *node) enter(ctx context.Context, c *websocket.Conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := c.WriteJSON(ctx, nodeList{n.nodes, n.url}); err != nil {
		return err
	}
	n.room.Add(c)
	return nil
}

// knowsOrigin reports whether a request is from a page of another node. That node may
// be gone: then its pages look for another one, which is what this is for.
func (n *node) knowsOrigin(r *http.Request) bool {
	n.mu.Lock()
	urls := slices.Collect(maps.Keys(n.heard))
	n.mu.Unlock()
	for i, url := range urls {
		urls[i] = "http" + strings.TrimPrefix(url, "ws")
	}
	return websocket.AllowOrigins(urls...)(r)
}

// serve serves a client until it leaves.
func (n *node) serve(c *websocket.Conn, r *http.Request) {
	ctx := r.Context()
	from := site.Sender(c.RemoteAddr(), r)
	n.logger.Printf("%v connected from %s", c.RemoteAddr(), from)
	err := n.enter(ctx, c)
	for m, e := range c.Messages(ctx) {
		if err = e; err != nil {
			break
		}
		if m.Type != websocket.MessageText {
			c.Shutdown(ctx, websocket.StatusUnsupportedData, "this room is for text")
			break
		}
		text, _ := json.Marshal(chatMessage{string(m.Data), from, n.url})
		if err = n.bus.Publish(subjectMessages, text); err != nil {
			c.Shutdown(ctx, websocket.StatusTryAgainLater, "the other nodes cannot be reached")
			break
		}
	}
	n.logger.Printf("%v is gone: %v", c.RemoteAddr(), err)
}
