package websocket

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The opening handshake (RFC 6455 section 4) over header fields as values: what a
// request must say, what a response must say, and what the two agree on. Where
// the fields come from and go to is known to accept.go and dial.go.

// acceptGUID is what a server appends to the key, to prove that it has read the
// handshake and knows WebSocket: the string is "unlikely to be used by network
// endpoints that do not understand the WebSocket Protocol" (1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AcceptKey returns the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key
// (RFC 6455 4.2.2 5.): the base64 of the SHA-1 of the key with
// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" behind it. It does not look at whether the key
// is one. It is for those who make a handshake by other means than [Accept] and [Dial].
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// keySize: 4.1 "a nonce consisting of a randomly selected 16-byte value that has
// been base64-encoded [...] The nonce MUST be selected randomly for each
// connection."
const keySize = 16

func newKey() string {
	var nonce [keySize]byte
	rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// validKey holds a key to the one encoding that 16 bytes have: no line breaks,
// which a base64 decoder skips, and no stray bits in the last character.
func validKey(key string) bool {
	nonce, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(nonce) == keySize && len(key) == base64.StdEncoding.EncodedLen(keySize)
}

// The fields of the handshake (11.3), spelled as net/http spells them in a header
// map, which is how they are looked up; case does not matter on the wire, where
// they go out in the spelling of the RFC.
const (
	fieldUpgrade    = "Upgrade"
	fieldConnection = "Connection"
	fieldOrigin     = "Origin"
	fieldKey        = "Sec-Websocket-Key"
	fieldVersion    = "Sec-Websocket-Version"
	fieldProtocol   = "Sec-Websocket-Protocol"
	fieldExtensions = "Sec-Websocket-Extensions"
	fieldAccept     = "Sec-Websocket-Accept"
)

// A clientRequest is what 4.2.1 asks about a client's opening handshake.
type clientRequest struct {
	method       string
	major, minor int // of HTTP
	host         string
	hasBody      bool
	header       map[string][]string
}

// check judges the request: every rule of 4.2.1 but that of the origin, which is
// policy. It returns nil if the request may become a connection. The order is
// that of what went wrong first: a person with a browser, or a proxy that speaks
// HTTP/1.0 and drops the Upgrade field, should read of that and not of a key.
func (q *clientRequest) check() *HandshakeError {
	switch {
	// RFC 8441 (extended CONNECT, over HTTP/2) is another handshake than this one.
	case q.major > 1:
		return refuse(501, "this is a WebSocket endpoint, and it takes handshakes over HTTP/1.1 only; this request came over HTTP/%d", q.major)
	// "1. An HTTP/1.1 or higher GET request". RFC 9110 7.8 has Upgrade ignored in
	// HTTP/1.0. The usual cause is a proxy, whose operator must be told the version.
	case q.major < 1 || q.minor < 1:
		return refuse(505, "a WebSocket handshake needs HTTP/1.1, and this request came over HTTP/%d.%d; a proxy on the way must speak HTTP/1.1 to this server and pass on the Upgrade and Connection header fields", q.major, q.minor)
	case q.method != "GET":
		return refuse(405, "a WebSocket handshake is a GET request, and this is a %.20s", q.method).with("Allow", "GET")
	// "3. An |Upgrade| header field containing the value "websocket", treated as an
	// ASCII case-insensitive value."
	case !listContains(q.header[fieldUpgrade], "websocket"):
		return refuse(426, `this is a WebSocket endpoint: a page's script opens it with new WebSocket("ws://..."), a browser's address bar cannot; if that was a WebSocket client, a proxy on the way dropped the Upgrade header field`).upgradeRequired()
	// "4. A |Connection| header field that includes the token "Upgrade", treated as
	// an ASCII case-insensitive value."
	case !listContains(q.header[fieldConnection], "upgrade"):
		return refuse(400, "the Connection header field does not include the token Upgrade; a proxy on the way may have changed it")
	// A body would stand where the frames begin.
	case q.hasBody:
		return refuse(400, "the request has a body, and a WebSocket handshake has none")
	// "2. A |Host| header field containing the server's authority."
	case q.host == "":
		return refuse(400, "the request has no Host")
	}
	return q.checkOwnFields()
}

// checkOwnFields judges the fields that only a WebSocket handshake has.
func (q *clientRequest) checkOwnFields() *HandshakeError {
	// "6. A |Sec-WebSocket-Version| header field, with a value of 13." 4.4: to any
	// other "the server MUST respond with a |Sec-WebSocket-Version| header field
	// [...] containing all versions it is willing to use", in a 426 (4.2.2).
	if v, ok := single(q.header, fieldVersion); !ok || v != "13" {
		return refuse(426, "Sec-WebSocket-Version is %s, and must be 13, once", show(q.header[fieldVersion])).
			upgradeRequired().with("Sec-WebSocket-Version", "13")
	}
	// "5. A |Sec-WebSocket-Key| header field with a base64-encoded [...] value that,
	// when decoded, is 16 bytes in length." 11.3.1: it "MUST NOT appear more than
	// once in an HTTP request."
	if key, ok := single(q.header, fieldKey); !ok || !validKey(key) {
		return refuse(400, "Sec-WebSocket-Key is %s, and must be 16 bytes in base64, once", show(q.header[fieldKey]))
	}
	// "8. Optionally, a |Sec-WebSocket-Protocol| header field, with a list of
	// values": tokens (4.3) that "MUST all be unique strings" (4.1).
	if offered, ok := parseTokens(q.header[fieldProtocol]); !ok || hasDuplicate(offered) {
		return refuse(400, "Sec-WebSocket-Protocol is %s, and must be a list of tokens, each of them once", show(q.header[fieldProtocol]))
	}
	// "9. Optionally, a |Sec-WebSocket-Extensions| header field". 9.1: "If a value is
	// received by either the client or the server during negotiation that does not
	// conform to the ABNF below, the recipient of such malformed data MUST immediately
	// _Fail the WebSocket Connection_." An offer that is only unknown is declined.
	if _, err := parseExtensions(q.header[fieldExtensions]); err != nil {
		return refuse(400, "Sec-WebSocket-Extensions is %s, and must be a list of extensions with parameters (RFC 6455 9.1)", show(q.header[fieldExtensions]))
	}
	return nil
}

func refuse(status int, format string, args ...any) *HandshakeError {
	return &HandshakeError{StatusCode: status, Reason: fmt.Sprintf(format, args...)}
}

// with adds a field to the response that refuses a handshake.
func (e *HandshakeError) with(name, value string) *HandshakeError {
	if e.Header == nil {
		e.Header = make(map[string][]string)
	}
	e.Header.Set(name, value)
	return e
}

// upgradeRequired: RFC 9110 15.5.22 "The server MUST send an Upgrade header field
// in a 426 response", and 7.8 "A sender of Upgrade MUST also send an "Upgrade"
// connection option".
func (e *HandshakeError) upgradeRequired() *HandshakeError {
	return e.with("Upgrade", "websocket").with("Connection", "Upgrade")
}

// chooseSubprotocol returns the first of the server's own subprotocols that the
// client offers, "" if there is none (4.2.2: /subprotocol/).
func chooseSubprotocol(own, offered []string) string {
	for _, p := range own {
		if slices.Contains(offered, p) {
			return p
		}
	}
	return ""
}

// An agreement is what the two sides settle in the handshake.
type agreement struct {
	subprotocol string         // "" for none
	deflate     *deflateParams // nil for no compression
}

// appendResponse appends the server's half of the handshake (4.2.2 5.), with
// further fields in the order of their names. The caller has checked those.
func appendResponse(dst []byte, key string, agreed agreement, fields map[string][]string) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\n"+
		"Upgrade: websocket\r\n"+
		"Connection: Upgrade\r\n"...)
	dst = appendField(dst, "Sec-WebSocket-Accept", AcceptKey(key))
	if agreed.subprotocol != "" {
		dst = appendField(dst, "Sec-WebSocket-Protocol", agreed.subprotocol)
	}
	if agreed.deflate != nil {
		dst = appendField(dst, "Sec-WebSocket-Extensions", agreed.deflate.extension().String())
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, value := range fields[name] {
			dst = appendField(dst, name, value)
		}
	}
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// checkResponse judges the header of a 101 response to a request with this key
// and these offers: 4.1 "the client MUST validate the server's response as
// follows". A server may leave an offer without an answer.
func checkResponse(header map[string][]string, key string, subprotocols []string, deflate *deflateParams) (agreed agreement, err error) {
	// "2. If the response lacks an |Upgrade| header field or the |Upgrade| header
	// field contains a value that is not an ASCII case-insensitive match for the
	// value "websocket", the client MUST _Fail the WebSocket Connection_."
	if v, ok := single(header, fieldUpgrade); !ok || !equalFold(v, "websocket") {
		return agreed, fmt.Errorf("its Upgrade is %s, and must be websocket", show(header[fieldUpgrade]))
	}
	// "3. If [...] the |Connection| header field doesn't contain a token that is an
	// ASCII case-insensitive match for the value "Upgrade""
	if !listContains(header[fieldConnection], "upgrade") {
		return agreed, fmt.Errorf("its Connection is %s, and must include the token Upgrade", show(header[fieldConnection]))
	}
	// "4. If the response lacks a |Sec-WebSocket-Accept| header field or the
	// |Sec-WebSocket-Accept| contains a value other than" that of the key. It shows
	// an answer that a cache made for somebody else's key.
	if v, ok := single(header, fieldAccept); !ok || v != AcceptKey(key) {
		return agreed, fmt.Errorf("its Sec-WebSocket-Accept is %s, which does not answer the key of the request", show(header[fieldAccept]))
	}
	if agreed.deflate, err = checkExtensions(header, deflate); err != nil {
		return agreed, err
	}
	agreed.subprotocol, err = checkSubprotocol(header, subprotocols)
	return agreed, err
}

