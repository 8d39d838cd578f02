package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// The status codes as 7.4.1, 7.4.2 and the IANA registry (11.7) divide them, from
// the first to the last that two bytes can hold.
var statusRanges = []struct {
	first, last int
	sendable    bool
	why         string
}{
	{0, 999, false, "0-999: not used"},
	{1000, 1003, true, "defined by 7.4.1"},
	{1004, 1004, false, "reserved, its meaning might be defined in the future"},
	{1005, 1006, false, "MUST NOT be set as a status code in a Close control frame by an endpoint"},
	{1007, 1011, true, "defined by 7.4.1"},
	{1012, 1014, true, "registered since, at IANA"},
	{1015, 1015, false, "MUST NOT be set as a status code in a Close control frame by an endpoint"},
	{1016, 2999, false, "reserved for definition by this protocol, its future revisions, and extensions"},
	{3000, 3999, true, "for libraries, frameworks, and applications, registered with IANA"},
	{4000, 4999, true, "for private use"},
	{5000, 65535, false, "not defined"},
}

// statusCodes calls f for every number that two bytes can hold.
func statusCodes(f func(code StatusCode, sendable bool, why string)) {
	next := 0
	for _, r := range statusRanges {
		for ; next <= r.last; next++ {
			f(StatusCode(next), r.sendable, r.why)
		}
	}
	if next != 1<<16 {
		panic("the ranges leave out status codes")
	}
}

func TestStatusCodes(t *testing.T) {
	statusCodes(func(code StatusCode, sendable bool, why string) {
		if code.sendable() != sendable {
			t.Errorf("%v may be sent: %v, but is %s", code, code.sendable(), why)
		}
		if err := checkClose(code, "bye"); (err == nil) != sendable {
			t.Errorf("an application that sends %v, which is %s, gets: %v", code, why, err)
		}
		body := binary.BigEndian.AppendUint16(nil, uint16(code))
		if e, err := parseClosePayload(body); !sendable {
			wantRefusal(t, fmt.Sprintf("a Close frame with %v, which is %s", code, why), err, StatusProtocolError, "7.4")
		} else if err != nil || *e != (CloseError{Code: code}) {
			t.Errorf("a Close frame with %v, which is %s, is read as %v, %v", code, why, e, err)
		}
	})
}

func TestStatusCodeString(t *testing.T) {
	names := map[StatusCode]string{
		1000: "normal closure",
		1001: "going away",
		1002: "protocol error",
		1003: "unsupported data",
		1005: "no status code",
		1006: "abnormal closure",
		1007: "invalid payload",
		1008: "policy violation",
		1009: "message too big",
		1010: "mandatory extension",
		1011: "internal error",
		1012: "service restart",
		1013: "try again later",
		1014: "bad gateway",
		1015: "TLS handshake",
	}
	statusCodes(func(code StatusCode, _ bool, _ string) {
		want := fmt.Sprint(int(code))
		if name, ok := names[code]; ok {
			want += " (" + name + ")"
		}
		if code.String() != want {
			t.Errorf("status code %d is printed as %q, want %q", int(code), code, want)
		}
	})
}

// Bodies of Close frames (5.5.1) that say something, and what.
var closeBodies = []struct {
	why    string
	body   string
	code   StatusCode
	reason string
}{
	{"no body is no status code", "", StatusNoStatus, ""},
	{"a status code", "\x03\xe8", StatusNormalClosure, ""},
	{"and a reason", "\x03\xe9going away", StatusGoingAway, "going away"},
	{"a reason beyond ASCII", "\x03\xe8καλό", StatusNormalClosure, "καλό"},
	{"a reason may hold any character", "\x03\xe8a\x00b", StatusNormalClosure, "a\x00b"},
	{"a code of a framework", "\x0b\xb8", 3000, ""},
	{"the last code of an application", "\x13\x87bye", 4999, "bye"},
	{"a reason that fills the frame", "\x03\xe8" + strings.Repeat("x", 123), StatusNormalClosure, strings.Repeat("x", 123)},
}

