package websocket

import "net"

// A Conn is a WebSocket connection.
type Conn struct{ nc net.Conn }

// newConn makes a connection of nc, on which the handshake is complete. Buffered
// holds bytes that were read from nc already, right behind the handshake; they
// come first. subprotocol is what was agreed on.
func newConn(nc net.Conn, r role, opts *Options, subprotocol string, buffered []byte) *Conn {
	return &Conn{nc: nc}
}
