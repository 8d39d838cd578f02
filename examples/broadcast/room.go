package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"sync"
	"time"

	"example.com/websocket"
)

const (
	maxMessage = 16 << 10  // bytes that a member may send at once
	maxQueue   = 256 << 10 // bytes that may wait for a member
	patience   = time.Second
)

// A room is a set of members: the connections that hear each other.
type room struct {
	logger *log.Logger

	mu      sync.Mutex
	members map[*websocket.Conn]time.Time // since when a member's queue has been full; zero if it is not
}

func newRoom(logger *log.Logger) *room {
	return &room{logger: logger, members: make(map[*websocket.Conn]time.Time)}
}

// serve keeps a connection in the room until it ends.
func (r *room) serve(c *websocket.Conn, req *http.Request) {
	from := sender(c, req)
	r.logger.Printf("%v connected from %s", c.RemoteAddr(), from)
	r.join(c)
	err := r.pass(req.Context(), c, from)
	r.leave(c)
	r.logger.Printf("%v is gone: %v", c.RemoteAddr(), err)
}

// pass passes on what a member sends.
func (r *room) pass(ctx context.Context, c *websocket.Conn, from string) error {
	for {
		typ, message, err := c.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if typ != websocket.MessageText {
			c.Shutdown(ctx, websocket.StatusUnsupportedData, "this room is for text")
			return errors.New("it has sent a binary message")
		}
		r.send(fmt.Sprintf("Received: %s from: %s at: %s", message, from, time.Now().Format("2006/1/2 15:04:05")))
	}
}

// sender returns the host of the page that a connection comes from. What is not a
// browser has no page, and is called by its address.
func sender(c *websocket.Conn, req *http.Request) string {
	if origin, err := url.Parse(req.Header.Get("Origin")); err == nil && origin.Host != "" {
		return origin.Host
	}
	return c.RemoteAddr().String()
}

func (r *room) join(c *websocket.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[c] = time.Time{}
}

func (r *room) leave(c *websocket.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.members, c)
}

// send sends a message to every member. With less than half of its queue in use a
// member has room for it, and nobody waits: WriteText only appends it to the
// queue. So the members get all messages in the same order.
//
// Those who read more slowly come last, and whoever sends more than they can take
// waits for them here. That lasts as long as the room has patience with them.
func (r *room) send(text string) {
	var late sync.WaitGroup
	defer late.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for c, full := range r.members {
		if c.Buffered() < maxQueue/2 {
			r.members[c] = time.Time{}
			c.WriteText(context.Background(), text) // an error ends its serve, too
			continue
		}
		if full.IsZero() {
			full = time.Now()
			r.members[c] = full
		}
		late.Go(func() { r.sendLate(c, text, full.Add(patience)) })
	}
}

// sendLate waits for room in the queue of a member, and drops the member if there
// is none in time.
func (r *room) sendLate(c *websocket.Conn, text string, deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if c.WriteText(ctx, text) == nil {
		return
	}
	r.leave(c)
	r.logger.Printf("%v is dropped: it does not read what it is sent", c.RemoteAddr())
	go c.Shutdown(context.Background(), websocket.StatusPolicyViolation, "you do not read what you are sent")
}
