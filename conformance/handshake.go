package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// This file is the suite's own side of section 4: heads of requests and responses as lines of text, so that any of
// them can be wrong.

// A head is the head of an HTTP request or response.
type head struct {
	start  string // the request line or the status line
	fields []field
}

type field struct{ name, value string }

// An edit changes a head before it is sent.
type edit func(*head)

func startLine(format string) edit { return func(h *head) { h.start = format } }

// set replaces a header field, or adds it.
func set(name, value string) edit {
	return func(h *head) { without(name)(h); add(name, value)(h) }
}

func add(name, value string) edit {
	return func(h *head) { h.fields = append(h.fields, field{name, value}) }
}

func without(name string) edit {
	return func(h *head) {
		kept := h.fields[:0]
		for _, f := range h.fields {
			if !strings.EqualFold(f.name, name) {
				kept = append(kept, f)
			}
		}
		h.fields = kept
	}
}

// renamed writes the name of every header field in another way: names are case-insensitive.
func renamed(spelling func(string) string) edit {
	return func(h *head) {
		for i := range h.fields {
			h.fields[i].name = spelling(h.fields[i].name)
		}
	}
}

// append appends the head as it is written on the wire.
func (h *head) append(dst []byte) []byte {
	dst = append(dst, h.start+"\r\n"...)
	for _, f := range h.fields {
		dst = append(dst, f.name+": "+f.value+"\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// values are the values of all header fields of a name.
func (h *head) values(name string) []string {
	var values []string
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

func (h *head) has(name string) bool { return len(h.values(name)) > 0 }

// value is the value of the only header field of a name, or empty.
func (h *head) value(name string) string {
	if v := h.values(name); len(v) == 1 {
		return v[0]
	}
	return ""
}

// lists says whether a comma-separated header field has a token, in any case.
func (h *head) lists(name, token string) bool {
	for _, v := range h.values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// The longest head that the suite reads.
const maxHead = 64 << 10

// readHead reads a head, and returns what had arrived behind it.
func readHead(r io.Reader) (*head, []byte, error) {
	var buf []byte
	for {
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			h, err := parseHead(string(buf[:end]))
			return h, buf[end+4:], err
		}
		if len(buf) > maxHead {
			return nil, nil, errors.New("the head is too long")
		}
		part := make([]byte, 4096)
		n, err := r.Read(part)
		buf = append(buf, part[:n]...)
		if n == 0 && err != nil {
			return nil, buf, err
		}
	}
}

func parseHead(s string) (*head, error) {
	start, rest, _ := strings.Cut(s, "\r\n")
	h := &head{start: start}
	if rest == "" {
		return h, nil
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("a header line is not one: %q", line)
		}
		h.fields = append(h.fields, field{name, strings.Trim(value, " \t")})
	}
	return h, nil
}

// status is the status code of a response, or 0.
func (h *head) status() int {
	version, rest, _ := strings.Cut(h.start, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if err != nil || !strings.HasPrefix(version, "HTTP/1.") {
		return 0
	}
	return n
}

// acceptKey is step 5.4 of 4.2.2.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func newKey() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// ordinaryRequest is the handshake of a client that wants nothing special. It has no Origin header field: it is no
// browser's.
func (s *session) ordinaryRequest() *head {
	return &head{
		start: "GET " + s.target + " HTTP/1.1",
		fields: []field{
			{"Host", s.host},
			{"Upgrade", "websocket"},
			{"Connection", "Upgrade"},
			{"Sec-WebSocket-Key", newKey()},
			{"Sec-WebSocket-Version", "13"},
		},
	}
}

// ordinaryResponse is the server's answer to s.request.
func (s *session) ordinaryResponse() *head {
	return &head{
		start: "HTTP/1.1 101 Switching Protocols",
		fields: []field{
			{"Upgrade", "websocket"},
			{"Connection", "Upgrade"},
			{"Sec-WebSocket-Accept", acceptKey(s.request.value("Sec-WebSocket-Key"))},
		},
	}
}

// checkRequest holds the request of a client under test against 4.1.
func checkRequest(r *head) error {
	nonce, err := base64.StdEncoding.DecodeString(r.value("Sec-WebSocket-Key"))
	switch {
	case !strings.HasPrefix(r.start, "GET ") || !strings.HasSuffix(r.start, " HTTP/1.1"):
		return fmt.Errorf("the client should send a GET request of HTTP/1.1; got %q", r.start)
	case r.value("Host") == "":
		return errors.New("the client should send one Host header field")
	case !r.lists("Upgrade", "websocket"):
		return fmt.Errorf("the client should send an Upgrade header field that includes \"websocket\"; got %q", r.values("Upgrade"))
	case !r.lists("Connection", "Upgrade"):
		return fmt.Errorf("the client should send a Connection header field that includes \"Upgrade\"; got %q", r.values("Connection"))
	case err != nil || len(nonce) != 16:
		return fmt.Errorf("the client should send one Sec-WebSocket-Key with 16 octets in base64; got %q", r.values("Sec-WebSocket-Key"))
	case r.value("Sec-WebSocket-Version") != "13":
		return fmt.Errorf("the client should send one Sec-WebSocket-Version, 13; got %q", r.values("Sec-WebSocket-Version"))
	}
	return nil
}

// checkResponse holds the response of a server under test against 4.2.2, except for its extensions.
func checkResponse(request, r *head) error {
	accept := acceptKey(request.value("Sec-WebSocket-Key"))
	switch {
	case r.status() != 101 || !strings.HasPrefix(r.start, "HTTP/1.1 "):
		return fmt.Errorf("the server should accept the handshake with \"HTTP/1.1 101\"; got %q", r.start)
	case !strings.EqualFold(r.value("Upgrade"), "websocket"):
		return fmt.Errorf("the server should answer with \"Upgrade: websocket\"; got %q", r.values("Upgrade"))
	case !r.lists("Connection", "Upgrade"):
		return fmt.Errorf("the server should answer with \"Connection: Upgrade\"; got %q", r.values("Connection"))
	case r.value("Sec-WebSocket-Accept") != accept:
		return fmt.Errorf("the server should answer with \"Sec-WebSocket-Accept: %s\"; got %q", accept, r.values("Sec-WebSocket-Accept"))
	case r.has("Sec-WebSocket-Protocol") && !request.lists("Sec-WebSocket-Protocol", r.value("Sec-WebSocket-Protocol")):
		return fmt.Errorf("the server should choose no subprotocol but one that was offered; got %q", r.values("Sec-WebSocket-Protocol"))
	case r.has("Content-Length") || r.has("Transfer-Encoding"):
		return errors.New("the server should announce no body in a 101 response (RFC 9110 8.6, RFC 9112 6.1)")
	}
	return nil
}

// ordinaryOpening is the opening handshake of a case that is about something else.
func ordinaryOpening(s *session) error { return opening{}.open(s) }

// An opening is an opening handshake that must succeed.
type opening struct {
	edits    []edit  // of what the suite sends, request or response
	size     int     // octets a write, if not all in one
	behind   []frame // sent right behind it, in the same write
	response func(request, response *head) error
}

func (o opening) open(s *session) error {
	if s.role == server {
		return o.request(s)
	}
	return o.respond(s)
}

// request sends the request to a server under test and checks its response.
func (o opening) request(s *session) error {
	request := s.ordinaryRequest()
	response, behind, err := s.exchange(request, o)
	if err != nil {
		return s.should("answer the opening handshake; got %v", err)
	}
	if err := checkResponse(request, response); err != nil {
		return err
	}
	check := o.response
	if check == nil {
		check = noExtension
	}
	if err := check(request, response); err != nil {
		return err
	}
	s.begin(behind)
	return nil
}

// noExtension wants no extension in a response, as none was offered.
func noExtension(_, response *head) error {
	if response.has("Sec-WebSocket-Extensions") {
		return fmt.Errorf("the server should use no extension here; got %q", response.values("Sec-WebSocket-Extensions"))
	}
	return nil
}

// exchange sends a request after its edits, and reads the response.
func (s *session) exchange(request *head, o opening) (*head, []byte, error) {
	s.sendHead(request, o)
	s.conn.SetReadDeadline(time.Now().Add(s.patience))
	response, behind, err := readHead(s.conn)
	if err == nil {
		s.transcript.add("came: %s", response.short())
	}
	return response, behind, err
}

// respond answers the request of a client under test.
func (o opening) respond(s *session) error {
	if err := checkRequest(s.request); err != nil {
		return err
	}
	s.sendHead(s.ordinaryResponse(), o)
	s.begin(nil)
	return nil
}

func (s *session) sendHead(h *head, o opening) {
	for _, edit := range o.edits {
		edit(h)
	}
	s.transcript.add("sent: %s%s", h.short(), chopping(o.size))
	if len(o.behind) > 0 {
		s.transcript.add("sent behind it, in the same write: %s", list(o.behind))
	}
	s.write(append(h.append(nil), s.wire(o.behind...)...), o.size, 0)
}

// short is a head on one line.
func (h *head) short() string {
	b := bytes.TrimSuffix(h.append(nil), []byte("\r\n\r\n"))
	s := strings.ReplaceAll(string(b), "\r\n", " | ")
	if len(s) > 600 {
		s = s[:600] + "..."
	}
	return s
}
