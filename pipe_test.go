package websocket

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"example.com/websocket/internal/memnet"
)

// The vocabulary of the connection's tests: a Conn of either role, and a raw peer
// that knows frames and nothing else. Between them is a network in memory, which
// can stall, chop and fail, inside a synctest bubble; or one of the system's.

var bothRoles = []role{server, client}

// bg is the context of calls that a test does not mean to cancel.
var bg = context.Background()

// A memConn is an end of a connection in memory.
type memConn = memnet.Conn

const peerRoom = memnet.Unlimited // a peer is never made to wait

// newMemPipe returns two connected ends. The first one's writes stall when room
// bytes are on their way.
func newMemPipe(room int) (a, b *memConn) {
	a, b = memnet.Pipe(room, peerRoom)
	a.Noting, b.Noting = true, true
	return a, b
}

// A memSocket is the transport of a memConn that is to count as a socket: it has
// EAGAIN.
type memSocket struct{ *memConn }

func (m memSocket) read(mem memory) (int, error) { return m.Receive(mem.space, mem.unused) }

func (m memSocket) tryWrite(p []byte) (int, error) { return m.Try(p) }

func (m memSocket) write(p, q []byte) (int, error) { return m.WriteV(p, q) }

func (m memSocket) traits() traits {
	return traits{tries: true, vectored: true, resumes: true, maxWrite: largeBuffer}
}

// A frame is one as the peer sends and sees it, unmasked.
type frame struct {
	fin     bool
	op      Opcode
	payload string
}

func textF(s string) frame   { return frame{true, OpText, s} }
func binaryF(s string) frame { return frame{true, OpBinary, s} }
func contF(s string) frame   { return frame{true, OpContinuation, s} }
func pingF(s string) frame   { return frame{true, OpPing, s} }
func pongF(s string) frame   { return frame{true, OpPong, s} }

func closeF(code StatusCode, reason string) frame {
	return frame{true, OpClose, string(appendClosePayload(nil, code, reason))}
}

// open returns f without FIN: more of its message follows.
func (f frame) open() frame {
	f.fin = false
	return f
}

func (f frame) String() string {
	s := f.op.String()
	if !f.fin {
		s += " (more follows)"
	}
	if len(f.payload) > 64 {
		return fmt.Sprintf("%s %q... of %d bytes", s, f.payload[:32], len(f.payload))
	}
	return fmt.Sprintf("%s %q", s, f.payload)
}

// bytes returns f as an endpoint of role r sends it.
func (f frame) bytes(r role) []byte {
	h := FrameHeader{Fin: f.fin, Opcode: f.op, Length: int64(len(f.payload))}
	if r.masks() {
		h.Masked, h.MaskKey = true, [4]byte{0x37, 0xfa, 0x21, 0x3d}
	}
	b := AppendFrameHeader(nil, h)
	n := len(b)
	b = append(b, f.payload...)
	if h.Masked {
		Mask(b[n:], b[n:], h.MaskKey, 0)
	}
	return b
}

// A rawPeer is the other end of a connection under test.
type rawPeer struct {
	t    testing.TB
	nc   net.Conn
	role role
	rest []byte
	keys map[[4]byte]bool // masking keys that have come
}

// write sends bytes as they are.
func (p *rawPeer) write(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("the peer cannot send: %v", err)
	}
}

// send sends frames, in one piece.
func (p *rawPeer) send(frames ...frame) {
	p.t.Helper()
	p.write(session(p.role, frames...))
}

// session returns the bytes of frames, as an endpoint of role r sends them.
func session(r role, frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, f.bytes(r)...)
	}
	return b
}

