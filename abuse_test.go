package websocket

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// An abuse is what a peer does that means harm, or is broken, and what it comes to:
// the memory that the connection holds at most, in bytes, and its end.
type abuse struct {
	name   string
	opts   Options
	peer   func(g *rig)                             // runs until the connection has ended
	use    func(ctx context.Context, c *Conn) error // reads until it ends
	memory int                                      // at most
	ends   time.Duration                            // at most
	err    error                                    // nil: a *ProtocolError
}

// bigFrame is the header of a frame of n bytes.
func bigFrame(r role, n int64) []byte {
	return AppendFrameHeader(nil, FrameHeader{Fin: true, Opcode: OpBinary, Masked: r.masks(), Length: n})
}

// every sends p again and again, after each pause, until the connection is closed.
func (g *rig) every(pause time.Duration, p []byte) {
	for !g.mine.IsClosed() {
		if _, err := g.nc.Write(p); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// ignore reads until the connection is closed.
func (g *rig) ignore() {
	var buf [64]byte
	for {
		if _, err := g.nc.Read(buf[:]); err != nil {
			return
		}
	}
}

func readOnly(ctx context.Context, c *Conn) error {
	for {
		if _, _, err := c.ReadMessage(ctx); err != nil {
			return err
		}
	}
}

// answering answers each message with itself.
func answering(ctx context.Context, c *Conn) error {
	for {
		typ, p, err := c.ReadMessage(ctx)
		if err == nil {
			err = c.WriteMessage(ctx, typ, p)
		}
		if err != nil {
			return err
		}
	}
}

var abuses = []abuse{
	{
		name: "one frame, dribbled for ever, until the application's patience ends",
		peer: func(g *rig) {
			g.write(bigFrame(g.role, 1<<20))
			g.every(time.Second, []byte{0})
		},
		use: readOnly, memory: 32 << 10, ends: 5 * time.Minute, err: context.DeadlineExceeded,
	},
	{
		name: "fragments of one byte without end",
		opts: Options{ReadLimit: 8 << 10},
		peer: func(g *rig) {
			g.write(session(g.role, binaryF("x").open()))
			g.every(time.Millisecond, session(g.role, contF("x").open()))
		},
		use: readOnly, memory: 32 << 10, ends: 9 * time.Second, err: ErrMessageTooBig,
	},
	{
		name: "pings without end, and nothing read",
		opts: Options{WriteQueue: 4 << 10, WriteTimeout: 3 * time.Second},
		peer: func(g *rig) {
			g.stall()
			g.every(time.Millisecond, session(g.role, pingF(pattern(125)), pingF(pattern(124)), pingF("")))
		},
		use: readOnly, memory: 32 << 10, ends: 4 * time.Second, err: os.ErrDeadlineExceeded,
	},
	{
		name: "empty fragments without end",
		peer: func(g *rig) {
			g.write(session(g.role, textF("").open()))
			p := session(g.role, contF("").open())
			for range 6 {
				p = append(p, p...)
			}
			g.every(time.Millisecond, p)
		},
		use: readOnly, memory: 32 << 10, ends: 4 * time.Second,
	},
	{
		name: "2^62 bytes, announced, within no limit, and then silence",
		opts: Options{ReadLimit: -1},
		peer: func(g *rig) { g.write(bigFrame(g.role, 1<<62)); g.ignore() },
		use:  readOnly, memory: 32 << 10, ends: 61 * time.Second, err: errSilent,
	},
	{
		name: "2^62 bytes, announced, beyond the limit",
		peer: func(g *rig) { g.write(bigFrame(g.role, 1<<62)) },
		use:  readOnly, memory: 32 << 10, ends: 0, err: ErrMessageTooBig,
	},
	{
		name: "messages that are to be answered, and no answer read",
		opts: Options{WriteQueue: 16 << 10, WriteTimeout: 3 * time.Second},
		peer: func(g *rig) {
			g.stall()
			g.every(time.Millisecond, session(g.role, binaryF(pattern(4000))))
		},
		use: answering, memory: 128 << 10, ends: 4 * time.Second, err: os.ErrDeadlineExceeded,
	},
	{
		name: "nothing more, and no FIN",
		opts: Options{KeepAlive: 5 * time.Second},
		peer: func(g *rig) { g.send(textF("the last word")) },
		use:  readOnly, memory: 32 << 10, ends: 11 * time.Second, err: errSilent,
	},
}

// Whatever a peer does, or leaves undone, it costs a connection no more memory than
// its options say, and ends in the time that they say.
func TestAbusivePeers(t *testing.T) {
	for _, a := range abuses {
		t.Run(a.name, func(t *testing.T) {
			for _, r := range bothRoles {
				bubble(t, r.String(), func(t *testing.T) { a.test(t, newRig(t, r, &a.opts)) })
			}
		})
	}
}

func (a abuse) test(t *testing.T, g *rig) {
	g.mine.Noting, g.far.Noting = false, false
	g.mine.In.Room = 4 << 10 // a network that does not take everything
	ctx, cancel := context.WithTimeout(bg, 5*time.Minute)
	defer cancel()
	before := heap()
	start := time.Now()
	used := inBackground(func() error { return a.use(ctx, g.c) })
	peer := inBackground(func() struct{} { a.peer(g); return struct{}{} })
	most := 0
	for len(used) == 0 && time.Since(start) < 10*time.Minute {
		most = max(most, heap()-before)
		time.Sleep(a.ends/16 + time.Microsecond)
		synctest.Wait()
	}
	took := time.Since(start)
	if raceEnabled {
		most = 0 // the race detector has memory of its own
	}
	err := <-used
	var broken *ProtocolError
	if a.err == nil && !errors.As(err, &broken) || a.err != nil && !errors.Is(err, a.err) {
		t.Errorf("reading should end with %v, and ends with %v", a.err, err)
	}
	if took > a.ends+a.ends/16+time.Millisecond {
		t.Errorf("reading should end within %v, and does after %v", a.ends, took)
	}
	if most > a.memory {
		t.Errorf("the connection should hold at most %d bytes, and held %d", a.memory, most)
	}
	g.c.Close()
	time.Sleep(time.Second + time.Millisecond)
	if !g.mine.IsClosed() {
		t.Error("a second after Close the socket should be closed")
	}
	<-peer
}

// A client that does not finish its request is net/http's to end: it never becomes a
// connection of ours.
func TestHandshakeNeverFinished(t *testing.T) {
	watchLeaks(t)
	s := httptest.NewUnstartedServer(Handler(func(c *Conn, r *http.Request) { t.Error("there should be no connection") }))
	s.Config.ReadHeaderTimeout = 50 * time.Millisecond
	s.Start()
	defer s.Close()
	request := handshake()
	for _, cut := range []int{0, 1, len(request) / 2, len(request) - 1} {
		w := newWire(t, s.Listener.Addr().String())
		w.send(request[:cut])
		if _, err := io.ReadAll(w.br); err != nil {
			t.Errorf("after %d bytes the server should close the connection, but: %v", cut, err)
		}
	}
}
