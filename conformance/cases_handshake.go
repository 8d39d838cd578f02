package main

import (
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Group 8, section 4: requests to a server under test, and responses to a client under test.

func handshakeCases() []testCase {
	cases := number("8.1", takenRequests())
	cases = append(cases, number("8.2", refusedRequests())...)
	cases = append(cases, number("8.3", takenResponses())...)
	return append(cases, number("8.4", refusedResponses())...)
}

// takes is a handshake that must succeed, after which a message is echoed.
func takes(o only, section, title string, with opening) testCase {
	return testCase{only: o, section: section, title: title, open: with.open, steps: steps(echoed(text("Hello")))}
}

func edits(e ...edit) opening { return opening{edits: e} }

// takenRequests are unusual and right.
func takenRequests() []testCase {
	request := func(section, title string, with opening) testCase { return takes(serverOnly, section, title, with) }
	return []testCase{
		request("1.3", "The request of the RFC's own example is taken, and its key answered", edits(set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))),
		request("4.1", "The names of header fields are case-insensitive: lower case", edits(renamed(strings.ToLower))),
		request("4.1", "The names of header fields are case-insensitive: upper case", edits(renamed(strings.ToUpper))),
		request("4.2.1", "The order of the header fields is not important", edits(func(h *head) { slices.Reverse(h.fields) })),
		request("4.2.1", "Upgrade is case-insensitive", edits(set("Upgrade", "WebSocket"))),
		request("4.1", "Upgrade includes \"websocket\" in a list", edits(set("Upgrade", "h2c, websocket"))),
		request("4.2.1", "Connection is case-insensitive", edits(set("Connection", "upgrade"))),
		request("4.2.1", "Connection includes \"Upgrade\" in a list", edits(set("Connection", "keep-alive, Upgrade"))),
		request("4.2.1", "Connection includes \"Upgrade\" in a list without spaces, with empty elements", edits(set("Connection", ",keep-alive,,Upgrade,"))),
		request("4.2.1", "Connection comes in two header fields", edits(set("Connection", "keep-alive"), add("Connection", "Upgrade"))),
		request("4.3", "Values may stand between spaces and tabs", edits(set("Upgrade", " \t websocket \t "), set("Sec-WebSocket-Version", "  13\t"))),
		request("4.2.1", "Unknown header fields are ignored", edits(add("X-Unknown", "value"), add("Sec-WebSocket-Unknown", "value"), add("Cookie", "a=b; c=d"))),
		request("4.2.1", "A header field of 3000 octets is taken", edits(add("Cookie", "c="+asciiText(3000)))),
		request("4.1", "The request target may be an absolute http URI", edits(absoluteTarget)),
		request("4.2.2", "Offered subprotocols that mean nothing to the server do not stop it", edits(add("Sec-WebSocket-Protocol", "x-conformance-a, x-conformance-b"))),
		request("4.2.2", "Subprotocols may be offered in two header fields", edits(add("Sec-WebSocket-Protocol", "x-conformance-a"), add("Sec-WebSocket-Protocol", "x-conformance-b"))),
		request("4.2.1", "Every octet may occur in a key", edits(set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString([]byte("\xFB\xEF\xBE\xFF\xFF\xFE\x00\x01\x3E\x3F\xF8\xFF\xBF\x7F\x80\xFF"))))),
		request("4.2.1", "The request arrives an octet at a time", opening{size: 1}),
		request("4.2.1", "The request arrives in pieces of 7 octets", opening{size: 7}),
		{only: serverOnly, section: "4.1", title: "A message right behind the request, in the same segment, is not lost",
			open: opening{behind: []frame{text("behind")}}.open, steps: steps(owed(text("behind")), echoed(text("Hello")))},
		{only: serverOnly, section: "4.1", title: "Half of a message right behind the request is not lost",
			open: opening{behind: []frame{text("be").more()}}.open, steps: steps(send(continuation("hind")), owed(text("behind")))},
		{only: serverOnly, section: "4.1", title: "8000 octets of messages right behind the request are not lost",
			open: opening{behind: numbered(80, binaryFrame(octets(94)))}.open, steps: steps(owed(numbered(80, binaryFrame(octets(94)))...))},
		{only: serverOnly, section: "4.1", title: "A faulty frame right behind the request fails the connection",
			open: opening{behind: []frame{dataFrame(0x3, nil)}}.open, steps: steps(fails(protocolError))},
	}
}