// readFrame reads the next frame.
func (p *rawPeer) readFrame() (frame, error) {
	for {
		h, n, err := ParseFrameHeader(p.rest)
		if err == nil && int64(len(p.rest)-n) >= h.Length {
			if err := h.check(p.role.peer(), false); err != nil {
				return frame{}, err
			}
			payload := p.rest[n : n+int(h.Length)]
			if h.Masked {
				if p.keys == nil {
					p.keys = make(map[[4]byte]bool)
				}
				p.keys[h.MaskKey] = true
				Mask(payload, payload, h.MaskKey, 0)
			}
			p.rest = p.rest[n+int(h.Length):]
			return frame{h.Fin, h.Opcode, string(payload)}, nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return frame{}, err
		}
		p.nc.SetReadDeadline(time.Now().Add(30 * time.Second))
		buf := make([]byte, 64<<10)
		k, err := p.nc.Read(buf)
		p.rest = append(p.rest, buf[:k]...)
		if k == 0 && err != nil {
			if err == io.EOF && len(p.rest) > 0 {
				err = fmt.Errorf("%w in the middle of a frame", io.ErrUnexpectedEOF)
			}
			return frame{}, err
		}
	}
}

// wantFrame reads a frame, which should be want: why is a sentence about that.
func (p *rawPeer) wantFrame(why string, want frame) {
	p.t.Helper()
	got, err := p.readFrame()
	if err != nil || got != want {
		p.t.Fatalf("%s:\nit should send %v\nit sends       %v, %v", why, want, got, err)
	}
}

// wantClose reads a Close frame with code, and anything for a reason.
func (p *rawPeer) wantClose(why string, code StatusCode) {
	p.t.Helper()
	got, err := p.readFrame()
	var e *CloseError
	if err == nil && got.op == OpClose {
		e, err = parseClosePayload([]byte(got.payload))
	}
	if e == nil || err != nil || e.Code != code {
		p.t.Fatalf("%s: it should send Close %v, and sends %v, %v", why, code, got, err)
	}
}

// wantMessage reads a message, in one frame or more, and returns the number.
func (p *rawPeer) wantMessage(why string, op Opcode, want string) (frames int) {
	p.t.Helper()
	var got strings.Builder
	for {
		f, err := p.readFrame()
		if err != nil || f.op != op {
			p.t.Fatalf("%s: it should send a %v frame, and sends %v, %v", why, op, f, err)
		}
		got.WriteString(f.payload)
		frames++
		if f.fin {
			break
		}
		op = OpContinuation
	}
	if got.String() != want {
		p.t.Fatalf("%s: it should send a message of %d bytes, and sends another of %d", why, len(want), got.Len())
	}
	return frames
}

// wantEOF checks that the other side ends the TCP connection in an orderly way.
func (p *rawPeer) wantEOF(why string) {
	p.t.Helper()
	if f, err := p.readFrame(); err != io.EOF {
		p.t.Fatalf("%s: it should close the TCP connection, but: %v, %v", why, f, err)
	}
}

// wantSilence checks that nothing has come which was not read.
func (p *rawPeer) wantSilence(why string) {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	var b [1]byte
	if n, err := p.nc.Read(b[:]); n > 0 || len(p.rest) > 0 || !isTimeout(err) {
		p.t.Fatalf("%s: it should send nothing, but: %d bytes, %v", why, n+len(p.rest), err)
	}
}

// bubble runs f with a clock of its own, as a subtest of that name if it has one.
// A goroutine that f leaves behind fails it; a timer does not: see wantUnwatched.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	run := func(t *testing.T) { t.Helper(); synctest.Test(t, f) }
	if name == "" {
		run(t)
	} else {
		t.Run(name, run)
	}
}

// wantUnwatched checks that neither a timer nor a context of the application's will
// call a connection that has ended, in a bubble in which nothing goes on any more.
func wantUnwatched(t testing.TB, why string, c *Conn) {
	t.Helper()
	if p := c.out.pings; p != nil && p.alive.timer != nil && p.alive.timer.Stop() {
		t.Errorf("%s: the keepalive's timer should be gone", why)
	}
	if c.in.watch.stop != nil || c.out.watch.stop != nil {
		t.Errorf("%s: the contexts of its calls should be left", why)
	}
}

// A rig is a connection under test in memory, and its peer.
type rig struct {
	*rawPeer
	c    *Conn
	mine *memConn // the connection's end
	far  *memConn // the peer's
}

