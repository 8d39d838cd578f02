package websocket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"example.com/websocket"
	"example.com/websocket/internal/bridge"
	"example.com/websocket/internal/deadline"
)

var (
	errBadMessageType = errors.New("websocket: the message type is none that can be written")
	errLongControl    = errors.New("websocket: a control frame has at most 125 bytes of data")
	errWriterClosed   = errors.New("websocket: this message was ended, by Close or by the next one")
)

// SetWriteDeadline sets the deadline of writes, of those under way too; zero is none. A
// write that it ends returns a [net.Error] whose Timeout method says true, and so do all
// writes after that. Only a peer that takes nothing makes a write wait.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeEnd.Set(t)
	return nil
}

// WriteMessage sends a message, or a control frame if messageType is one of those. It
// ends a message that NextWriter has begun; pings and pongs pass it. The data is the
// caller's again when it returns.
//
// It returns ErrCloseSent behind a Close frame, [net.ErrClosed] after Close, a [net.Error]
// for a deadline that is over, what has ended the connection before, and an error without
// consequences for another messageType, for more than 125 bytes of a control frame, and
// for a status that a Close frame must not have (RFC 6455 5.5, 7.4).
func (c *Conn) WriteMessage(messageType int, data []byte) error {
	ctx := c.writeEnd.Context()
	if messageType == PingMessage || messageType == PongMessage {
		return c.writeControl(ctx, messageType, data)
	}
	return c.write(ctx, func() error { return c.send(ctx, messageType, data) })
}

func (c *Conn) send(ctx context.Context, messageType int, data []byte) error {
	if messageType == CloseMessage {
		return bridge.WriteControl(ctx, c.ws, CloseMessage, data)
	}
	if err := checkData(messageType); err != nil {
		return err
	}
	if c.deflate && c.plain.Load() {
		return c.ws.WriteUncompressed(ctx, websocket.MessageType(messageType), data)
	}
	return c.ws.WriteMessage(ctx, websocket.MessageType(messageType), data)
}

func checkData(messageType int) error {
	if messageType != TextMessage && messageType != BinaryMessage {
		return errBadMessageType
	}
	return nil
}

// checkControl: RFC 6455 5.5 "All control frames MUST have a payload length of 125
// bytes or less".
func checkControl(data []byte) error {
	if len(data) > 125 {
		return errLongControl
	}
	return nil
}

func isControl(messageType int) bool {
	return messageType == CloseMessage || messageType == PingMessage || messageType == PongMessage
}

// write makes a write of a whole message, after it has ended the one that is open.
func (c *Conn) write(ctx context.Context, f func() error) error {
	if c.open.Load() {
		c.writing.Lock()
		c.endWriter()
		c.writing.Unlock()
	}
	if err := c.writeError(); err != nil {
		return err
	}
	return c.wrote(ctx, f())
}

// writeError returns why nothing more can be written.
func (c *Conn) writeError() error {
	if p := c.writeErr.Load(); p != nil {
		return *p
	}
	return nil
}

// wrote returns the error of a write as gorilla/websocket has it, and remembers that of
// a deadline.
func (c *Conn) wrote(ctx context.Context, err error) error {
	var closed *websocket.CloseError
	switch err = deadline.Error(ctx, err); {
	case err == nil:
	case errors.As(err, &closed), errors.Is(err, net.ErrClosed) && c.ws.Stats().CloseSent != 0:
		return ErrCloseSent
	case err == context.Cause(ctx):
		err = c.timeout("write", lastTimeout{err})
		c.writeErr.CompareAndSwap(nil, &err)
	}
	return err
}

// WriteControl sends a control frame: CloseMessage, whose data FormatCloseMessage makes,
// PingMessage or PongMessage. It passes messages that are being written, and waits
// until the deadline at the most, or without an end if that is zero, which it only has
// to for a peer that takes nothing. A frame has at most 125 bytes of data. Its errors are
// those of WriteMessage, but that one for the deadline is not final.
func (c *Conn) WriteControl(messageType int, data []byte, deadline time.Time) error {
	if !isControl(messageType) {
		return errBadMessageType
	}
	ctx := context.Background()
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, deadline, os.ErrDeadlineExceeded)
		defer cancel()
		if ctx.Err() != nil {
			return c.timeout("write", os.ErrDeadlineExceeded)
		}
	}
	if err := c.writeError(); err != nil {
		return err
	}
	err := bridge.WriteControl(ctx, c.ws, byte(messageType), data)
	if err != nil && err == ctx.Err() { // not for those to come
		return c.timeout("write", os.ErrDeadlineExceeded)
	}
	return c.wrote(ctx, err)
}

func (c *Conn) writeControl(ctx context.Context, messageType int, data []byte) error {
	if err := c.writeError(); err != nil {
		return err
	}
	return c.wrote(ctx, bridge.WriteControl(ctx, c.ws, byte(messageType), data))
}

// NextWriter returns a writer of a message, which its Close ends. There is one at a
// time: the next NextWriter or write of a message ends the last. The writer of a control
// frame holds the data until Close. Its errors, and those of the writer, are those of
// WriteMessage; a writer whose message was ended has its own.
func (c *Conn) NextWriter(messageType int) (io.WriteCloser, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.endWriter()
	if err := c.writeError(); err != nil {
		return nil, err
	}
	w, err := c.newWriter(messageType)
	if err != nil {
		return nil, err
	}
	c.writer = &messageWriter{c, w}
	c.open.Store(true)
	return c.writer, nil
}

