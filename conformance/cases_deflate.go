package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

// Groups 11 to 13, RFC 7692: permessage-deflate.

// negotiationCases is group 11.
func negotiationCases() []testCase {
	cases := number("11.1", legalOffers())
	cases = append(cases, number("11.2", declinedOffers())...)
	cases = append(cases, number("11.3", malformedOffers())...)
	return append(cases, number("11.4", refusedAgreements())...)
}

// legalOffers are offers that a server may accept or not; what it answers must correspond to one of them.
func legalOffers() []testCase {
	var cases []testCase
	offer := func(header string) {
		cases = append(cases, testCase{
			only: serverOnly, section: "RFC 7692 5.1, 7.1", title: "A legal offer is answered legally: " + header,
			open:  func(s *session) error { return s.offerText(header, validOffers(header)) },
			steps: steps(echoed(text("plain")), compressedEcho(text("compressed"))),
		})
	}
	offer("permessage-deflate")
	for _, p := range []string{"server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits"} {
		offer("permessage-deflate; " + p)
	}
	for _, bits := range windowBits {
		offer("permessage-deflate; server_max_window_bits=" + bits)
		offer("permessage-deflate; client_max_window_bits=" + bits)
	}
	offer("permessage-deflate; client_max_window_bits; server_max_window_bits=12; client_no_context_takeover; server_no_context_takeover")
	offer(`permessage-deflate; server_max_window_bits="10"; client_max_window_bits="11"`)
	offer("permessage-deflate ; client_max_window_bits = 13 ;server_no_context_takeover")
	offer("permessage-deflate;client_max_window_bits")
	offer(",, permessage-deflate ,")
	offer("permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=15, permessage-deflate")
	offer("permessage-deflate; client_max_window_bits, permessage-deflate")
	for _, declined := range []string{"x-unknown-extension", "x-unknown-extension; a=1; b", "permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits"} {
		offer(declined + ", permessage-deflate")
	}
	return cases
}

// validOffers are the elements of a well-formed list that are valid offers of permessage-deflate.
func validOffers(header string) []deflateParameters {
	var offers []deflateParameters
	list, _ := parseExtensions([]string{header})
	for _, e := range list {
		if p, err := deflateOf(e, true); e.name == deflateName && err == nil {
			offers = append(offers, p)
		}
	}
	return offers
}

// declinedOffers are well-formed and not valid. RFC 7692 7: "A server MUST decline an extension negotiation offer for this
// extension if any of the following conditions are met"; 5.1: the handshake goes on without it.
func declinedOffers() []testCase {
	var cases []testCase
	for _, header := range []string{
		"x-unknown-extension",
		"x-unknown-extension; permessage-deflate",
		"permessage-deflate-frame",
		"permessage-deflate; unknown",
		"permessage-deflate; unknown=1",
		"permessage-deflate; server_no_context_takeover=1",
		`permessage-deflate; server_no_context_takeover="true"`,
		"permessage-deflate; client_no_context_takeover=0",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=0",
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=010",
		"permessage-deflate; server_max_window_bits=1e1",
		"permessage-deflate; server_max_window_bits=+10",
		"permessage-deflate; server_max_window_bits=-10",
		"permessage-deflate; server_max_window_bits=0xA",
		"permessage-deflate; server_max_window_bits=4294967306",
		"permessage-deflate; client_max_window_bits=7",
		"permessage-deflate; client_max_window_bits=16",
		"permessage-deflate; client_max_window_bits=08",
		"permessage-deflate; client_max_window_bits=ten",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
		"permessage-deflate; client_max_window_bits; client_max_window_bits=10",
	} {
		cases = append(cases, takes(serverOnly, "RFC 7692 5.1, 7", "An offer that is not valid is declined: "+header,
			edits(add("Sec-WebSocket-Extensions", header))))
	}
	return cases
}

// malformedOffers are no list of extensions at all. RFC 6455 9.1: "If a value is received by either the client or the server
// during negotiation that does not conform to the ABNF below, the recipient of such malformed data MUST immediately _Fail the
// WebSocket Connection_"; 4.2.1 says how a server does that: with an HTTP error.
func malformedOffers() []testCase {
	var cases []testCase
	for _, header := range []string{
		";",
		"=",
		"permessage-deflate;",
		"permessage-deflate;;client_max_window_bits",
		"permessage-deflate; =15",
		"permessage-deflate; client_max_window_bits=",
		`permessage-deflate; client_max_window_bits=""`,
		`permessage-deflate; client_max_window_bits="15`,
		`permessage-deflate; client_max_window_bits="1 5"`,
		"permessage-deflate; client_max_window_bits=15=15",
		"permessage-deflate; client max window bits",
		"permessage deflate",
		"permessage/deflate",
		"(permessage-deflate)",
		"permessage-deflate, ;",
		"permessage-deflate, x=1",
		"permess\u00e4ge-deflate",
	} {
		cases = append(cases, refused("9.1", "A malformed list of extensions is refused: "+header, add("Sec-WebSocket-Extensions", header)))
	}
	return cases
}

