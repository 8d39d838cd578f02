// Package wstest connects WebSocket endpoints in memory, for tests: of handlers
// and of clients, without a network. It works in bubbles of testing/synctest,
// where time-outs cost no time, and its connections can be stalled, slowed, cut
// and recorded.
//
//	p := wstest.Serve(t, handler, nil)
//	p.Client.WriteText(ctx, "hello")
//	_, message, err := p.Client.ReadMessage(ctx)
package wstest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"example.com/websocket"
	"example.com/websocket/internal/memnet"
)

// A Pair is the two ends of a connection in memory, after a real opening
// handshake. Both are closed at the end of the test.
type Pair struct {
	Server *websocket.Conn // nil if made by Serve: the handler has it
	Client *websocket.Conn

	// The two directions, as the network between the ends sees them.
	ToServer, ToClient *Line

	server, client *memnet.Conn
}

// room is what fits into a line by default, as into the buffers of sockets.
const room = 64 << 10

// Connect returns a connection between a server and a client with the given
// options, of which HTTPClient plays no part.
func Connect(t testing.TB, server, client *websocket.Options) *Pair {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	p := Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, server)
		if err != nil {
			t.Errorf("wstest: Accept: %v", err)
			return
		}
		accepted <- c
	}), client)
	p.Server = <-accepted
	t.Cleanup(func() { p.Server.Close() })
	return p
}

// Serve returns a client's connection to a handler: a [websocket.Handler], a
// [websocket.Server], or whatever of net/http calls [websocket.Accept]. The request
// is for ws://wstest.example/; it has no Origin, unless opts.Header has.
//
// A handshake that is refused fails the test: see [Dial].
func Serve(t testing.TB, h http.Handler, opts *websocket.Options) *Pair {
	t.Helper()
	p, _, err := Dial(t, h, "/", opts)
	if err != nil {
		t.Fatalf("wstest: %v", err)
	}
	return p
}

// Dial is [Serve] for a request with the given path and query. It returns what
// [websocket.Dial] returns, with the Pair instead of the connection.
func Dial(t testing.TB, h http.Handler, path string, opts *websocket.Options) (*Pair, *http.Response, error) {
	t.Helper()
	p := newPair()
	listener := newListener(p.server)
	web := &http.Server{Handler: h}
	go web.Serve(listener)
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return p.client, nil }}
	t.Cleanup(func() {
		web.Close()
		transport.CloseIdleConnections()
		p.client.Close() // if there was no handshake
		p.server.Close()
	})

	own := websocket.Options{}
	if opts != nil {
		own = *opts
	}
	own.HTTPClient = &http.Client{Transport: transport}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "ws://wstest.example"+path, &own)
	if err != nil {
		return nil, resp, err
	}
	p.Client = c
	t.Cleanup(func() { c.Close() })
	return p, resp, nil
}

func newPair() *Pair {
	p := new(Pair)
	p.server, p.client = memnet.Pipe(room, room)
	p.server.Addr, p.server.Peer = "server", "client"
	p.client.Addr, p.client.Peer = "client", "server"
	p.ToClient = newLine(p.server.Out)
	p.ToServer = newLine(p.client.Out)
	return p
}

// Cut breaks the connection, as when a machine in between has lost its memory: both
// ends get the error of a reset.
func (p *Pair) Cut() {
	for _, l := range []*Line{p.ToServer, p.ToClient} {
		l.lane.Update(func() { l.lane.Down = false })
		l.lane.Reset()
	}
}

// Vanish lets each end hear nothing more of the other, as when a cable is pulled, not
// even that it has closed the connection: they have to find out by themselves.
// [Line.Resume], for both lines, ends that.
func (p *Pair) Vanish() {
	for _, l := range []*Line{p.ToServer, p.ToClient} {
		l.lane.Update(func() { l.lane.Down = true })
	}
}

// A Line is one direction of a connection.
type Line struct {
	lane *memnet.Lane
	rec  recorder
}

func newLine(lane *memnet.Lane) *Line {
	l := &Line{lane: lane}
	lane.Tap = l.rec.write
	return l
}

// Stall lets the line take nothing more, as when the peer does not read: then
// Options.WriteTimeout counts. What is on its way still arrives.
func (l *Line) Stall() { l.SetRoom(0) }

// Resume ends Stall, and Vanish for this line.
func (l *Line) Resume() {
	l.lane.Update(func() { l.lane.Room, l.lane.Down = room, false })
}

// SetRoom sets how many bytes may be on their way, or have arrived and not been
// read, before who writes has to wait. By default they are 64 KiB.
func (l *Line) SetRoom(n int) { l.lane.Update(func() { l.lane.Room = n }) }

// Slow lets bytes arrive at a rate, of bytes a second, and after a delay. 0 stands
// for any number of bytes, and for no delay.
func (l *Line) Slow(rate int, delay time.Duration) {
	l.lane.Update(func() { l.lane.Rate, l.lane.Delay = rate, delay })
}

// SetChunk sets how many bytes one read takes at the most, to find out whether
// somebody relies on what arrives together. 0 stands for any number.
func (l *Line) SetChunk(n int) { l.lane.Update(func() { l.lane.Chunk = n }) }

// A listener accepts one connection.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newListener(nc net.Conn) *listener {
	l := &listener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- nc
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, errors.New("wstest: there is only one connection")
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return memnet.Addr("server") }
