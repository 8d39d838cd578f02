package main

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The suite, as the thing under test.

// TestFrameExamples are the examples of section 5.7, both ways.
func TestFrameExamples(t *testing.T) {
	key := [4]byte{0x37, 0xFA, 0x21, 0x3D}
	masked := func(f frame) frame { f.masked, f.key = true, key; return f }
	for _, test := range []struct {
		name string
		f    frame
		wire string
	}{
		{"a single-frame unmasked text message", text("Hello"), "\x81\x05Hello"},
		{"a single-frame masked text message", masked(text("Hello")), "\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58"},
		{"the first of two fragments", text("Hel").more(), "\x01\x03Hel"},
		{"the second of two fragments", continuation("lo"), "\x80\x02lo"},
		{"an unmasked ping", ping("Hello"), "\x89\x05Hello"},
		{"a masked pong", masked(pong("Hello")), "\x8A\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58"},
		{"256 octets", binaryFrame(octets(256)), "\x82\x7E\x01\x00" + string(octets(256))},
		{"64 KiB", binaryFrame(octets(65536)), "\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00" + string(octets(65536))},
	} {
		if got := appendFrame(nil, test.f); string(got) != test.wire {
			t.Errorf("%s is written %s, want %s", test.name, inShort(got), inShort([]byte(test.wire)))
		}
		got, n, err := parseFrame([]byte(test.wire))
		if err != nil || n != len(test.wire) || got.opcode != test.f.opcode || got.fin != test.f.fin || !bytes.Equal(got.payload, test.f.payload) {
			t.Errorf("%s is read as %v, %d octets of %d, %v", test.name, got, n, len(test.wire), err)
		}
		for cut := range min(len(test.wire), 300) {
			if _, _, err := parseFrame([]byte(test.wire[:cut])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d octets of %s: %v, want io.ErrUnexpectedEOF", cut, test.name, err)
			}
		}
	}
}

// TestMalformedFrames pins the octets of what no endpoint may send.
func TestMalformedFrames(t *testing.T) {
	for _, test := range []struct {
		name string
		f    frame
		wire string
	}{
		{"a length of 5 in 2 octets", text("Hello").in(length16), "\x81\x7E\x00\x05Hello"},
		{"a length of 5 in 8 octets", text("Hello").in(length64), "\x81\x7F\x00\x00\x00\x00\x00\x00\x00\x05Hello"},
		{"a length with the top bit", text("").declaring(1 << 63), "\x81\x7F\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"a frame cut short", text("Hello").until(2), "\x81\x05He"},
		{"all reserved bits", ping("").bits(7), "\xF9\x00"},
		{"a reserved opcode", dataFrame(0xF, nil).more(), "\x0F\x00"},
		{"a long ping", ping(asciiText(126)), "\x89\x7E\x00\x7E" + asciiText(126)},
	} {
		if got := appendFrame(nil, test.f); string(got) != test.wire {
			t.Errorf("%s is written % X, want % X", test.name, got, test.wire)
		}
	}
	for _, wire := range []string{"\x81\x7E\x00\x05Hello", "\x81\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF", "\x81\x7F\x80\x00\x00\x00\x00\x00\x00\x00"} {
		if _, _, err := parseFrame([]byte(wire)); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the length in % X is read with %v, want a fault", wire, err)
		}
	}
}

// TestMask compares mask with its definition.
func TestMask(t *testing.T) {
	key := [4]byte{1, 2, 3, 0xFF}
	for n := range 40 {
		got := octets(n)
		mask(got, key)
		for i, b := range octets(n) {
			if got[i] != b^key[i%4] {
				t.Fatalf("octet %d of %d is masked to %#x, want %#x", i, n, got[i], b^key[i%4])
			}
		}
	}
}

// TestWrongMask pins who masks, and that a case can turn it round.
func TestWrongMask(t *testing.T) {
	for _, tested := range []role{server, client} {
		s := &session{role: tested}
		right, wrong := s.wire(text("Hello"))[1]&0x80 != 0, s.wire(text("Hello").wronglyMasked())[1]&0x80 != 0
		if want := tested == server; right != want || wrong == want {
			t.Errorf("against %s the suite masks: %v, want %v; wrongly: %v, want %v", tested, right, want, wrong, !want)
		}
	}
}

