package websocket

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Keys and the accept values that answer them.
var acceptVectors = []struct{ source, key, accept string }{
	{"RFC 6455 1.3", "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
	{"a browser", "L7XSkAaV9mTTJbtCOhsZkg==", "nk/xVRZ0rn2kjrM6nr8O/elGToQ="},
}

func TestAcceptKey(t *testing.T) {
	for _, v := range acceptVectors {
		if got := AcceptKey(v.key); got != v.accept {
			t.Errorf("the key %q of %s is answered by %q, want %q", v.key, v.source, got, v.accept)
		}
	}
}

// browserRequest is what a browser sent to open new WebSocket("ws://127.0.0.1:1234")
// from a page of http://localhost:3000, with the key of the second vector.
const browserRequest = "GET / HTTP/1.1\r\n" +
	"Host: 127.0.0.1:1234\r\n" +
	"Connection: Upgrade\r\n" +
	"Pragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: http://localhost:3000\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9\r\n" +
	"Sec-WebSocket-Key: L7XSkAaV9mTTJbtCOhsZkg==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
	"\r\n"

// The browser's request goes through a server of net/http, and the response is
// the one that 4.2.2 describes, to the byte.
func TestBrowserHandshake(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts *Options
		want string
	}{
		{"the page's origin is allowed", &Options{CheckOrigin: AllowOrigins("http://localhost:3000")}, "HTTP/1.1 101 Switching Protocols\r\n" +
			"Upgrade: websocket\r\n" +
			"Connection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: nk/xVRZ0rn2kjrM6nr8O/elGToQ=\r\n" +
			"\r\n"},
		{"it is not", nil, "HTTP/1.1 403 Forbidden\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWire(t, serve(t, acceptor(tc.opts, discard)))
			w.send(browserRequest)
			w.want(tc.want)
		})
	}
}

// 4.1: "a nonce consisting of a randomly selected 16-byte value". What can be seen from
// outside: none comes twice, and every bit of it is sometimes set and sometimes not.
func TestNewKey(t *testing.T) {
	seen := make(map[string]bool)
	var ever, always [keySize]byte
	copy(always[:], bytes.Repeat([]byte{0xff}, keySize))
	for range 256 {
		key := newKey()
		if !validKey(key) || seen[key] {
			t.Fatalf("the key is %q, and must be 16 bytes that were not drawn before", key)
		}
		seen[key] = true
		nonce, _ := base64.StdEncoding.DecodeString(key)
		for i, b := range nonce {
			ever[i] |= b
			always[i] &= b
		}
	}
	for i := range keySize {
		if ever[i] != 0xff || always[i] != 0 {
			t.Errorf("of byte %d of 256 keys the bits %08b are never set, and %08b always", i, ^ever[i], always[i])
		}
	}
}

// validRequest returns a request without fault.
func validRequest() *clientRequest {
	return &clientRequest{method: "GET", major: 1, minor: 1, host: "example.com", header: map[string][]string{
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-Websocket-Key":     {acceptVectors[0].key},
		"Sec-Websocket-Version": {"13"},
	}}
}

func TestRequestIsValid(t *testing.T) {
	for _, tc := range []struct {
		why  string
		edit func(q *clientRequest)
	}{
		{"the least that 4.2.1 asks for", func(q *clientRequest) {}},
		{"Upgrade is case-insensitive", func(q *clientRequest) { q.header["Upgrade"] = []string{"WebSocket"} }},
		{"Upgrade may name other protocols too", func(q *clientRequest) { q.header["Upgrade"] = []string{"h2c, IRC/6.9", "foo,websocket"} }},
		{"Connection is case-insensitive, a list, and may have empty elements", func(q *clientRequest) { q.header["Connection"] = []string{",, keep-alive\t,", " , UPGRADE\t,,"} }},
		{"white space around the key is no part of it", func(q *clientRequest) { q.header["Sec-Websocket-Key"][0] += " \t" }},
		{"subprotocols may stand in several lines", func(q *clientRequest) { q.header["Sec-Websocket-Protocol"] = []string{"a, b", "c"} }},
		{"an empty list of subprotocols offers none", func(q *clientRequest) { q.header["Sec-Websocket-Protocol"] = []string{""} }},
		{"an unknown extension is declined, and no fault", func(q *clientRequest) { q.header["Sec-Websocket-Extensions"] = []string{`a; b="c"`} }},
		{"a later version of HTTP/1", func(q *clientRequest) { q.minor = 2 }},
	} {
		q := validRequest()
		tc.edit(q)
		if err := q.check(); err != nil {
			t.Errorf("%s: server should accept, but: %v", tc.why, err)
		}
	}
}