func TestClosePayload(t *testing.T) {
	for _, v := range closeBodies {
		e, err := parseClosePayload([]byte(v.body))
		if err != nil || *e != (CloseError{v.code, v.reason}) {
			t.Errorf("%s: %q is read as %v, %v; want %v and %q", v.why, v.body, e, err, v.code, v.reason)
		}
		if got := appendClosePayload([]byte("before"), v.code, v.reason); string(got) != "before"+v.body {
			t.Errorf("%s: %v and %q are sent as %q, want %q", v.why, v.code, v.reason, got, "before"+v.body)
		}
		if err := checkClose(v.code, v.reason); err != nil {
			t.Errorf("%s: an application may send %v and %q, but: %v", v.why, v.code, v.reason, err)
		}
	}
}

// Bodies of Close frames that a peer must not send.
var badCloseBodies = []struct {
	why     string
	body    string
	code    StatusCode
	section string
}{
	{"the first two bytes of the body MUST be a 2-byte unsigned integer", "\x03", StatusProtocolError, "5.5.1"},
	{"one byte is none, whichever it is", "\x00", StatusProtocolError, "5.5.1"},
	{"1005 MUST NOT be set as a status code", "\x03\xed", StatusProtocolError, "7.4"},
	{"1006 MUST NOT be set as a status code", "\x03\xee", StatusProtocolError, "7.4"},
	{"1015 MUST NOT be set as a status code", "\x03\xf7bye", StatusProtocolError, "7.4"},
	{"0 is not used", "\x00\x00", StatusProtocolError, "7.4"},
	{"the code is big-endian: this is 59395", "\xe8\x03", StatusProtocolError, "7.4"},
	{"the body MAY contain UTF-8-encoded data", "\x03\xe8\xff", StatusInvalidPayload, "5.5.1"},
	{"a reason ends with a whole character", "\x03\xe8bye\xe2\x82", StatusInvalidPayload, "5.5.1"},
	{"a surrogate is not UTF-8", "\x03\xe8\xed\xa0\x80", StatusInvalidPayload, "5.5.1"},
	{"the code is judged first", "\x03\xed\xff", StatusProtocolError, "7.4"},
}

func TestClosePayloadRefused(t *testing.T) {
	for _, v := range badCloseBodies {
		e, err := parseClosePayload([]byte(v.body))
		if e != nil {
			t.Errorf("%s: %q is refused, and still read as %v", v.why, v.body, e)
		}
		wantRefusal(t, v.why, err, v.code, v.section)
	}
}

// Every text of utf8Texts is a reason exactly if it is UTF-8.
func TestCloseReasonUTF8(t *testing.T) {
	for _, v := range utf8Texts {
		valid := utf8.ValidString(v.text)
		if _, err := parseClosePayload([]byte("\x03\xe8" + v.text)); valid && err != nil {
			t.Errorf("%s may be a reason, but: %v", v.what, err)
		} else if !valid {
			wantRefusal(t, "a reason of "+v.what, err, StatusInvalidPayload, "5.5.1")
		}
		if err := checkClose(StatusNormalClosure, v.text); (err == nil) != (valid && len(v.text) <= 123) {
			t.Errorf("an application that sends a reason of %s, %d bytes, gets: %v", v.what, len(v.text), err)
		}
	}
}