// absoluteTarget makes the request line name the whole URI. 4.1: "or be an absolute http/https URI".
func absoluteTarget(h *head) {
	h.start = strings.Replace(h.start, "GET /", "GET http://"+h.value("Host")+"/", 1)
}

// refused is a request that the server must not accept: 4.2.1, "the server MUST stop processing the client's handshake and
// return an HTTP response with an appropriate error code (such as 400 Bad Request)".
func refused(section, title string, e ...edit) testCase {
	return testCase{only: serverOnly, section: section, title: title, open: refusing(clientError, edits(e...))}
}

// notUpgraded is a request that does not ask for a WebSocket in the terms of HTTP, whatever else it says: a server may take it
// for an ordinary GET, and serve a page. RFC 9110 7.8: "A server MAY ignore a received Upgrade header field".
func notUpgraded(section, title string, e ...edit) testCase {
	return testCase{only: serverOnly, section: section, title: title, open: refusing(finalStatus, edits(e...))}
}

// finalStatus is any but an interim one, such as 101.
func finalStatus(h *head) bool { return h.status() >= 200 }

// clientError is a status that says that the request is at fault, or 501 or 505 for a method or version.
func clientError(h *head) bool {
	status := h.status()
	return status >= 400 && status <= 499 || status == 501 || status == 505
}

// refusing sends a request and wants a response of a kind.
func refusing(kind func(*head) bool, o opening) step {
	return func(s *session) error {
		s.ended = true
		response, _, err := s.exchange(s.ordinaryRequest(), o)
		if err != nil {
			return s.should("refuse the request with an HTTP status; got %v", err)
		}
		if !kind(response) {
			return s.should("refuse the request with a fitting HTTP status; got %s", response.short())
		}
		if response.status() == 101 || response.has("Sec-WebSocket-Accept") {
			return s.should("not accept the handshake; got %s", response.short())
		}
		return nil
	}
}

