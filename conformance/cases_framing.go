package main

import (
	"errors"
	"fmt"
	"strings"
)

// Groups 1, 3 and 4: section 5.1 to 5.3, the header of a frame.

// framingCases is group 1: every form of the payload length around its limits, and masking.
func framingCases() []testCase {
	cases := append(lengthCases("1.1", "text", func(n int) frame { return text(asciiText(n)) }),
		lengthCases("1.2", "binary", func(n int) frame { return binaryFrame(octets(n)) })...)
	cases = append(cases, longFormCases()...)
	cases = append(cases, hugeLengthCases()...)
	return append(cases, maskCases()...)
}

// lengthCases sends messages around every limit of a form of the payload length.
func lengthCases(subgroup, kind string, message func(int) frame) []testCase {
	var cases []testCase
	add := func(title string, steps ...step) {
		cases = append(cases, testCase{
			id: fmt.Sprintf("%s.%d", subgroup, len(cases)+1), section: "5.2", title: title, steps: steps,
		})
	}
	for _, n := range []int{0, 1, 2, 7, 8, 9, 124, 125, 126, 127, 128, 129, 255, 256, 65534, 65535, 65536, 65537} {
		add(fmt.Sprintf("A %s message of %d octets is echoed", kind, n), echoed(message(n)))
	}
	for _, n := range []int{0, 125, 126, 128} {
		add(fmt.Sprintf("A %s message of %d octets is echoed, arriving an octet at a time", kind, n), echoedOctetwise(message(n)))
	}
	for _, n := range []int{65535, 65536} {
		add(fmt.Sprintf("A %s message of %d octets is echoed, arriving in pieces of 997 octets", kind, n), echoedChopped(997, message(n)))
	}
	add(fmt.Sprintf("Three %s messages that arrive at once, one of them empty, are echoed one by one", kind),
		echoed(message(5), message(0), message(130)))
	return cases
}

// longFormCases sends lengths in more octets than needed. 5.2: "Note that in all cases, the minimal number of bytes MUST be
// used to encode the length".
func longFormCases() []testCase {
	var cases []testCase
	add := func(f frame) {
		cases = append(cases, testCase{
			id: fmt.Sprintf("1.3.%d", len(cases)+1), section: "5.2",
			title: fmt.Sprintf("A length of %d in %d octets is refused: %s", len(f.payload), 2+6*int(f.form-length16), f.opcode),
			steps: steps(echoed(text("before")), send(f), fails(protocolError)),
		})
	}
	for _, n := range []int{0, 1, 124, 125} {
		add(text(asciiText(n)).in(length16))
		add(text(asciiText(n)).in(length64))
	}
	for _, n := range []int{126, 127, 65535} {
		add(binaryFrame(octets(n)).in(length64))
	}
	for _, form := range []lengthForm{length16, length64} {
		add(ping("p").in(form))
		add(pong("p").in(form))
		add(closeFrame(normalClosure, "").in(form))
	}
	return cases
}