// TestReceiverFaults feeds the receiver what it must complain about.
func TestReceiverFaults(t *testing.T) {
	maskedText := text("masked")
	maskedText.masked = true
	for _, test := range []struct {
		name   string
		frames []frame
	}{
		{"a masked frame of a server", []frame{maskedText}},
		{"reserved bits", []frame{text("x").bits(rsv1)}},
		{"a reserved opcode", []frame{dataFrame(0x3, nil)}},
		{"a long ping", []frame{ping(asciiText(126))}},
		{"a fragmented ping", []frame{ping("").more()}},
		{"a continuation of nothing", []frame{continuation("x")}},
		{"a message in a message", []frame{text("a").more(), text("b")}},
		{"text that is not UTF-8", []frame{text("\xE2\x82").more(), continuation("")}},
		{"a Close frame of one octet", []frame{closeBody("x")}},
		{"status code 1005", []frame{closeFrame(1005, "")}},
		{"a reason that is not UTF-8", []frame{closeFrame(1000, "\xFF")}},
		{"a pong after a Close frame", []frame{normal, pong("")}},
	} {
		r := &receiver{from: server}
		var err error
		for _, f := range test.frames {
			if err != nil {
				t.Errorf("%s: a fault before the last frame: %v", test.name, err)
			}
			_, _, err = r.receive(f)
		}
		if err == nil {
			t.Errorf("%s is taken", test.name)
		}
	}
}

// TestAcceptKey is the example of section 1.3.
func TestAcceptKey(t *testing.T) {
	if got, want := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("the accept value is %s, want %s", got, want)
	}
}

// TestUTF8Tables holds the tables of group 6 against unicode/utf8, and the place of each fault against the definition: what
// lies before can still become UTF-8, what includes it cannot.
func TestUTF8Tables(t *testing.T) {
	for _, row := range validTexts {
		if !utf8.ValidString(row.text) {
			t.Errorf("%s (%q) is not UTF-8", row.name, row.text)
		}
	}
	for _, row := range invalidTexts {
		if utf8.ValidString(row.text) || !extendable(row.text[:row.bad]) {
			t.Errorf("%s (%q) is not at fault after %d octets", row.name, row.text, row.bad)
		}
		if row.bad < len(row.text) && extendable(row.text[:row.bad+1]) {
			t.Errorf("%s (%q) is not at fault at octet %d", row.name, row.text, row.bad)
		}
	}
	if n := utf8.RuneCountInString(everyCodePoint()); n != 0x110000-0x800 || !utf8.ValidString(everyCodePoint()) {
		t.Errorf("every code point are %d", n)
	}
}

// extendable says whether s can become UTF-8: by trying what may follow.
func extendable(s string) bool {
	ends := []string{""}
	for range 3 {
		for _, end := range slices.Clone(ends) {
			for _, b := range []byte{0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF} {
				ends = append(ends, end+string([]byte{b}))
			}
		}
	}
	return slices.ContainsFunc(ends, func(end string) bool { return utf8.ValidString(s + end) })
}

// TestDeflate sends messages through both halves, for every agreement.
func TestDeflate(t *testing.T) {
	for _, takeover := range []bool{true, false} {
		for bits := 8; bits <= 15; bits++ {
			d, i := newDeflater(takeover, bits), newInflater(takeover, bits)
			for _, n := range []int{0, 1, 5, 255, 256, 257, 1000, 40000, 0, 100} {
				want := jsonText(n)
				got, err := i.inflate(d.deflate(want))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("takeover %v, %d bits: %d octets come back as %d octets, %v", takeover, bits, n, len(got), err)
				}
			}
		}
	}
}

// TestDeflateVectors inflates what vectorCases sends by hand, and refuses what badDataCases sends.
func TestDeflateVectors(t *testing.T) {
	for data, want := range map[string]string{
		"\xF2\x48\xCD\xC9\xC9\x07\x00":                         "Hello",
		"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00":         "Hello",
		"\xF3\x48\xCD\xC9\xC9\x07\x00\x00":                     "Hello",
		"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00": "Hello",
		"\x00": "",
		packBits("0 10  10010001  0000001 00000  0000000  000"): "aaaa", // 'a', and 3 octets from 1 before
	} {
		if got, err := newInflater(true, 15).inflate([]byte(data)); err != nil || string(got) != want {
			t.Errorf("% X inflates to %q, %v, want %q", data, got, err, want)
		}
	}
	for _, data := range []string{"\x06\x00", "\xF2\x48\xCD", packBits(invalidSymbol), packBits(invalidCode), packBits(farMatch)} {
		var corrupt flate.CorruptInputError
		if got, err := newInflater(true, 15).inflate([]byte(data)); !errors.As(err, &corrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("% X inflates to %q, %v, want an error", data, got, err)
		}
	}
}

