//go:build unix

package websocket

const socketsAreKnown = true
