package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// The examples of RFC 6455 5.7. The first two octets of each are written as bits,
// in the order and the groups of the figure in 5.2: FIN, the three reserved bits,
// the opcode, MASK, and the seven bits of the length.
var rfcFrames = []struct {
	what    string
	octets  string
	header  FrameHeader
	payload string // unmasked
}{
	{"a single-frame unmasked text message",
		octets("1 000 0001 0 0000101") + "Hello",
		FrameHeader{Fin: true, Opcode: OpText, Length: 5}, "Hello"},
	{"a single-frame masked text message",
		octets("1 000 0001 1 0000101") + "\x37\xfa\x21\x3d" + "\x7f\x9f\x4d\x51\x58",
		FrameHeader{Fin: true, Opcode: OpText, Masked: true, MaskKey: rfcKey, Length: 5}, "Hello"},
	{"the first frame of a fragmented unmasked text message",
		octets("0 000 0001 0 0000011") + "Hel",
		FrameHeader{Opcode: OpText, Length: 3}, "Hel"},
	{"the last frame of a fragmented unmasked text message",
		octets("1 000 0000 0 0000010") + "lo",
		FrameHeader{Fin: true, Opcode: OpContinuation, Length: 2}, "lo"},
	{"an unmasked ping",
		octets("1 000 1001 0 0000101") + "Hello",
		FrameHeader{Fin: true, Opcode: OpPing, Length: 5}, "Hello"},
	{"a masked pong in response to it",
		octets("1 000 1010 1 0000101") + "\x37\xfa\x21\x3d" + "\x7f\x9f\x4d\x51\x58",
		FrameHeader{Fin: true, Opcode: OpPong, Masked: true, MaskKey: rfcKey, Length: 5}, "Hello"},
	{"256 bytes of binary in a single unmasked frame",
		octets("1 000 0010 0 1111110") + "\x01\x00" + strings.Repeat("\xa5", 256),
		FrameHeader{Fin: true, Opcode: OpBinary, Length: 256}, strings.Repeat("\xa5", 256)},
	{"64 KiB of binary in a single unmasked frame",
		octets("1 000 0010 0 1111111") + "\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("\xa5", 65536),
		FrameHeader{Fin: true, Opcode: OpBinary, Length: 65536}, strings.Repeat("\xa5", 65536)},
}

// rfcKey is the masking key of 5.7.
var rfcKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// octets packs the digits 0 and 1 of s, the most significant bit first, as the
// RFC draws a frame. Whatever else is in s only makes it readable.
func octets(s string) string {
	var packed []byte
	var octet byte
	n := 0
	for _, digit := range s {
		if digit != '0' && digit != '1' {
			continue
		}
		octet = octet<<1 | byte(digit-'0')
		if n++; n%8 == 0 {
			packed = append(packed, octet)
		}
	}
	if n%8 != 0 {
		panic("the bits are not a whole number of octets: " + s)
	}
	return string(packed)
}

func TestRFCFramesParse(t *testing.T) {
	for _, v := range rfcFrames {
		h, n, err := ParseFrameHeader([]byte(v.octets))
		if err != nil || h != v.header {
			t.Errorf("%s (5.7) has the header %+v, %v; want %+v", v.what, h, err, v.header)
			continue
		}
		payload := []byte(v.octets[n:])
		if h.Masked {
			Mask(payload, payload, h.MaskKey, 0)
		}
		if string(payload) != v.payload {
			t.Errorf("%s (5.7) carries %.20q, want %.20q", v.what, payload, v.payload)
		}
	}
}

func TestRFCFramesAppend(t *testing.T) {
	for _, v := range rfcFrames {
		frame := AppendFrameHeader(nil, v.header)
		frame = append(frame, v.payload...)
		if payload := frame[len(frame)-len(v.payload):]; v.header.Masked {
			Mask(payload, payload, v.header.MaskKey, 0)
		}
		if string(frame) != v.octets {
			t.Errorf("%s (5.7) is sent as %.20q, want %.20q", v.what, frame, v.octets)
		}
	}
}

