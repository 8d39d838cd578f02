package interop

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"example.com/websocket"
)

// A row is something that two ends do with each other.
type row struct {
	name     string
	do       func(t *testing.T, s *side)
	deflated bool // only with compression
}

var rows = []row{
	{name: "subprotocol", do: func(t *testing.T, s *side) {
		l := s.link(t)
		if got := l.c.Subprotocol(); got != subprotocol {
			t.Errorf("the subprotocol %q should be agreed on, and %q is", subprotocol, got)
		}
		l.finish()
	}},
	{name: "empty", do: func(t *testing.T, s *side) {
		s.echoes(t, websocket.MessageText, []int{0})
		s.echoes(t, websocket.MessageBinary, []int{0})
	}},
	{name: "text", do: func(t *testing.T, s *side) { s.echoes(t, websocket.MessageText, sizes) }},
	{name: "binary", do: func(t *testing.T, s *side) { s.echoes(t, websocket.MessageBinary, sizes) }},
	{name: "large", do: func(t *testing.T, s *side) {
		s.echoes(t, websocket.MessageText, []int{5 << 20})
		s.echoes(t, websocket.MessageBinary, []int{1 << 20, 5<<20 + 1})
	}},
	{name: "pipelined", do: pipelined},
	{name: "our-fragments", do: ourFragments},
	{name: "their-fragments", do: theirFragments},
	{name: "our-ping", do: func(t *testing.T, s *side) {
		l := s.link(t)
		for range 3 {
			l.ping()
		}
		l.finish()
	}},
	{name: "our-ping-inside-a-message", do: pingInside},
	{name: "their-ping", do: func(t *testing.T, s *side) {
		l := s.link(t)
		for _, text := range []string{"a ping", ""} {
			l.write(websocket.MessageText, fmt.Appendf(nil, "do ping 0 %s", text))
			l.want(websocket.MessageText, pong(text))
		}
		l.finish()
	}},
	{name: "our-close", do: ourClose},
	{name: "their-close", do: func(t *testing.T, s *side) {
		closes := s.closes
		if closes == nil {
			closes = codes
		}
		for _, e := range closes {
			s.theirClose(t, e)
		}
	}},
	{name: "their-close-without-a-code", do: func(t *testing.T, s *side) { s.theirClose(t, ending{code: 1005}) }},
	{name: "no-close", do: func(t *testing.T, s *side) {
		l := s.link(t)
		l.write(websocket.MessageText, []byte("before the end"))
		l.want(websocket.MessageText, []byte("before the end"))
		l.c.NetConn().Close()
		s.wantEnding(t, ending{code: int(websocket.StatusAbnormalClosure)})
	}},
	{name: "deflated", do: deflated, deflated: true},
}

// sizes are those at which the length of a frame takes another form, and their
// neighbours.
var sizes = []int{1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 65537, 100_000}

// A link is an open connection, of which c is our end.
type link struct {
	t   *testing.T
	s   *side
	c   *websocket.Conn
	ctx context.Context
}

// link opens a connection.
func (s *side) link(t *testing.T) *link {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c := s.open(t)
	t.Cleanup(func() { c.Close() })
	return &link{t, s, c, ctx}
}

func (l *link) write(typ websocket.MessageType, p []byte) {
	l.t.Helper()
	if err := l.c.WriteMessage(l.ctx, typ, p); err != nil {
		l.t.Fatal(err)
	}
}

// want reads a message, which should be p.
func (l *link) want(typ websocket.MessageType, p []byte) {
	l.t.Helper()
	gotType, got, err := l.c.ReadMessage(l.ctx)
	if err != nil || gotType != typ || !bytes.Equal(got, p) {
		l.t.Fatalf("%v %.40q of %d bytes should come, and %v %.40q of %d bytes comes, %v", typ, p, len(p), gotType, got, len(got), err)
	}
}

func (l *link) ping() {
	l.t.Helper()
	if _, err := l.c.Ping(l.ctx); err != nil {
		l.t.Fatalf("a ping should be answered: %v", err)
	}
}

// finish makes the closing handshake, which both ends see as such.
func (l *link) finish() {
	l.t.Helper()
	l.shutdown(websocket.StatusNormalClosure, "that is all")
}

func (l *link) shutdown(code websocket.StatusCode, reason string) {
	l.t.Helper()
	if err := l.c.Shutdown(l.ctx, code, reason); err != nil {
		l.t.Errorf("the closing handshake with %v should succeed: %v", code, err)
	}
	l.s.wantEnding(l.t, ending{int(code), reason})
}

// wantEnding checks how the other side saw the end, if it tells.
func (s *side) wantEnding(t *testing.T, want ending) {
	t.Helper()
	got := receive(t, "the other side should see the end", s.far.ended)
	if want.code == int(websocket.StatusAbnormalClosure) {
		got.reason = "" // an error of the system
	}
	if got.code != 0 && got != want {
		t.Errorf("the connection should end with %v at the other side, and does with %v", want, got)
	}
}

// echoes sends messages and gets them back, one after the other.
func (s *side) echoes(t *testing.T, typ websocket.MessageType, sizes []int) {
	t.Helper()
	l := s.link(t)
	for _, n := range sizes {
		p := payload(typ, n)
		l.write(typ, p)
		l.want(typ, p)
	}
	l.finish()
}

