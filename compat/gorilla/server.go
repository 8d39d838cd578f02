package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/websocket"
)

// A HandshakeError tells why [Upgrader.Upgrade] has refused a request.
type HandshakeError struct {
	message string
}

// Error tells the reason in words.
func (e HandshakeError) Error() string { return e.message }

// An Upgrader makes connections of requests. Its methods may be called by any number of
// goroutines.
type Upgrader struct {
	HandshakeTimeout                time.Duration // without effect: the answer has 10 s to leave
	ReadBufferSize, WriteBufferSize int           // without effect: idle connections hold no buffers
	WriteBufferPool                 BufferPool    // without effect

	// Subprotocols are those of the server, in order of preference: the first that
	// the client offers is agreed on.
	Subprotocols []string

	// Error answers a request that is refused. nil stands for a text that tells the
	// reason.
	Error func(w http.ResponseWriter, r *http.Request, status int, reason error)

	// CheckOrigin decides whether a request may become a connection; it is called
	// for all of them, those without an Origin too. nil takes those without an Origin
	// and those from the server's own, but for names that lead to a loopback address
	// without TLS: any site's name can be made to. A program that has such a name, or
	// a proxy without TLS before it on the same machine, decides by itself.
	CheckOrigin func(r *http.Request) bool

	// EnableCompression agrees to permessage-deflate if the client offers it
	// (RFC 7692), each message by itself.
	EnableCompression bool
}

// Upgrade makes a connection of a request. The fields of responseHeader go into the
// answer, and so do those that were set on w. If Upgrader.Subprotocols is nil, its
// Sec-WebSocket-Protocol is the subprotocol, as long as the client has offered it. After
// an error, most often a HandshakeError, the request has been answered.
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header) (*Conn, error) {
	if u.CheckOrigin != nil && websocket.IsUpgrade(r) && !u.CheckOrigin(r) {
		return nil, u.refuse(w, r, http.StatusForbidden, "the request's origin is not allowed by Upgrader.CheckOrigin", nil)
	}
	opts := newOptions(u.EnableCompression)
	if u.CheckOrigin != nil {
		opts.CheckOrigin = websocket.AnyOrigin
	}
	opts.Header, opts.Subprotocols = splitProtocols(responseHeader, u.Subprotocols)
	for name, values := range w.Header() {
		if slices.Equal(values, opts.Header[name]) { // many hand over w.Header() itself
			delete(opts.Header, name)
		}
	}
	ws, err := websocket.Accept(unanswered{w, w.Header().Clone()}, r, opts)
	if err == nil {
		return &Conn{ws: ws, deflate: u.EnableCompression}, nil
	}
	refusal := (*websocket.HandshakeError)(nil)
	if !errors.As(err, &refusal) {
		return nil, err
	}
	for name, values := range refusal.Header {
		w.Header()[name] = values
	}
	return nil, u.refuse(w, r, refusal.StatusCode, reason(r, refusal), refusal.Err)
}

// reason tells of a refusal in the terms of this package: what the other advises are
// options that an Upgrader has not.
func reason(r *http.Request, refusal *websocket.HandshakeError) string {
	switch refusal.StatusCode {
	case http.StatusForbidden, http.StatusMisdirectedRequest:
		return fmt.Sprintf("pages of origin %.80q may not connect to host %.80q, unless Upgrader.CheckOrigin says so", r.Header.Get("Origin"), r.Host)
	}
	return refusal.Reason
}

// refuse answers a request. The cause, if there is one, is for the program alone.
func (u *Upgrader) refuse(w http.ResponseWriter, r *http.Request, status int, reason string, cause error) error {
	err := HandshakeError{"websocket: " + reason}
	if cause != nil {
		err.message += ": " + cause.Error()
	}
	if u.Error != nil {
		u.Error(w, r, status, err)
	} else {
		http.Error(w, fmt.Sprintf("%d %s: %s", status, http.StatusText(status), reason), status)
	}
	return err
}

// splitProtocols takes the subprotocols out of a header, which are those to use unless
// there are others.
func splitProtocols(header http.Header, protocols []string) (http.Header, []string) {
	rest := make(http.Header)
	for name, values := range header {
		switch {
		case !strings.EqualFold(name, "Sec-WebSocket-Protocol"):
			rest[name] = values
		case protocols == nil:
			protocols = websocket.Subprotocols(&http.Request{Header: http.Header{"Sec-Websocket-Protocol": values}})
		}
	}
	return rest, protocols
}

// unanswered keeps a refusal from the client, for Upgrader.refuse to answer.
type unanswered struct {
	w      http.ResponseWriter
	header http.Header
}

func (u unanswered) Header() http.Header         { return u.header }
func (u unanswered) WriteHeader(int)             {}
func (u unanswered) Write(p []byte) (int, error) { return len(p), nil }
func (u unanswered) Unwrap() http.ResponseWriter { return u.w }

// Upgrade is that of an Upgrader which takes every origin, and leaves the answer to a
// request that it refuses to the caller.
//
// Deprecated: use an Upgrader.
func Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header, readBufSize, writeBufSize int) (*Conn, error) {
	u := Upgrader{
		CheckOrigin: func(*http.Request) bool { return true },
		Error:       func(http.ResponseWriter, *http.Request, int, error) {},
	}
	return u.Upgrade(w, r, responseHeader)
}

// Subprotocols returns those that the client offers, in its order of preference.
func Subprotocols(r *http.Request) []string { return websocket.Subprotocols(r) }

// IsWebSocketUpgrade reports whether r asks for a WebSocket.
func IsWebSocketUpgrade(r *http.Request) bool { return websocket.IsUpgrade(r) }