func (c *Conn) newWriter(messageType int) (io.WriteCloser, error) {
	if isControl(messageType) {
		return &wholeWriter{c: c, messageType: messageType}, nil
	}
	if err := checkData(messageType); err != nil {
		return nil, err
	}
	if c.deflate && c.plain.Load() {
		return &wholeWriter{c: c, messageType: messageType}, nil
	}
	ctx := c.writeEnd.Context()
	w, err := c.ws.NextWriter(ctx, websocket.MessageType(messageType))
	return w, c.wrote(ctx, err)
}

// endWriter ends the message that is open, if one is. Called with writing held.
func (c *Conn) endWriter() (err error) {
	if m := c.writer; m != nil {
		c.writer = nil
		c.open.Store(false)
		ctx := m.context()
		err = c.wrote(ctx, m.w.Close())
	}
	return err
}

// A messageWriter writes a message in pieces.
type messageWriter struct {
	c *Conn
	w io.WriteCloser
}

// context makes the write deadline, as it is now, that of the next write.
func (m *messageWriter) context() context.Context {
	ctx := m.c.writeEnd.Context()
	if w, ok := m.w.(*wholeWriter); ok {
		w.ctx = ctx
	}
	bridge.SetContext(m.w, ctx)
	return ctx
}

func (m *messageWriter) Write(p []byte) (int, error) {
	m.c.writing.Lock()
	defer m.c.writing.Unlock()
	if m.c.writer != m {
		return 0, errWriterClosed
	}
	ctx := m.context()
	n, err := m.w.Write(p)
	return n, m.c.wrote(ctx, err)
}

func (m *messageWriter) Close() error {
	m.c.writing.Lock()
	defer m.c.writing.Unlock()
	if m.c.writer != m {
		return errWriterClosed
	}
	return m.c.endWriter()
}

// A wholeWriter gathers what must be sent as a whole: a control frame, or a message that
// is not to be compressed.
type wholeWriter struct {
	c           *Conn
	ctx         context.Context // of Close
	messageType int
	data        []byte
}

func (w *wholeWriter) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *wholeWriter) Close() error {
	if err := w.c.writeError(); err != nil {
		return err
	}
	if isControl(w.messageType) {
		return bridge.WriteControl(w.ctx, w.c.ws, byte(w.messageType), w.data)
	}
	return w.c.ws.WriteUncompressed(w.ctx, websocket.MessageType(w.messageType), w.data)
}

// WriteJSON sends v in JSON, with a line feed behind it, as a text message; see
// [json.Marshal]. After an error of that nothing was sent; other errors are those of
// WriteMessage.
func (c *Conn) WriteJSON(v interface{}) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	return c.WriteMessage(TextMessage, b.Bytes())
}

// WriteJSON is c.WriteJSON.
//
// Deprecated: use the method.
func WriteJSON(c *Conn, v interface{}) error { return c.WriteJSON(v) }

// A PreparedMessage is a message for many connections, which is framed once and, if
// need be, compressed once.
type PreparedMessage struct {
	messageType int
	data        []byte
	whole       *websocket.PreparedMessage
}

// NewPreparedMessage prepares a message or a control frame. It copies data. An error is
// that for another messageType, or for more than 125 bytes of a control frame.
func NewPreparedMessage(messageType int, data []byte) (*PreparedMessage, error) {
	err, control := checkData(messageType), isControl(messageType)
	if control {
		err = checkControl(data)
	}
	if err != nil {
		return nil, err
	}
	m := &PreparedMessage{messageType: messageType, data: bytes.Clone(data)}
	if !control {
		m.whole = websocket.NewPreparedMessage(websocket.MessageType(messageType), m.data)
	}
	return m, nil
}

// WritePreparedMessage is WriteMessage of a prepared message.
func (c *Conn) WritePreparedMessage(pm *PreparedMessage) error {
	if pm.whole == nil || c.deflate && c.plain.Load() {
		return c.WriteMessage(pm.messageType, pm.data)
	}
	ctx := c.writeEnd.Context()
	return c.write(ctx, func() error { return c.ws.WritePrepared(ctx, pm.whole) })
}

// EnableWriteCompression says whether the messages from now on are compressed, if that
// was negotiated; if so the default is that they are.
func (c *Conn) EnableWriteCompression(enable bool) { c.plain.Store(!enable) }

// SetCompressionLevel takes the levels of compress/flate, from -2 to 9, and has no
// effect: how hard is searched was settled with the handshake. Another level is an error.
func (c *Conn) SetCompressionLevel(level int) error {
	if level < -2 || level > 9 {
		return fmt.Errorf("websocket: compression level %d: compress/flate has those from -2 to 9", level)
	}
	return nil
}

// A BufferPool is a pool of buffers, such as a *sync.Pool. It is accepted, and not used.
type BufferPool interface {
	Get() interface{} // a value, or nil if the pool is empty
	Put(interface{})
}