// newRig makes a connection of role r over a socket in memory, inside a bubble.
// It is closed at the end of the test.
func newRig(t testing.TB, r role, opts *Options) *rig {
	g := newPlainRig(t, r, opts)
	g.c.out.mu.Lock() // the keepalive has begun
	defer g.c.out.mu.Unlock()
	g.c.t = memSocket{g.mine}
	g.c.traits = g.c.t.traits()
	return g
}

// newPlainRig is newRig over what is not known to be a socket.
func newPlainRig(t testing.TB, r role, opts *Options) *rig {
	mine, far := newMemPipe(64 << 10)
	g := &rig{rawPeer: &rawPeer{t: t, nc: far, role: r.peer()}, mine: mine, far: far}
	g.c = newConn(mine, r, opts, "", nil)
	t.Cleanup(func() {
		far.Close()
		g.c.Close()
		if s := mine.Misuse(); s != "" {
			t.Errorf("calls on the net.Conn overlap: %s", s)
		}
	})
	return g
}

// stall lets nothing more reach the peer than what is on the way, until unstall.
func (g *rig) stall() { g.mine.Out.Update(func() { g.mine.Out.Room = 0 }) }
func (g *rig) unstall() {
	g.mine.Out.Update(func() { g.mine.Out.Room = 64 << 10 })
}

// onBoth runs f in a bubble for a connection of each role.
func onBoth(t *testing.T, opts *Options, f func(t *testing.T, g *rig)) {
	t.Helper()
	for _, r := range bothRoles {
		bubble(t, r.String(), func(t *testing.T) { f(t, newRig(t, r, opts)) })
	}
}

// took returns how long f takes.
func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// inBackground runs f and returns a channel for its result.
func inBackground[T any](f func() T) <-chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return result
}

// wantRead reads a message, which should be want.
func wantRead(t testing.TB, why string, c *Conn, typ MessageType, want string) {
	t.Helper()
	gotTyp, got, err := c.ReadMessage(bg)
	if err != nil || gotTyp != typ || string(got) != want {
		t.Fatalf("%s: ReadMessage should return %v %.40q (%d bytes), and returns %v %.40q (%d bytes), %v",
			why, typ, want, len(want), gotTyp, got, len(got), err)
	}
}

// readErr reads until an error comes.
func readErr(c *Conn) error {
	for {
		if _, _, err := c.ReadMessage(bg); err != nil {
			return err
		}
	}
}

// wantErr checks that err is target.
func wantErr(t testing.TB, why string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: the error should be %q, and is %v", why, target, err)
	}
}

// wantCloseError checks that err is the peer's Close frame with code.
func wantCloseError(t testing.TB, why string, err error, code StatusCode) {
	t.Helper()
	var e *CloseError
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: the error should be the peer's Close with %v, and is %v", why, code, err)
	}
}

// wantProtocolError checks that err is a *ProtocolError with code.
func wantProtocolError(t testing.TB, why string, err error, code StatusCode) {
	t.Helper()
	var e *ProtocolError
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: the error should be a *ProtocolError with %v, and is %v", why, code, err)
	}
}

// pattern returns n bytes of UTF-8, different everywhere, with characters of one
// to four bytes in it.
func pattern(n int) string {
	text := patternText()
	k := n
	for !utf8.RuneStart(text[k]) {
		k--
	}
	return text[:k] + strings.Repeat("x", n-k)
}

var patternText = sync.OnceValue(func() string {
	var b strings.Builder
	for i := 0; b.Len() < 3<<20; i++ {
		fmt.Fprintf(&b, "%d é€😀 ", i)
	}
	return b.String()
})

// A network is a way to connect two ends through the system.
type network struct {
	name    string
	connect func(t testing.TB) (serverEnd, clientEnd net.Conn)
}

var networks = []network{
	{"tcp", func(t testing.TB) (net.Conn, net.Conn) { return listenAndDial(t, "tcp", "127.0.0.1:0") }},
	{"unix", func(t testing.TB) (net.Conn, net.Conn) {
		dir, err := os.MkdirTemp("", "ws") // t.TempDir is too long for a socket's name
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return listenAndDial(t, "unix", filepath.Join(dir, "s"))
	}},
	{"tls", func(t testing.TB) (net.Conn, net.Conn) {
		s, c := listenAndDial(t, "tcp", "127.0.0.1:0")
		return overTLS(t, s, c)
	}},
}

