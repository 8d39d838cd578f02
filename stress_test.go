package websocket

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var stressFor = flag.Duration("stress", 0, "for how long TestStress goes on; without it, each ending once on each network")

// How a round of TestStress ends. All says of each role that what its peer has written
// must arrive: there is a closing handshake, and the peer has begun it. What comes to
// the one who has begun it is discarded while that one does not read.
var stressEndings = []struct {
	name string
	all  [2]bool
	end  func(s, c *Conn)
}{
	{"the server shuts down", [2]bool{client: true}, func(s, c *Conn) { s.Shutdown(bg, StatusNormalClosure, "") }},
	{"the client shuts down", [2]bool{server: true}, func(s, c *Conn) { c.Shutdown(bg, StatusNormalClosure, "") }},
	{"both shut down", [2]bool{}, func(s, c *Conn) {
		other := inBackground(func() error { return s.Shutdown(bg, StatusNormalClosure, "") })
		c.Shutdown(bg, StatusNormalClosure, "")
		<-other
	}},
	{"Shutdown is cancelled", [2]bool{}, func(s, c *Conn) {
		ctx, cancel := context.WithTimeout(bg, time.Duration(rand.N(1000))*time.Microsecond)
		defer cancel()
		s.Shutdown(ctx, StatusNormalClosure, "")
	}},
	{"the client closes", [2]bool{}, func(s, c *Conn) { c.Close() }},
	{"both close, in the middle of Shutdown", [2]bool{}, func(s, c *Conn) {
		other := inBackground(func() error { return s.Shutdown(bg, StatusNormalClosure, "") })
		c.Close()
		s.Close()
		<-other
	}},
}

// Many writers, a reader, pings and cancellations at both ends at the same time, and
// then an end: messages arrive whole and unmixed, each writer's in its order, none
// that was given up and all others if the closing handshake is made; and all calls
// return.
func TestStress(t *testing.T) {
	start := time.Now()
	rounds := 0
	for again := true; again; again = time.Since(start) < *stressFor && !t.Failed() {
		for _, n := range networks {
			for _, o := range []*Compression{nil, both(rounds%2 == 0, 9+rounds%7)} {
				for _, end := range stressEndings {
					ok := t.Run(fmt.Sprintf("%s, compressed %v, %s", n.name, o != nil, end.name), func(t *testing.T) {
						watchLeaks(t)
						s, c := n.connect(t)
						opts := &Options{WriteQueue: 1 << rand.N(17)}
						a := newStressEnd(withDeflate(newConn(s, server, opts, "", nil), o), end.all[server])
						b := newStressEnd(withDeflate(newConn(c, client, opts, "", nil), o), end.all[client])
						runStress(t, a, b, end.end)
						a.check(t, b)
						b.check(t, a)
					})
					if rounds++; !ok {
						return
					}
				}
			}
		}
	}
	t.Logf("%d rounds in %v", rounds, time.Since(start).Round(time.Second))
}

// runStress lets both ends do everything for a little while, and then end.
func runStress(t *testing.T, a, b *stressEnd, end func(s, c *Conn)) {
	var calls sync.WaitGroup
	for _, e := range []*stressEnd{a, b} {
		for w := range stressWriters {
			calls.Go(func() { e.write(w) })
		}
		calls.Go(e.read)
		for range 2 {
			calls.Go(e.ping)
		}
	}
	time.Sleep(time.Duration(rand.N(10_000)) * time.Microsecond)
	ended := make(chan struct{})
	go func() {
		end(a.c, b.c)
		calls.Wait()
		a.c.Close()
		b.c.Close()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		stacks := make([]byte, 1<<20)
		t.Fatalf("after a minute there are calls that have not returned:\n%s", stacks[:runtime.Stack(stacks, true)])
	}
}

const stressWriters = 4

// A stressEnd is one end, and what its application has seen.
type stressEnd struct {
	c       *Conn
	all     bool                  // that the other end has written must come
	sent    [stressWriters][]bool // of each message, whether its write returned nil
	got     [stressWriters][]int  // the numbers of the messages of the other end's writers
	untold  int                   // messages that were given up before it could be told which they are
	spoiled error                 // a message that nobody has sent so
	err     error                 // the end of the reading
	failed  [stressWriters]error  // the end of the writing
}

func newStressEnd(c *Conn, all bool) *stressEnd { return &stressEnd{c: c, all: all} }

// stressMessage returns message i of writer w, of any size.
func stressMessage(w, i int) string {
	size := []int{0, 10, 130, 3000, 20_000, 100_000}[(w+i)%6]
	return fmt.Sprintf("%d %d %s", w, i, pattern(size))
}