// TestLongestDistance compares the walk through DEFLATE data with data whose distances are known.
func TestLongestDistance(t *testing.T) {
	for _, size := range []int{300, 1000, 5000, 30000} {
		repeats := append(randomOctets(size), randomOctets(size)...)
		got, err := longestDistance(newDeflater(true, 15).deflate(repeats))
		if err != nil || got != size {
			t.Errorf("octets that come again after %d: the longest distance is %d, %v", size, got, err)
		}
	}
	for bits := 8; bits < 15; bits++ {
		got, err := longestDistance(newDeflater(true, bits).deflate(jsonText(50000)))
		if err != nil || got > 1<<bits || got < 1<<(bits-2) {
			t.Errorf("a window of %d bits: the longest distance is %d, %v", bits, got, err)
		}
	}
	for _, data := range []string{"\x06\x00", "\xF2\x48\xCD", "\x00\x05\x00\x00\x00Hello\x00", packBits(invalidSymbol), packBits(invalidCode)} {
		if got, err := longestDistance([]byte(data)); err == nil {
			t.Errorf("% X has a longest distance of %d, want an error", data, got)
		}
	}
}

// TestExtensionLists holds the suite's reading of lists against its own tables.
func TestExtensionLists(t *testing.T) {
	for _, group := range []struct {
		cases           []testCase
		parses, isValid bool
	}{{legalOffers(), true, true}, {declinedOffers(), true, false}, {malformedOffers(), false, false}} {
		for _, c := range group.cases {
			_, header, _ := strings.Cut(c.title, ": ")
			_, err := parseExtensions([]string{header})
			if (err == nil) != group.parses || (len(validOffers(header)) > 0) != group.isValid {
				t.Errorf("%q: %v, valid offers %v", header, err, validOffers(header))
			}
		}
	}
}

// TestCaseIDs wants every case to have a place: an identifier that no other has, in a group that exists, and a section.
func TestCaseIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range groups {
		for _, c := range g.cases() {
			if seen[c.id] || c.group() != g.number || c.section == "" || c.title == "" || c.open == nil && len(c.steps) == 0 {
				t.Errorf("group %d has the case %q (%s) %q", g.number, c.id, c.section, c.title)
			}
			seen[c.id] = true
		}
	}
}

// TestSelection pins what a prefix of an identifier selects.
func TestSelection(t *testing.T) {
	for _, test := range []struct {
		prefixes, id string
		want         bool
	}{
		{"", "6.2.1", true}, {"6", "6.2.1", true}, {"6", "60.1", false}, {"6.2", "6.20", false}, {"6.2.", "6.2.1", true},
		{"1, 6.2", "6.2.1", true}, {"6.2.1", "6.2.1", true}, {"6.2.1", "6.2.10", false},
	} {
		if got := selects(test.prefixes, test.id); got != test.want {
			t.Errorf("%q selects %s: %v", test.prefixes, test.id, got)
		}
	}
}

// A faultTest says which cases must find a fault: at least one of each prefix in finds, and none but those of finds and may.
type faultTest struct {
	name  string
	fault fixtureFault
	roles []role
	run   string
	finds string
	may   string
}

var (
	bothRolesTested = []role{server, client}
	onlyServer      = []role{server}
	onlyClient      = []role{client}
)

var faultTests = []faultTest{
	{"ignores UTF-8", ignoresUTF8, bothRolesTested, "1.1,6.1,6.2,6.3.1,6.3.28,6.4.6,6.5,13.11", "6.3.1,6.3.28,6.4.6,6.5,13.11", ""},
	{"checks UTF-8 late", checksUTF8Late, bothRolesTested, "1.1,6.1,6.2,6.3.21,6.3.28,6.4.7", "6.3.21.5,6.3.21.6,6.3.21.7,6.3.28,6.4.7", ""},
	{"takes frames that are not masked", ignoresMissingMask, onlyServer, "1,2,3,4", "1.5", ""},
	{"takes masked frames", ignoresMask, onlyClient, "1,2,3,4", "1.5", ""},
	{"masks what it must not", masksWrongly, bothRolesTested, "1.1.1", "1.1.1", ""},
	{"repeats the masking key", repeatsMaskingKey, onlyClient, "1,2,3,4", "1.5", ""},
	{"sends empty pongs", sendsEmptyPongs, bothRolesTested, "1,2,3,4", "2.1", ""},
	{"sends no pongs", sendsNoPongs, bothRolesTested, "1,2.1.1,2.1.2,3", "2.1", ""},
	{"ignores reserved bits", ignoresReservedBits, bothRolesTested, "1.1,3,4.1,13.10", "3.1,13.10", ""},
	{"ignores reserved opcodes", ignoresReservedOpcodes, bothRolesTested, "1.1,4", "4.1,4.2", ""},
	{"takes long control frames", takesLongControls, bothRolesTested, "1,2,3,7.3", "1.4.9,2.1.5,2.1.11,7.3.6", "2.1"},
	{"takes fragmented control frames", takesFragmentedControls, bothRolesTested, "1,2,3,7", "2.1,7.3", ""},
	{"takes lengths that are not minimal", takesLongForms, bothRolesTested, "1,2,3", "1.3", ""},
	{"cuts the top bit of lengths", cutsTopBit, bothRolesTested, "1.1,1.4", "1.4.1,1.4.2,1.4.3", "1.3"},
	{"waits for huge payloads", waitsForHugePayloads, bothRolesTested, "1.1,1.4", "1.4", ""},
	{"ignores the order of fragments", ignoresFragmentOrder, bothRolesTested, "1.1,4.1,5.1,5.2,5.3.1,5.3.3,5.3.4", "5.2,5.3", ""},
	{"forgets fragments", forgetsFragments, bothRolesTested, "1,4,5.1", "5.1", "1.5"},
	{"takes any status code", takesAnyCloseCode, bothRolesTested, "1,7", "7.9", ""},
	{"takes a Close frame of one octet", takesShortClose, bothRolesTested, "1,7", "7.3.2", ""},
	{"takes any reason", takesAnyReason, bothRolesTested, "1,7", "7.5", ""},
	{"answers Close frames with 1001", answersCloseWith1001, bothRolesTested, "7", "7.1,7.3,7.7", "7.5"},
	{"does not answer Close frames", sendsNoClose, bothRolesTested, "7.1,7.9", "7.1", ""},
	{"leaves TCP open", leavesTCPOpen, onlyServer, "7.1.1", "7.1.1", ""},
	{"closes TCP late", closesTCPLate, onlyServer, "7.1", "7.1.16", ""},
	{"closes TCP before the server", closesTCPFirst, onlyClient, "7", "7.1.10", ""},
	{"fails without a Close frame", failsWithoutClose, bothRolesTested, "1.1,1.3.1,2.1.5,4.1.1,6.3.1.1", "1.3,2.1.5,4.1,6.3.1", ""},
	{"fails with 1011", failsWith1011, bothRolesTested, "1.1,1.3,2.1.5,4.1,6.3.1,7.9", "1.3,2.1.5,4.1,6.3.1,7.9", ""},
	{"goes on after a Close frame", goesOnAfterClose, bothRolesTested, "7.1.3,7.1.4,7.1.5", "7.1.3,7.1.4,7.1.5", ""},
	{"echoes twice", echoesTwice, bothRolesTested, "1.1,2.1.1", "1.1", ""},
	{"echoes everything as text", echoesAsText, bothRolesTested, "1.1,1.2", "1.2", ""},
	{"loses the last octet of long messages", losesLastOctet, bothRolesTested, "1", "1.1,1.2", ""},
	{"has a limit of 1 MiB", limitsTo1MiB, bothRolesTested, "1,9.2", "9.2", ""},
	{"answers another key", answersAnotherKey, onlyServer, "1.1.1,8.1.1", "1.1.1,8.1.1", ""},
	{"ignores the fields of the handshake", ignoresHandshakeFields, onlyServer, "8", "8.2", ""},
	{"ignores the version", ignoresVersion, onlyServer, "8", "8.2", ""},
	{"loses what is behind the handshake", losesDataBehindHandshake, bothRolesTested, "8.1,8.3", "", "8.1,8.3"},
	{"accepts offers that are not valid", acceptsBadOffers, onlyServer, "8,11", "11.2", "11.1"},
	{"accepts malformed offers", acceptsMalformedOffers, onlyServer, "8,11", "11.3", ""},
	{"repeats the key of the handshake", repeatsHandshakeKey, onlyClient, "8.3", "8.3.18", ""},
	{"ignores Sec-WebSocket-Accept", ignoresAccept, onlyClient, "8", "8.4", ""},
	{"ignores the status of the response", ignoresStatus, onlyClient, "8", "8.4", ""},
	{"accepts an extension that it did not offer", acceptsUnofferedExtension, onlyClient, "8,11", "11.4", ""},
	{"forgets the window between messages", forgetsWindow, bothRolesTested, "12.1.5,12.1.6,12.2.6,13.3.5,13.9", "12.1.5,12.1.6,12.2.6,13.9", ""},
	{"keeps the window between messages", keepsWindow, bothRolesTested, "12.1.5,13.3.5,13.3.6,13.9", "13.3.5,13.3.6", "13.9"},
	{"ignores the agreed size of the window", ignoresWindowBits, bothRolesTested, "13.4.10,13.5.10,13.6.10,13.8.4,13.8.5,13.8.6", "13.8.6", "13.4,13.6,13.8"},
	{"does not inflate", inflatesNothing, bothRolesTested, "12.1.5,13.9.1", "12.1.5,13.9.1", ""},
	{"ignores data that does not inflate", ignoresBadData, bothRolesTested, "13.9,13.11", "13.11", "13.9"},
}

// TestFaults puts cases to endpoints with one fault each. Most of the time passes waiting for what such an endpoint does not
// send, so many are tested at a time.
func TestFaults(t *testing.T) {
	type run struct {
		faultTest
		role    role
		results []result
	}
	var runs []run
	for _, test := range faultTests {
		for _, r := range test.roles {
			runs = append(runs, run{faultTest: test, role: r})
		}
	}
	inParallel(len(runs), 16, func(i int) {
		runs[i].results = testFixture(t, runs[i].role, runs[i].run, runs[i].fault, verdict{patience: time.Second})
	})
	for _, r := range runs {
		t.Run(fmt.Sprintf("%s %s", r.role, r.name), func(t *testing.T) { r.check(t, r.role, r.results) })
	}
}

func (test faultTest) check(t *testing.T, role role, results []result) {
	found := map[string]bool{}
	for _, r := range results {
		if r.outcome != failed {
			continue
		}
		for prefix := range strings.SplitSeq(test.finds, ",") {
			found[prefix] = found[prefix] || selects(prefix, r.id)
		}
		if test.finds+test.may != "" && !selects(strings.Trim(test.finds+","+test.may, ","), r.id) {
			// On a busy machine a second may have been too short.
			if again := testFixture(t, role, r.id, test.fault, verdict{patience: 10 * time.Second}); slices.ContainsFunc(again, func(r result) bool { return r.outcome == failed }) {
				t.Errorf("a case failed that is not about the fault: %s %s: %v", r.id, r.title, r.err)
			}
		}
	}
	for prefix := range strings.SplitSeq(test.finds, ",") {
		if prefix != "" && !found[prefix] {
			t.Errorf("no case of %s found the fault", prefix)
		}
	}
}

// TestFixture wants an endpoint without a fault to pass everything, with compression.
func TestFixture(t *testing.T) {
	for _, r := range bothRolesTested {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			check(t, r, testFixture(t, r, selection(), noFault, verdict{patience: 10 * time.Second}))
		})
	}
}

// testFixture puts cases to the fixture, in the role that is tested.
func testFixture(t *testing.T, r role, run string, fault fixtureFault, v verdict) []result {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer l.Close()
	cases := selectCases(r, run)
	if r == client {
		test := newClientTest(cases, v)
		go test.serve(l)
		go runFixtureClient(l.Addr().String(), len(cases), fault)
		return test.wait()
	}
	go serveFixture(l, fault)
	results, err := testServer("ws://"+l.Addr().String()+"/", cases, v, 8)
	if err != nil {
		t.Error(err)
	}
	return results
}