func listenAndDial(t testing.TB, network, addr string) (serverEnd, clientEnd net.Conn) {
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	defer l.Close()
	dialed := inBackground(func() net.Conn {
		nc, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Error(err)
		}
		return nc
	})
	serverEnd, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return serverEnd, <-dialed
}

// overTLS makes a TLS connection of two connected ends.
func overTLS(t testing.TB, s, c net.Conn) (serverEnd, clientEnd *tls.Conn) {
	cert, pool := certificate(t)
	serverEnd = tls.Server(s, &tls.Config{Certificates: []tls.Certificate{cert}})
	clientEnd = tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "test.example"})
	done := inBackground(clientEnd.Handshake)
	if err := serverEnd.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return serverEnd, clientEnd
}

var certificate = func() func(testing.TB) (tls.Certificate, *x509.CertPool) {
	type made struct {
		cert tls.Certificate
		pool *x509.CertPool
		err  error
	}
	once := sync.OnceValue(func() (m made) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return made{err: err}
		}
		// Wide enough for the clock of a bubble, which begins at 2000-01-01.
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1),
			DNSNames:     []string{"test.example"},
			NotBefore:    time.Unix(0, 0),
			NotAfter:     time.Unix(1<<33, 0),
			IsCA:         true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			return made{err: err}
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			return made{err: err}
		}
		pool := x509.NewCertPool()
		pool.AddCert(leaf)
		return made{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, nil}
	})
	return func(t testing.TB) (tls.Certificate, *x509.CertPool) {
		m := once()
		if m.err != nil {
			t.Fatal(m.err)
		}
		return m.cert, m.pool
	}
}()

// newNetPair makes a connection of role r over a network of the system. At the end
// of the test it and the peer are closed, and nothing of them may be left.
func newNetPair(t testing.TB, n network, r role, opts *Options) (*Conn, *rawPeer) {
	watchLeaks(t)
	s, cl := n.connect(t)
	mine, far := s, cl
	if r == client {
		mine, far = cl, s
	}
	c := newConn(mine, r, opts, "", nil)
	t.Cleanup(func() {
		far.Close()
		c.Close()
	})
	return c, &rawPeer{t: t, nc: far, role: r.peer()}
}

// onNetworks runs f over every network, for a connection of each role.
func onNetworks(t *testing.T, opts *Options, f func(t *testing.T, c *Conn, p *rawPeer)) {
	t.Helper()
	for _, n := range networks {
		for _, r := range bothRoles {
			t.Run(n.name+" "+r.String(), func(t *testing.T) {
				c, p := newNetPair(t, n, r, opts)
				f(t, c, p)
			})
		}
	}
}

// watchLeaks checks at the end of the test that there are no more goroutines,
// descriptors and buffers of the pools in use than now.
func watchLeaks(t testing.TB) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // the runtime opens two descriptors with the first socket, and keeps them
	}
	goroutines, files, buffers := runtime.NumGoroutine(), openFiles(), lent.Load()
	t.Cleanup(func() {
		ok := eventually(func() bool {
			return runtime.NumGoroutine() <= goroutines && openFiles() <= files && lent.Load() <= buffers
		})
		if !ok {
			stacks := make([]byte, 64<<10)
			t.Errorf("after the test: %d goroutines, before: %d; %d descriptors, before: %d; %d buffers in use, before: %d\n%s",
				runtime.NumGoroutine(), goroutines, openFiles(), files, lent.Load(), buffers, stacks[:runtime.Stack(stacks, true)])
		}
	})
}

// openFiles counts the process's descriptors where the system tells.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// eventually waits until ok, where there is no clock of a bubble to wait with, and
// reports whether that came true within 5 s.
func eventually(ok func() bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// The vocabulary's own grammar: what the tests lean on.
func TestPattern(t *testing.T) {
	if !bytes.Equal([]byte(pattern(1000)), bytes.ToValidUTF8([]byte(pattern(1000)), nil)) || len(pattern(1001)) != 1001 {
		t.Fatal("pattern is not UTF-8 of the size asked for")
	}
}