func TestRequestIsRefused(t *testing.T) {
	set := func(name string, values ...string) func(*clientRequest) {
		return func(q *clientRequest) { q.header[name] = values }
	}
	long := strings.Repeat("x", 1<<20)
	for _, tc := range []struct {
		why    string
		edit   func(q *clientRequest)
		status int
		reason string // a part of it
	}{
		{"HTTP/2 has no Upgrade", func(q *clientRequest) { q.major, q.minor = 2, 0 }, 501, "over HTTP/1.1 only; this request came over HTTP/2"},
		{"an extended CONNECT is not understood", func(q *clientRequest) { q.major, q.minor, q.method = 2, 0, "CONNECT" }, 501, "HTTP/1.1 only"},
		{"HTTP/1.1 or higher", func(q *clientRequest) { q.minor = 0 }, 505, "a proxy on the way must speak HTTP/1.1"},
		{"HTTP/1.1 or higher", func(q *clientRequest) { q.major, q.minor = 0, 9 }, 505, "HTTP/0.9"},
		{"a GET request", func(q *clientRequest) { q.method = "POST" }, 405, "a WebSocket handshake is a GET request, and this is a POST"},
		{"methods are case-sensitive", func(q *clientRequest) { q.method = "get" }, 405, "this is a get"},
		{"a Host header field", func(q *clientRequest) { q.host = "" }, 400, "no Host"},
		{"no body", func(q *clientRequest) { q.hasBody = true }, 400, "has a body"},

		{"an Upgrade header field", set("Upgrade"), 426, `new WebSocket("ws://...")`},
		{"containing the value websocket", set("Upgrade", "h2c"), 426, "WebSocket endpoint"},
		{"the whole value", set("Upgrade", "websockets"), 426, "WebSocket endpoint"},
		{"a space separates no elements", set("Upgrade", "h2c websocket"), 426, "WebSocket endpoint"},
		{"case-insensitive in ASCII only", set("Upgrade", "websoc\u212aet"), 426, "WebSocket endpoint"},
		{"a Connection header field", set("Connection"), 400, "token Upgrade"},
		{"that includes the token Upgrade", set("Connection", "keep-alive", "close"), 400, "a proxy on the way may have changed it"},

		{"extensions that conform to the ABNF", set("Sec-Websocket-Extensions", `a;=;"`), 400, "Sec-WebSocket-Extensions is"},

		{"a key", set("Sec-Websocket-Key"), 400, "Sec-WebSocket-Key is missing, and must be 16 bytes"},
		{"one key", set("Sec-Websocket-Key", acceptVectors[0].key, acceptVectors[0].key), 400, "once"},
		{"one key, in one line too", set("Sec-Websocket-Key", acceptVectors[0].key+", "+acceptVectors[1].key), 400, "once"},
		{"a key that is not empty", set("Sec-Websocket-Key", ""), 400, `is ""`},
		{"a key of 16 bytes", set("Sec-Websocket-Key", base64.StdEncoding.EncodeToString(make([]byte, 15))), 400, "16 bytes"},
		{"a key of 16 bytes", set("Sec-Websocket-Key", base64.StdEncoding.EncodeToString(make([]byte, 17))), 400, "16 bytes"},
		{"base64 with its padding", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ"), 400, "base64"},
		{"base64 without stray bits", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZR=="), 400, "base64"},
		{"base64 without line breaks", set("Sec-Websocket-Key", "dGhlIHNhbXBsZSBu\nb25jZQ=="), 400, "base64"},
		{"base64 of the common alphabet", set("Sec-Websocket-Key", "_-hlIHNhbXBsZSBub25jZQ=="), 400, "base64"},
		{"what is quoted has an end", set("Sec-Websocket-Key", long), 400, "xxx"},

		{"a version", set("Sec-Websocket-Version"), 426, "Sec-WebSocket-Version is missing, and must be 13"},
		{"version 13", set("Sec-Websocket-Version", "8"), 426, `is "8", and must be 13`},
		{"version 13, not a number like it", set("Sec-Websocket-Version", "013"), 426, "must be 13"},
		{"one version", set("Sec-Websocket-Version", "13, 8"), 426, "must be 13, once"},
		{"one version", set("Sec-Websocket-Version", "13", "13"), 426, "must be 13, once"},

		{"subprotocols are tokens", set("Sec-Websocket-Protocol", "a b"), 400, "a list of tokens"},
		{"subprotocols are tokens", set("Sec-Websocket-Protocol", "a, b/c"), 400, "a list of tokens"},
		{"subprotocols are in ASCII", set("Sec-Websocket-Protocol", "größe"), 400, "a list of tokens"},
		{"subprotocols are unique", set("Sec-Websocket-Protocol", "a, b", "a"), 400, "each of them once"},
	} {
		q := validRequest()
		tc.edit(q)
		err := q.check()
		if err == nil {
			t.Errorf("%s: server should refuse with %d, but accepts", tc.why, tc.status)
			continue
		}
		if err.StatusCode != tc.status || !strings.Contains(err.Reason, tc.reason) || len(err.Reason) > 400 {
			t.Errorf("%s: server should refuse with %d and %q, but: %v", tc.why, tc.status, tc.reason, err)
		}
		// RFC 9110 15.5.22, 15.5.6, and RFC 6455 4.4.
		if upgrade := err.Header.Get("Upgrade") == "websocket" && err.Header.Get("Connection") == "Upgrade"; upgrade != (tc.status == 426) {
			t.Errorf("%s: the response has %v", tc.why, err.Header)
		}
		if allow := err.Header.Get("Allow") == "GET"; allow != (tc.status == 405) {
			t.Errorf("%s: the response has %v", tc.why, err.Header)
		}
		if version := err.Header.Get("Sec-WebSocket-Version") == "13"; version != strings.Contains(tc.reason, "must be 13") {
			t.Errorf("%s: the response has %v", tc.why, err.Header)
		}
	}
}

// The largest header that net/http takes, filled with short subprotocols, is
// judged in less time than it took to send.
func TestManySubprotocols(t *testing.T) {
	var b strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&b, "%x,", i)
	}
	q := validRequest()
	q.header["Sec-Websocket-Protocol"] = []string{b.String()}
	start := time.Now()
	if err := q.check(); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("50,000 subprotocols took %v", d)
	}
}