// refusedAgreements are responses with extensions that no offer of the client can have asked for.
func refusedAgreements() []testCase {
	var cases []testCase
	for _, header := range []string{
		"x-never-offered",
		"permessage-deflate, x-never-offered",
		"permessage-deflate; unknown",
		"permessage-deflate; server_no_context_takeover=1",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=09",
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate; client_max_window_bits=7",
		"permessage-deflate; client_max_window_bits=16",
		"permessage-deflate, permessage-deflate",
		"permessage-deflate;",
		"permessage-deflate; client_max_window_bits=",
		"permessage deflate",
	} {
		cases = append(cases, spurned("9.1, RFC 7692 5.1, 7", "An agreement that was not offered or is not valid: "+header,
			add("Sec-WebSocket-Extensions", header)))
	}
	return append(cases, testCase{
		only: clientOnly, section: "RFC 7692 7.1.2.2", title: "client_max_window_bits in a response to an offer without it",
		open: unaskedWindow,
	})
}

// unaskedWindow answers with client_max_window_bits a client that did not offer it. One that did cannot be asked this, and is
// asked nothing.
func unaskedWindow(s *session) error {
	for _, p := range validOffers(strings.Join(s.request.values("Sec-WebSocket-Extensions"), ", ")) {
		if p.clientBits != 0 || p.clientBitsHint {
			return ordinaryOpening(s)
		}
	}
	return spurning(edits(add("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=15")))(s)
}

// compressed is f as permessage-deflate sends it on this session.
func (s *session) compressed(f frame) frame {
	f.payload, f.rsv = s.deflater.deflate(f.payload), rsv1
	return f
}

// compressedEcho sends messages compressed, and wants them back.
func compressedEcho(messages ...frame) step { return compressedFragments(0, messages...) }

