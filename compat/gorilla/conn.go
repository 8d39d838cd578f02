package websocket

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"example.com/websocket"
	"example.com/websocket/internal/bridge"
	"example.com/websocket/internal/deadline"
)

// Status codes of Close frames (RFC 6455 7.4.1).
const (
	CloseNormalClosure           = 1000
	CloseGoingAway               = 1001
	CloseProtocolError           = 1002
	CloseUnsupportedData         = 1003
	CloseNoStatusReceived        = 1005
	CloseAbnormalClosure         = 1006
	CloseInvalidFramePayloadData = 1007
	ClosePolicyViolation         = 1008
	CloseMessageTooBig           = 1009
	CloseMandatoryExtension      = 1010
	CloseInternalServerErr       = 1011
	CloseServiceRestart          = 1012
	CloseTryAgainLater           = 1013
	CloseTLSHandshake            = 1015
)

// Types of messages, with the numbers of their opcodes (RFC 6455 11.8). The last three
// are control frames, which pass the messages.
const (
	TextMessage   = 1
	BinaryMessage = 2
	CloseMessage  = 8
	PingMessage   = 9
	PongMessage   = 10

	noFrame = -1
)

var (
	// ErrCloseSent is returned by writes after a Close frame was sent.
	ErrCloseSent = errors.New("websocket: close sent")

	// ErrReadLimit is returned by reads when a message exceeds the limit that
	// SetReadLimit has set. The peer is told, with status 1009.
	ErrReadLimit = errors.New("websocket: read limit exceeded")
)

// A CloseError is the Close frame of the peer, as the error that ends the reading. A
// connection that ended without one is a CloseError with CloseAbnormalClosure.
type CloseError struct {
	Code int    // CloseNoStatusReceived if the frame had none
	Text string // or ""
}

// closeNames are what the original calls the codes: programs look for them in logs, and
// in the texts of errors.
var closeNames = map[int]string{
	CloseNormalClosure:           " (normal)",
	CloseGoingAway:               " (going away)",
	CloseProtocolError:           " (protocol error)",
	CloseUnsupportedData:         " (unsupported data)",
	CloseNoStatusReceived:        " (no status)",
	CloseAbnormalClosure:         " (abnormal closure)",
	CloseInvalidFramePayloadData: " (invalid payload data)",
	ClosePolicyViolation:         " (policy violation)",
	CloseMessageTooBig:           " (message too big)",
	CloseMandatoryExtension:      " (mandatory extension missing)",
	CloseInternalServerErr:       " (internal server error)",
	CloseTLSHandshake:            " (TLS handshake error)",
}

// Error tells the code, by its name too, and the text.
func (e *CloseError) Error() string {
	text := "websocket: close " + strconv.Itoa(e.Code) + closeNames[e.Code]
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// IsCloseError reports whether err is a *CloseError, or wraps one, with one of these
// codes.
func IsCloseError(err error, codes ...int) bool {
	var e *CloseError
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// IsUnexpectedCloseError reports whether err is a *CloseError, or wraps one, with none
// of these codes.
func IsUnexpectedCloseError(err error, expectedCodes ...int) bool {
	var e *CloseError
	return errors.As(err, &e) && !slices.Contains(expectedCodes, e.Code)
}

// FormatCloseMessage returns the payload of a Close frame with this code and text, for
// WriteControl or WriteMessage; it is empty for CloseNoStatusReceived. More than 123
// bytes of text do not fit into a frame, which the write tells.
func FormatCloseMessage(closeCode int, text string) []byte {
	if closeCode == CloseNoStatusReceived {
		return []byte{}
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(closeCode)), text...)
}

// A Conn is a connection. It answers pings and Close frames while somebody reads, so
// somebody should at all times. Any number of goroutines may write, and all methods
// may be called by any number.
type Conn struct {
	ws      *websocket.Conn
	deflate bool // it was asked for: messages may be compressed

	readEnd  deadline.Deadline
	writeEnd deadline.Deadline

	reading sync.Mutex     // held by who reads; guards the next two
	message *messageReader // of the last NextReader
	readErr error          // the first error of a read, for all later ones

	writing  sync.Mutex // guards writer, and is held while that writes
	writer   *messageWriter
	open     atomic.Bool           // there is a writer
	writeErr atomic.Pointer[error] // why nothing more can be written
	plain    atomic.Bool           // by EnableWriteCompression(false)

	mu       sync.Mutex // guards handlers
	handlers bridge.Handlers
	onClose  func(code int, text string) error
}

// newOptions are what every connection has: limits, keepalive and time-outs are for the
// program to set, as in gorilla/websocket.
func newOptions(compress bool) *websocket.Options {
	opts := &websocket.Options{ReadLimit: -1, KeepAlive: -1, WriteTimeout: -1}
	if compress {
		opts.Compression = new(websocket.Compression)
	}
	return opts
}

// NetConn returns the connection underneath, to look at or to set socket options.
// Who reads, writes or sets deadlines on it breaks the WebSocket connection.
func (c *Conn) NetConn() net.Conn { return c.ws.NetConn() }

// UnderlyingConn is NetConn.
//
// Deprecated: use NetConn.
func (c *Conn) UnderlyingConn() net.Conn { return c.ws.NetConn() }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.ws.LocalAddr() }

