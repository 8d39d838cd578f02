package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/websocket"
)

// What WebSockets are for: pages that wait for events, which a server has for each
// of them now and then, and three ways to bring one to the other.

const (
	pages     = 200
	eventGap  = 5 * time.Second // between two events for a page, on average
	pollEvery = time.Second
	longest   = 30 * time.Second // that a long poll waits
	observed  = 10 * time.Second // in each round
)

// ways are the servers, which are started as libraries are.
var ways = []library{
	{name: "polling once a second", serve: func(s setting) error { return serveEvents(s, poll) }, raw: true},
	{name: "long polling", serve: func(s setting) error { return serveEvents(s, longPoll) }, raw: true},
	{name: "this library's WebSockets", serve: func(s setting) error { return serveEvents(s, sendEvents) }},
}

// A mailbox holds the events for one page.
type mailbox struct {
	mu      sync.Mutex
	events  []string
	changed chan struct{} // closed when there is another
}

func newMailbox() *mailbox { return &mailbox{changed: make(chan struct{})} }

// fill makes events, for ever.
func (b *mailbox) fill() {
	for n := 1; ; n++ {
		time.Sleep(rand.N(2 * eventGap))
		b.mu.Lock()
		b.events = append(b.events, fmt.Sprintf(`{"event":%d,"at":%d,"text":"something has happened"}`, n, time.Now().UnixNano()))
		close(b.changed)
		b.changed = make(chan struct{})
		b.mu.Unlock()
	}
}

// after returns the events after the first n, and what is closed when there are more.
func (b *mailbox) after(n int) ([]string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.events[min(n, len(b.events)):], b.changed
}

// serveEvents serves GET /?page=N&after=M.
func serveEvents(s setting, answer func(http.ResponseWriter, *http.Request, *mailbox, int)) error {
	boxes := make([]*mailbox, pages)
	for i := range boxes {
		boxes[i] = newMailbox()
		go boxes[i].fill()
	}
	return s.serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, err1 := strconv.Atoi(r.FormValue("page"))
		after, err2 := strconv.Atoi(r.FormValue("after"))
		if err1 != nil || err2 != nil || page < 0 || page >= pages || after < 0 {
			http.Error(w, "no such page", http.StatusBadRequest)
			return
		}
		answer(w, r, boxes[page], after)
	}))
}

// poll answers with what there is.
func poll(w http.ResponseWriter, _ *http.Request, b *mailbox, after int) {
	events, _ := b.after(after)
	respond(w, events)
}

func respond(w http.ResponseWriter, events []string) {
	if len(events) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	io.WriteString(w, strings.Join(events, "\n")+"\n")
}

// longPoll waits until there is something.
func longPoll(w http.ResponseWriter, r *http.Request, b *mailbox, after int) {
	events, changed := b.after(after)
	if len(events) == 0 {
		select {
		case <-changed:
			events, _ = b.after(after)
		case <-time.After(longest):
		case <-r.Context().Done():
			return
		}
	}
	respond(w, events)
}

