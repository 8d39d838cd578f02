// Package browser lets tests use pages in a real browser as a person would: with
// mouse and keyboard. It drives Chromium over the Chrome DevTools Protocol, which
// is JSON over a WebSocket, by this module's own client.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"
)

// timeout is for how long anything in the browser may take. It is long, since it
// is only waited for when something is wrong.
const timeout = 30 * time.Second

// A Browser is a running Chromium.
type Browser struct {
	t        testing.TB
	devTools *devTools
}

// Start starts Chromium, for as long as the test runs, with flags of its command
// line besides those that any test needs. Where there is none, the test is
// skipped, or fails if WEBSOCKET_BROWSER=required is set.
func Start(t testing.TB, flags ...string) *Browser {
	t.Helper()
	path, err := find()
	if err != nil {
		if os.Getenv("WEBSOCKET_BROWSER") == "required" {
			t.Fatal(err)
		}
		t.Skipf("%v; WEBSOCKET_BROWSER=required makes this a failure", err)
	}
	url := launch(t, path, flags)
	d, err := dialDevTools(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return &Browser{t, d}
}

// Find returns an error where there is no Chromium.
func Find() error {
	_, err := find()
	return err
}

// find looks for Chromium under the names that it is installed by.
func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no chromium, chromium-browser or google-chrome was found in PATH")
}

// launch starts the program and returns the address of its DevTools. The test's
// end ends it, with all of its processes.
func launch(t testing.TB, path string, flags []string) string {
	t.Helper()
	profile, err := os.MkdirTemp("", "websocket-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeProfile(t, profile) })
	stderr := &output{address: make(chan string, 1)}
	flags = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--remote-debugging-port=0", "--user-data-dir=" + profile}, flags...)
	cmd := exec.Command(path, append(flags, "about:blank")...)
	cmd.Stderr = stderr
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait() // how it ends does not matter: it is killed
		close(exited)
	}()
	t.Cleanup(func() {
		killGroup(cmd)
		<-exited
	})
	select {
	case address := <-stderr.address:
		return address
	case <-exited:
		t.Fatalf("%s has ended:\n%s", path, stderr)
	case <-time.After(timeout):
		t.Fatalf("%s does not tell the address of its DevTools:\n%s", path, stderr)
	}
	return ""
}

// removeProfile removes what the browser has written. Its processes have been
// killed, but the kernel may still be at work on what they did last.
func removeProfile(t testing.TB, dir string) {
	var err error
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		if err = os.RemoveAll(dir); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the browser's profile cannot be removed: %v", err)
}

// An output takes what the browser writes, and finds in it the line
// "DevTools listening on ws://127.0.0.1:PORT/devtools/browser/ID".
type output struct {
	mu      sync.Mutex
	text    []byte
	address chan string // gets it, once
}

var listening = regexp.MustCompile(`(?m)^DevTools listening on (ws://\S+)\s*$`)

const maxOutput = 64 << 10

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.text) > maxOutput {
		return len(p), nil
	}
	found := listening.Match(o.text)
	o.text = append(o.text, p...)
	if m := listening.FindSubmatch(o.text); m != nil && !found {
		o.address <- string(m[1])
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// Open opens a URL in a page of its own and waits until it has been loaded.
func (b *Browser) Open(url string) *Page {
	b.t.Helper()
	p := &Page{t: b.t, devTools: b.devTools}
	var target struct{ TargetID string }
	p.call("Target.createTarget", params{"url": "about:blank", "newWindow": true, "width": 1000, "height": 800}, &target)
	var session struct{ SessionID string }
	p.call("Target.attachToTarget", params{"targetId": target.TargetID, "flatten": true}, &session)
	p.session = session.SessionID
	p.call("Runtime.enable", nil, nil)
	var navigation struct{ ErrorText string }
	p.call("Page.navigate", params{"url": url}, &navigation)
	if navigation.ErrorText != "" {
		b.t.Fatalf("opening %s: %s", url, navigation.ErrorText)
	}
	p.Wait(fmt.Sprintf("location.href.startsWith(%q) && document.readyState === 'complete'", url))
	return p
}

// withTimeout returns the context of one exchange with the browser.
func withTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), timeout)
}
