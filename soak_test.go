package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var soakFor = flag.Duration("soak", 0, "for how long TestSoak puts load on a server; without it the test is skipped")

// What a soak is made of.
const (
	soakSenders   = 4               // residents that send
	soakResidents = 8               // who stay from the beginning to the end
	soakVisitors  = 2               // at a time, for each way to leave
	soakStuck     = 8               // at a time, who neither read nor leave, for each way to do so
	soakMessage   = 8 << 10         // the largest message
	soakSilence   = 3 * time.Second // KeepAlive and WriteTimeout of the server

	// A sender waits until its message of soakWindow ago has reached every resident.
	// So what is on its way to a resident always has room in its queue, however busy
	// the machine is: to call it slow is a fault.
	soakWindow = 16
	soakQueue  = soakSenders * soakWindow * (soakMessage + maxFrameHeader)

	// How much more memory may be in use after the last third than after the first.
	soakGrowth = 512 << 10
)

// A server and a group under load, over sockets: residents, who receive every
// message, and visitors, who come and go in many ways, or do not even go. Memory,
// goroutines and files stay what they are.
func TestSoak(t *testing.T) {
	if *soakFor <= 0 {
		t.Skip("it takes as long as -soak says, as in -soak 2m")
	}
	watchLeaks(t)
	s := newSoak(t)
	for i, c := range s.residents {
		s.running.Go(func() { s.receive(c, i) })
		if i < soakSenders {
			s.running.Go(func() { s.send(c, i) })
		}
	}
	for _, v := range soakVisits {
		for range v.atATime {
			s.running.Go(func() { s.comeAndGo(v) })
		}
	}
	var first, last soakState
	for third := range 3 {
		select {
		case <-s.ctx.Done():
		case <-time.After(*soakFor / 3):
		}
		s.pause()
		if last = s.state(); third == 0 {
			first = last
		}
		if s.ctx.Err() == nil {
			t.Logf("after %v of load: %v", time.Duration(third+1)**soakFor/3, last)
		}
		if third == 2 {
			s.cancel()
		}
		s.resume()
	}
	s.finish()
	if t.Failed() {
		return
	}
	if last.memory > first.memory+soakGrowth || last.goroutines > first.goroutines || last.files > first.files {
		t.Errorf("from the first third to the last there should be no more than %d KiB of memory, no goroutine and no file more:\n%v\n%v", soakGrowth>>10, first, last)
	}
}

type soak struct {
	t      *testing.T
	ctx    context.Context // ends with the first error, and when the load ends
	cancel context.CancelFunc

	server    Server
	group     Group
	plain     *httptest.Server
	secure    *httptest.Server
	residents []*Conn
	serving   sync.Map // a channel for each visit whose function has not returned, by its number

	running  sync.WaitGroup
	visiting sync.RWMutex // held by visits
	sending  sync.RWMutex // held while a message is sent
	visits   atomic.Uint64

	windows [soakSenders]chan struct{}            // has as many elements as messages of the sender are on their way
	arrived [soakSenders][soakWindow]atomic.Int32 // how many residents have got them
	order   [soakResidents]atomic.Uint64          // a hash of the order in which they come
}

func newSoak(t *testing.T) *soak {
	s := &soak{t: t}
	s.ctx, s.cancel = context.WithCancel(bg)
	s.group.Queue = soakQueue
	s.server = Server{Handler: s.serve, Options: Options{KeepAlive: soakSilence, WriteTimeout: soakSilence, Compression: &Compression{}}}
	s.plain = httptest.NewServer(&s.server)
	s.secure = httptest.NewTLSServer(&s.server)
	for i := range s.windows {
		s.windows[i] = make(chan struct{}, soakWindow)
	}
	for i := range soakResidents {
		s.residents = append(s.residents, s.dial("?", &Options{Compression: []*Compression{nil, {}}[i/2%2]}, i%2 == 1))
	}
	s.settle("the residents should be members", func() bool { return s.group.Len() == soakResidents })
	return s
}

