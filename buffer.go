package websocket

import (
	"sync"
	"sync/atomic"
)

// Memory that is only needed while bytes are on their way is shared by all
// connections: a connection that waits holds none of it. There are two sizes, for
// a little traffic and for much.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func getSmallBuffer() []byte {
	if audited {
		lent.Add(1)
	}
	return smallBuffers.Get().(*[smallBuffer]byte)[:]
}

func getLargeBuffer() []byte {
	if audited {
		lent.Add(1)
	}
	return largeBuffers.Get().(*[largeBuffer]byte)[:]
}

// getBuffer returns a buffer for n bytes, or the larger one.
func getBuffer(n int) []byte {
	if n <= smallBuffer {
		return getSmallBuffer()
	}
	return getLargeBuffer()
}

// In tests buffers are audited: putBuffer overwrites what it is given, so that a byte
// shows which somebody uses that does not belong to him any more, and lent counts the
// buffers that have not been given back. Set before the first connection is made, or
// never.
var (
	audited bool
	lent    atomic.Int64
)

// putBuffer gives back a buffer that getSmallBuffer or getLargeBuffer returned.
// What has another size, because it has grown beyond them, is left to the
// garbage collector.
func putBuffer(b []byte) {
	if audited {
		b = b[:cap(b)]
		for i := range b {
			b[i] = 0xa5
		}
		if cap(b) == smallBuffer || cap(b) == largeBuffer {
			lent.Add(-1)
		}
	}
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// growBuffer returns b with room for n more bytes, and gives b back if that took
// another buffer.
func growBuffer(b []byte, n int) []byte {
	if n <= cap(b)-len(b) {
		return b
	}
	return regrowBuffer(b, len(b)+n)
}

func regrowBuffer(b []byte, need int) []byte {
	var grown []byte
	switch {
	case need <= smallBuffer:
		grown = getSmallBuffer()[:0]
	case need <= largeBuffer:
		grown = getLargeBuffer()[:0]
	default:
		grown = make([]byte, 0, max(need, 2*cap(b)))
	}
	grown = append(grown, b...)
	putBuffer(b)
	return grown
}
