//go:build unix

package websocket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// newTransport chooses the transport for nc. It asks for the concrete types and
// not for syscall.Conn: a user's wrapper that embeds a *net.TCPConn has that
// method too, and its Read and Write must not be bypassed.
func newTransport(nc net.Conn) transport {
	var raw syscall.RawConn
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		raw, err = nc.SyscallConn()
	case *net.UnixConn:
		raw, err = nc.SyscallConn()
	}
	if raw == nil || err != nil {
		return newPlainTransport(nc)
	}
	return newSocketTransport(nc, raw)
}

// socketTransport is a transport over a socket of the operating system. Waiting
// for it needs no buffer: the runtime's poller calls back when there are bytes. (An idle
// connection that keeps one needs 11.9 KiB instead of 5.5.)
type socketTransport struct {
	nc  net.Conn
	raw syscall.RawConn

	// A system call runs in a callback. The callbacks are bound once, so that a
	// call costs no allocation, and speak with their callers through these: the
	// first group belongs to the one who reads, the second to the flusher.
	onReadable func(fd uintptr) bool
	memory     memory
	nread      int
	readErr    error

	onWritable func(fd uintptr) bool
	out        []byte
	nwritten   int
	writeErr   error
}

func newSocketTransport(nc net.Conn, raw syscall.RawConn) *socketTransport {
	t := &socketTransport{nc: nc, raw: raw}
	t.onReadable = func(fd uintptr) bool { return t.readable(fd) }
	t.onWritable = func(fd uintptr) bool { return t.writable(fd) }
	return t
}

func (t *socketTransport) read(m memory) (n int, err error) {
	t.memory, t.nread, t.readErr = m, 0, nil
	err = t.raw.Read(t.onReadable)
	if err == nil {
		err = t.readErr
	}
	return t.nread, err
}

// readable is called at once and then whenever the socket may have become
// readable, until it returns true.
func (t *socketTransport) readable(fd uintptr) bool {
	p := t.memory.space()
	n, err := syscall.Read(int(fd), p)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), p)
	}
	switch {
	case n > 0:
		t.nread = n
		return true
	case err == syscall.EAGAIN:
		t.memory.unused()
		return false
	}
	t.memory.unused()
	t.readErr = io.EOF
	if err != nil {
		t.readErr = t.opError("read", err)
	}
	return true
}

func (t *socketTransport) tryWrite(p []byte) (n int, err error) {
	t.out, t.nwritten, t.writeErr = p, 0, nil
	err = t.raw.Write(t.onWritable)
	t.out = nil
	if err == nil {
		err = t.writeErr
	}
	return t.nwritten, err
}

func (t *socketTransport) writable(fd uintptr) bool {
	n, err := syscall.Write(int(fd), t.out)
	for err == syscall.EINTR {
		n, err = syscall.Write(int(fd), t.out)
	}
	t.nwritten = max(n, 0)
	if err != nil && err != syscall.EAGAIN {
		t.writeErr = t.opError("write", err)
	}
	return true // never wait
}

func (t *socketTransport) write(p, q []byte) (int, error) {
	switch {
	case len(q) == 0:
		return t.nc.Write(p)
	case len(p) == 0:
		return t.nc.Write(q)
	}
	v := vectors.Get().(*vector)
	v.buffers = append(v.array[:0], p, q)
	n, err := v.buffers.WriteTo(t.nc)
	*v = vector{}
	vectors.Put(v)
	return int(n), err
}

// A vector is the argument of a writev.
type vector struct {
	array   [2][]byte
	buffers net.Buffers
}

var vectors = sync.Pool{New: func() any { return new(vector) }}

func (t *socketTransport) traits() traits {
	return traits{tries: true, vectored: true, resumes: true, maxWrite: largeBuffer}
}

func (t *socketTransport) opError(op string, err error) error {
	return &net.OpError{
		Op:     op,
		Net:    t.nc.LocalAddr().Network(),
		Source: t.nc.LocalAddr(),
		Addr:   t.nc.RemoteAddr(),
		Err:    os.NewSyscallError(op, err),
	}
}