// checkSubprotocol: 4.1 "6. If the response includes a |Sec-WebSocket-Protocol|
// header field and this header field indicates the use of a subprotocol that was
// not present in the client's handshake [...], the client MUST _Fail the
// WebSocket Connection_." 11.3.4: it "MUST NOT appear more than once in an HTTP
// response."
func checkSubprotocol(header map[string][]string, offered []string) (string, error) {
	values := header[fieldProtocol]
	if len(values) == 0 {
		return "", nil
	}
	v, ok := single(header, fieldProtocol)
	if !ok || !slices.Contains(offered, v) {
		return "", fmt.Errorf("its Sec-WebSocket-Protocol is %s, and must be one of those offered, %q (Options.Subprotocols)", show(values), offered)
	}
	return v, nil
}

// What we are given for a handshake is checked before a byte of it is written, so
// that no line break in a value becomes a header field of somebody else's making.

// checkSubprotocols judges Options.Subprotocols by the rules of 4.1 10.
func checkSubprotocols(list []string) error {
	for _, p := range list {
		if !isToken(p) {
			return fmt.Errorf("websocket: Options.Subprotocols has %q, which is not a token (RFC 6455 4.1)", p)
		}
	}
	if hasDuplicate(list) {
		return fmt.Errorf("websocket: Options.Subprotocols is %q, and each must be there once (RFC 6455 4.1)", list)
	}
	return nil
}

