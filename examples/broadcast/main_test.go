package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/websocket"
	"example.com/websocket/examples/internal/exampletest"
)

func start(t *testing.T) *exampletest.Example {
	t.Helper()
	return exampletest.Start(t, run, "-addr", "localhost:0", "-page", "localhost:0,localhost:0")
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// join opens a connection as a page does, and returns when it is a member of the
// room: when it has received what it has sent.
func join(t *testing.T, e *exampletest.Example, page string) *websocket.Conn {
	t.Helper()
	c := e.Dial("/", &websocket.Options{Header: http.Header{"Origin": {page}}})
	hello := "hello from " + c.LocalAddr().String()
	send(t, c, hello)
	for !strings.Contains(receive(t, c), hello) {
	}
	return c
}

func send(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteText(testContext(t), text); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	typ, message, err := c.ReadMessage(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if typ != websocket.MessageText {
		t.Fatalf("received a %v message, want text", typ)
	}
	return string(message)
}

// closeCode reads until the connection ends, and returns the code.
func closeCode(t *testing.T, c *websocket.Conn) websocket.StatusCode {
	t.Helper()
	for {
		_, _, err := c.ReadMessage(testContext(t))
		if ce := (*websocket.CloseError)(nil); errors.As(err, &ce) {
			return ce.Code
		}
		if err != nil {
			t.Fatalf("the connection ends with %v, want a Close frame", err)
		}
	}
}

func TestEverybodyReceivesWhatAnybodySends(t *testing.T) {
	e := start(t)
	a := join(t, e, e.Pages[0])
	b := join(t, e, e.Pages[1])
	receive(t, a) // b's hello
	for sender, page := range map[*websocket.Conn]string{a: e.Pages[0], b: e.Pages[1]} {
		send(t, sender, "Hello, world!")
		want := regexp.MustCompile(`^Received: Hello, world! from: ` + strings.TrimPrefix(page, "http://") + ` at: \d{4}/\d{1,2}/\d{1,2} \d\d:\d\d:\d\d$`)
		for name, member := range map[string]*websocket.Conn{"a": a, "b": b} {
			if got := receive(t, member); !want.MatchString(got) {
				t.Errorf("%s received %q, want %v", name, got, want)
			}
		}
	}
}

func TestSenderWithoutAPageIsCalledByItsAddress(t *testing.T) {
	c := start(t).Dial("/", nil)
	send(t, c, "Hello, world!")
	want := "Received: Hello, world! from: " + c.LocalAddr().String() + " at: "
	if got := receive(t, c); !strings.HasPrefix(got, want) {
		t.Errorf("received %q, want %q and the time", got, want)
	}
}

func TestSenderIsCalledByTheNameItGives(t *testing.T) {
	e := start(t)
	c := e.Dial("/?name=Zo%C3%AB+%FF", &websocket.Options{Header: http.Header{"Origin": {e.Pages[0]}}})
	send(t, c, "Hello, world!")
	if got, want := receive(t, c), "Received: Hello, world! from: Zoë \ufffd at: "; !strings.HasPrefix(got, want) {
		t.Errorf("received %q, want %q and the time", got, want)
	}
}

func TestWatchersAreToldTheCount(t *testing.T) {
	e := start(t)
	want := func(c *websocket.Conn, count string) {
		t.Helper()
		got := receive(t, c)
		for got != count { // it is told anew whenever somebody comes or goes
			got = receive(t, c)
		}
	}
	w := e.Dial("/count", nil)
	want(w, "0")
	a := join(t, e, e.Pages[0])
	want(w, "1")
	b := join(t, e, e.Pages[0])
	want(w, "2")
	want(e.Dial("/count", nil), "2")
	b.Shutdown(testContext(t), websocket.StatusNormalClosure, "")
	want(w, "1")
	a.NetConn().Close()
	want(w, "0")
}

func TestMembersReceiveAllMessagesInTheSameOrder(t *testing.T) {
	const members, each = 4, 500
	e := start(t)
	all := make([]*websocket.Conn, members)
	for i := range all {
		all[i] = join(t, e, e.Pages[0])
		for _, c := range all[:i] {
			receive(t, c) // the hello of this one
		}
	}
	for i, c := range all {
		go func() {
			for n := range each {
				c.WriteText(context.Background(), fmt.Sprintf("%d.%d", i, n))
			}
		}()
	}
	order := make([]string, members)
	for n := range members * each {
		for i, c := range all {
			order[i] = receive(t, c)
		}
		for i := range order {
			if order[i] != order[0] {
				t.Fatalf("message %d of member %d is %q, and of member 0 it is %q", n, i, order[i], order[0])
			}
		}
	}
}

func TestMemberThatLeavesHarmsNobody(t *testing.T) {
	e := start(t)
	a, b, c := join(t, e, e.Pages[0]), join(t, e, e.Pages[0]), join(t, e, e.Pages[1])
	b.Shutdown(testContext(t), websocket.StatusNormalClosure, "")
	c.NetConn().Close() // without a word
	send(t, a, "still here")
	for !strings.Contains(receive(t, a), "still here") {
	}
}

func TestMemberThatDoesNotReadIsDroppedAndHarmsNobody(t *testing.T) {
	e := start(t)
	a := join(t, e, e.Pages[0])
	deaf := join(t, e, e.Pages[0])
	b := join(t, e, e.Pages[1])
	for _, name := range []string{"deaf", "b"} {
		if got := receive(t, a); !strings.Contains(got, "hello") {
			t.Fatalf("received %q, want the hello of %s", got, name)
		}
	}
	padding := strings.Repeat("x", 16<<10-100)
	dropped := make(chan struct{})
	go func() {
		e.WaitLog(deaf.LocalAddr().String() + " is dropped")
		close(dropped)
	}()
	for n, isDropped := 0, false; !isDropped; n++ {
		select {
		case <-dropped:
			isDropped = true
		default:
		}
		text := fmt.Sprintf("number %d %s", n, padding)
		send(t, a, text)
		for name, member := range map[string]*websocket.Conn{"a": a, "b": b} {
			if got := receive(t, member); !strings.Contains(got, text) {
				t.Fatalf("%s received %.40q, want number %d", name, got, n)
			}
		}
	}
	if code := closeCode(t, deaf); code != websocket.StatusTryAgainLater {
		t.Errorf("the one that did not read is closed with %v, want 1013", code)
	}
}

func TestBinaryMessagesAreRefused(t *testing.T) {
	e := start(t)
	a, b := join(t, e, e.Pages[0]), join(t, e, e.Pages[0])
	if err := b.WriteMessage(testContext(t), websocket.MessageBinary, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if code := closeCode(t, b); code != websocket.StatusUnsupportedData {
		t.Errorf("a binary message is answered with %v, want 1003", code)
	}
	receive(t, a) // b's hello
	send(t, a, "what comes next")
	if got := receive(t, a); !strings.Contains(got, "what comes next") {
		t.Errorf("the others received %q", got)
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	e := start(t)
	opts := &websocket.Options{Header: http.Header{"Origin": {"http://example.com"}}}
	_, resp, err := websocket.Dial(testContext(t), e.Sockets, opts)
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of http://example.com is not refused with 403: %v", err)
	}
}

func TestShutdownTellsMembers(t *testing.T) {
	e := start(t)
	c := join(t, e, e.Pages[0])
	go e.Stop()
	if code := closeCode(t, c); code != websocket.StatusGoingAway {
		t.Errorf("at the shutdown a member gets %v, want 1001", code)
	}
}
