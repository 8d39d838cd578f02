package websocket

import (
	"encoding/json"
	"errors"
	"io"
)

// A Codec sends and receives values as messages.
type Codec struct {
	// Marshal returns the message for v, and its type: TextFrame or BinaryFrame.
	Marshal func(v interface{}) (data []byte, payloadType byte, err error)

	// Unmarshal stores a message in what v points to. The data is its own to keep.
	Unmarshal func(data []byte, payloadType byte, v interface{}) (err error)
}

// ErrFrameTooLarge is returned by Receive for a message that is larger than the
// Conn's MaxPayloadBytes. The next Receive discards it, and goes on; Read returns it,
// from its first byte.
var ErrFrameTooLarge = errors.New("websocket: the message is larger than Conn.MaxPayloadBytes")

// Send sends v as one message. Its errors are those of cd.Marshal, after which nothing was
// sent, and those of [Conn.Write].
func (cd Codec) Send(ws *Conn, v interface{}) (err error) {
	data, payloadType, err := cd.Marshal(v)
	if err != nil {
		return err
	}
	return ws.send(payloadType, data)
}

// Receive receives the next message, whole, and stores it in what v points to. What
// Read has left of a message it discards. Its errors are those of [Conn.Read],
// ErrFrameTooLarge and those of cd.Unmarshal; after the latter two the next message
// can be received.
func (cd Codec) Receive(ws *Conn, v interface{}) (err error) {
	data, payloadType, err := ws.receive()
	if err != nil {
		return err
	}
	return cd.Unmarshal(data, payloadType, v)
}

// receive reads the next message, or goes on with one that a deadline has interrupted.
func (ws *Conn) receive() (data []byte, payloadType byte, err error) {
	ws.reading.Lock()
	defer ws.reading.Unlock()
	if payloadType = ws.typ; payloadType == 0 {
		if payloadType, err = ws.next(); err != nil {
			return nil, 0, err
		}
	}
	limit := ws.MaxPayloadBytes
	if limit == 0 {
		limit = DefaultMaxPayloadBytes
	}
	data, err = io.ReadAll(io.LimitReader(readerFunc(ws.read), int64(limit)+1))
	switch {
	case err != nil:
		ws.typ, ws.begun = payloadType, data
		return nil, 0, err
	case len(data) > limit:
		ws.typ, ws.begun = 0, data
		return nil, 0, ErrFrameTooLarge
	}
	ws.typ, ws.message = 0, nil
	return data, payloadType, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Message is a codec for strings, which are text messages, and byte slices, which
// are binary ones. It receives a message of either type into a *string or a *[]byte. For
// any other value it returns ErrNotSupported.
var Message = Codec{marshalMessage, unmarshalMessage}

func marshalMessage(v interface{}) (data []byte, payloadType byte, err error) {
	switch v := v.(type) {
	case string:
		return []byte(v), TextFrame, nil
	case []byte:
		return v, BinaryFrame, nil
	}
	return nil, UnknownFrame, ErrNotSupported
}

func unmarshalMessage(data []byte, _ byte, v interface{}) error {
	switch v := v.(type) {
	case *string:
		*v = string(data)
	case *[]byte:
		*v = data
	default:
		return ErrNotSupported
	}
	return nil
}

// JSON is a codec for what encoding/json can marshal, in text messages.
var JSON = Codec{marshalJSON, unmarshalJSON}

func marshalJSON(v interface{}) (data []byte, payloadType byte, err error) {
	data, err = json.Marshal(v)
	return data, TextFrame, err
}

func unmarshalJSON(data []byte, _ byte, v interface{}) error { return json.Unmarshal(data, v) }
