// Package interop lets the library talk with other implementations: their clients
// with our server, our client with their servers. It holds nothing but tests.
//
// There is one table of behaviours, rows, and one small adapter for each peer: an
// echo server and an echo client, which do as described at [obey]. A row is a
// subtest, as in gorilla/their-client/large.
package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/websocket"
)

const (
	// subprotocol is offered and accepted on all connections.
	subprotocol = "interop.example"

	// maxMessage is what our side reads; theirs has to read as much.
	maxMessage = 16 << 20

	// patience is for how long anything may take. It is long, since it is only
	// waited for when something is wrong.
	patience = 20 * time.Second
)

// A peer is another implementation.
type peer struct {
	name   string
	needs  func() error             // says what has to be installed and is not; nil if it comes with the module
	server func(f *far)             // starts its echo server, and sets f.url; nil if it has none
	client func(f *far, url string) // starts its echo client, and sets f.connect
	lacks  map[string]string        // rows and wires that it does not offer, and what its documentation has to say
	closes []ending                 // the codes and reasons that it can close with, if not all of codes
}

// An ending is how a connection has ended, as one end sees it.
type ending struct {
	code   int
	reason string
}

// A wire is what there is between the two ends.
type wire struct {
	name    string
	tls     bool
	deflate *deflate // nil: no compression
}

// A deflate is what both sides want of permessage-deflate (RFC 7692).
type deflate struct {
	takeover   bool // of the context, in both directions
	windowBits int
}

var wires = []wire{
	{},
	{name: "tls", tls: true},
	{name: "deflate", deflate: &deflate{false, 15}},
	{name: "deflate-takeover", deflate: &deflate{true, 15}},
	{name: "deflate-takeover-10-bits", deflate: &deflate{true, 10}},
}

// options are our side's.
func (w wire) options() *websocket.Options {
	opts := &websocket.Options{ReadLimit: maxMessage, Subprotocols: []string{subprotocol}}
	if d := w.deflate; d != nil {
		opts.Compression = &websocket.Compression{
			ServerContextTakeover: d.takeover,
			ClientContextTakeover: d.takeover,
			ServerWindowBits:      d.windowBits,
			ClientWindowBits:      d.windowBits,
			MinSize:               -1,
		}
	}
	return opts
}

// clientOptions are those of our client, which trusts localhost.
func (w wire) clientOptions() *websocket.Options {
	opts := w.options()
	opts.HTTPClient = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: localhost().pool},
		DialContext:     w.dial,
	}}
	return opts
}

// dial is for a client's Transport.
func (w wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil || w.deflate == nil {
		return nc, err
	}
	return &counted{Conn: nc}, nil
}