// hugeLengthCases announces lengths that no endpoint takes, and sends nothing of the payload: the answer must not wait
// for it. A number with the top bit set is no length; the others are lengths, of messages that are too big.
func hugeLengthCases() []testCase {
	return []testCase{
		{id: "1.4.1", section: "5.2", title: "A length of 2^63 is refused at once: the most significant bit MUST be 0",
			steps: steps(send(binaryFrame(nil).declaring(1<<63)), fails(protocolError))},
		{id: "1.4.2", section: "5.2", title: "A length of 2^64-1 is refused at once: the most significant bit MUST be 0",
			steps: steps(send(text("").declaring(1<<64-1)), fails(protocolError))},
		{id: "1.4.3", section: "5.2", title: "A length of 2^63+5, with 5 octets behind it, is not taken for 5",
			steps: steps(send(text("Hello").declaring(1<<63+5)), fails(protocolError))},
		{id: "1.4.4", section: "7.4.1", title: "A text message announced with 2^62 octets is too big, at once",
			steps: steps(send(text("").declaring(1<<62)), fails(messageTooBig))},
		{id: "1.4.5", section: "7.4.1", title: "A binary message announced with 2^63-1 octets is too big, at once",
			steps: steps(send(binaryFrame(octets(100)).declaring(1<<63-1)), fails(messageTooBig))},
		{id: "1.4.6", section: "7.4.1", title: "A fragment announced with 2^62 octets is too big, at once",
			steps: steps(send(text("a").more(), continuation("").declaring(1<<62)), fails(messageTooBig))},
		{id: "1.4.7", section: "7.4.1", title: "Fragments whose lengths add up past 2^63 are too big, at once",
			steps: steps(send(binaryFrame(octets(10)).more(), continuation("").declaring(1<<63-5)), fails(messageTooBig))},
		{id: "1.4.8", section: "5.5", title: "A ping announced with 2^62 octets is refused at once",
			steps: steps(send(ping("").declaring(1<<62)), fails(protocolError))},
		{id: "1.4.9", section: "5.5", title: "A ping announced with 126 octets is refused before they come",
			steps: steps(send(ping("").declaring(126)), fails(protocolError))},
	}
}

// maskCases is section 5.3 and the rules of 5.1 on who masks.
func maskCases() []testCase {
	var cases []testCase
	add := func(o only, title string, steps ...step) {
		cases = append(cases, testCase{
			id: fmt.Sprintf("1.5.%d", len(cases)+1), section: "5.1, 5.3", title: title, steps: steps, only: o,
		})
	}
	for _, key := range [][4]byte{{0, 0, 0, 1}, {0xFF, 0xFF, 0xFF, 0xFF}, {0x37, 0xFA, 0x21, 0x3D}, {1, 0, 0, 0}, {0x80, 0, 0x80, 0}} {
		f := binaryFrame(octets(1000))
		f.key = key
		add(serverOnly, fmt.Sprintf("A frame masked with % X is unmasked", key), echoed(f))
	}
	for _, n := range []int{1, 3, 5, 6, 7, 13} {
		add(serverOnly, fmt.Sprintf("A masked frame that arrives in pieces of %d octets is unmasked with the right octets of the key", n),
			slowly(n, pause, binaryFrame(octets(300))), owed(binaryFrame(octets(300))))
	}
	add(serverOnly, "The masking key applies from the first octet of each fragment",
		echoed(text("abc").more(), continuation("defgh").more(), continuation("i")))
	wrong := []frame{text("Hello"), text(""), binaryFrame(octets(200)), text("Hel").more(), ping("p"), pong("p"), closeFrame(normalClosure, "")}
	for _, f := range wrong {
		title := fmt.Sprintf("The server MUST close the connection upon a frame that is not masked: %s", f)
		add(serverOnly, title, send(f.wronglyMasked()), fails(protocolError))
	}
	add(serverOnly, "A continuation that is not masked is refused, although the first fragment was masked",
		send(text("Hel").more(), continuation("lo").wronglyMasked()), fails(protocolError))
	for _, f := range wrong {
		title := fmt.Sprintf("A client MUST close a connection if it detects a masked frame: %s", f)
		add(clientOnly, title, send(f.wronglyMasked()), fails(protocolError))
	}
	add(clientOnly, "The client MUST pick a fresh masking key for each frame", freshKeys)
	return cases
}

// freshKeys wants another masking key for each of many frames, and keys that are not counted up. 5.3: "The masking key
// needs to be unpredictable". Two equal ones of 64 random keys come once in two million runs.
func freshKeys(s *session) error {
	seen := map[[4]byte]bool{}
	firstOctets := map[byte]bool{}
	for range 64 {
		s.sendFrames(text("key"))
		got := s.await(message)
		if got.kind != message || string(got.payload) != "key" {
			return s.should("echo the text message \"key\"; got %s", got)
		}
		if seen[got.key] {
			return s.should("mask each frame with a fresh key; the key % X came twice", got.key)
		}
		seen[got.key], firstOctets[got.key[0]] = true, true
	}
	if len(firstOctets) < 16 {
		return errors.New("the client should choose masking keys at random; the first octets of 64 keys hardly differ")
	}
	return nil
}