func TestChooseSubprotocol(t *testing.T) {
	for _, tc := range []struct {
		own, offered []string
		want         string
	}{
		{nil, nil, ""},
		{nil, []string{"a"}, ""},
		{[]string{"a"}, nil, ""},
		{[]string{"a", "b"}, []string{"b", "a"}, "a"}, // the server's order counts
		{[]string{"x", "b"}, []string{"a", "b"}, "b"},
		{[]string{"A"}, []string{"a"}, ""}, // case-sensitive
	} {
		if got := chooseSubprotocol(tc.own, tc.offered); got != tc.want {
			t.Errorf("of %q, a server with %q should choose %q, not %q", tc.offered, tc.own, tc.want, got)
		}
	}
}

func TestAppendResponse(t *testing.T) {
	got := appendResponse(nil, acceptVectors[0].key, agreement{subprotocol: "chat"}, map[string][]string{"Set-Cookie": {"b=1", "a=2"}, "Date": nil, "Server": {"x"}})
	want := "HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
		"Sec-WebSocket-Protocol: chat\r\n" +
		"Server: x\r\n" +
		"Set-Cookie: b=1\r\n" +
		"Set-Cookie: a=2\r\n" +
		"\r\n"
	if string(got) != want {
		t.Errorf("response is\n%s\nwant\n%s", got, want)
	}
}