// A reason that does not fit is cut, and what is left of it is still UTF-8.
func TestCloseReasonCut(t *testing.T) {
	for _, character := range []string{"x", "é", "€", "😀"} {
		for before := range 4 {
			for length := 110; length < 140; length++ {
				reason := strings.Repeat("a", before) + strings.Repeat(character, length)
				body := appendClosePayload(nil, StatusInternalError, reason)
				sent := string(body[2:])
				switch {
				case len(body) > 125:
					t.Errorf("a reason of %d bytes makes a Close frame of %d; 5.5 allows 125", len(reason), len(body))
				case len(reason) <= 123 && sent != reason:
					t.Errorf("a reason of %d bytes fits, and is sent as one of %d", len(reason), len(sent))
				case !strings.HasPrefix(reason, sent) || !utf8.ValidString(sent):
					t.Errorf("the reason %q is cut to %q", reason, sent)
				case len(reason) > 123 && len(sent) <= 123-len(character):
					t.Errorf("the reason %q is cut to %d bytes, and one more %s has room", reason, len(sent), character)
				}
			}
		}
	}
	if got := appendClosePayload(nil, StatusInternalError, strings.Repeat("\x80", 200)); string(got) != "\x03\xf3" {
		t.Errorf("a reason without any character is sent as %q", got[2:])
	}
}

func TestCheckClose(t *testing.T) {
	for _, tc := range []struct {
		why    string
		code   StatusCode
		reason string
		want   string // in the error; "" if there is none
	}{
		{"a Close frame needs no body", StatusNoStatus, "", ""},
		{"without a status code there is no reason", StatusNoStatus, "bye", "1005 (no status code) may not be sent (RFC 6455 7.4)"},
		{"1006 is for a connection that ended without a Close frame", StatusAbnormalClosure, "", "1006 (abnormal closure) may not be sent"},
		{"the zero value is no status code", 0, "", "0 may not be sent"},
		{"a reason may have 123 bytes", StatusNormalClosure, strings.Repeat("x", 123), ""},
		{"and no byte more", StatusNormalClosure, strings.Repeat("x", 124), "124 bytes; 123 fit into a Close frame (RFC 6455 5.5)"},
		{"bytes are counted, not characters", StatusNormalClosure, strings.Repeat("€", 42), "126 bytes"},
		{"a reason is UTF-8", StatusNormalClosure, "\xff", "not UTF-8 (RFC 6455 5.5.1)"},
	} {
		err := checkClose(tc.code, tc.reason)
		if tc.want == "" && err == nil {
			continue
		}
		if err == nil || tc.want == "" || !strings.HasPrefix(err.Error(), "websocket: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: an application that sends %v and %q gets %v, want %q", tc.why, tc.code, tc.reason, err, tc.want)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&CloseError{Code: StatusNormalClosure}, "websocket: closed by the peer with 1000 (normal closure)"},
		{&CloseError{Code: StatusNoStatus}, "websocket: closed by the peer with 1005 (no status code)"},
		{&CloseError{Code: 4001, Reason: "the \"room\"\nis gone"}, `websocket: closed by the peer with 4001: "the \"room\"\nis gone"`},
		{protocolError("5.5", "a %v frame", OpPing), "websocket: the peer broke the protocol: a ping frame (RFC 6455 5.5, status code 1002 (protocol error))"},
		{invalidPayload("8.1", "%d bad bytes", 3), "websocket: the peer broke the protocol: 3 bad bytes (RFC 6455 8.1, status code 1007 (invalid payload))"},
		{&tooBigError{limit: 10, size: 11}, "websocket: message too big: at least 11 bytes, and the limit is 10 (Options.ReadLimit, Conn.SetReadLimit)"},
	} {
		if tc.err.Error() != tc.want {
			t.Errorf("the error is printed as\n\t%s, want\n\t%s", tc.err, tc.want)
		}
	}
}