func refusedRequests() []testCase {
	key := func(octets int) string { return base64.StdEncoding.EncodeToString(make([]byte, octets)) }
	cases := []testCase{
		refused("4.2.1", "The method must be GET, not POST", method("POST")),
		refused("4.2.1", "The method must be GET, not HEAD", method("HEAD")),
		refused("4.2.1", "The method must be GET, not PUT", method("PUT")),
		refused("4.2.1", "The method must be GET, and methods are case-sensitive", method("get")),
		refused("4.2.1", "HTTP/1.0 is too old", func(h *head) { h.start = strings.TrimSuffix(h.start, "1") + "0" }),
		refused("4.2.1", "A Host header field is needed", without("Host")),
		refused("4.2.1", "Two Host header fields are one too many", add("Host", "elsewhere.example")),
		notUpgraded("4.2.1", "An Upgrade header field is needed", without("Upgrade")),
		notUpgraded("4.2.1", "Upgrade must contain \"websocket\"", set("Upgrade", "h2c")),
		notUpgraded("4.2.1", "Upgrade must contain \"websocket\" as a whole value", set("Upgrade", "websockets")),
		notUpgraded("4.2.1", "Upgrade must not be empty", set("Upgrade", "")),
		notUpgraded("4.2.1", "A Connection header field is needed", without("Connection")),
		notUpgraded("4.2.1", "Connection must include the token \"Upgrade\"", set("Connection", "keep-alive")),
		notUpgraded("4.2.1", "Connection must include \"Upgrade\" as a whole token", set("Connection", "Upgraded, no-upgrade")),
		refused("4.2.1", "A key is needed", without("Sec-WebSocket-Key")),
		refused("4.2.1", "The key must not be empty", set("Sec-WebSocket-Key", "")),
		refused("4.2.1", "The key must not be of 15 octets", set("Sec-WebSocket-Key", key(15))),
		refused("4.2.1", "The key must not be of 17 octets", set("Sec-WebSocket-Key", key(17))),
		refused("4.2.1", "The key must not be of 1024 octets", set("Sec-WebSocket-Key", key(1024))),
		refused("4.2.1", "The key must be base64: no padding", set("Sec-WebSocket-Key", strings.TrimRight(key(16), "="))),
		refused("4.2.1", "The key must be base64: the alphabet for URLs is another", set("Sec-WebSocket-Key", "-_-_-_-_-_-_-_-_-_-_-w==")),
		refused("4.2.1", "The key must be base64: 24 letters that decode to 18 octets", set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAAA")),
		refused("4.2.1", "The key must be base64: nothing behind the padding", set("Sec-WebSocket-Key", key(16)+"AAAA")),
		refused("4.2.1", "The key must be base64: no spaces in it", set("Sec-WebSocket-Key", "AAAAAAAAAAA AAAAAAAAAAA==")),
		refused("11.3.1", "The key MUST NOT appear more than once", add("Sec-WebSocket-Key", newKey())),
		refused("4.2.1", "A version is needed", without("Sec-WebSocket-Version")),
		refused("4.3", "The version must not have leading zeros", set("Sec-WebSocket-Version", "013")),
		refused("4.3", "The version must not be a list", set("Sec-WebSocket-Version", "13, 8")),
		refused("4.3", "The version must not be text", set("Sec-WebSocket-Version", "thirteen")),
		refused("4.3", "The version must not be empty", set("Sec-WebSocket-Version", "")),
		refused("11.3.5", "The version MUST NOT appear more than once", add("Sec-WebSocket-Version", "8")),
		refused("4.1", "A subprotocol must be a token", add("Sec-WebSocket-Protocol", "two words")),
		refused("4.1", "A subprotocol must be a token: no separators", add("Sec-WebSocket-Protocol", "a/b")),
		refused("4.1", "A subprotocol must be a token: no quoted strings", add("Sec-WebSocket-Protocol", `"quoted"`)),
		refused("4.1", "Subprotocols must all be unique", add("Sec-WebSocket-Protocol", "twice, other, twice")),
		refused("4.2.1", "A header line without a colon is no HTTP", func(h *head) { h.start += "\r\nno colon here" }),
		refused("4.2.1", "A space before the colon is no HTTP", func(h *head) { h.start += "\r\nX-Name : value" }),
		refused("4.2.1", "NUL in a header field is no HTTP", add("X-Name", "a\x00b")),
		notUpgraded("4.2.1", "A GET without any of the handshake is not upgraded", plainRequest),
		{only: serverOnly, section: "4.2.1", title: "A body is not taken for frames", open: bodyIsNoFrame},
		{only: serverOnly, section: "4.2.1", title: "What is no HTTP at all is not upgraded", open: garbage},
	}
	for _, version := range []string{"0", "8", "12", "14", "25", "255", "130"} {
		cases = append(cases, testCase{
			only: serverOnly, section: "4.4", title: fmt.Sprintf("Version %s is refused with the version that is understood", version),
			open: refusing(namesVersion13, edits(set("Sec-WebSocket-Version", version))),
		})
	}
	return cases
}

func method(m string) edit {
	return func(h *head) { h.start = m + strings.TrimPrefix(h.start, "GET") }
}

// plainRequest leaves what a browser sends for a page.
func plainRequest(h *head) {
	for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"} {
		without(name)(h)
	}
}

// namesVersion13 is 4.4: the server "MUST respond with a |Sec-WebSocket-Version| header field (or multiple
// |Sec-WebSocket-Version| header fields) containing all versions it is willing to use".
func namesVersion13(h *head) bool { return clientError(h) && h.lists("Sec-WebSocket-Version", "13") }

// bodyIsNoFrame sends a request with a body that looks like a frame. A server may refuse that, or read the body and then
// accept (RFC 9110 7.8); to echo it would let one party of a proxied connection speak for another.
func bodyIsNoFrame(s *session) error {
	body := s.wire(text("smuggled"))
	o := opening{edits: edits(add("Content-Length", fmt.Sprint(len(body)))).edits, behind: []frame{text("smuggled")}}
	response, behind, err := s.exchange(s.ordinaryRequest(), o)
	if err != nil || response.status() != 101 {
		s.ended = true
		return nil
	}
	s.begin(behind)
	return echoed(text("Hello"))(s)
}

func garbage(s *session) error {
	s.ended = true
	s.transcript.add("sent: octets that are no request")
	s.write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\r\n\r\n"), 0, 0)
	s.endWrites()
	s.conn.SetReadDeadline(time.Now().Add(s.patience))
	response, _, err := readHead(s.conn)
	if err == nil && response.status() == 101 {
		return s.should("not accept what is no HTTP request; got %s", response.short())
	}
	if failure, ok := err.(net.Error); ok && failure.Timeout() {
		return s.should("answer what is no HTTP request with an error, or end the connection; it did nothing")
	}
	return nil
}