// compressedFragments sends each message compressed, and then cut into fragments of size octets.
func compressedFragments(size int, messages ...frame) step {
	return func(s *session) error {
		for _, m := range messages {
			s.sendFrames(fragments(s.compressed(m), size)...)
			if err := owed(m)(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// deflateCase is a case on a connection with permessage-deflate.
func deflateCase(p deflateParameters, section, title string, s ...step) testCase {
	if !strings.HasPrefix(section, "RFC") {
		section = "RFC 7692 " + section
	}
	return testCase{section: section, title: title, open: deflating(p), steps: s}
}

// ordinary parameters leave all to the endpoint under test.
var ordinary = deflateParameters{clientBitsHint: true}

// A corpus makes messages of a size.
type corpus struct {
	name    string
	opcode  opcode
	message func(size int) []byte
}

var corpora = []corpus{
	{"JSON", opText, jsonText},
	{"text in several scripts", opText, func(n int) []byte { return []byte(mixedText(n)) }},
	{"octets that do not compress", opBinary, randomOctets},
	{"zeros", opBinary, func(n int) []byte { return make([]byte, n) }},
	{"octets of two kinds", opBinary, twoKinds},
}

// jsonText is a list of records that resemble each other, cut to a size.
var jsonText = func() func(int) []byte {
	all := sync.OnceValue(func() []byte {
		var b bytes.Buffer
		for i := range 2000 {
			record := map[string]any{"id": i, "name": fmt.Sprintf("user-%d", i*7919%1000), "active": i%3 == 0, "score": float64(i) / 7}
			json.NewEncoder(&b).Encode(record)
		}
		return bytes.Repeat(b.Bytes(), 3)
	})
	return func(n int) []byte { return all()[:n] }
}()

func randomOctets(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// twoKinds alternates between what compresses and what does not.
func twoKinds(n int) []byte {
	p := randomOctets(n)
	for i := 0; i+128 <= n; i += 256 {
		clear(p[i : i+128])
	}
	return p
}

// compressionCases is group 12: what is compressed, of what size, in which fragments.
func compressionCases() []testCase {
	var cases []testCase
	for i, c := range corpora {
		cases = append(cases, number(fmt.Sprintf("12.%d", i+1), corpusCases(c, ordinary, ""))...)
	}
	return cases
}

// corpusCases sends messages of every size, several of each so that what went before matters, and then of one size in
// fragments.
func corpusCases(c corpus, p deflateParameters, with string) []testCase {
	var cases []testCase
	add := func(size, fragment, times int) {
		title := fmt.Sprintf("%d compressed messages of %d octets of %s are echoed", times, size, c.name)
		if fragment != 0 {
			title += fmt.Sprintf(", in fragments of %d octets", fragment)
		}
		cases = append(cases, deflateCase(p, "7.2", title+with, when(func() step {
			m := dataFrame(c.opcode, c.message(size))
			return compressedFragments(fragment, repeated(times, m)...)
		})))
	}
	for _, size := range []int{0, 1, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072} {
		add(size, 0, times(size))
	}
	for _, fragment := range []int{1, 17, 256, 4096} {
		add(8192, fragment, 4)
	}
	for _, fragment := range []int{1000, 16384} {
		add(131072, fragment, 2)
	}
	return cases
}

// times is how many messages of a size are enough: a hundred, or 256 KiB, but two at least, for the window between them.
func times(size int) int { return max(2, min(100, 256*kib/max(size, 1))) }

func repeated(n int, m frame) []frame {
	frames := make([]frame, n)
	for i := range frames {
		frames[i] = m
	}
	return frames
}

// deflateCases is group 13.
func deflateCases() []testCase {
	cases := parameterCases()
	cases = append(cases, number("13.9", vectorCases())...)
	cases = append(cases, number("13.10", rsv1Cases())...)
	cases = append(cases, number("13.11", badDataCases())...)
	return append(cases, number("13.12", largeCompressedCases())...)
}

// parameterCases sends JSON under every combination of parameters that matters. A window only shows in messages that are
// larger, and context takeover in those that repeat what went before.
func parameterCases() []testCase {
	var cases []testCase
	for i, p := range []deflateParameters{
		{serverNoTakeover: true, clientBitsHint: true},
		{clientNoTakeover: true, clientBitsHint: true},
		{serverNoTakeover: true, clientNoTakeover: true, clientBitsHint: true},
		{serverBits: 9, clientBitsHint: true},
		{serverBits: 15, clientBits: 15},
		{clientBits: 9},
		{serverNoTakeover: true, clientNoTakeover: true, serverBits: 9, clientBits: 9},
	} {
		cases = append(cases, number(fmt.Sprintf("13.%d", i+1), corpusCases(corpora[0], p, ", with "+p.String()))...)
	}
	var windows []testCase
	for bits := 8; bits <= 15; bits++ {
		for _, p := range []deflateParameters{{serverBits: bits}, {clientBits: bits}, {serverBits: bits, clientBits: bits, serverNoTakeover: true}} {
			windows = append(windows, deflateCase(p, "7.1.2", "Messages longer than the window are echoed, with "+p.String(), when(func() step {
				return compressedEcho(text(string(jsonText(50000))), binaryFrame(twoKinds(50000)), text(string(jsonText(50000))))
			})))
		}
	}
	return append(cases, number("13.8", windows)...)
}

// vectorCases are DEFLATE data written by hand: the examples of RFC 7692 7.2.3, and what its text allows beyond them.
func vectorCases() []testCase {
	const (
		hello      = "\xF2\x48\xCD\xC9\xC9\x07\x00" // 7.2.3.1
		helloAgain = "\xF2\x00\x11\x00\x00"         // 7.2.3.2: by a match in the message before
		stored     = "\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00"
		finalAlso  = "\xF3\x48\xCD\xC9\xC9\x07\x00\x00"
		twoBlocks  = "\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00"
	)
	var cases []testCase
	add := func(section, title string, p deflateParameters, s ...step) {
		cases = append(cases, deflateCase(p, section, title, s...))
	}
	fresh := deflateParameters{serverNoTakeover: true, clientNoTakeover: true, clientBitsHint: true}
	add("7.2.3.1", "One compressed message, in one frame", ordinary, inflatesTo("Hello", text(hello).bits(rsv1)))
	add("7.2.3.1", "One compressed message, in two frames", ordinary, inflatesTo("Hello", fragments(text(hello).bits(rsv1), 3)...))
	add("7.2.3.1", "One compressed message, in a frame for each octet, with a ping between", ordinary,
		inflatesTo("Hello", interleave(fragments(text(hello).bits(rsv1), 1), ping("p"))...))
	add("7.2.3.1", "A compressed message whose last fragment is empty", ordinary,
		inflatesTo("Hello", text(hello).bits(rsv1).more(), continuation("")))
	add("7.2.3.1", "A compressed message whose first fragment is empty", ordinary,
		inflatesTo("Hello", text("").bits(rsv1).more(), continuation(hello)))
	add("7.2.3.2", "The window is shared between messages", ordinary,
		inflatesTo("Hello", text(hello).bits(rsv1)), needsTakeover(inflatesTo("Hello", text(helloAgain).bits(rsv1))))
	add("7.2.3.2", "The window is shared across a message that is not compressed", ordinary,
		inflatesTo("Hello", text(hello).bits(rsv1)), echoed(text("plain")), needsTakeover(inflatesTo("Hello", text(helloAgain).bits(rsv1))))
	add("7.1.1.2", "Without context takeover the window is empty again", fresh,
		inflatesTo("Hello", text(hello).bits(rsv1)), send(text(helloAgain).bits(rsv1)), fails(badData...))
	add("7.2.3.3", "A block that is not compressed", ordinary, inflatesTo("Hello", text(stored).bits(rsv1)))
	add("7.2.3.4", "A block with BFINAL", ordinary, inflatesTo("Hello", text(finalAlso).bits(rsv1)))
	add("7.2.3.4", "A message goes on behind a block with BFINAL", ordinary,
		inflatesTo("HelloHello", text("\xF3\x48\xCD\xC9\xC9\x07\x00"+hello).bits(rsv1)))
	add("7.2.3.4", "A message follows one that had a block with BFINAL", ordinary,
		inflatesTo("Hello", text(finalAlso).bits(rsv1)), inflatesTo("Hello", text(hello).bits(rsv1)))
	add("7.2.3.5", "Two blocks", ordinary, inflatesTo("Hello", text(twoBlocks).bits(rsv1)))
	add("7.2.3.6", "An empty message", ordinary, inflatesTo("", text("\x00").bits(rsv1)), inflatesTo("", binaryFrame([]byte{0}).bits(rsv1)))
	add("7.2.3.6", "A thousand empty blocks in a message", ordinary, inflatesTo("Hello", text(strings.Repeat("\x00\x00\x00\xFF\xFF", 1000)+hello).bits(rsv1)))
	add("6", "A message that is not compressed, on a connection that compresses", ordinary, echoed(text("plain"), text("").more(), continuation("fragments")))
	add("6", "Messages that are compressed and that are not, in turn", ordinary,
		compressedEcho(text("one")), echoed(text("two")), compressedEcho(binaryFrame(octets(1000))), echoed(ping("p"), binaryFrame(octets(1000))))
	add("6", "Control frames are not compressed, nor is their application data inflated", ordinary, echoed(ping(hello), pong(hello), ping("\x00")))
	add("7.2.2", "A thousand messages without waiting", ordinary, when(func() step { return flood(1000) }))
	add("7.2.2", "A compressed message that arrives an octet at a time", ordinary, func(s *session) error {
		s.sendChopped(1, pause, s.compressed(text("Hello, Hello, Hello")))
		return owed(text("Hello, Hello, Hello"))(s)
	})
	return cases
}

// needsTakeover leaves out a step where the client must not refer to earlier messages.
func needsTakeover(then step) step {
	return func(s *session) error {
		none := s.agreed.clientNoTakeover
		if s.role == client {
			none = s.agreed.serverNoTakeover
		}
		if none {
			return nil
		}
		return then(s)
	}
}

// inflatesTo sends frames as they are, and wants the message that they inflate to.
func inflatesTo(message string, frames ...frame) step {
	_, pings := dues(frames)
	o := frames[0].opcode
	return both(send(frames...), wantMessages(event{opcode: o, payload: []byte(message)}), wantPongs(pings...))
}

func interleave(frames []frame, between frame) []frame {
	var mixed []frame
	for i, f := range frames {
		if i > 0 {
			mixed = append(mixed, between)
		}
		mixed = append(mixed, f)
	}
	return mixed
}

// flood sends compressed messages in one write.
func flood(n int) step {
	return func(s *session) error {
		messages := numbered(n, binaryFrame(octets(100)))
		var frames []frame
		for _, m := range messages {
			frames = append(frames, s.compressed(m))
		}
		s.sendFrames(frames...)
		return owed(messages...)(s)
	}
}

// rsv1Cases are RFC 7692 6: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments
// of a data message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
func rsv1Cases() []testCase {
	var cases []testCase
	add := func(title string, s ...step) {
		cases = append(cases, deflateCase(ordinary, "6", title, append(s, fails(protocolError))...))
	}
	for _, f := range []frame{ping("p"), pong("p"), normal} {
		add("RSV1 on a control frame is refused: "+f.String(), send(f.bits(rsv1)))
	}
	add("RSV1 on a ping inside a compressed message is refused", send(text("\xF2").bits(rsv1).more(), ping("p").bits(rsv1)))
	add("RSV1 on a continuation of a compressed message is refused",
		send(text("\xF2\x48\xCD").bits(rsv1).more(), continuation("\xC9\xC9\x07\x00").bits(rsv1)))
	add("RSV1 on a continuation of a plain message is refused", send(text("Hel").more(), continuation("lo").bits(rsv1)))
	add("RSV1 on an empty last continuation is refused", send(text("Hello").more(), continuation("").bits(rsv1)))
	for _, rsv := range []byte{rsv2, rsv3, rsv1 | rsv2, rsv1 | rsv3, rsv2 | rsv3, rsv1 | rsv2 | rsv3} {
		add(fmt.Sprintf("Other reserved bits are refused: %03b", rsv), send(text("\xF2\x48\xCD\xC9\xC9\x07\x00").bits(rsv)))
	}
	return cases
}

// badData are the codes for data that is no DEFLATE. RFC 7692 names none: 1007 is for "data within a message that was not
// consistent with the type of the message", and 1002 for whatever the protocol does not allow.
var badData = []statusCode{invalidPayload, protocolError}

// Blocks of fixed Huffman codes (RFC 1951 3.2.6), as bits: the header of the block, the literal 'a', and then what is wrong;
// the end of the block and the header of the stored block that the sync marker ends.
const (
	invalidSymbol = "0 10  10010001  11000110  0000000  000"      // 286 is no length
	invalidCode   = "0 10  10010001  0000001 11110  0000000  000" // 30 is no distance
	farMatch      = "0 10  10010001  0000001 00100 0  0000000  000"
)

// badDataCases are compressed messages that do not inflate, or not to what they should.
func badDataCases() []testCase {
	var cases []testCase
	add := func(title, p string) {
		cases = append(cases,
			deflateCase(ordinary, "7.2.2", title, compressedEcho(text("before")), send(text(p).bits(rsv1)), fails(badData...)))
	}
	add("A block of the reserved type is refused", "\x06\x00")
	add("A stored block whose lengths contradict each other is refused", "\x00\x05\x00\x00\x00Hello\x00")
	add("A stored block that is cut short is refused", "\x00\x05\x00\xFA\xFFHel")
	add("A dynamic block with nonsense for code lengths is refused", "\xEC\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")
	add("A fixed block with a code that means nothing is refused", packBits(invalidSymbol))
	add("A fixed block with a distance code that means nothing is refused", packBits(invalidCode))
	add("A message without the end of its last block is refused", "\xF2\x48\xCD")
	cases = append(cases,
		deflateCase(ordinary, "7.2.2", "A match with what was before the first message is refused", send(text(packBits(farMatch)).bits(rsv1)), fails(badData...)),
		deflateCase(ordinary, "RFC 6455 8.1", "A compressed text that is not UTF-8 is refused", sendCompressed(text("Hello\xFF")), fails(invalidPayload)),
		deflateCase(ordinary, "RFC 6455 8.1", "A compressed text that ends inside a code point is refused", sendCompressed(text("Hello\xE2\x82")), fails(invalidPayload)),
		deflateCase(ordinary, "RFC 6455 8.1", "A compressed binary message need not be UTF-8", compressedEcho(binaryFrame([]byte("\xFF\xED\xA0\x80")))),
		deflateCase(ordinary, "RFC 6455 8.1", "Compressed data that is no UTF-8 itself is no fault of a text",
			when(func() step { return compressedEcho(text(string(jsonText(4000))), text("κόσμε")) })),
	)
	return cases
}

// largeCompressedCases are messages that are large when they are inflated, up to the 16 MiB that the endpoint takes.
func largeCompressedCases() []testCase {
	zeros := func(n int) step {
		return when(func() step { return compressedEcho(binaryFrame(make([]byte, n))) })
	}
	return []testCase{
		deflateCase(ordinary, "7.2.2", "A megabyte of zeros that arrives as a kilobyte", zeros(mib)),
		deflateCase(ordinary, "7.2.2", "16 MiB of zeros that arrive as 16 KiB", zeros(16*mib)),
		deflateCase(ordinary, "RFC 6455 8.1", "A compressed text with every code point is taken",
			when(func() step { return compressedEcho(text(everyCodePoint())) })),
	}
}

func sendCompressed(m frame) step {
	return func(s *session) error { s.sendFrames(s.compressed(m)); return nil }
}