// payload returns n bytes: UTF-8 of one to four bytes a character, or all bytes
// there are.
func payload(typ websocket.MessageType, n int) []byte {
	if typ == websocket.MessageBinary {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i ^ i>>8)
		}
		return p
	}
	const unit = "aé€😀"
	p := strings.Repeat(unit, n/len(unit))
	return []byte(p + strings.Repeat("x", n-len(p)))
}

// pipelined sends many messages without waiting for those that come back.
func pipelined(t *testing.T, s *side) {
	l := s.link(t)
	message := func(i int) (websocket.MessageType, []byte) {
		n := i * 37 % 2000
		if i%100 == 0 {
			n = 100_000
		}
		typ := websocket.MessageText
		if i%3 == 0 {
			typ = websocket.MessageBinary
		}
		return typ, payload(typ, n)
	}
	const messages = 500
	written := make(chan error, 1)
	go func() {
		for i := range messages {
			typ, p := message(i)
			if err := l.c.WriteMessage(l.ctx, typ, p); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for i := range messages {
		typ, p := message(i)
		l.want(typ, p)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	l.finish()
}

// writeFragments sends a message in as many frames, or more.
func (l *link) writeFragments(typ websocket.MessageType, pieces []string, between func()) {
	l.t.Helper()
	w, err := l.c.NextWriter(l.ctx, typ)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, piece := range pieces {
		if _, err := w.Write([]byte(piece)); err != nil {
			l.t.Fatal(err)
		}
		between()
	}
	if err := w.Close(); err != nil {
		l.t.Fatal(err)
	}
}

func ourFragments(t *testing.T, s *side) {
	l := s.link(t)
	for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		for _, n := range []int{10_000, 50_001, 700_000} {
			p := payload(typ, n)
			l.writeFragments(typ, cut(string(p), 7), func() {})
			l.want(typ, p)
		}
	}
	l.finish()
}

func theirFragments(t *testing.T, s *side) {
	l := s.link(t)
	for _, pieces := range []int{2, 7} {
		text := payload(websocket.MessageText, 300_000)
		l.write(websocket.MessageText, fmt.Appendf(nil, "do fragments %d %s", pieces, text))
		l.want(websocket.MessageText, text)
	}
	l.finish()
}

// pingInside pings between the fragments of a message.
func pingInside(t *testing.T, s *side) {
	l := s.link(t)
	p := payload(websocket.MessageBinary, 40_000)
	l.writeFragments(websocket.MessageBinary, cut(string(p), 4), l.ping)
	l.want(websocket.MessageBinary, p)
	l.finish()
}

// codes are the status codes of RFC 6455 that an application may use, and more of
// the ranges that it sets aside.
var codes = []ending{
	{1000, ""}, {1000, "bye"}, {1001, ""}, {1003, "no binary, please"}, {1008, ""}, {1011, "oh"},
	{3000, ""}, {4000, "Grüße"}, {4999, strings.Repeat("é", 61) + "x"},
}

func ourClose(t *testing.T, s *side) {
	for _, e := range append(codes, ending{code: 1005}) {
		s.link(t).shutdown(websocket.StatusCode(e.code), e.reason)
	}
}

func (s *side) theirClose(t *testing.T, e ending) {
	t.Helper()
	l := s.link(t)
	l.write(websocket.MessageText, fmt.Appendf(nil, "do close %d %s", e.code, e.reason))
	_, _, err := l.c.ReadMessage(l.ctx)
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || int(closed.Code) != e.code || closed.Reason != e.reason {
		t.Errorf("the read should end with %v, and does with %v", e, err)
	}
	receive(t, "the other side should see the end", s.far.ended)
}

// deflated looks at how much goes over the wire.
func deflated(t *testing.T, s *side) {
	l := s.link(t)
	wire := l.c.NetConn().(*counted)
	echo := func(p []byte) (there, back int64) {
		there, back = wire.written.Load(), wire.read.Load()
		l.write(websocket.MessageText, p)
		if err := l.c.Flush(l.ctx); err != nil {
			t.Fatal(err)
		}
		l.want(websocket.MessageText, p)
		return wire.written.Load() - there, wire.read.Load() - back
	}
	text := payload(websocket.MessageText, 200_000)
	if there, back := echo(text); there > 20_000 || back > 20_000 {
		t.Errorf("a message of %d bytes that repeat should be small on the wire, and takes %d there and %d back", len(text), there, back)
	}

	// What does not repeat in itself, but repeats what was sent before.
	d := s.far.wire.deflate
	text = unrepetitive(1 << d.windowBits / 4)
	echo(text)
	there, back := echo(text)
	for direction, n := range map[string]int64{"there": there, "back": back} {
		if d.takeover != (n < int64(len(text)/2)) {
			t.Errorf("with context takeover %v, a message that was sent before takes %d of %d bytes %s", d.takeover, n, len(text), direction)
		}
	}
	l.finish()
}

// unrepetitive returns n bytes of text in which next to nothing repeats.
func unrepetitive(n int) []byte {
	p := make([]byte, n*3/4+2)
	rand.NewChaCha8([32]byte{}).Read(p)
	return []byte(base64.StdEncoding.EncodeToString(p)[:n])
}
