package site

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/websocket"
)

// Start serves at all addresses: WebSocket handshakes by sockets, and the page. What
// ends the serving is sent to failed.
func (s *Site) Start(sockets http.Handler) (web *http.Server, failed <-chan error) {
	web = &http.Server{ReadHeaderTimeout: 10 * time.Second}
	web.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsUpgrade(r) {
			sockets.ServeHTTP(w, r)
		} else {
			s.ServeHTTP(w, r)
		}
	})
	ended := make(chan error, len(s.Listeners))
	for _, ln := range s.Listeners {
		go func() { ended <- web.Serve(ln) }()
	}
	return web, ended
}

// Sender returns what a client is called: the name that it has given itself by
// ?name=, or else the host of the page that it comes from. What is not a browser has
// no page, and is called by its address.
func Sender(addr net.Addr, r *http.Request) string {
	if name := r.URL.Query().Get("name"); name != "" {
		return strings.ToValidUTF8(name, "\ufffd") // it goes into everybody's text
	}
	if origin, err := url.Parse(r.Header.Get("Origin")); err == nil && origin.Host != "" {
		return origin.Host
	}
	return addr.String()
}
