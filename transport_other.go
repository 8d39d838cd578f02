//go:build !unix

package websocket

import "net"

func newTransport(nc net.Conn) transport { return newPlainTransport(nc) }