// takenResponses are unusual and right.
func takenResponses() []testCase {
	response := func(section, title string, with opening) testCase { return takes(clientOnly, section, title, with) }
	return []testCase{
		response("4.1", "The names of header fields are case-insensitive: lower case", edits(renamed(strings.ToLower))),
		response("4.1", "The names of header fields are case-insensitive: upper case", edits(renamed(strings.ToUpper))),
		response("4.1", "The order of the header fields is not important", edits(func(h *head) { slices.Reverse(h.fields) })),
		response("4.1", "Upgrade is case-insensitive", edits(set("Upgrade", "WebSocket"))),
		response("4.1", "Connection is case-insensitive", edits(set("Connection", "uPGRADE"))),
		response("4.1", "Connection includes \"Upgrade\" in a list", edits(set("Connection", "keep-alive, Upgrade"))),
		response("4.1", "Whitespace around Sec-WebSocket-Accept is ignored", edits(func(h *head) {
			set("Sec-WebSocket-Accept", "  "+h.value("Sec-WebSocket-Accept")+"\t ")(h)
		})),
		response("4.1", "Unknown header fields are ignored", edits(add("Server", "conformance"), add("Set-Cookie", "a=b"), add("X-Unknown", ""))),
		response("4.2.2", "The reason phrase means nothing", edits(startLine("HTTP/1.1 101 Web Socket Protocol Handshake"))),
		response("4.2.2", "The reason phrase may be empty", edits(startLine("HTTP/1.1 101 "))),
		response("4.1", "The response arrives an octet at a time", opening{size: 1}),
		response("4.1", "The response arrives in pieces of 7 octets", opening{size: 7}),
		{only: clientOnly, section: "4.2.2", title: "A message right behind the response, in the same segment, is not lost",
			open: opening{behind: []frame{text("behind")}}.open, steps: steps(owed(text("behind")), echoed(text("Hello")))},
		{only: clientOnly, section: "4.2.2", title: "Half of a message right behind the response is not lost",
			open: opening{behind: []frame{text("be").more()}}.open, steps: steps(send(continuation("hind")), owed(text("behind")))},
		{only: clientOnly, section: "4.2.2", title: "8000 octets of messages right behind the response are not lost",
			open: opening{behind: numbered(80, binaryFrame(octets(94)))}.open, steps: steps(owed(numbered(80, binaryFrame(octets(94)))...))},
		{only: clientOnly, section: "4.2.2", title: "A Close frame right behind the response is answered",
			open: opening{behind: []frame{normal}}.open, steps: steps(closed(answered, false))},
		{only: clientOnly, section: "4.2.2", title: "A faulty frame right behind the response fails the connection",
			open: opening{behind: []frame{dataFrame(0x3, nil)}}.open, steps: steps(fails(protocolError))},
		{only: clientOnly, section: "4.1", title: "The key MUST be selected randomly for each connection", open: freshKey},
	}
}

// keysSeen are the keys of all requests of clients under test.
var keysSeen struct {
	sync.Mutex
	count map[string]int
}

func noteKey(key string) {
	keysSeen.Lock()
	defer keysSeen.Unlock()
	if keysSeen.count == nil {
		keysSeen.count = map[string]int{}
	}
	keysSeen.count[key]++
}

// freshKey wants a key that no other request had.
func freshKey(s *session) error {
	key := s.request.value("Sec-WebSocket-Key")
	keysSeen.Lock()
	n := keysSeen.count[key]
	keysSeen.Unlock()
	if n > 1 {
		return s.should("choose a fresh Sec-WebSocket-Key for each connection; %s came in %d requests", key, n)
	}
	return ordinaryOpening(s)
}

// spurned is a response upon which the client MUST _Fail the WebSocket Connection_: with no connection established there is
// nobody to send a frame to, so it may only end TCP.
func spurned(section, title string, e ...edit) testCase {
	return testCase{only: clientOnly, section: section, title: title, open: spurning(edits(e...))}
}

func spurning(o opening) step {
	return func(s *session) error {
		s.ended = true
		if err := checkRequest(s.request); err != nil {
			return err
		}
		o.behind = append(o.behind, text("Hello"))
		s.sendHead(s.ordinaryResponse(), o)
		s.endWrites()
		s.begin(nil)
		if got := s.next(); got.kind != tcpClosed && got.kind != tcpReset {
			return s.should("fail the connection upon this response, sending nothing; got %s", got)
		}
		return nil
	}
}

