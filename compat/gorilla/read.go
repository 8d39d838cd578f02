package websocket

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"example.com/websocket"
	"example.com/websocket/internal/bridge"
	"example.com/websocket/internal/deadline"
)

// SetReadDeadline sets the deadline of reads, of one that is under way too, and of
// handlers that they call; zero is none. A read that it ends returns a [net.Error] whose
// Timeout method says true, and so do all reads after that.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readEnd.Set(t)
	return nil
}

// NextReader returns the type of the next message, TextMessage or BinaryMessage, and
// its reader. What was not read of the last message is discarded, and its reader is at
// its end. All errors are final: every read after one returns it again. They are a
// *CloseError for a Close frame of the peer or an end without one, ErrReadLimit, a
// [net.Error] for a deadline that is over, what a handler has returned, [net.ErrClosed]
// after Close, and what the peer did against the protocol, in words.
func (c *Conn) NextReader() (messageType int, r io.Reader, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.message = nil
	if c.readErr != nil {
		return noFrame, nil, c.readErr
	}
	ctx := c.readEnd.Context()
	typ, next, err := c.ws.NextReader(ctx)
	if err != nil {
		return noFrame, nil, c.readFailed(ctx, err)
	}
	c.message = &messageReader{c, next}
	return int(typ), c.message, nil
}

// A messageReader reads a message.
type messageReader struct {
	c *Conn
	r io.Reader
}

func (m *messageReader) Read(p []byte) (int, error) {
	c := m.c
	c.reading.Lock()
	defer c.reading.Unlock()
	switch {
	case c.message != m:
		return 0, io.EOF
	case c.readErr != nil:
		return 0, c.readErr
	}
	ctx := c.readEnd.Context()
	bridge.SetContext(m.r, ctx)
	n, err := m.r.Read(p)
	if err != nil && err != io.EOF {
		err = c.readFailed(ctx, err)
	}
	return n, err
}

// readFailed remembers the error of a read, as gorilla/websocket has it. Called with
// reading held.
func (c *Conn) readFailed(ctx context.Context, err error) error {
	var closed *websocket.CloseError
	switch err = deadline.Error(ctx, err); {
	case errors.As(err, &closed):
		err = &CloseError{int(closed.Code), closed.Reason}
	case err == context.Cause(ctx):
		err = c.timeout("read", lastTimeout{err})
	case errors.Is(err, websocket.ErrMessageTooBig):
		err = ErrReadLimit
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = &CloseError{CloseAbnormalClosure, io.ErrUnexpectedEOF.Error()}
	}
	c.readErr = err
	return err
}

// ReadMessage reads the next message, whole. The bytes belong to the caller. Its errors
// are those of NextReader.
func (c *Conn) ReadMessage() (messageType int, p []byte, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.message = nil
	if c.readErr != nil {
		return noFrame, nil, c.readErr
	}
	ctx := c.readEnd.Context()
	typ, p, err := c.ws.ReadMessage(ctx)
	if err != nil {
		return noFrame, nil, c.readFailed(ctx, err)
	}
	return int(typ), p, nil
}

// ReadJSON reads the next message, of either type, as JSON into what v points to; see
// [json.Unmarshal]. An error of the JSON is not final. An empty message is
// io.ErrUnexpectedEOF.
func (c *Conn) ReadJSON(v interface{}) error {
	_, r, err := c.NextReader()
	if err != nil {
		return err
	}
	if err = json.NewDecoder(r).Decode(v); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// ReadJSON is c.ReadJSON.
//
// Deprecated: use the method.
func ReadJSON(c *Conn, v interface{}) error { return c.ReadJSON(v) }

// JoinMessages returns a reader of all messages that come, as one stream, with term
// behind each. It is for one goroutine.
func JoinMessages(c *Conn, term string) io.Reader { return &joined{c: c, term: term} }

type joined struct {
	c    *Conn
	term string
	r    io.Reader // of the message in hand and the term behind it, or nil
}

func (j *joined) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if j.r == nil {
			_, r, err := j.c.NextReader()
			if err != nil {
				return 0, err
			}
			j.r = io.MultiReader(r, strings.NewReader(j.term))
		}
		n, err := j.r.Read(p)
		if err == io.EOF {
			j.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}
