package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/websocket"
	"example.com/websocket/internal/browser"
	"github.com/nats-io/nats-server/v2/server"
)

// A test runs nodes as processes, to kill them as machines die: without a word. The
// process of a node is this test's own program, with its arguments in the environment.
func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv("CLUSTER_TEST_NODE"); ok {
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
		return
	}
	os.Exit(m.Run())
}

// A process is a node that runs.
type process struct {
	page, url, nats string
	cmd             *exec.Cmd
}

var ready = regexp.MustCompile(`^cluster: open (http://\S+) \(WebSockets at (ws://\S+)\); join by -nats (\S+)$`)

// start starts a node, until it is killed or the test ends.
func start(t *testing.T, args string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), "CLUSTER_TEST_NODE=-addr localhost:0 "+args)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := ready.FindStringSubmatch(lines.Text()); m != nil {
			p.page, p.url, p.nats = m[1], m[2], m[3]
			go func() { // so that it can go on writing
				for lines.Scan() {
				}
			}()
			return p
		}
	}
	t.Fatal("a node has ended before it was ready")
	return nil
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// A client is connected to one node.
type client struct {
	t *testing.T
	*websocket.Conn
	nodes []string // that it was told of
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, url, name string) *client {
	t.Helper()
	c, _, err := websocket.Dial(testContext(t), url+"/?name="+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t: t, Conn: c}
}

// next returns the next message of somebody, or "" for news of the nodes.
func (c *client) next() string {
	c.t.Helper()
	var m struct {
		chatMessage
		nodeList
	}
	if err := c.ReadJSON(testContext(c.t), &m); err != nil {
		c.t.Fatal(err)
	}
	if m.Nodes != nil {
		c.nodes = m.Nodes
		return ""
	}
	return m.From + ": " + m.Text
}

// wantNodes reads until the client was told of these nodes.
func (c *client) wantNodes(nodes ...*process) {
	c.t.Helper()
	var want []string
	for _, p := range nodes {
		want = append(want, p.url)
	}
	for slices.Sort(want); !slices.Equal(c.nodes, want); {
		if text := c.next(); text != "" {
			c.t.Fatalf("received %q, want news of the nodes", text)
		}
	}
}

// wantAll sends a message from each client, and wants every client to receive it.
func wantAll(t *testing.T, text string, clients ...*client) {
	t.Helper()
	for i, from := range clients {
		text := text + strings.Repeat("!", i)
		if err := from.WriteText(testContext(t), text); err != nil {
			t.Fatal(err)
		}
		for _, to := range clients {
			got := to.next()
			for got == "" {
				got = to.next()
			}
			if !strings.HasSuffix(got, ": "+text) {
				t.Fatalf("received %q, want %q", got, text)
			}
		}
	}
}

// Three nodes, of which the first dies, the one by which the others have joined.
func TestNodeThatDiesTakesOnlyItsOwnClients(t *testing.T) {
	one := start(t, "-listen localhost:0")
	two := start(t, "-nats "+one.nats)
	three := start(t, "-nats "+one.nats)
	a, b, c := dial(t, one.url, "a"), dial(t, two.url, "b"), dial(t, three.url, "c")
	for _, x := range []*client{a, b, c} {
		x.wantNodes(one, two, three)
	}
	wantAll(t, "all are there", a, b, c)
	for i := range 100 {
		if err := a.WriteText(testContext(t), strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		for _, to := range []*client{a, b, c} {
			if got, want := to.next(), "a: "+strconv.Itoa(i); got != want {
				t.Fatalf("one's messages should come in his order: %q, and %q comes", want, got)
			}
		}
	}

	one.kill()
	if _, _, err := a.ReadMessage(testContext(t)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a client of the node that died should notice: %v", err)
	}
	wantAll(t, "these are still there", b, c)
	b.wantNodes(two, three)
	c.wantNodes(two, three)

	i := slices.IndexFunc(a.nodes, func(url string) bool { return url != one.url })
	again := dial(t, a.nodes[i], "a")
	again.wantNodes(two, three)
	wantAll(t, "and who has come back", again, b, c)

	four := start(t, "-nats "+three.nats)
	d := dial(t, four.url, "d")
	for _, x := range []*client{again, b, c, d} {
		x.wantNodes(two, three, four)
	}
	wantAll(t, "a new one", again, b, c, d)
}

// A client that stays connected: its node dies, and it goes on with the next that it
// was told of.
func TestClientGoesOnToAnotherNode(t *testing.T) {
	one := start(t, "-listen localhost:0")
	two := start(t, "-nats "+one.nats)
	var known atomic.Value // the nodes, as the loop was told
	known.Store([]string{one.url})
	tried := 0
	r := &websocket.Redialer{FirstWait: 100 * time.Millisecond, Dial: func(ctx context.Context) (*websocket.Conn, error) {
		nodes := known.Load().([]string)
		url := nodes[tried%len(nodes)]
		tried++
		c, _, err := websocket.Dial(ctx, url, nil)
		return c, err
	}}
	for m, err := range r.Messages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		var list nodeList
		if err := json.Unmarshal(m.Data, &list); err != nil {
			t.Fatal(err)
		}
		if list.Own == two.url {
			return
		}
		if len(list.Nodes) == 2 {
			known.Store(list.Nodes)
			one.kill()
		}
	}
}

// Nodes that join a NATS server that is not a node's rely on it.
func TestForeignNATS(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(startTimeout) {
		t.Fatal("the NATS server does not start")
	}
	one, two := start(t, "-nats "+s.ClientURL()), start(t, "-nats "+s.ClientURL()+","+s.ClientURL())
	a, b := dial(t, one.url, "a"), dial(t, two.url, "b")
	a.wantNodes(one, two)
	b.wantNodes(one, two)
	wantAll(t, "hello", a, b)
}

// A page may connect to any node, whichever it comes from, if that is one.
func TestOrigins(t *testing.T) {
	one := start(t, "-listen localhost:0")
	two := start(t, "-nats "+one.nats)
	dial(t, two.url, "x").wantNodes(one, two)
	for origin, ok := range map[string]bool{one.page: true, two.page: true, "http://localhost:1": false} {
		c, resp, err := websocket.Dial(testContext(t), two.url, &websocket.Options{Header: http.Header{"Origin": {origin}}})
		if ok && err != nil || !ok && (err == nil || resp == nil || resp.StatusCode != http.StatusForbidden) {
			t.Errorf("a page of %s should connect: %v; but: %v", origin, ok, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// A page whose node dies goes on to another.
func TestPageGoesOnToAnotherNode(t *testing.T) {
	b := browser.Start(t)
	one := start(t, "-listen localhost:0")
	two := start(t, "-nats "+one.nats)
	dial(t, two.url, "x").wantNodes(one, two)
	page := b.Open(one.page)
	status := func(text string) string {
		quoted, _ := json.Marshal(text)
		return `document.querySelector("#status").innerText === ` + string(quoted)
	}
	page.Wait(status("connected to " + one.url))
	page.Wait(`document.querySelectorAll("#nodes li").length === 2`)
	one.kill()
	page.Wait(status("connected to " + two.url))
	page.Click("#send")
	page.Wait(`[...log.querySelectorAll(".received")].some(entry => entry.innerText.includes("Hello, world! from: "))`)
	page.Wait(`document.querySelectorAll("#nodes li").length === 1`)
}
