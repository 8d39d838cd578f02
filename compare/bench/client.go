package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// The handshake of section 1.3, with the key and the answer that stand there.
const (
	handshake = " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// extensions is what the client offers (RFC 7692 7.1).
func (c config) extensions() string {
	switch {
	case c.Takeover:
		return "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	case c.Deflate:
		return "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	return ""
}

// open opens the WebSocket at path on nc. It reads no byte beyond the handshake.
func (c config) open(nc net.Conn, path string) error {
	r := bufio.NewReader(nc)
	if err := c.openFrom(r, nc, path); err != nil {
		return err
	}
	if r.Buffered() > 0 {
		return errors.New("the server speaks before it is spoken to")
	}
	return nil
}

// openFrom is open, but that it leaves in r, from which it reads, what the server says
// behind the handshake.
func (c config) openFrom(r *bufio.Reader, nc net.Conn, path string) error {
	nc.SetDeadline(time.Now().Add(patience))
	defer nc.SetDeadline(time.Time{})
	if _, err := io.WriteString(nc, "GET "+path+handshake+c.extensions()+"\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != accept:
		return fmt.Errorf("the server does not open a WebSocket: %s", resp.Status)
	case c.Deflate != strings.HasPrefix(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate"):
		return errors.New("the server does not agree on compression")
	}
	return nil
}

// dial opens n WebSockets; on the raw loop nothing but TCP.
func dial(p *process, n int) (conns []net.Conn, err error) {
	for len(conns) < n && err == nil {
		var nc net.Conn
		if nc, err = net.Dial("tcp", p.addr); err != nil {
			break
		}
		if p.cfg.TLS {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // the server's certificate is of its own making
		}
		conns = append(conns, nc)
		if !p.raw {
			err = p.cfg.open(nc, "/")
		}
	}
	if err != nil {
		closeAll(conns)
		return nil, fmt.Errorf("connection %d of %d: %w", len(conns), n, err)
	}
	return conns, nil
}

func closeAll(conns []net.Conn) {
	for _, nc := range conns {
		nc.Close()
	}
}

// payloads returns n messages of size bytes, which seed decides: binary, or text
// in which every character has two bytes or three.
func payloads(n, size int, text bool, seed uint64) [][]byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	all := make([][]byte, n)
	for i := range all {
		all[i] = make([]byte, 0, size)
		if text {
			all[i] = appendText(all[i], size, rnd)
			continue
		}
		for range size {
			all[i] = append(all[i], byte(rnd.Uint32()))
		}
	}
	return all
}

// appendText appends size bytes of Greek and Japanese.
func appendText(b []byte, size int, rnd *rand.Rand) []byte {
	const letters = "αβγδεζηθλμξπστφχψωあいうえおかきくけこ日本語"
	all := strings.Split(letters, "")
	for len(b) < size {
		if c := all[rnd.IntN(len(all))]; len(b)+len(c) <= size {
			b = append(b, c...)
		} else if size-len(b) == 1 {
			b = append(b, '.')
		}
	}
	return b
}
