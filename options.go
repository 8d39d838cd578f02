package websocket

import (
	"errors"
	"net/http"
	"time"
)

// Options configure a connection of either role. A nil *Options and the zero value
// of each field stand for the defaults, which are meant to be right for a server
// on the open Internet. A field that belongs to the other role is an error of
// [Accept] and [Dial].
//
// Options are read when a connection is made and not kept. They may be shared by
// any number of calls, as long as nobody changes them.
type Options struct {
	// Subprotocols (RFC 6455 1.9) in order of preference. A server chooses the
	// first of its own that the client offers, and none if there is no such; a
	// client offers all of them. Conn.Subprotocol tells what was agreed on.
	Subprotocols []string

	// Header holds further fields for the handshake: of the response for a server,
	// where they are added to what middleware has set on the ResponseWriter
	// (cookies, for instance), of the request for a client. The fields that the
	// handshake itself writes cannot be set here, but for a client's Host, if the
	// server is to be addressed by another name than that of the URL.
	Header http.Header

	// ReadLimit is the size in bytes of the largest message that is read, whole or
	// streamed. A larger one fails the connection with StatusMessageTooBig, as soon
	// as a frame announces it, or as soon as a compressed one has become so large. 0
	// stands for 1 MiB, a negative number for no limit.
	ReadLimit int64

	// KeepAlive is for how long nothing may be heard of the peer before it is sent
	// a ping, and then for how long again before the connection fails with an error
	// that wraps os.ErrDeadlineExceeded: so a peer that has vanished is found, and
	// what stands between does not forget a quiet connection. It works whether the
	// application reads or not; but while a message waits for the application to
	// read it, or bytes for the peer to take them (see WriteTimeout), silence does
	// not count. 0 stands for 30 s, a negative duration for no keepalive.
	KeepAlive time.Duration

	// WriteTimeout is for how long a peer may take nothing of what is waiting for
	// it before it counts as gone and the connection fails. A slow peer that takes
	// something now and then is not gone; and since nobody tells when it has taken the
	// last byte, it may be twice as long until one is found to be. 0 stands for 10 s, a
	// negative duration for no limit: then nobody finds a peer that has vanished while
	// the queue is full, since a ping has no room in it.
	WriteTimeout time.Duration

	// WriteQueue is how many bytes may wait for a slow peer before writers have to
	// wait. A larger message is taken when the queue is empty. 0 stands for 64 KiB.
	WriteQueue int

	// Compression offers, or accepts, that messages are compressed (RFC 7692). nil
	// stands for off; &Compression{} is a good beginning.
	Compression *Compression

	// CheckOrigin decides whether a handshake with an Origin header may become a
	// connection (RFC 6455 10.2). The browser sends that header, and a page from
	// anywhere may open a connection to any server, with the cookies that belong to
	// that server. nil accepts pages from the server's own origin only; see
	// [AllowOrigins] and [AnyOrigin]. Only for a server. It is not called for requests
	// without an Origin header, which do not come from a browser's page.
	CheckOrigin func(*http.Request) bool

	// Hosts are the names, and addresses, under which a server is reached: without a
	// port, and with "*.example.com" for all names with one label more. A handshake
	// whose Host is none of them is refused with 421 (Misdirected Request), whoever it
	// comes from. That protects a server without TLS from pages of sites that bind
	// their own name to its address, so that they seem to be of its own origin (DNS
	// rebinding). Only for a server.
	//
	// nil takes every Host, but for one case: on a connection without TLS that has come
	// over loopback, a page of the server's own origin is accepted only if its host is
	// localhost, a name below that, or an IP address. So what is meant for this machine
	// is not open to the pages of others. Not concerned are pages with https, as behind
	// a proxy on the same machine, pages that CheckOrigin accepts for another reason
	// than that they are the server's own (AllowOrigins, AnyOrigin, a function of
	// yours), and programs that are no browsers. A server on loopback that pages reach
	// without TLS by another name, by a line in /etc/hosts or behind a proxy, lists it
	// here.
	Hosts []string

	// HTTPClient makes the handshake request, and brings proxies, TLS
	// configuration, cookies and redirect policy along. nil stands for
	// http.DefaultClient. Only for a client.
	HTTPClient *http.Client
}

const (
	defaultReadLimit    = 1 << 20
	defaultKeepAlive    = 30 * time.Second
	defaultWriteTimeout = 10 * time.Second
	defaultWriteQueue   = 64 << 10
)

// check reports an option that plays no part in role r.
func (o *Options) check(r role) error {
	switch {
	case o == nil:
		return nil
	case r == client && o.CheckOrigin != nil:
		return errors.New("websocket: Options.CheckOrigin is set, which is for servers: a client cannot check the Origin it sends itself")
	case r == client && len(o.Hosts) > 0:
		return errors.New("websocket: Options.Hosts is set, which is for servers: a client says in its URL whom it addresses")
	case r == server && o.HTTPClient != nil:
		return errors.New("websocket: Options.HTTPClient is set, which is for clients: a server makes no request")
	}
	return nil
}

// checkHandshake reports what cannot go into a handshake of role r.
func (o *Options) checkHandshake(r role) error {
	return errors.Join(o.check(r), o.Compression.check(), checkSubprotocols(o.Subprotocols), checkOptionsHeader(r, o.Header))
}

func (o *Options) readLimit() int64 {
	if o == nil || o.ReadLimit == 0 {
		return defaultReadLimit
	}
	return o.ReadLimit
}

// keepAlive returns a negative duration for none.
func (o *Options) keepAlive() time.Duration {
	if o == nil || o.KeepAlive == 0 {
		return defaultKeepAlive
	}
	return o.KeepAlive
}

// writeTimeout returns a negative duration for none.
func (o *Options) writeTimeout() time.Duration {
	if o == nil || o.WriteTimeout == 0 {
		return defaultWriteTimeout
	}
	return o.WriteTimeout
}

func (o *Options) writeQueue() int {
	if o == nil || o.WriteQueue <= 0 {
		return defaultWriteQueue
	}
	return o.WriteQueue
}