func TestRFCFramesAreAllowed(t *testing.T) {
	for _, v := range rfcFrames {
		sender := server
		if v.header.Masked {
			sender = client
		}
		if err := v.header.check(sender, false); err != nil {
			t.Errorf("%s (5.7) may come from a %v, but: %v", v.what, sender, err)
		}
	}
}

// The payload lengths at which the encoding of 5.2 changes, or could overflow, and
// what follows the MASK bit for each: seven bits, and the extended length.
var lengthVectors = []struct {
	length   int64
	seven    byte
	extended string
}{
	{0, 0, ""},
	{1, 1, ""},
	{125, 125, ""},
	{126, 126, "\x00\x7e"},
	{127, 126, "\x00\x7f"},
	{65535, 126, "\xff\xff"},
	{65536, 127, "\x00\x00\x00\x00\x00\x01\x00\x00"},
	{1<<31 - 1, 127, "\x00\x00\x00\x00\x7f\xff\xff\xff"},
	{1 << 31, 127, "\x00\x00\x00\x00\x80\x00\x00\x00"},
	{math.MaxInt64, 127, "\x7f\xff\xff\xff\xff\xff\xff\xff"},
}

// binaryHeaders calls f with the header of a binary frame, and what it is on the
// wire, for every length that matters, masked and unmasked.
func binaryHeaders(f func(h FrameHeader, wire string)) {
	for _, v := range lengthVectors {
		f(FrameHeader{Fin: true, Opcode: OpBinary, Length: v.length},
			"\x82"+string([]byte{v.seven})+v.extended)
		f(FrameHeader{Fin: true, Opcode: OpBinary, Length: v.length, Masked: true, MaskKey: rfcKey},
			"\x82"+string([]byte{0x80 | v.seven})+v.extended+string(rfcKey[:]))
	}
}

func TestFrameLengths(t *testing.T) {
	binaryHeaders(func(h FrameHeader, wire string) {
		if got := AppendFrameHeader([]byte("before"), h); string(got) != "before"+wire {
			t.Errorf("%+v is appended as %q, want %q", h, got, "before"+wire)
		}
		if got, n, err := ParseFrameHeader([]byte(wire + "payload")); got != h || n != len(wire) || err != nil {
			t.Errorf("%q is the header %+v of %d bytes, %v; want %+v of %d", wire, got, n, err, h, len(wire))
		}
		if len(wire) > maxFrameHeader {
			t.Errorf("%+v takes %d bytes, and maxFrameHeader is %d", h, len(wire), maxFrameHeader)
		}
	})
}

// 5.1: a client masks all its frames and a server none, whatever their length.
func TestFrameLengthsByRole(t *testing.T) {
	binaryHeaders(func(h FrameHeader, _ string) {
		for _, sender := range []role{server, client} {
			if err := h.check(sender, false); (err == nil) != (h.Masked == (sender == client)) {
				t.Errorf("a frame of %d bytes from a %v, masked: %v, gets: %v", h.Length, sender, h.Masked, err)
			}
		}
	})
}

func TestFrameHeaderInPart(t *testing.T) {
	binaryHeaders(func(_ FrameHeader, wire string) {
		for cut := range len(wire) {
			h, n, err := ParseFrameHeader([]byte(wire[:cut]))
			if h != (FrameHeader{}) || n != 0 || err != io.ErrUnexpectedEOF {
				t.Errorf("%d of the header's %d bytes, %q, give %+v, %d, %v; want io.ErrUnexpectedEOF", cut, len(wire), wire[:cut], h, n, err)
			}
		}
	})
}

// Every bit of the first octet has its field, and only that.
func TestFrameHeaderBits(t *testing.T) {
	for first := range 256 {
		wire := []byte{byte(first), 0}
		digits := fmt.Sprintf("%08b", first)
		want := FrameHeader{
			Fin:    digits[0] == '1',
			RSV1:   digits[1] == '1',
			RSV2:   digits[2] == '1',
			RSV3:   digits[3] == '1',
			Opcode: Opcode(first % 16),
		}
		if h, n, err := ParseFrameHeader(wire); h != want || n != 2 || err != nil {
			t.Errorf("the bits %s are read as %+v, %d, %v; want %+v", digits, h, n, err, want)
		}
		if got := AppendFrameHeader(nil, want); !bytes.Equal(got, wire) {
			t.Errorf("%+v is appended as %08b, want %s", want, got[0], digits)
		}
	}
}

var badLengths = []struct{ why, wire, reason string }{
	{"the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124", "\x81\x7e\x00\x7c", "124 that is not encoded in the minimal number of bytes"},
	{"0 in two bytes", "\x81\x7e\x00\x00", "minimal"},
	{"125 in two bytes", "\x81\x7e\x00\x7d", "minimal"},
	{"0 in eight bytes", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x00", "minimal"},
	{"125 in eight bytes", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x7d", "minimal"},
	{"126 in eight bytes", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x7e", "minimal"},
	{"65535 in eight bytes", "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "minimal"},
	{"the most significant bit MUST be 0, and nothing else is set", "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "most significant bit"},
	{"the most significant bit MUST be 0, and the rest is a fair length", "\x81\x7f\x80\x00\x00\x00\x00\x01\x00\x00", "most significant bit"},
	{"the most significant bit MUST be 0, and all are set", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "most significant bit"},
	{"a masked frame's length is no different, and needs no key to be judged", "\x81\xfe\x00\x7c", "minimal"},
}

func TestFrameLengthRefused(t *testing.T) {
	for _, v := range badLengths {
		for _, more := range []string{"", "more bytes than a header has"} {
			h, n, err := ParseFrameHeader([]byte(v.wire + more))
			if h != (FrameHeader{}) || n != 0 {
				t.Errorf("%s: what is refused is still read, as %+v of %d bytes", v.why, h, n)
			}
			wantRefusal(t, v.why, err, StatusProtocolError, "5.2")
			if !strings.Contains(fmt.Sprint(err), v.reason) {
				t.Errorf("%s: the reason should name %q, but is: %v", v.why, v.reason, err)
			}
		}
		if _, _, err := ParseFrameHeader([]byte(v.wire[:len(v.wire)-1])); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: judged by %v before its last byte has come", v.why, err)
		}
	}
}

// An opcode has four bits: what else a caller may have put into an Opcode is not
// sent as FIN or a reserved bit.
func TestAppendWideOpcode(t *testing.T) {
	if got := AppendFrameHeader(nil, FrameHeader{Opcode: 0xF0 | OpText}); string(got) != octets("0 000 0001 0 0000000") {
		t.Errorf("the opcode 0xF1 is appended as %08b", got[0])
	}
}

// A negative length is no length, and must not become a header with the most
// significant bit set.
func TestAppendNegativeLength(t *testing.T) {
	for _, length := range []int64{-1, -126, math.MinInt64} {
		if got := AppendFrameHeader(nil, FrameHeader{Fin: true, Opcode: OpText, Length: length}); string(got) != "\x81\x00" {
			t.Errorf("a length of %d is appended as %q, want that of an empty frame", length, got)
		}
	}
}

// wantRefusal checks that err tells the peer code for a breach of section.
func wantRefusal(t *testing.T, why string, err error, code StatusCode, section string) {
	t.Helper()
	var p *ProtocolError
	if !errors.As(err, &p) || p.Code != code || p.Section != section {
		t.Errorf("%s: should be refused with %v and section %s, but: %v", why, code, section, err)
	}
}

func TestFrameRules(t *testing.T) {
	const (
		reserved  = "If a nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero value"
		opcode    = "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_"
		control   = "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented"
		inClient  = "a client MUST mask all frames that it sends to the server"
		inServer  = "A server MUST NOT mask any frames that it sends to the client"
		deflated  = "RFC 7692 6.1 gives RSV1 a meaning on the first frame of a message"
		elsewhere = "RFC 7692 6.1: RSV1 MUST NOT be set on the later frames of a message, nor on control frames"
	)
	for _, tc := range []struct {
		rule    string
		bits    string // of the header, without the masking key
		sender  role
		deflate bool   // permessage-deflate was negotiated
		section string // of the refusal; "" if the frame may come
	}{
		{reserved, "1 000 0001 1 0000101", client, false, ""},
		{reserved, "1 100 0001 1 0000101", client, false, "5.2"},
		{reserved, "1 010 0001 1 0000101", client, false, "5.2"},
		{reserved, "1 001 0001 1 0000101", client, false, "5.2"},
		{reserved, "1 010 0001 1 0000101", client, true, "5.2"},
		{reserved, "1 001 0001 1 0000101", client, true, "5.2"},
		{deflated, "1 100 0001 1 0000101", client, true, ""},
		{deflated, "0 100 0001 1 0000101", client, true, ""},
		{deflated, "1 100 0010 1 0000101", client, true, ""},
		{elsewhere, "1 100 0000 1 0000101", client, true, "5.2"},
		{elsewhere, "1 100 1001 1 0000101", client, true, "5.2"},

		{opcode, "1 000 0011 1 0000101", client, false, "5.2"},
		{opcode, "1 000 0111 1 0000101", client, false, "5.2"},
		{opcode, "1 000 1011 1 0000101", client, false, "5.2"},
		{opcode, "1 000 1111 1 0000101", client, false, "5.2"},

		{control, "1 000 1001 1 1111101", client, false, ""},
		{control, "1 000 1001 1 1111110 00000000 01111110", client, false, "5.5"},
		{control, "1 000 1010 1 1111110 11111111 11111111", client, false, "5.5"},
		{control, "1 000 1000 1 1111110 00000000 01111110", client, false, "5.5"},
		{control, "0 000 1001 1 0000101", client, false, "5.5"},
		{control, "0 000 1010 1 0000000", client, false, "5.5"},
		{control, "0 000 1000 1 0000010", client, false, "5.5"},
		{"data frames may be longer, and fragmented", "0 000 0010 1 1111110 00000000 01111110", client, false, ""},

		{inClient, "1 000 0001 0 0000101", client, false, "5.1"},
		{inClient, "1 000 1010 0 0000101", client, false, "5.1"},
		{inClient, "1 000 0001 0 0000000", client, false, "5.1"},
		{inServer, "1 000 0001 0 0000101", server, false, ""},
		{inServer, "1 000 0001 1 0000101", server, false, "5.1"},
		{inServer, "1 000 1000 1 0000010", server, false, "5.1"},
		{inServer, "1 000 0001 1 0000000", server, false, "5.1"},
	} {
		h, _, err := ParseFrameHeader([]byte(octets(tc.bits) + "\x00\x00\x00\x00"))
		if err != nil {
			t.Fatalf("%s cannot be read: %v", tc.bits, err)
		}
		err = h.check(tc.sender, tc.deflate)
		if why := fmt.Sprintf("%s: %s from a %v", tc.rule, tc.bits, tc.sender); tc.section != "" {
			wantRefusal(t, why, err, StatusProtocolError, tc.section)
		} else if err != nil {
			t.Errorf("%s: may come, but: %v", why, err)
		}
	}
}

// mayCome states the rules of 5.1, 5.2 and 5.5, and of RFC 7692 6, a second time:
// by what may come from the sender, and not by what may not.
func mayCome(h FrameHeader, sender role, deflate bool) bool {
	if h.RSV2 || h.RSV3 || h.Masked != (sender == client) {
		return false
	}
	switch h.Opcode {
	case 0:
		return !h.RSV1
	case 1, 2:
		return !h.RSV1 || deflate
	case 8, 9, 10:
		return !h.RSV1 && h.Fin && h.Length < 126
	}
	return false
}

func TestFrameRulesCrossProduct(t *testing.T) {
	for bits := range 256 * 2 * 2 * 2 {
		h, _, err := ParseFrameHeader([]byte{byte(bits), byte(bits>>8&1) << 7, 1, 2, 3, 4})
		if err != nil {
			t.Fatal(err)
		}
		sender, deflate := role(bits>>9&1), bits>>10 == 1
		for _, h.Length = range []int64{0, 125, 126, 1 << 32} {
			if err := h.check(sender, deflate); (err == nil) != mayCome(h, sender, deflate) {
				t.Errorf("%+v from a %v, permessage-deflate %v, gets: %v", h, sender, deflate, err)
			}
		}
	}
}

func TestOpcode(t *testing.T) {
	names := map[Opcode]string{0x0: "continuation", 0x1: "text", 0x2: "binary", 0x8: "close", 0x9: "ping", 0xA: "pong"}
	for o := Opcode(0); o <= 0xF; o++ {
		want, known := names[o]
		if !known {
			want = fmt.Sprintf("reserved opcode %#x", int(o))
		}
		if o.String() != want {
			t.Errorf("opcode %#x is called %q, want %q", int(o), o, want)
		}
		if o.reserved() == known {
			t.Errorf("5.2: opcode %#x is reserved: %v", int(o), o.reserved())
		}
		if o.IsControl() != (o >= 8) {
			t.Errorf(`5.5: "Control frames are identified by opcodes where the most significant bit of the opcode is 1", but %#x: %v`, int(o), o.IsControl())
		}
	}
}

func TestRole(t *testing.T) {
	for _, tc := range []struct {
		role           role
		name           string
		peer           role
		masks          bool // 5.1
		closesTCPFirst bool // 7.1.1
	}{
		{role: server, name: "server", peer: client, closesTCPFirst: true},
		{role: client, name: "client", peer: server, masks: true},
	} {
		if r := tc.role; r.String() != tc.name || r.peer() != tc.peer || r.masks() != tc.masks || r.closesTCPFirst() != tc.closesTCPFirst {
			t.Errorf("a %s is %v, its peer a %v; it masks: %v, it closes TCP first: %v", tc.name, r, r.peer(), r.masks(), r.closesTCPFirst())
		}
	}
}

// What is parsed and appended again is what came, byte for byte, and what waits
// for more bytes is satisfied by as many as a header can have.
func FuzzFrameHeader(f *testing.F) {
	for _, v := range rfcFrames {
		f.Add([]byte(v.octets[:min(len(v.octets), 2*maxFrameHeader)]))
	}
	for _, v := range badLengths {
		f.Add([]byte(v.wire))
	}
	binaryHeaders(func(_ FrameHeader, wire string) { f.Add([]byte(wire)) })
	f.Fuzz(func(t *testing.T, p []byte) {
		h, n, err := ParseFrameHeader(p)
		switch {
		case err == io.ErrUnexpectedEOF:
			if _, _, err := ParseFrameHeader(append(p, make([]byte, maxFrameHeader)...)); err == io.ErrUnexpectedEOF {
				t.Errorf("%q is a part of a header, and with %d bytes more it still is", p, maxFrameHeader)
			}
		case err != nil:
			wantRefusal(t, "a header can be wrong only in its length", err, StatusProtocolError, "5.2")
		default:
			checkParsed(t, p[:n], h)
			return
		}
		if h != (FrameHeader{}) || n != 0 {
			t.Errorf("%q gives %v, and still a header %+v of %d bytes", p, err, h, n)
		}
	})
}

// checkParsed checks h, which was parsed of all of wire.
func checkParsed(t *testing.T, wire []byte, h FrameHeader) {
	if again := AppendFrameHeader(nil, h); !bytes.Equal(again, wire) {
		t.Errorf("%q is read as %+v, which is appended as %q", wire, h, again)
	}
	if again, n, err := ParseFrameHeader(wire); again != h || n != len(wire) || err != nil {
		t.Errorf("%q is read as %+v with bytes after it, and as %+v, %d, %v without", wire, h, again, n, err)
	}
	for cut := range wire {
		if _, _, err := ParseFrameHeader(wire[:cut]); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes of the header %q are enough: %v", cut, wire, err)
		}
	}
}