// dial connects to the server, by TLS or not.
func (s *soak) dial(query string, opts *Options, secure bool) *Conn {
	web := s.plain
	if secure {
		web = s.secure
	}
	o := *opts
	o.HTTPClient = web.Client()
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	c, _, err := Dial(ctx, "ws"+web.URL[len("http"):]+"/"+query, &o)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// fail ends the load with an error.
func (s *soak) fail(format string, args ...any) {
	if s.ctx.Err() == nil {
		s.t.Errorf(format, args...)
	}
	s.cancel()
}

// serve is the server's function.
func (s *soak) serve(c *Conn, r *http.Request) {
	if done, ok := s.serving.LoadAndDelete(r.FormValue("visit")); ok {
		defer close(done.(chan struct{}))
	}
	if !r.Form.Has("quiet") {
		s.group.Add(c)
	}
	for {
		typ, p, err := c.ReadMessage(r.Context())
		switch {
		case err != nil || string(p) == "send me away":
			return
		case string(p) == "remove me":
			s.group.Remove(c)
		default:
			s.group.Broadcast(typ, p)
		}
	}
}

// soakText returns message n of a sender: the two numbers, and text of a size that
// depends on them.
func soakText(dst []byte, sender int, n uint64) []byte {
	random := rand.NewPCG(uint64(sender), n).Uint64()
	size := random % (soakMessage - 16) >> (random >> 32 % 8)
	dst = binary.BigEndian.AppendUint64(dst, uint64(sender))
	dst = binary.BigEndian.AppendUint64(dst, n)
	return append(dst, pattern(soakMessage)[:size]...)
}

// send sends a resident's messages.
func (s *soak) send(c *Conn, sender int) {
	var p []byte
	for n := uint64(0); s.ctx.Err() == nil; n++ {
		s.sending.RLock()
		p = soakText(p[:0], sender, n)
		select {
		case s.windows[sender] <- struct{}{}:
			if err := c.WriteMessage(s.ctx, MessageBinary, p); err != nil {
				s.fail("resident %d cannot send: %v", sender, err)
			}
		case <-s.ctx.Done():
		}
		s.sending.RUnlock()
	}
}

// A soakReader checks that what is broadcast comes whole and in order. A message may
// be the first of its sender if any is true.
type soakReader struct {
	any  bool
	seen [soakSenders]bool
	next [soakSenders]uint64
	p, q []byte
}

// read reads a message, and returns who has sent it and its number.
func (r *soakReader) read(ctx context.Context, c *Conn) (sender int, n uint64, err error) {
	_, r.p, err = c.AppendMessage(ctx, r.p[:0])
	if err != nil {
		return 0, 0, err
	}
	if len(r.p) < 16 || binary.BigEndian.Uint64(r.p) >= soakSenders {
		return 0, 0, fmt.Errorf("this was sent by nobody: %.100q", r.p)
	}
	sender, n = int(binary.BigEndian.Uint64(r.p)), binary.BigEndian.Uint64(r.p[8:])
	r.q = soakText(r.q[:0], sender, n)
	if !bytes.Equal(r.p, r.q) {
		return 0, 0, fmt.Errorf("message %d of sender %d has changed on its way", n, sender)
	}
	if n != r.next[sender] && (r.seen[sender] || !r.any) {
		return 0, 0, fmt.Errorf("message %d of sender %d comes, and %d should", n, sender, r.next[sender])
	}
	r.seen[sender], r.next[sender] = true, n+1
	return sender, n, nil
}

// receive receives what comes to a resident.
func (s *soak) receive(c *Conn, resident int) {
	var r soakReader
	for {
		sender, n, err := r.read(s.ctx, c)
		if err != nil {
			s.fail("resident %d: %v", resident, err)
			return
		}
		s.order[resident].Store(s.order[resident].Load()*31 + uint64(sender))
		if arrived := &s.arrived[sender][n%soakWindow]; arrived.Add(1) == soakResidents {
			arrived.Store(0)
			<-s.windows[sender]
		}
	}
}

// A soakVisit is a way to behave for who does not stay. It returns when nothing more
// is wanted of the connection; served is closed when the server's function for it
// has returned.
type soakVisit struct {
	how     string
	query   string
	atATime int
	visit   func(s *soak, c *Conn, served <-chan struct{}) error
}

var soakVisits = []soakVisit{
	{"Close", "", soakVisitors, func(s *soak, c *Conn, _ <-chan struct{}) error {
		return errors.Join(s.listen(c), c.Close())
	}},
	{"Shutdown", "", soakVisitors, func(s *soak, c *Conn, _ <-chan struct{}) error {
		return errors.Join(s.listen(c), c.Shutdown(bg, StatusNormalClosure, ""))
	}},
	{"Remove, then Shutdown", "", soakVisitors, func(s *soak, c *Conn, _ <-chan struct{}) error {
		return errors.Join(s.listen(c), c.WriteText(bg, "remove me"), c.Shutdown(bg, StatusNormalClosure, ""))
	}},
	{"the server's Shutdown", "", soakVisitors, func(s *soak, c *Conn, _ <-chan struct{}) error {
		if err := errors.Join(s.listen(c), c.WriteText(bg, "send me away")); err != nil {
			return err
		}
		for r := (soakReader{any: true}); ; {
			if _, _, err := r.read(bg, c); isNormalClose(err) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}},
	{"a socket that is cut", "", soakVisitors, func(s *soak, c *Conn, _ <-chan struct{}) error {
		err := s.listen(c)
		nc := c.NetConn()
		if secure, ok := nc.(*tls.Conn); ok {
			nc = secure.NetConn()
		}
		nc.(*net.TCPConn).SetLinger(0)
		return errors.Join(err, nc.Close())
	}},
	{"not reading", "", soakStuck, letGo},
	{"vanishing", "&quiet", soakStuck, letGo},
}

// listen reads some messages.
func (s *soak) listen(c *Conn) error {
	r := soakReader{any: true}
	for range rand.IntN(200) {
		if _, _, err := r.read(s.ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// letGo does nothing until the server has noticed: a KeepAlive or WriteTimeout of
// silence, once more for the answer to a ping, and what its last words may take.
func letGo(_ *soak, _ *Conn, served <-chan struct{}) error {
	select {
	case <-served:
		return nil
	case <-time.After(2*soakSilence + 20*time.Second):
		return errors.New("the server holds on to it")
	}
}

// comeAndGo visits in one way until the load ends.
func (s *soak) comeAndGo(v soakVisit) {
	for s.ctx.Err() == nil {
		s.visiting.RLock()
		number := s.visits.Add(1)
		served := make(chan struct{})
		s.serving.Store(strconv.FormatUint(number, 10), served)
		opts := &Options{KeepAlive: -1, Compression: []*Compression{nil, {}}[number/2%2]}
		c := s.dial(fmt.Sprint("?visit=", number, v.query), opts, number%2 == 0)
		if err := v.visit(s, c, served); err != nil && !isTooSlow(err) {
			s.fail("a visit that ends with %s: %v", v.how, err)
		}
		c.Close()
		s.visiting.RUnlock()
	}
}

// isTooSlow reports that the group has closed the connection. A visitor may be slow
// on a busy machine, since senders wait for residents only; it is told then.
func isTooSlow(err error) bool {
	ce := (*CloseError)(nil)
	return errors.As(err, &ce) && ce.Code == StatusTryAgainLater
}

// settle waits for what should come to pass when nobody does anything.
func (s *soak) settle(what string, ok func() bool) {
	if s.ctx.Err() == nil && !eventually(ok) {
		s.fail("%s, which does not come to pass: %d members, %d connections", what, s.group.Len(), s.server.Stats().Open)
	}
}

// pause lets visits end and messages arrive.
func (s *soak) pause() {
	s.visiting.Lock()
	s.settle("only residents should be there", func() bool {
		return s.group.Len() == soakResidents && s.server.Stats().Open == soakResidents
	})
	s.sending.Lock()
	s.settle("every resident should have every message", func() bool {
		return !slices.ContainsFunc(s.windows[:], func(w chan struct{}) bool { return len(w) > 0 })
	})
	for i := range s.order {
		if a, b := s.order[0].Load(), s.order[i].Load(); a != b {
			s.fail("residents 0 and %d have received the messages in different orders", i)
		}
	}
}

func (s *soak) resume() {
	s.sending.Unlock()
	s.visiting.Unlock()
}

// A soakState is what is in use during a pause.
type soakState struct {
	memory, goroutines, files int
	messages, visits          uint64
}

func (x soakState) String() string {
	return fmt.Sprintf("%d KiB, %d goroutines, %d files; %d messages to each resident, %d visits", x.memory>>10, x.goroutines, x.files, x.messages, x.visits)
}

// state takes the smallest of each over some time: goroutines that have closed a
// connection need some to end.
func (s *soak) state() soakState {
	var m runtime.MemStats
	x := soakState{math.MaxInt, math.MaxInt, math.MaxInt, s.group.Stats().Messages, s.visits.Load()}
	for range 10 {
		time.Sleep(50 * time.Millisecond)
		runtime.GC()
		runtime.ReadMemStats(&m)
		x.memory = min(x.memory, int(m.HeapAlloc))
		x.goroutines = min(x.goroutines, runtime.NumGoroutine())
		x.files = min(x.files, openFiles())
	}
	return x
}

// finish ends the server after the load.
func (s *soak) finish() {
	s.running.Wait()
	stats := s.group.Stats()
	if stats.Closed == 0 {
		s.t.Error("members who do not read should be closed for it")
	}
	for i, c := range s.residents {
		if err := c.Shutdown(bg, StatusNormalClosure, ""); err != nil {
			s.t.Errorf("resident %d: %v", i, err)
		}
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		s.t.Error(err)
	}
	s.plain.Close()
	s.secure.Close()
	s.t.Logf("%d members were closed since they did not read; codes sent: %v", stats.Closed, s.server.Stats().CloseSent)
}