func TestCheckResponse(t *testing.T) {
	offered := []string{"chat", "superchat"}
	for _, tc := range []struct {
		why         string
		name        string // of the field that is not as in a good response
		values      []string
		subprotocol string
		reason      string // "" for an answer that is good
	}{
		{"the answer of 1.2", "", nil, "", ""},
		{"Upgrade is case-insensitive", "Upgrade", []string{"WebSocket"}, "", ""},
		{"Connection may have other tokens", "Connection", []string{"keep-alive", "x, UPGRADE"}, "", ""},
		{"white space around Accept is ignored", "Sec-Websocket-Accept", []string{" " + acceptVectors[0].accept + "\t"}, "", ""},
		{"a subprotocol that was offered", "Sec-Websocket-Protocol", []string{"superchat"}, "superchat", ""},
		{"no extension at all", "Sec-Websocket-Extensions", []string{""}, "", ""},

		{"lacks Upgrade", "Upgrade", []string{}, "", "Upgrade is missing"},
		{"Upgrade is not websocket", "Upgrade", []string{"h2c"}, "", `Upgrade is "h2c"`},
		{"Upgrade to two protocols", "Upgrade", []string{"websocket, h2c"}, "", "Upgrade is"},
		{"Upgrade twice", "Upgrade", []string{"websocket", "websocket"}, "", "Upgrade is"},
		{"lacks Connection", "Connection", []string{}, "", "Connection is missing"},
		{"Connection without the token", "Connection", []string{"close"}, "", `Connection is "close"`},
		{"lacks Accept", "Sec-Websocket-Accept", []string{}, "", "Sec-WebSocket-Accept is missing"},
		{"Accept of another key", "Sec-Websocket-Accept", []string{acceptVectors[1].accept}, "", "does not answer the key"},
		{"Accept is case-sensitive", "Sec-Websocket-Accept", []string{strings.ToLower(acceptVectors[0].accept)}, "", "does not answer the key"},
		{"Accept twice", "Sec-Websocket-Accept", []string{acceptVectors[0].accept, acceptVectors[0].accept}, "", "does not answer the key"},
		{"an extension that was not offered", "Sec-Websocket-Extensions", []string{"permessage-deflate"}, "", "no extension was offered"},
		{"a malformed extension", "Sec-Websocket-Extensions", []string{";"}, "", "must be a list of extensions"},
		{"a subprotocol that was not offered", "Sec-Websocket-Protocol", []string{"Chat"}, "", `one of those offered, ["chat" "superchat"]`},
		{"an empty subprotocol", "Sec-Websocket-Protocol", []string{""}, "", "one of those offered"},
		{"two subprotocols in a line", "Sec-Websocket-Protocol", []string{"chat, superchat"}, "", "one of those offered"},
		{"two lines of subprotocols", "Sec-Websocket-Protocol", []string{"chat", "superchat"}, "", "one of those offered"},
	} {
		header := map[string][]string{
			"Upgrade":              {"websocket"},
			"Connection":           {"Upgrade"},
			"Sec-Websocket-Accept": {acceptVectors[0].accept},
		}
		if tc.name != "" {
			header[tc.name] = tc.values
		}
		agreed, err := checkResponse(header, acceptVectors[0].key, offered, nil)
		switch {
		case tc.reason == "" && err != nil:
			t.Errorf("%s: client should go on, but: %v", tc.why, err)
		case tc.reason != "" && (err == nil || !strings.Contains(err.Error(), tc.reason)):
			t.Errorf("%s: client should fail with %q, but: %v", tc.why, tc.reason, err)
		case agreed.subprotocol != tc.subprotocol:
			t.Errorf("%s: subprotocol is %q, want %q", tc.why, agreed.subprotocol, tc.subprotocol)
		}
	}
}