// checkFieldSyntax judges the names and values of the header fields of source.
func checkFieldSyntax(source string, fields map[string][]string) error {
	for name, values := range fields {
		if !isToken(name) {
			return fmt.Errorf("websocket: %s has a field named %q, which is not a token (RFC 9110 5.1)", source, name)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, isControl) {
				return fmt.Errorf("websocket: the field %s of %s has a control character in its value %q (RFC 9110 5.5)", name, source, v)
			}
		}
	}
	return nil
}

// checkOptionsHeader judges the Options.Header of role r. A client's may name the Host.
func checkOptionsHeader(r role, fields map[string][]string) error {
	for name := range fields {
		if ownField(name) && !(r == client && name == "Host") {
			return fmt.Errorf("websocket: Options.Header has the field %s, which the handshake writes itself", name)
		}
	}
	return checkFieldSyntax("Options.Header", fields)
}

// ownField reports whether a field is the handshake's own, or says where the
// message ends, which a handshake without a body leaves no choice in.
func ownField(name string) bool {
	switch name = strings.ToLower(name); name {
	case "host", "upgrade", "connection", "content-length", "transfer-encoding", "trailer":
		return true
	}
	return strings.HasPrefix(name, "sec-websocket-")
}

// bodyField reports whether a field is about a body, which a 101 has not: what it
// is, or what follows it (net/http's "Trailer:" keys). A middleware may have set
// it, expecting an ordinary response.
func bodyField(name string) bool {
	switch name = strings.ToLower(name); name {
	case "content-type", "content-encoding", "content-language", "content-range", "accept-ranges", "etag", "last-modified":
		return true
	}
	return strings.HasPrefix(name, "trailer:")
}

