package websocket

import (
	"crypto/tls"
	"net"
)

// A transport is what a Conn needs of its net.Conn. There is one that can tell
// whether bytes are there before it asks for memory to put them, and one for
// everything else. Deadlines are set on the net.Conn itself.
type transport interface {
	// read waits until bytes have arrived and reads once. It asks space for memory
	// when there is something to put into it, or at least a reason to believe so.
	// Only one read may run at a time.
	read(m memory) (n int, err error)

	// tryWrite writes what can be written at once, which may be nothing. Only the
	// holder of the flusher role may call it: on a socket it would wait behind a
	// write of another goroutine.
	tryWrite(p []byte) (n int, err error)

	// write writes p, and then q, and waits as long as the write deadline allows.
	write(p, q []byte) (n int, err error)

	traits() traits
}

// memory is what a transport reads into.
type memory interface {
	space() []byte // what to read into; never empty
	unused()       // nothing was there after all
	direct() bool  // what space returns is kept anyhow, so that waiting with it costs nothing
}

// traits are the ways in which transports differ that a Conn has to know of.
type traits struct {
	tries    bool  // tryWrite writes at all
	vectored bool  // write with two slices is one system call and copies neither
	resumes  bool  // a write that has timed out can go on where it stopped
	maxWrite int32 // bytes a write should be given at the most, so that its deadline and what is counted as taken are about progress
}

// plainTransport is a transport over any net.Conn: TLS, net.Pipe, a user's own.
// It can only wait by reading, so it waits with a few bytes of its own.
type plainTransport struct {
	nc    net.Conn
	more  bool // the last read filled what it was given
	small [256]byte
}

func newPlainTransport(nc net.Conn) *plainTransport { return &plainTransport{nc: nc} }

func (t *plainTransport) read(m memory) (n int, err error) {
	if m.direct() {
		p := m.space()
		n, err = t.nc.Read(p)
		t.more = n == len(p)
		return n, err
	}
	p := t.small[:]
	if t.more { // probably: if not, a wait costs no more than a small buffer
		p = getSmallBuffer()
		defer putBuffer(p)
	}
	n, err = t.nc.Read(p)
	t.more = n == len(p)
	if n > 0 {
		copy(m.space(), p[:n])
	}
	return n, err
}

func (t *plainTransport) tryWrite([]byte) (int, error) { return 0, nil }

func (t *plainTransport) write(p, q []byte) (n int, err error) {
	if len(p) > 0 {
		n, err = t.nc.Write(p)
	}
	if len(q) == 0 || err != nil {
		return n, err
	}
	m, err := t.nc.Write(q)
	return n + m, err
}

// maxTLSWrite is the plaintext of one TLS record. crypto/tls cannot go on after a
// write that has timed out, so a longer write would be cut off in mid-progress.
const maxTLSWrite = 16 << 10

func (t *plainTransport) traits() traits {
	switch t.nc.(type) {
	case *tls.Conn:
		return traits{maxWrite: maxTLSWrite}
	case *net.TCPConn, *net.UnixConn:
		return traits{resumes: true, maxWrite: largeBuffer}
	}
	return traits{maxWrite: largeBuffer} // there may be TLS in somebody's own connection
}
