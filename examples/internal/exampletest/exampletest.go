// Package exampletest runs the examples inside their tests.
package exampletest

import (
	"context"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/websocket"
)

// timeout is for how long a test waits for anything.
const timeout = 30 * time.Second

// An Example is a running example.
type Example struct {
	Pages   []string // the URLs of its pages
	Sockets string   // the URL of its WebSocket server

	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
	out    *output
}

// Start runs an example until the test ends, or Stop. The arguments have to
// contain addresses with port 0, since tests run side by side.
func Start(t testing.TB, run func(context.Context, []string, io.Writer) error, args ...string) *Example {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := &Example{t: t, cancel: cancel, done: make(chan struct{}), out: newOutput()}
	go func() {
		defer close(e.done)
		if err := run(ctx, args, e.out); err != nil {
			t.Errorf("the example has ended with: %v", err)
		}
	}()
	t.Cleanup(e.Stop)
	e.WaitLog("\n")
	line, _, _ := strings.Cut(e.out.String(), "\n")
	for _, u := range regexp.MustCompile(`\w+://[^\s)]+`).FindAllString(line, -1) {
		if strings.HasPrefix(u, "ws") {
			e.Sockets = u
		} else {
			e.Pages = append(e.Pages, u)
		}
	}
	return e
}

// Stop ends the example as Ctrl-C does, and waits for its end.
func (e *Example) Stop() {
	e.cancel()
	select {
	case <-e.done:
	case <-time.After(timeout):
		e.t.Errorf("the example does not end; it has written:\n%s", e.out)
	}
}

// Addresses returns the flags for another run at the same addresses.
func (e *Example) Addresses() []string {
	var pages []string
	for _, p := range e.Pages {
		pages = append(pages, host(p))
	}
	return []string{"-addr", host(e.Sockets), "-page", strings.Join(pages, ",")}
}

func host(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err) // it is one that Start has found
	}
	return u.Host
}

// WaitLog waits until the example has written something.
func (e *Example) WaitLog(text string) {
	e.t.Helper()
	limit := time.After(timeout)
	for {
		changed := e.out.next()
		if strings.Contains(e.out.String(), text) {
			return
		}
		select {
		case <-changed:
		case <-e.done:
			e.t.Fatalf("the example has ended and not written %q, but:\n%s", text, e.out)
		case <-limit:
			e.t.Fatalf("the example has not written %q, but:\n%s", text, e.out)
		}
	}
}

// Dial opens a connection to the example's WebSocket server, at a path.
func (e *Example) Dial(path string, opts *websocket.Options) *websocket.Conn {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, _, err := websocket.Dial(ctx, e.Sockets+path, opts)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// An output collects what an example writes.
type output struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed by the next Write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

// next returns a channel that is closed when more has been written.
func (o *output) next() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