// RemoteAddr returns the address of the peer, or of the proxy before it.
func (c *Conn) RemoteAddr() net.Addr { return c.ws.RemoteAddr() }

// Subprotocol returns the subprotocol that was agreed on, or "".
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// Close closes the connection without a Close frame, which is to be sent before if
// the peer should get one. What was written leaves, for which Close waits a second at
// the most. At a second call it returns [net.ErrClosed].
func (c *Conn) Close() error {
	c.readEnd.Set(time.Time{}) // stops the timers
	c.writeEnd.Set(time.Time{})
	return bridge.Close(c.ws)
}

// timeout is the error of a read or a write that a deadline has ended, a [net.Error].
func (c *Conn) timeout(op string, err error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// A lastTimeout is the end of a deadline after which nothing more is read, or written.
// So it is not temporary, as that of a [net.Conn] is: whoever asks may try again.
type lastTimeout struct{ error }

func (e lastTimeout) Unwrap() error { return e.error }
func (lastTimeout) Timeout() bool   { return true }
func (lastTimeout) Temporary() bool { return false }

// Control frames that the peer sends, and their handlers.

// SetPingHandler sets the function that is called for each ping of the peer, by
// whoever reads, who gets its error. nil stands for the default, which answers with a
// pong.
func (c *Conn) SetPingHandler(h func(appData string) error) {
	c.setHandlers(func() { c.handlers.Ping = h })
}

// SetPongHandler sets the function that is called for each pong of the peer, by
// whoever reads, who gets its error. nil stands for the default, which does nothing.
func (c *Conn) SetPongHandler(h func(appData string) error) {
	c.setHandlers(func() { c.handlers.Pong = h })
}

// SetCloseHandler sets the function that is called for the peer's Close frame, by
// whoever reads, who gets its error or else a *CloseError. The code is
// CloseNoStatusReceived if the frame has none. nil stands for the default, which
// answers with the same code. That answer is also sent after a handler that has sent
// none.
func (c *Conn) SetCloseHandler(h func(code int, text string) error) {
	c.setHandlers(func() {
		c.onClose, c.handlers.Close = h, nil
		if h != nil {
			c.handlers.Close = func(code uint16, text string) error { return h(int(code), text) }
		}
	})
}

// setHandlers gives the connection its handlers anew, since they do not change.
func (c *Conn) setHandlers(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	h := c.handlers
	bridge.SetHandlers(c.ws, &h)
}

// handlerWait is for how long a default handler may wait for room for its answer.
const handlerWait = time.Second

// PingHandler returns the current handler for pings.
func (c *Conn) PingHandler() func(appData string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handlers.Ping != nil {
		return c.handlers.Ping
	}
	return func(data string) error {
		err := c.WriteControl(PongMessage, []byte(data), time.Now().Add(handlerWait))
		if timeout, ok := err.(net.Error); err == ErrCloseSent || ok && timeout.Timeout() {
			return nil
		}
		return err
	}
}

// PongHandler returns the current handler for pongs.
func (c *Conn) PongHandler() func(appData string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handlers.Pong != nil {
		return c.handlers.Pong
	}
	return func(string) error { return nil }
}

// CloseHandler returns the current handler for Close frames.
func (c *Conn) CloseHandler() func(code int, text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.onClose != nil {
		return c.onClose
	}
	return func(code int, _ string) error {
		c.WriteControl(CloseMessage, FormatCloseMessage(code, ""), time.Now().Add(handlerWait))
		return nil
	}
}

// SetReadLimit sets the size of the largest message that is read, in bytes, however
// little of it is on the wire. A larger one ends the reading with ErrReadLimit. 0, and
// less, is no limit, which is the default.
func (c *Conn) SetReadLimit(limit int64) {
	if limit <= 0 {
		limit = -1
	}
	c.ws.SetReadLimit(limit)
}
