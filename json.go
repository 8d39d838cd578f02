package websocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrJSON is wrapped by the errors of [Conn.ReadJSON] and [Conn.WriteJSON] for what
// is not JSON or does not fit the value, together with that of encoding/json. It
// tells that nothing is wrong with the connection, which stays as it was.
var ErrJSON = errors.New("websocket: JSON")

// ReadJSON reads the next message, text or binary, and stores the JSON value that it
// consists of in v, as [json.Unmarshal] does. An error that wraps [ErrJSON] is about
// the message: it is read and gone, v may have been set in part, and the next read
// gets the next message. All other errors are those of [Conn.ReadMessage]; so is the
// read limit.
func (c *Conn) ReadJSON(ctx context.Context, v any) error {
	_, p, err := c.ReadMessage(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("%w: a message of %d bytes: %w", ErrJSON, len(p), err)
	}
	return nil
}

// WriteJSON sends v as a text message, in JSON as [json.Marshal] writes it, with no
// line break behind it. An error that wraps [ErrJSON] is about v, and nothing was
// sent. All other errors are those of [Conn.WriteMessage], as is all else: any number
// of goroutines may call it.
func (c *Conn) WriteJSON(ctx context.Context, v any) error {
	p, err := json.Marshal(v)
	if err == nil && !utf8.Valid(p) { // a json.Marshaler may do that; the peer would fail the connection (8.1)
		err = errors.New("text that is not UTF-8")
	}
	if err != nil {
		return fmt.Errorf("%w: a value of type %T: %w", ErrJSON, v, err)
	}
	return c.WriteMessage(ctx, MessageText, p)
}