// reservedBitCases is group 3. 5.2: RSV1, RSV2, RSV3 "MUST be 0 unless an extension is negotiated that defines meanings for
// non-zero values".
func reservedBitCases() []testCase {
	var cases []testCase
	for _, f := range []frame{text("Hello"), text(""), binaryFrame(octets(200)), ping("p"), pong("p"), closeFrame(normalClosure, "")} {
		for rsv := byte(1); rsv < 8; rsv++ {
			cases = append(cases, reservedBitCase(f.bits(rsv)))
		}
	}
	for rsv := byte(1); rsv < 8; rsv++ {
		f := continuation("lo").bits(rsv)
		cases = append(cases, refusal("5.2", fmt.Sprintf("Reserved bits are refused: %s", f), send(text("Hel").more(), f)))
	}
	cases = append(cases,
		refusal("5.2", "RSV1 on a first fragment is refused", send(text("Hel").bits(rsv1).more())),
		refusal("5.2", "Reserved bits are refused when the frame arrives in pieces of 3 octets",
			both(chopped(3, text("whole")), owed(text("whole")), chopped(3, text("Hello").bits(rsv2), ping("")))),
		refusal("5.2", "Reserved bits are refused when the frame arrives an octet at a time",
			both(echoedOctetwise(text("whole")), octetwise(text("Hello").bits(rsv3), ping("")))),
		refusal("7.1.7", "A message before a frame with reserved bits is echoed, what follows it is not processed",
			both(send(text("before"), text("Hello").bits(rsv1), ping("after"), text("after")), owed(text("before")))),
	)
	return number("3.1", cases)
}

func reservedBitCase(f frame) testCase {
	return refusal("5.2", fmt.Sprintf("Reserved bits are refused: %s", f), send(f))
}

// refusal is a case in which the endpoint must fail the connection with 1002 after s.
func refusal(section, title string, s step) testCase {
	return testCase{section: section, title: title, steps: steps(s, fails(protocolError))}
}

// number gives the cases of a subgroup their identifiers.
func number(subgroup string, cases []testCase) []testCase {
	for i := range cases {
		cases[i].id = fmt.Sprintf("%s.%d", subgroup, i+1)
	}
	return cases
}

// opcodeCases is group 4. 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket
// Connection_".
func opcodeCases() []testCase {
	return append(reservedOpcodeCases("4.1", 0x3, 0x7), reservedOpcodeCases("4.2", 0xB, 0xF)...)
}

func reservedOpcodeCases(subgroup string, first, last opcode) []testCase {
	var cases []testCase
	for o := first; o <= last; o++ {
		cases = append(cases,
			refusal("5.2", fmt.Sprintf("%s is refused: an empty frame", o), send(dataFrame(o, nil))),
			refusal("5.2", fmt.Sprintf("%s is refused: a frame with a payload", o), send(dataFrame(o, []byte("reserved")))),
			refusal("5.2", fmt.Sprintf("%s is refused between messages; what came before is echoed, what follows is not processed", o),
				both(send(text("before"), dataFrame(o, []byte("reserved")), ping("after"), text("after")), owed(text("before")))),
			refusal("5.2", fmt.Sprintf("%s is refused inside a fragmented message, an octet at a time", o),
				octetwise(text("Hel").more(), dataFrame(o, nil), continuation("lo"))),
		)
	}
	cases = append(cases,
		refusal("5.2", fmt.Sprintf("%s is refused without FIN", first), send(dataFrame(first, nil).more())),
		refusal("5.2", fmt.Sprintf("%s is refused with 126 octets", last), send(dataFrame(last, octets(126)))),
	)
	return number(subgroup, cases)
}

// asciiText is n octets of text.
func asciiText(n int) string {
	const line = "The quick brown fox jumps over the lazy dog. "
	return strings.Repeat(line, n/len(line)+1)[:n]
}

// octets is n octets in which no two neighbourhoods are alike, so that what is lost, doubled or moved is seen.
func octets(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}
