package websocket

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
	"unicode/utf8"

	"example.com/websocket"
	"example.com/websocket/internal/bridge"
	"example.com/websocket/internal/deadline"
)

// Protocol versions, frame types, and the largest message that Receive takes unless
// [Conn].MaxPayloadBytes says otherwise.
const (
	ProtocolVersionHybi13    = 13
	ProtocolVersionHybi      = ProtocolVersionHybi13
	SupportedProtocolVersion = "13"

	ContinuationFrame = 0
	TextFrame         = 1
	BinaryFrame       = 2
	CloseFrame        = 8
	PingFrame         = 9
	PongFrame         = 10
	UnknownFrame      = 255

	DefaultMaxPayloadBytes = 32 << 20
)

// A Conn is a connection: a byte stream in both directions, of which each Write is a
// message, or with a [Codec] a stream of messages. Any number of goroutines may use
// it.
type Conn struct {
	PayloadType byte // of the messages that Write sends: TextFrame, the default, or BinaryFrame

	// MaxPayloadBytes is the largest message that a Codec's Receive takes; 0 stands
	// for DefaultMaxPayloadBytes.
	MaxPayloadBytes int

	config  *Config
	request *http.Request
	ws      *websocket.Conn

	reading  sync.Mutex
	message  io.Reader // that was begun and is not at its end, or nil
	typ      byte      // of it, if a deadline has interrupted a Receive, which the next one goes on with
	begun    []byte    // what a Receive that was interrupted, or found it too large, has read of it
	readEnd  deadline.Deadline
	writeEnd deadline.Deadline
}

// newOptions are what every connection has: x/net bounds a message in Receive and not
// in the connection, and knows no keepalive.
func newOptions() *websocket.Options {
	return &websocket.Options{ReadLimit: -1, KeepAlive: -1}
}

func newConn(config *Config, request *http.Request, ws *websocket.Conn) *Conn {
	return &Conn{PayloadType: TextFrame, config: config, request: request, ws: ws}
}

// Read reads the next bytes of the messages that come, text or binary, as one
// stream. It returns io.EOF when the peer has closed the connection, or has ended it
// between two messages. Other errors are os.ErrDeadlineExceeded for a deadline that is
// over, after which nothing is lost, [net.ErrClosed] after Close, and what the peer did
// against the protocol, in words.
func (ws *Conn) Read(msg []byte) (n int, err error) {
	ws.reading.Lock()
	defer ws.reading.Unlock()
	for n == 0 && err == nil && len(msg) > 0 {
		if ws.message == nil {
			_, err = ws.next()
		}
		if err == nil {
			n, err = ws.read(msg)
		}
		if err == io.EOF && ws.message != nil {
			ws.message, err = nil, nil
		}
	}
	return n, err
}

// next begins the next message. Called with reading held, as read is.
func (ws *Conn) next() (payloadType byte, err error) {
	ws.typ, ws.begun = 0, nil
	ctx := ws.readEnd.Context()
	typ, r, err := ws.ws.NextReader(ctx)
	if err == nil {
		ws.message = r
		return byte(typ), nil
	}
	ws.message = nil
	if closed := (*websocket.CloseError)(nil); errors.As(err, &closed) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, io.EOF
	}
	return 0, deadline.Error(ctx, err)
}

// read reads from the message that has begun.
func (ws *Conn) read(p []byte) (int, error) {
	if len(ws.begun) > 0 {
		n := copy(p, ws.begun)
		ws.begun = ws.begun[n:]
		return n, nil
	}
	ctx := ws.readEnd.Context()
	bridge.SetContext(ws.message, ctx)
	n, err := ws.message.Read(p)
	return n, deadline.Error(ctx, err)
}

// Write sends msg as a message of PayloadType. Its errors are os.ErrDeadlineExceeded for a
// deadline that is over, one that wraps [net.ErrClosed] after Close and WriteClose, and
// what has ended the connection.
func (ws *Conn) Write(msg []byte) (n int, err error) {
	if err := ws.send(ws.PayloadType, msg); err != nil {
		return 0, err
	}
	return len(msg), nil
}

func (ws *Conn) send(payloadType byte, msg []byte) error {
	ctx := ws.writeEnd.Context()
	var err error
	switch payloadType {
	case CloseFrame, PingFrame, PongFrame:
		err = bridge.WriteControl(ctx, ws.ws, payloadType, msg)
	case TextFrame:
		// 8.1: a peer fails the connection for text that is not UTF-8. A byte stream
		// is cut anywhere, and io.Copy knows no PayloadType.
		if !utf8.Valid(msg) {
			payloadType = BinaryFrame
		}
		fallthrough
	default:
		err = ws.ws.WriteMessage(ctx, websocket.MessageType(payloadType), msg)
	}
	return deadline.Error(ctx, err)
}

// WriteClose sends a Close frame. Nothing can be written after it; what the peer still
// sends can be read, until it closes the connection in turn.
func (ws *Conn) WriteClose(status int) (err error) {
	return ws.send(CloseFrame, binary.BigEndian.AppendUint16(nil, uint16(status)))
}

// Close closes the connection: what was written still leaves, with a Close frame of
// status 1000 behind it, for which Close waits a second at the most. At a second call it
// returns [net.ErrClosed].
func (ws *Conn) Close() error {
	ws.WriteClose(int(websocket.StatusNormalClosure))
	ws.SetDeadline(time.Time{}) // stops the timers
	return ws.ws.Close()
}

// IsClientConn reports whether ws is the client's side of its connection.
func (ws *Conn) IsClientConn() bool { return ws.request == nil }

// IsServerConn reports whether ws is the server's side of its connection.
func (ws *Conn) IsServerConn() bool { return ws.request != nil }

// Config returns the configuration: of a client, that which it dialled with; of a
// server, what the request has said of Location, Origin, Protocol and Version.
func (ws *Conn) Config() *Config { return ws.config }

// Request returns the request that became the connection, and nil for a client.
func (ws *Conn) Request() *http.Request { return ws.request }

// LocalAddr returns the origin for a client and the location for a server.
func (ws *Conn) LocalAddr() net.Addr {
	if ws.IsClientConn() {
		return newAddr(ws.config.Origin)
	}
	return newAddr(ws.config.Location)
}

// RemoteAddr returns the location for a client and the origin for a server.
func (ws *Conn) RemoteAddr() net.Addr {
	if ws.IsClientConn() {
		return newAddr(ws.config.Location)
	}
	return newAddr(ws.config.Origin)
}

// SetDeadline sets the deadlines of reads and of writes, of those under way too. An
// error that is due to a deadline is os.ErrDeadlineExceeded. The connection stays as
// it was: with another deadline it can be used again.
func (ws *Conn) SetDeadline(t time.Time) error {
	ws.readEnd.Set(t)
	ws.writeEnd.Set(t)
	return nil
}

// SetReadDeadline sets the deadline of reads, as SetDeadline does.
func (ws *Conn) SetReadDeadline(t time.Time) error {
	ws.readEnd.Set(t)
	return nil
}

// SetWriteDeadline sets the deadline of writes, as SetDeadline does.
func (ws *Conn) SetWriteDeadline(t time.Time) error {
	ws.writeEnd.Set(t)
	return nil
}

// An Addr is the URL of one end of a connection, as a [net.Addr].
type Addr struct {
	*url.URL
}

// newAddr makes one of a URL that may be nil: that of a client that has told none.
func newAddr(u *url.URL) *Addr {
	if u == nil {
		u = new(url.URL)
	}
	return &Addr{u}
}

// Network returns "websocket".
func (addr *Addr) Network() string { return "websocket" }