func refusedResponses() []testCase {
	const accept = "Sec-WebSocket-Accept"
	anyway := func(status string) edit { return startLine("HTTP/1.1 " + status) }
	return []testCase{
		spurned("4.1", "A status of 200 is no acceptance", anyway("200 OK")),
		spurned("4.1", "A status of 400 is no acceptance", anyway("400 Bad Request")),
		spurned("4.1", "A status of 403 is no acceptance", anyway("403 Forbidden")),
		spurned("4.1", "A status of 426 is no acceptance", anyway("426 Upgrade Required")),
		spurned("4.1", "A status of 503 is no acceptance", anyway("503 Service Unavailable")),
		spurned("4.1", "An Upgrade header field is needed", without("Upgrade")),
		spurned("4.1", "Upgrade must be \"websocket\"", set("Upgrade", "h2c")),
		spurned("4.1", "Upgrade must be \"websocket\" and nothing else", set("Upgrade", "websocket/13")),
		spurned("4.1", "Upgrade must not be empty", set("Upgrade", "")),
		spurned("4.1", "A Connection header field is needed", without("Connection")),
		spurned("4.1", "Connection must contain the token \"Upgrade\"", set("Connection", "keep-alive")),
		spurned("4.1", "Connection must contain \"Upgrade\" as a whole token", set("Connection", "Upgraded")),
		spurned("4.1", "A Sec-WebSocket-Accept is needed", without(accept)),
		spurned("4.1", "Sec-WebSocket-Accept must not be empty", set(accept, "")),
		spurned("4.1", "Sec-WebSocket-Accept must be that of the key, not of another one", set(accept, acceptKey("dGhlIHNhbXBsZSBub25jZQ=="))),
		spurned("4.1", "Sec-WebSocket-Accept must not be in another case", func(h *head) { set(accept, swapCase(h.value(accept)))(h) }),
		spurned("4.1", "Sec-WebSocket-Accept must be whole", func(h *head) { set(accept, strings.TrimSuffix(h.value(accept), "="))(h) }),
		spurned("4.1", "Sec-WebSocket-Accept must have nothing behind it", func(h *head) { set(accept, h.value(accept)+"=")(h) }),
		spurned("11.3.3", "Sec-WebSocket-Accept MUST NOT appear more than once", add(accept, acceptKey("dGhlIHNhbXBsZSBub25jZQ=="))),
		spurned("4.1", "A subprotocol that was not offered", add("Sec-WebSocket-Protocol", "x-never-offered")),
		spurned("4.2.2", "A subprotocol that is the empty string", add("Sec-WebSocket-Protocol", "")),
		spurned("4.1", "HTTP/1.0 has no 101", startLine("HTTP/1.0 101 Switching Protocols")),
		spurned("4.1", "A status line that is none", startLine("websocket yes")),
		spurned("4.1", "A status that is no number", anyway("1O1 Switching Protocols")),
		spurned("4.1", "A header line without a colon is no HTTP", func(h *head) { h.start += "\r\nno colon here" }),
		{only: clientOnly, section: "4.1", title: "The key in place of Sec-WebSocket-Accept is no answer", open: echoedKey},
		{only: clientOnly, section: "4.1", title: "A connection that ends without a response has failed", open: silentEnd("")},
		{only: clientOnly, section: "4.1", title: "A connection that ends inside the response has failed",
			open: silentEnd("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")},
	}
}

// swapCase changes the case of the letters of s: of 27 letters of base64 some are, with certainty enough.
func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if upper := strings.ToUpper(string(r)); upper != string(r) {
			return rune(upper[0])
		}
		return rune(strings.ToLower(string(r))[0])
	}, s)
}

// echoedKey answers with the key itself, as something that understands nothing might.
func echoedKey(s *session) error {
	return spurning(edits(set("Sec-WebSocket-Accept", s.request.value("Sec-WebSocket-Key"))))(s)
}

// silentEnd sends a part of a response, or none, and ends.
func silentEnd(part string) step {
	return func(s *session) error {
		s.ended = true
		s.transcript.add("sent: %q and the end of TCP", part)
		s.write([]byte(part), 0, 0)
		s.endWrites()
		s.begin(nil)
		if got := s.next(); got.kind != tcpClosed && got.kind != tcpReset {
			return s.should("end TCP, sending nothing; got %s", got)
		}
		return nil
	}
}
