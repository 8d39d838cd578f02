package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/websocket"
)

// The library, as the endpoint under test: the only file of the suite that knows it.

// echoLimit is the largest message that the suite sends.
const echoLimit = 16 << 20

// tested are the terms for the library: it is held to all of them.
var tested = verdict{patience: 10 * time.Second, requireCompression: true}

// compression lets the suite choose: it is with context takeover unless a case wants it without.
var compression = &websocket.Compression{ServerContextTakeover: true, ClientContextTakeover: true}

func TestServer(t *testing.T) {
	check(t, server, askServer(t, selection(), compression, tested))
}

func TestClient(t *testing.T) {
	check(t, client, askClient(t, selection(), compression, tested))
}

// TestWithoutCompression is the library as it is by default: it declines what is offered, and refuses what it has not asked for.
func TestWithoutCompression(t *testing.T) {
	const run = "3,11,13.10"
	terms := verdict{patience: tested.patience}
	check(t, server, askServer(t, run, nil, terms))
	check(t, client, askClient(t, run, nil, terms))
}

// askServer puts cases to the library's server.
func askServer(t *testing.T, run string, c *websocket.Compression, v verdict) []result {
	srv := httptest.NewServer(&websocket.Server{
		Options: websocket.Options{ReadLimit: echoLimit, Compression: c},
		Handler: func(c *websocket.Conn, _ *http.Request) { echo(context.Background(), c) },
	})
	defer srv.Close()
	address := "ws" + strings.TrimPrefix(srv.URL, "http") + "/"
	results, err := testServer(address, selectCases(server, run), v, 8)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// askClient puts cases to the library's client.
func askClient(t *testing.T, run string, c *websocket.Compression, v verdict) []result {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cases := newClientTest(selectCases(client, run), v)
	go cases.serve(l)
	opts := &websocket.Options{ReadLimit: echoLimit, Compression: c}
	if err := runClient("ws://"+l.Addr().String(), opts, 8); err != nil {
		t.Fatal(err)
	}
	return cases.wait()
}

// selection is all cases; with -short and under the race detector, where large sizes and much compression are slow, those
// without.
func selection() string {
	if testing.Short() || raceEnabled {
		return "1,2,3,4,5,6,7,8,10,11,13.9,13.10,13.11"
	}
	return ""
}

// check reports failures as a test does, and the table.
func check(t *testing.T, r role, results []result) {
	t.Helper()
	for _, result := range results {
		if result.outcome == failed {
			var b strings.Builder
			explain(&b, result)
			t.Error(b.String())
		}
	}
	var b strings.Builder
	total := table(&b, results)
	t.Logf("%s:\n%s", r, b.String())
	if total.passed == 0 {
		t.Error("no case passed")
	}
}

// echo sends every message back until the connection ends.
func echo(ctx context.Context, c *websocket.Conn) {
	var buf []byte
	for {
		typ, message, err := c.AppendMessage(ctx, buf[:0])
		if err != nil {
			return
		}
		if err := c.WriteMessage(ctx, typ, message); err != nil {
			return
		}
		buf = message
	}
}

// runClient asks a suite that listens at an address for its cases, and runs them, some at the same time.
func runClient(address string, opts *websocket.Options, parallel int) error {
	n, err := caseCount(address)
	if err != nil {
		return err
	}
	inParallel(n, parallel, func(i int) { echoOnce(fmt.Sprintf("%s/runCase?case=%d", address, i+1), opts) })
	echoOnce(address+"/updateReports", opts)
	return nil
}

func caseCount(address string) (int, error) {
	c, _, err := websocket.Dial(context.Background(), address+"/getCaseCount", nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_, message, err := c.ReadMessage(context.Background())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(message))
}

// echoOnce runs one case. That it does not connect is what some cases want: the suite judges.
func echoOnce(address string, opts *websocket.Options) {
	ctx, cancel := context.WithTimeout(context.Background(), maxCase)
	defer cancel()
	c, _, err := websocket.Dial(ctx, address, opts)
	if err != nil {
		return
	}
	defer c.Close()
	echo(ctx, c)
}