func TestCheckSubprotocols(t *testing.T) {
	for _, good := range [][]string{nil, {"a"}, {"v1.json", "v2.json", "!#$%&'*+-.^_`|~"}} {
		if err := checkSubprotocols(good); err != nil {
			t.Errorf("subprotocols %q should pass: %v", good, err)
		}
	}
	for _, bad := range [][]string{{""}, {"a b"}, {"a,b"}, {"a\r\nX: y"}, {"a\x00"}, {"é"}, {"a", "b", "a"}} {
		if err := checkSubprotocols(bad); err == nil || !strings.Contains(err.Error(), "Options.Subprotocols") {
			t.Errorf("subprotocols %q should be an error that names the option, not %v", bad, err)
		}
	}
}

func TestCheckOptionsHeader(t *testing.T) {
	for _, good := range []map[string][]string{nil, {"Cookie": {"a=b"}, "X-Empty": {""}, "x-tab": {"a\tb"}, "X-Utf8": {"größe"}}} {
		if err := checkOptionsHeader(server, good); err != nil {
			t.Errorf("%q should pass: %v", good, err)
		}
	}
	for _, name := range []string{"Upgrade", "connection", "Content-Length", "Transfer-Encoding", "Host", "Sec-Websocket-Key", "sec-websocket-protocol", "SEC-WEBSOCKET-ACCEPT",
		"", "a b", "a:", "a\r\nb", "a\x00", "é"} {
		if err := checkOptionsHeader(server, map[string][]string{name: {"x"}}); err == nil || !strings.Contains(err.Error(), "Options.Header") {
			t.Errorf("a field %q should be an error that names the option, not %v", name, err)
		}
	}
	for _, value := range []string{"a\r\nX: y", "a\n", "\r", "a\x00", "\x1b", "\x7f"} {
		if err := checkOptionsHeader(server, map[string][]string{"X": {"good", value}}); err == nil || !strings.Contains(err.Error(), "Options.Header") {
			t.Errorf("a value %q should be an error that names the option, not %v", value, err)
		}
	}
}