// parseTokens reads the lines of a field that is a list of tokens.
func parseTokens(lines []string) (tokens []string, ok bool) {
	for _, line := range lines {
		s := scanner{rest: line}
		for s.nextElement() {
			t := s.token()
			if t == "" || !s.atElementEnd() {
				return nil, false
			}
			tokens = append(tokens, t)
		}
	}
	return tokens, true
}

// A scanner reads the value of one header field from left to right. Its methods
// skip white space where the grammar lets it stand.
type scanner struct{ rest string }

func (s *scanner) skip(cutset string) { s.rest = strings.TrimLeft(s.rest, cutset) }

// nextElement goes to the next element of a list that is not empty.
func (s *scanner) nextElement() bool {
	s.skip(", \t")
	return s.rest != ""
}

func (s *scanner) atElementEnd() bool {
	s.skip(" \t")
	return s.rest == "" || s.rest[0] == ','
}

// eat takes c, if it is next.
func (s *scanner) eat(c byte) bool {
	s.skip(" \t")
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// token returns "" if none is next.
func (s *scanner) token() string {
	s.skip(" \t")
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// value reads a token or a quoted-string. 9.1: "When using the quoted-string
// syntax variant, the value after quoted-string unescaping MUST conform to the
// 'token' ABNF."
func (s *scanner) value() (v string, ok bool) {
	if !s.eat('"') {
		v = s.token()
		return v, v != ""
	}
	var unescaped []byte
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return string(unescaped), len(unescaped) > 0
		case c == '\\' && i+1 < len(s.rest):
			i++
		}
		if !isTokenByte(s.rest[i]) {
			return "", false
		}
		unescaped = append(unescaped, s.rest[i])
	}
	return "", false // the closing quote is missing
}

// listContains reports whether the comma-separated list that the lines of a field
// make up contains a word. Its other elements need not be tokens: Upgrade may
// name h2c or IRC/6.9 as well.
func listContains(lines []string, word string) bool {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if equalFold(strings.Trim(element, " \t"), word) {
				return true
			}
		}
	}
	return false
}

// single returns the value of a field that must be there exactly once.
func single(header map[string][]string, name string) (string, bool) {
	values := header[name]
	if len(values) != 1 {
		return "", false
	}
	return strings.Trim(values[0], " \t"), true
}

// equalFold: "an ASCII case-insensitive match" for a word in ASCII. To
// strings.EqualFold the Kelvin sign is a k as well, but it is a longer one.
func equalFold(s, word string) bool {
	return len(s) == len(word) && strings.EqualFold(s, word)
}

// hasDuplicate sorts: a list that fills the largest header net/http takes has
// some 250,000 tokens, too many to compare each with each.
func hasDuplicate(list []string) bool {
	s := slices.Clone(list)
	slices.Sort(s)
	return len(slices.Compact(s)) < len(list)
}

// show quotes what a peer has sent, and not more than fits into one sentence.
func show(values []string) string {
	if len(values) == 0 {
		return "missing"
	}
	return fmt.Sprintf("%.80q", strings.Join(values, ", "))
}

func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTokenByte: RFC 9110 5.6.2, which is the token of RFC 2616 that RFC 6455 means.
func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// isControl: RFC 9110 5.5 "Field values containing CR, LF, or NUL characters are
// invalid and dangerous"; of the other control characters only the tab may be.
func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }
