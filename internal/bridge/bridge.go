// Package bridge lets the compatibility packages do to a *websocket.Conn what they
// need and its own API does not offer, because the API that they translate has it.
// Package websocket, which imports this one and can thus not be named here, sets the
// functions; a conn is always a *websocket.Conn.
package bridge

import "context"

// Handlers are called for the control frames of a connection, by whoever reads from it,
// before his read goes on or returns. None holds a lock: they may write. What they
// are given is theirs. An error of a handler is what that read returns.
type Handlers struct {
	Ping  func(data string) error              // instead of the pong; nil: a pong
	Pong  func(data string) error              // or nil
	Close func(code uint16, text string) error // before the answer, which is sent unless the handler has; or nil
}

var (
	// SetHandlers makes h the handlers of a connection. It is not changed after that.
	SetHandlers func(conn any, h *Handlers)

	// WriteControl sends a control frame (RFC 6455 5.5). A Close frame ends the
	// writing and not the connection: that is still to be read until the peer's
	// answer, and then to be closed.
	WriteControl func(ctx context.Context, conn any, opcode byte, payload []byte) error

	// SetContext gives what NextReader or NextWriter has returned another context,
	// since a deadline can be set anew in the middle of a message.
	SetContext func(message any, ctx context.Context)

	// Close is the connection's Close, without a Close frame.
	Close func(conn any) error
)