// sendEvents sends each event when it happens.
func sendEvents(w http.ResponseWriter, r *http.Request, b *mailbox, after int) {
	websocket.Handler(func(c *websocket.Conn, _ *http.Request) {
		ctx := c.CloseRead(context.Background())
		for {
			events, changed := b.after(after)
			for _, e := range events {
				if c.WriteText(ctx, e) != nil {
					return
				}
			}
			after += len(events)
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}).ServeHTTP(w, r)
}

// browser is what a page's request says beside its first line: what Chromium sends,
// and a session's cookie.
const browser = "Host: www.example.com\r\n" +
	"Connection: keep-alive\r\n" +
	"sec-ch-ua-platform: \"Linux\"\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n" +
	"sec-ch-ua-mobile: ?0\r\n" +
	"Accept: */*\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Sec-Fetch-Mode: cors\r\n" +
	"Sec-Fetch-Dest: empty\r\n" +
	"Referer: https://www.example.com/\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\n" +
	"Cookie: session=7d1f0c2a9b8e4f5c6a3d2e1f0b9c8d7e\r\n" +
	"\r\n"

// A page waits for its events, and keeps count.
type page struct {
	number int
	seen   int // events
	nc     net.Conn
	in     *bufio.Reader
	all    *delivery
}

// A delivery is what all pages have got.
type delivery struct {
	events, bytes atomic.Int64
	delays        delays
	failed        atomic.Pointer[error]
	stopping      atomic.Bool
}

// A countedConn counts bytes in both directions.
type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// got takes an event, which must be the next.
func (p *page) got(event string) error {
	var n int
	var at int64
	if _, err := fmt.Sscanf(event, `{"event":%d,"at":%d,"text":"something has happened"}`, &n, &at); err != nil || n != p.seen+1 {
		return fmt.Errorf("page %d got %q after event %d", p.number, event, p.seen)
	}
	p.seen = n
	p.all.events.Add(1)
	p.all.delays.add(time.Duration(time.Now().UnixNano() - at))
	return nil
}

// request asks for the events that the page has not seen, and waits for the answer.
func (p *page) request() error {
	p.nc.SetDeadline(time.Now().Add(longest + patience))
	if _, err := fmt.Fprintf(p.nc, "GET /?page=%d&after=%d HTTP/1.1\r\n%s", p.number, p.seen, browser); err != nil {
		return err
	}
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	for event := range strings.Lines(string(events)) {
		if err := p.got(strings.TrimSpace(event)); err != nil {
			return err
		}
	}
	return nil
}

// wait is a page's life, in the way of the server, until its connection is closed;
// it returns why.
func (p *page) wait(way string) error {
	switch way {
	case ways[0].name:
		time.Sleep(rand.N(pollEvery))
		for tick := time.Tick(pollEvery); ; <-tick {
			if err := p.request(); err != nil {
				return err
			}
		}
	case ways[1].name:
		for {
			if err := p.request(); err != nil {
				return err
			}
		}
	}
	in := &receiver{r: p.in}
	for {
		_, m, err := in.next()
		if err != nil {
			return err
		}
		if err := p.got(string(m)); err != nil {
			return err
		}
	}
}

// A delivered is what one event has cost in one round.
type delivered struct{ bytes, cpu, median, most float64 }

// deliver observes the pages for a while.
func deliver(way library) (r delivered, err error) {
	p, err := start(config{Library: way.name})
	if err != nil {
		return r, err
	}
	defer p.stop()
	d := &delivery{}
	var conns []net.Conn
	defer func() {
		d.stopping.Store(true)
		closeAll(conns)
	}()
	for i := range pages {
		nc, err := net.Dial("tcp", p.addr)
		if err != nil {
			return r, err
		}
		conns = append(conns, nc)
		counted := countedConn{nc, &d.bytes}
		page := &page{number: i, nc: counted, in: bufio.NewReader(counted), all: d}
		if !way.raw { // the first event may come right behind the handshake
			if err := p.cfg.openFrom(page.in, counted, fmt.Sprintf("/?page=%d&after=0", i)); err != nil {
				return r, err
			}
		}
		go func() {
			if err := page.wait(way.name); !d.stopping.Load() {
				d.failed.CompareAndSwap(nil, &err)
			}
		}()
	}
	time.Sleep(pollEvery + warmUp)
	return d.observe(p)
}

func (d *delivery) observe(p *process) (r delivered, err error) {
	before, err := p.ask("usage")
	if err != nil {
		return r, err
	}
	events, bytes := d.events.Load(), d.bytes.Load()
	d.delays.take()
	time.Sleep(observed)
	after, err := p.ask("usage")
	if err != nil {
		return r, err
	}
	if failed := d.failed.Load(); failed != nil {
		return r, *failed
	}
	n := float64(d.events.Load() - events)
	if n == 0 {
		return r, errors.New("no event came")
	}
	r.bytes = float64(d.bytes.Load()-bytes) / n
	r.cpu = float64((after.CPU - before.CPU).Microseconds()) / n
	took := d.delays.take()
	if r.median, err = quantile(took, 0.5); err != nil {
		return r, err
	}
	r.most, err = quantile(took, 0.99)
	return r, err
}

// compareWays measures every way in rounds, and writes a table.
func compareWays(out io.Writer, rounds int) error {
	all := make(map[string][4]samples)
	for i := range rounds {
		for j := range ways {
			way := ways[(i+j)%len(ways)]
			r, err := deliver(way)
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			s := all[way.name]
			for i, x := range []float64{r.bytes, r.cpu, r.median, r.most} {
				s[i] = append(s[i], x)
			}
			all[way.name] = s
		}
	}
	fmt.Fprintf(out, "Measured on %s with %s: %d pages, an event for each every %v on average, %d rounds of %v.\n\n",
		time.Now().Format(time.DateOnly), runtime.Version(), pages, eventGap, rounds, observed)
	fmt.Fprintln(out, "| an event reaches a waiting page by | bytes over TCP, both ways | server CPU, µs | delay, ms | 99 of 100 within, ms |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	for _, way := range ways {
		s := all[way.name]
		fmt.Fprintln(out, cells(way.name, s[0].String(), s[1].String(), s[2].String(), s[3].String()))
	}
	return nil
}
