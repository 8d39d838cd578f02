// Package site is what the examples have besides WebSockets: the addresses that
// they listen at, and the page that is served there.
package site

import (
	"crypto/tls"
	"embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
)

//go:embed page.js style.css
var assets embed.FS

// A Site is the place where an example is found.
type Site struct {
	Listeners []net.Listener // the first is the WebSocket server's, the others are the pages'
	Origins   []string       // what browsers send as the Origin of its pages, and what -origin adds
	URLs      []string       // of the pages

	socket string // the WebSocket server's host, as far as it is known, and its port
	secure bool   // https and wss
	page   *template.Template
}

// Config is what the flags of an example say.
type Config struct {
	Addr, Page, Origin, Cert, Key string
}

// Flags parses the arguments of an example. Page is the default of -page.
func Flags(name, page string, args []string) Config {
	var c Config
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	flags.StringVar(&c.Addr, "addr", "localhost:1234", "`address` of the WebSocket server")
	flags.StringVar(&c.Page, "page", page, "`addresses` of the page, separated by commas")
	flags.StringVar(&c.Origin, "origin", "", "`origins` of other pages that may connect, separated by commas, as in https://example.com")
	flags.StringVar(&c.Cert, "cert", "", "`file` with a certificate, for https and wss")
	flags.StringVar(&c.Key, "key", "", "`file` with the certificate's key")
	flags.Parse(args)
	return c
}

// Open listens at all addresses of an example. Index is the page, a template that
// is given the address of the WebSocket server.
func Open(c Config, index string) (*Site, error) {
	page, err := template.New("index.html").Parse(index)
	if err != nil {
		return nil, err
	}
	s := &Site{page: page, secure: c.Cert != "" || c.Key != "", Origins: split(c.Origin)}
	if err := errors.Join(checkOrigins(s.Origins), s.listenAll(c)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Site) listenAll(c Config) error {
	var config *tls.Config
	if s.secure {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return fmt.Errorf("-cert and -key belong together: %w", err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	address, err := s.listen("-addr", c.Addr, config)
	if err != nil {
		return err
	}
	s.socket = address
	for _, page := range split(c.Page) {
		address, err := s.listen("-page", page, config)
		if err != nil {
			return err
		}
		s.URLs = append(s.URLs, s.scheme("http")+reachable(address))
	}
	return nil
}

// listen listens at one address, and returns it with the port that it really has.
func (s *Site) listen(flag, address string, config *tls.Config) (string, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("%w; choose another address with %s", err, flag)
	}
	host, _, _ := net.SplitHostPort(address)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	s.Listeners = append(s.Listeners, ln)
	s.Origins = append(s.Origins, s.origins(host, port)...)
	return net.JoinHostPort(host, port), nil
}

func checkOrigins(origins []string) error {
	for _, o := range origins {
		u, err := url.Parse(o)
		notASCII := strings.ContainsFunc(o, func(c rune) bool { return c > unicode.MaxASCII })
		if err != nil || u.Hostname() == "" || o != u.Scheme+"://"+u.Host || strings.Contains(o, "*") || notASCII {
			return fmt.Errorf("-origin %s: an origin is a scheme, a host and perhaps a port, as in https://example.com", o)
		}
	}
	return nil
}

// Close closes the listeners. An http.Server that serves them does so too.
func (s *Site) Close() error {
	var err error
	for _, ln := range s.Listeners {
		err = errors.Join(err, ln.Close())
	}
	return err
}

// String tells what to open.
func (s *Site) String() string {
	open := "open " + strings.Join(s.URLs, " and ")
	if len(s.URLs) == 0 {
		open = "open " + s.scheme("http") + reachable(s.socket)
	}
	return open + " (WebSockets at " + s.scheme("ws") + reachable(s.socket) + ")"
}

// ServeHTTP serves the page, its script and its style sheet.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache") // or a new version would not be seen
	if r.URL.Path != "/" {
		http.FileServerFS(assets).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := s.page.Execute(w, s.socketURL(r)); err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
}

// socketURL returns where the page finds the WebSocket server: if that listens at
// all of the machine's addresses, then at the one where the page was found.
func (s *Site) socketURL(r *http.Request) string {
	host, port, _ := net.SplitHostPort(s.socket)
	if isAny(host) {
		host = (&url.URL{Host: r.Host}).Hostname()
	}
	return s.scheme("ws") + net.JoinHostPort(host, port)
}

// scheme returns the beginning of a URL: name is http or ws.
func (s *Site) scheme(name string) string {
	if s.secure {
		return name + "s://"
	}
	return name + "://"
}

// origins returns what browsers send as the Origin of a page at host and port. On
// this machine it has more than one name.
func (s *Site) origins(host, port string) []string {
	hosts := []string{host}
	if isAny(host) || isLoopback(host) {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	var origins []string
	for _, h := range hosts {
		origins = append(origins, s.scheme("http")+net.JoinHostPort(h, port))
	}
	return origins
}

// reachable returns an address that a browser on this machine can open.
func reachable(address string) string {
	host, port, _ := net.SplitHostPort(address)
	if isAny(host) {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// isAny reports whether host stands for all addresses of the machine.
func isAny(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// split splits a list at its commas.
func split(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })
}