// write writes messages in all ways until the connection ends. A small one is given
// up, sometimes; in the middle of a large one that would end the connection.
func (e *stressEnd) write(w int) {
	for i := 0; e.failed[w] == nil; i++ {
		text := stressMessage(w, i)
		ctx, cancel := bg, func() {}
		if len(text) < smallBuffer && rand.N(3) == 0 {
			ctx, cancel = context.WithTimeout(bg, time.Duration(rand.N(300))*time.Microsecond)
		}
		var err error
		switch rand.N(3) {
		case 0:
			err = e.c.WriteText(ctx, text)
		case 1:
			err = e.c.WriteMessage(ctx, MessageText, []byte(text))
		case 2:
			err = writeInPieces(ctx, e.c, text)
		}
		cancel()
		e.sent[w] = append(e.sent[w], err == nil)
		if err != nil && (ctx == bg || !errors.Is(err, context.DeadlineExceeded)) {
			e.failed[w] = err
		}
	}
}

func writeInPieces(ctx context.Context, c *Conn, text string) error {
	m, err := c.NextWriter(ctx, MessageText)
	if err != nil {
		return err
	}
	cut := rand.N(len(text))
	io.WriteString(m, text[:cut])
	io.WriteString(m, text[cut:])
	return m.Close()
}

// read reads until the connection ends, with contexts that end in the middle.
func (e *stressEnd) read() {
	var buf []byte
	for {
		ctx, cancel := bg, func() {}
		if rand.N(2) == 0 {
			ctx, cancel = context.WithTimeout(bg, time.Duration(rand.N(300))*time.Microsecond)
		}
		var p []byte
		var err error
		switch rand.N(3) {
		case 0:
			_, p, err = e.c.ReadMessage(ctx)
		case 1:
			_, p, err = e.c.AppendMessage(ctx, buf[:0])
			buf = p
		case 2:
			var r io.Reader
			if _, r, err = e.c.NextReader(ctx); err == nil {
				p, err = e.readPieces(ctx, r)
			}
		}
		cancel()
		switch {
		case err == nil:
			e.take(string(p))
		case ctx == bg || !errors.Is(err, context.DeadlineExceeded):
			e.err = err
			return
		}
	}
}

// readPieces reads a message to its end, or as far as ctx or a Shutdown of this end
// lets it: then the next read discards the rest.
func (e *stressEnd) readPieces(ctx context.Context, r io.Reader) ([]byte, error) {
	var p []byte
	buf := make([]byte, 5000)
	for {
		n, err := r.Read(buf)
		p = append(p, buf[:n]...)
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) || !e.all && err == errDiscarded {
				return append(p, "..."...), nil
			}
			return nil, err
		}
	}
}

// take notes a message that has come.
func (e *stressEnd) take(text string) {
	var w, i int
	begun, cut := strings.CutSuffix(text, "...")
	if _, err := fmt.Sscanf(begun+" ", "%d %d ", &w, &i); cut && err != nil {
		e.untold++
		return
	}
	if cut && len(begun) < len(fmt.Sprintf("%d %d ", w, i)) {
		e.untold++
		return
	}
	if w < 0 || w >= stressWriters || begun != stressMessage(w, i) && !(cut && strings.HasPrefix(stressMessage(w, i), begun)) {
		e.spoiled = fmt.Errorf("a message of %d bytes comes that nobody has sent: %.60q", len(text), text)
		return
	}
	e.got[w] = append(e.got[w], i)
}

// ping sends pings until the connection ends.
func (e *stressEnd) ping() {
	for {
		ctx, cancel := context.WithTimeout(bg, time.Duration(rand.N(2000))*time.Microsecond)
		_, err := e.c.Ping(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

// check compares what e has got with what the other end has sent.
func (e *stressEnd) check(t *testing.T, from *stressEnd) {
	t.Helper()
	if e.spoiled != nil {
		t.Error(e.spoiled)
	}
	var closed *CloseError
	if e.all && !errors.As(e.err, &closed) {
		t.Errorf("reading should end with the peer's Close frame, and ends with %v", e.err)
	}
	missing := 0
	for w, got := range e.got {
		if err := from.failed[w]; e.all && !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing should end with Shutdown, and ends with %v", err)
		}
		came := make([]bool, len(from.sent[w]))
		last := -1
		for _, i := range got {
			if i <= last {
				t.Fatalf("message %d of writer %d comes behind %d", i, w, last)
			}
			if last = i; i >= len(came) || !from.sent[w][i] && i < len(came)-1 {
				t.Fatalf("message %d of writer %d comes, and was given up", i, w)
			}
			came[i] = true
		}
		for i, sent := range from.sent[w] {
			if sent && !came[i] {
				missing++
			}
		}
	}
	if e.all && missing > e.untold {
		t.Errorf("%d messages have not come that were written, and %d have that were given up at their beginning", missing, e.untold)
	}
}