// What the peer is told of an error that it has caused, wrapped or not, and that
// it is told nothing of others.
func TestCloseFor(t *testing.T) {
	for _, tc := range []struct {
		err    error
		code   StatusCode // 0: nothing to tell
		reason string
	}{
		{protocolError("5.5", "a fragmented %v frame", OpPing), StatusProtocolError, "a fragmented ping frame"},
		{invalidUTF8(), StatusInvalidPayload, "a text message that is not UTF-8"},
		{&tooBigError{limit: 10, size: 11}, StatusMessageTooBig, "the limit is 10 bytes"},
		{&CloseError{Code: StatusProtocolError, Reason: "it was us"}, 0, ""},
		{io.ErrUnexpectedEOF, 0, ""},
		{errors.New("connection reset"), 0, ""},
		{nil, 0, ""},
	} {
		for _, err := range []error{tc.err, wrap(tc.err)} {
			code, reason, ok := closeFor(err)
			if code != tc.code || reason != tc.reason || ok != (tc.code != 0) {
				t.Errorf("of %v the peer is told %v and %q, %v; want %v and %q", err, code, reason, ok, tc.code, tc.reason)
			}
			if err := checkClose(code, reason); ok && err != nil {
				t.Errorf("what the peer is told may not be sent: %v", err)
			}
		}
	}
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading: %w", err)
}

func TestClosingHandshake(t *testing.T) {
	going := &CloseError{Code: StatusGoingAway, Reason: "going away"}
	for _, tc := range []struct {
		state                        string
		closing                      closing
		mayRead, mayWrite, completed bool
	}{
		{"no Close frame has been sent or received", closing{}, true, true, false},
		{"one has been sent: the peer may still be sending", closing{sent: true}, true, false, false},
		{"one has been received: ours is due", closing{received: going}, false, true, false},
		{"both: the closing handshake is complete", closing{sent: true, received: going}, false, false, true},
	} {
		if c := &tc.closing; c.mayRead() != tc.mayRead || c.mayWrite() != tc.mayWrite || c.complete() != tc.completed {
			t.Errorf("%s: may read %v, may write %v, complete %v; want %v, %v, %v",
				tc.state, c.mayRead(), c.mayWrite(), c.complete(), tc.mayRead, tc.mayWrite, tc.completed)
		}
	}
}

// 5.5.1: "the endpoint typically echos the status code it received", and so a
// Close frame without a body is answered by one without a body.
func TestCloseIsEchoed(t *testing.T) {
	for _, v := range closeBodies {
		received, err := parseClosePayload([]byte(v.body))
		if err != nil {
			t.Fatal(err)
		}
		c := closing{received: received}
		if reply := appendClosePayload(nil, c.replyCode(), ""); string(reply) != v.body[:min(len(v.body), 2)] {
			t.Errorf("%s: a Close frame with the body %q is answered by %q", v.why, v.body, reply)
		}
	}
}

// A body that is read says what it would be written as, and one that is refused
// is refused for one of three reasons.
func FuzzClosePayload(f *testing.F) {
	for _, v := range closeBodies {
		f.Add([]byte(v.body))
	}
	for _, v := range badCloseBodies {
		f.Add([]byte(v.body))
	}
	for _, v := range utf8Texts {
		f.Add([]byte("\x03\xe8" + v.text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > maxControlPayload {
			body = body[:maxControlPayload] // 5.5: no longer one gets here
		}
		e, err := parseClosePayload(body)
		if err == nil {
			if again := appendClosePayload(nil, e.Code, e.Reason); string(again) != string(body) {
				t.Errorf("%q is read as %v, which is sent as %q", body, e, again)
			}
			if err := checkClose(e.Code, e.Reason); err != nil {
				t.Errorf("%q may come and not be sent: %v", body, err)
			}
			return
		}
		switch {
		case len(body) < 2:
			wantRefusal(t, "a body of one byte", err, StatusProtocolError, "5.5.1")
		case !StatusCode(binary.BigEndian.Uint16(body)).sendable():
			wantRefusal(t, "a code that may not be sent", err, StatusProtocolError, "7.4")
		default:
			wantRefusal(t, "a reason that is not UTF-8", err, StatusInvalidPayload, "5.5.1")
			if utf8.Valid(body[2:]) {
				t.Errorf("the reason in %q is UTF-8 and refused: %v", body, err)
			}
		}
	})
}