// A counted is a connection of which one wants to know how much compression
// saves. Where that is not asked, a Conn has a *net.TCPConn underneath.
type counted struct {
	net.Conn
	read, written atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// A countingListener is the same for a server.
type countingListener struct{ net.Listener }

func (l countingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &counted{Conn: nc}, nil
}

// A far is the other end: a peer's server, or its client.
type far struct {
	t       testing.TB
	wire    wire
	url     string      // of the server
	connect func()      // lets the client open one more connection, without waiting for its end
	ended   chan ending // gets how each connection has ended; code 0 if that is not told
}

// end tells how a connection has ended.
func (f *far) end(e ending) { f.ended <- e }

// serveHTTP is for servers in Go that sit on net/http.
func (f *far) serveHTTP(h http.HandlerFunc) {
	s := httptest.NewUnstartedServer(h)
	f.t.Cleanup(s.Close)
	f.url = startHTTP(s, f.wire)
}

// startHTTP starts s and returns its ws or wss URL.
func startHTTP(s *httptest.Server, w wire) string {
	if !w.tls {
		s.Start()
		return "ws" + strings.TrimPrefix(s.URL, "http")
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{localhost().cert}}
	s.StartTLS()
	return "wss" + strings.TrimPrefix(s.URL, "https")
}

// tlsConfig returns that of a client.
func (f *far) tlsConfig() *tls.Config {
	if !f.wire.tls {
		return nil
	}
	return &tls.Config{RootCAs: localhost().pool}
}

// failed tells of what should have worked.
func (f *far) failed(what string, err error) {
	f.t.Errorf("%s: %v", what, err)
	f.end(ending{})
}

// A side is one of a peer's two: its client or its server, with the library at
// the other end.
type side struct {
	*peer
	far  *far
	open func(t *testing.T) *websocket.Conn // opens one more connection, and returns our end
}

// sides starts those that p has.
func (p *peer) sides(t *testing.T, w wire) map[string]*side {
	sides := make(map[string]*side)
	if p.client != nil {
		s := &side{p, newFar(t, w), nil}
		url, accepted := ourServer(t, w)
		p.client(s.far, url)
		s.open = func(t *testing.T) *websocket.Conn {
			s.far.connect()
			select {
			case c := <-accepted:
				return c
			case <-s.far.ended: // it says why
			case <-time.After(patience):
			}
			t.Fatal("their client should connect, and does not")
			return nil
		}
		sides["their-client"] = s
	}
	if p.server != nil {
		s := &side{p, newFar(t, w), nil}
		p.server(s.far)
		s.open = func(t *testing.T) *websocket.Conn { return dial(t, s.far.url, w.clientOptions()) }
		sides["their-server"] = s
	}
	return sides
}

func newFar(t testing.TB, w wire) *far {
	return &far{t: t, wire: w, ended: make(chan ending, 16)}
}

// ourServer returns the URL of a server that hands out its connections.
func ourServer(t testing.TB, w wire) (url string, accepted <-chan *websocket.Conn) {
	opts := w.options()
	opts.CheckOrigin = websocket.AnyOrigin
	conns := make(chan *websocket.Conn)
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, opts)
		if err != nil {
			t.Error(err)
			return
		}
		select {
		case conns <- c:
		case <-ctx.Done():
			c.Close()
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(cancel)
	if w.deflate != nil {
		s.Listener = countingListener{s.Listener}
	}
	return startHTTP(s, w), conns
}

// dial opens a connection with our client.
func dial(t testing.TB, url string, opts *websocket.Options) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// receive waits for something to come.
func receive[T any](t testing.TB, what string, from <-chan T) (x T) {
	t.Helper()
	select {
	case x = <-from:
	case <-time.After(patience):
		t.Fatalf("%s, and does not", what)
	}
	return x
}

// Every peer, on every side and wire, behaves as the rows say.
func TestInterop(t *testing.T) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			require(t, p.needs)
			for _, w := range wires {
				if why, lacks := p.lacks[w.name]; lacks {
					t.Run(w.name, func(t *testing.T) { t.Skip(why) })
					continue
				}
				for name, s := range p.sides(t, w) {
					t.Run(strings.TrimSuffix(name+"-"+w.name, "-"), func(t *testing.T) { s.testRows(t) })
				}
			}
		})
	}
}

func (s *side) testRows(t *testing.T) {
	for _, row := range rows {
		if row.deflated && s.far.wire.deflate == nil {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			if why, lacks := s.lacks[row.name]; lacks {
				t.Skip(why)
			}
			row.do(t, s)
		})
	}
}

// require skips the test where something is not installed, or fails it if
// WEBSOCKET_INTEROP=required is set.
func require(t testing.TB, needs func() error) {
	t.Helper()
	if needs == nil {
		return
	}
	if err := needs(); err != nil {
		if os.Getenv("WEBSOCKET_INTEROP") == "required" {
			t.Fatal(err)
		}
		t.Skipf("%v; WEBSOCKET_INTEROP=required makes this a failure", err)
	}
}

// An identity is a certificate for this machine that signs itself, for programs in
// Go, and in a file for others.
type identity struct {
	cert      tls.Certificate
	pool      *x509.CertPool
	spki      []byte // the public key, for Chromium
	pem       string // the file with the certificate and its key
	directory string // of the file
}

var localhost = sync.OnceValue(func() *identity {
	id, err := newIdentity()
	if err != nil {
		panic(err)
	}
	return id
})

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	id := &identity{
		cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pool: x509.NewCertPool(),
		spki: leaf.RawSubjectPublicKeyInfo,
	}
	id.pool.AddCert(leaf)
	if id.directory, err = os.MkdirTemp("", "websocket-interop-"); err != nil {
		return nil, err
	}
	id.pem = filepath.Join(id.directory, "localhost.pem")
	both := append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
	return id, os.WriteFile(id.pem, both, 0o600)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := os.RemoveAll(localhost().directory); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
