package websocket_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"example.com/websocket"
	"example.com/websocket/internal/browser"
)

// rebindingPage connects to the address that it is given, and shows what becomes of it.
const rebindingPage = `<!doctype html><body></body><script>
	const show = text => { document.body.innerText = text; };
	try {
		const ws = new WebSocket(new URLSearchParams(location.search).get("to"));
		ws.onopen = () => show("open");
		ws.onerror = () => show("refused");
	} catch (e) {
		show("refused by the browser: " + e.name);
	}
</script>`

// DNS rebinding in a browser: the names of other sites lead to a server on loopback,
// as their DNS servers could have it. What the defence leans on is tested with it: a
// page with https does not get through without TLS.
func TestRebindingInBrowser(t *testing.T) {
	b := browser.Start(t, "--host-resolver-rules=MAP *.example 127.0.0.1, MAP *.localhost 127.0.0.1", "--ignore-certificate-errors")
	var handshakes []string
	handler := func(opts websocket.Options) http.Handler {
		server := &websocket.Server{Options: opts, Handler: func(c *websocket.Conn, r *http.Request) { c.ReadMessage(r.Context()) }}
		t.Cleanup(func() { server.Close() })
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !websocket.IsUpgrade(r) {
				io.WriteString(w, rebindingPage)
				return
			}
			handshakes = append(handshakes, r.Header.Get("Origin"))
			server.ServeHTTP(w, r)
		})
	}
	start := func(h http.Handler, start func(*httptest.Server)) (port string) {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		start(s)
		t.Cleanup(s.Close)
		_, port, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	open := start(handler(websocket.Options{}), (*httptest.Server).Start)
	listing := start(handler(websocket.Options{Hosts: []string{"mine.example"}}), (*httptest.Server).Start)
	secure := start(handler(websocket.Options{}), (*httptest.Server).StartTLS)

	for _, tc := range []struct {
		why, page, to string
		want          string
		arrives       bool
	}{
		{"another's name", "http://evil.example:" + open, "ws://evil.example:" + open, "refused", true},
		{"the server's address", "http://127.0.0.1:" + open, "ws://127.0.0.1:" + open, "open", true},
		{"localhost", "http://localhost:" + open, "ws://localhost:" + open, "open", true},
		{"a name below localhost", "http://a.localhost:" + open, "ws://a.localhost:" + open, "open", true},
		{"a name on the list", "http://mine.example:" + listing, "ws://mine.example:" + listing, "open", true},
		{"a name that is not on the list", "http://evil.example:" + listing, "ws://evil.example:" + listing, "refused", true},
		{"a page with https, and no TLS", "https://evil.example:" + secure, "ws://evil.example:" + open, "refused", false},
		{"a page with https, and TLS", "https://mine.example:" + secure, "wss://mine.example:" + secure, "open", true},
	} {
		handshakes = nil
		p := b.Open(tc.page + "/?to=" + url.QueryEscape(tc.to))
		p.Wait(`document.body.innerText !== ""`)
		if got := p.Text("body"); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: a page of %s should find %s %s, and it is %s", tc.why, tc.page, tc.to, tc.want, got)
		}
		if arrives := len(handshakes) > 0; arrives != tc.arrives {
			t.Errorf("%s: a handshake arrives: %v %q", tc.why, arrives, handshakes)
		}
	}
}