var extensionVectors = []struct {
	lines []string
	want  []string // formatted; nil for a list that is malformed
}{
	{nil, []string{}},
	{[]string{""}, []string{}},
	{[]string{" ,\t, "}, []string{}},
	{[]string{"permessage-deflate"}, []string{"permessage-deflate"}},
	// 9.1: the examples
	{[]string{"deflate-stream"}, []string{"deflate-stream"}},
	{[]string{"mux; max-channels=4; flow-control, deflate-stream"}, []string{"mux; max-channels=4; flow-control", "deflate-stream"}},
	{[]string{"private-extension"}, []string{"private-extension"}},
	// 9.1: "MAY be split or combined across multiple lines"
	{[]string{"foo", "bar; baz=2"}, []string{"foo", "bar; baz=2"}},
	{[]string{"foo, bar; baz=2"}, []string{"foo", "bar; baz=2"}},
	// RFC 7692 7.1
	{[]string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate"},
		[]string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10", "permessage-deflate"}},
	// white space, empty elements, names that come again
	{[]string{"\t a \t;\tb = c ;d\t, ,e "}, []string{"a; b=c; d", "e"}},
	{[]string{"a; b; b=1; b=2, a"}, []string{"a; b; b=1; b=2", "a"}},
	// quoted strings, whose unescaped value is a token
	{[]string{`a; b="10"`}, []string{"a; b=10"}},
	{[]string{`a; b = "1\0" ; c, d`}, []string{"a; b=10; c", "d"}},
	{[]string{`a; b="\a\b"`}, []string{"a; b=ab"}},
	{[]string{`a; b=""`}, nil},
	{[]string{`a; b="1,2"`}, nil},
	{[]string{`a; b="1;2"`}, nil},
	{[]string{`a; b="1 2"`}, nil},
	{[]string{`a; b="1\"2"`}, nil},
	{[]string{`a; b="\\"`}, nil},
	{[]string{`a; b="1`}, nil},
	{[]string{`a; b="1\`}, nil},
	{[]string{`a; b="1\"`}, nil},
	{[]string{`a; b="1"2`}, nil},
	{[]string{`a; b="1""2"`}, nil},
	{[]string{`a; b=1"2"`}, nil},
	{[]string{`"a"`}, nil},
	{[]string{`a; "b"=c`}, nil},
	// a quoted string ends with its line
	{[]string{`a; b="1`, `2"`}, nil},
	// malformed
	{[]string{";"}, nil},
	{[]string{"a;"}, nil},
	{[]string{"a;,b"}, nil},
	{[]string{"a; ;b"}, nil},
	{[]string{"a b"}, nil},
	{[]string{"a=b"}, nil},
	{[]string{"a; =b"}, nil},
	{[]string{"a; b="}, nil},
	{[]string{"a; b=,c"}, nil},
	{[]string{"a; b==c"}, nil},
	{[]string{"a; b=c d"}, nil},
	{[]string{"good", "a/b"}, nil},
	{[]string{"größe"}, nil},
	{[]string{"a\x00"}, nil},
}

func TestParseExtensions(t *testing.T) {
	for _, v := range extensionVectors {
		list, err := parseExtensions(v.lines)
		if v.want == nil {
			if err == nil || list != nil {
				t.Errorf("%q is malformed, but is read as %v", v.lines, list)
			}
			continue
		}
		got := []string{}
		for _, e := range list {
			got = append(got, e.String())
		}
		if err != nil || !slices.Equal(got, v.want) {
			t.Errorf("%q is read as %q, %v; want %q", v.lines, got, err, v.want)
		}
	}
}

// What was read, formatted and read again is the same.
func FuzzExtensions(f *testing.F) {
	for _, v := range extensionVectors {
		f.Add(strings.Join(v.lines, "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseExtensions(strings.Split(text, "\n"))
		if err != nil {
			return
		}
		var elements []string
		for _, e := range list {
			for _, p := range append(e.params, extensionParam{name: e.name}) {
				if !isToken(p.name) || p.value != "" && !isToken(p.value) {
					t.Errorf("%q gives %q, which has more than tokens in it", text, e)
				}
			}
			elements = append(elements, e.String())
		}
		again, err := parseExtensions([]string{strings.Join(elements, ", ")})
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Errorf("%q is read as %v, and that as %v, %v", text, list, again, err)
		}
	})
}

// A list of tokens is read as an independent, plainer reading of RFC 9110 5.6.1
// has it.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"", "a", "a, b", ",,a ,\tb,", "a b", "a;b", "chat, superchat", "é", "a,\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var want []string
		valid := true
		for _, element := range strings.Split(line, ",") {
			if element = strings.Trim(element, " \t"); element != "" {
				want = append(want, element)
				valid = valid && isToken(element)
			}
		}
		got, ok := parseTokens([]string{line})
		if ok != valid || ok && !slices.Equal(got, want) {
			t.Errorf("%q is read as %q, %v; want %q, %v", line, got, ok, want, valid)
		}
		for _, token := range got {
			if !listContains([]string{line}, token) {
				t.Errorf("%q is in %q and is not found", token, line)
			}
		}
	})
}
