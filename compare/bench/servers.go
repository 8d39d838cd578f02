package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
)

// A library is one way to serve WebSockets, or the raw TCP loop.
type library struct {
	name   string
	module string // whose version stands in the table
	serve  func(s setting) error

	raw         bool // no WebSocket at all: what the operating system costs
	aside       bool // listed, but not a peer to be compared with: an application's own work on top
	ours        bool
	readMessage bool // ours too, where messages get memory of their own
	echo        bool // does nothing else
	notHTTP     bool // its handshake is not behind net/http
	deflate     bool // can compress, each message by itself
	takeover    bool // and with reference to those before it
	oneWriter   bool // leaves it to the application to write from one goroutine at a time
}

// A setting is what a server is asked to do.
type setting struct {
	library
	cfg         config
	ln          net.Listener
	certificate *certificate // nil for plain TCP; ln is plain in any case
	app         app          // nil: an echo, or a broadcast
}

// A config is what of a setting is told on the command line of the server's process.
type config struct {
	Library  string
	Job      string // what the application does: see jobs
	TLS      bool
	Deflate  bool // messages are compressed (RFC 7692)
	Takeover bool // and refer to those before them
	Procs    int  // GOMAXPROCS; 0: as many as there are cores
	Text     bool // messages are text
	Large    bool // messages are so large that buffers of 4 KiB are no use
	Idle     bool // what matters is the memory of connections that wait
}

// An app is what an application does with a connection when it is not an echo. It
// gets the library's write call, and returns what is to be done with each message.
type app func(send func([]byte) error) (receive func([]byte) error)

// libraries are in the order of the table.
var libraries = []library{
	{name: "raw TCP", serve: serveRaw, raw: true, echo: true},
	{name: "this library", module: "example.com/websocket", serve: serveOurs, ours: true, deflate: true, takeover: true},
	{name: "this library, ReadMessage", module: "example.com/websocket", serve: serveOursReadMessage, readMessage: true, aside: true, echo: true, deflate: true},
	{name: "gorilla", module: "github.com/gorilla/websocket", serve: serveGorilla, oneWriter: true, deflate: true},
	{name: "coder", module: "github.com/coder/websocket", serve: serveCoder, deflate: true, takeover: true},
	{name: "gws", module: "github.com/lxzan/gws", serve: serveGWS, deflate: true, takeover: true},
	{name: "gobwas", module: "github.com/gobwas/ws", serve: serveGobwas, notHTTP: true, oneWriter: true, deflate: true},
	{name: "gobwas, flushed by hand", module: "github.com/gobwas/ws", serve: serveGobwasByHand, aside: true, notHTTP: true, oneWriter: true},
	{name: "nbio, event loop", module: "github.com/lesismal/nbio", serve: serveNbio, notHTTP: true, deflate: true},
	{name: "nbio, blocking", module: "github.com/lesismal/nbio", serve: serveNbioBlocking, notHTTP: true, deflate: true},
	{name: "x/net", module: "golang.org/x/net", serve: serveXNet},
}

func find(name string) (library, error) {
	for _, l := range slices.Concat(libraries, ways) {
		if l.name == name {
			return l, nil
		}
	}
	return library{}, errors.New("no library is called " + name)
}

// listener is the setting's listener, with TLS if it is asked for.
func (s setting) listener() net.Listener {
	if s.certificate == nil {
		return s.ln
	}
	return tls.NewListener(s.ln, s.certificate.config())
}

// serveHTTP serves with net/http, as most applications do.
func (s setting) serveHTTP(h http.Handler) error {
	return (&http.Server{Handler: h}).Serve(s.listener())
}

// echoes reports that the application is an echo. Where a goroutine a connection runs
// it, it is a function of its own: idle connections keep the stack for the variables of
// a larger one.
func (s *setting) echoes() bool { return s.app == nil && s.cfg.Job != "broadcast" }

// receiver is what the application does with messages of one connection; nil for
// an echo. Join makes the connection one of those who get what is broadcast.
func (s setting) receiver(send func([]byte) error, join func() (broadcast func([]byte))) func([]byte) error {
	if s.cfg.Job == "broadcast" {
		return announce(join())
	}
	if s.app == nil {
		return nil
	}
	if s.oneWriter && s.cfg.Job == "busy" {
		send = oneAtATime(send)
	}
	return s.app(send)
}

// serveRaw returns the bytes that it reads: it is the limit of what a server on
// net.Conn can do.
func serveRaw(s setting) error {
	ln := s.listener()
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// keep returns the memory for the next message. Where it matters what a connection
// keeps, a large one is not kept.
func (s *setting) keep(buf []byte) []byte {
	if s.cfg.Idle && cap(buf) > 64<<10 {
		return nil
	}
	return buf[:0]
}

// readBuffer returns the size of a read buffer that a connection keeps, where the
// default is usual: messages should fit if they are large, and if what matters is the
// memory of those that wait, it should not be larger than small messages need.
func (s *setting) readBuffer(usual int) int {
	switch {
	case s.cfg.Idle:
		return 256
	case s.cfg.Large:
		return 64 << 10
	}
	return usual
}

// readAll is io.ReadAll into memory that is used again.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}
