package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Group 2, section 5.5.2 and 5.5.3, and group 7, sections 5.5.1 and 7.

func pingCases() []testCase {
	const limit = 125
	cases := []testCase{
		{title: "A ping without application data is answered", steps: steps(echoed(ping("")))},
		{title: "A ping with text is answered with the same", steps: steps(echoed(ping("Hello, world!")))},
		{title: "A ping with octets that are no text is answered with the same", steps: steps(echoed(ping("\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF")))},
		{title: "A ping with 125 octets is answered", steps: steps(echoed(ping(strings.Repeat("\xFE", limit))))},
		{title: "A ping with 126 octets is refused", steps: steps(send(ping(strings.Repeat("\xFE", limit+1))), fails(protocolError))},
		{title: "A ping with 125 octets is answered, arriving an octet at a time", steps: steps(echoedOctetwise(ping(strings.Repeat("\xFE", limit))))},
		{title: "An unsolicited pong without application data is ignored", steps: steps(echoed(pong(""), text("after")))},
		{title: "An unsolicited pong with application data is ignored", steps: steps(echoed(pong("unsolicited"), text("after")))},
		{title: "An unsolicited pong is ignored, a ping after it is answered", steps: steps(echoed(pong("unsolicited"), ping("Hello")))},
		{title: "A pong with 125 octets is ignored", steps: steps(echoed(pong(asciiText(limit)), ping("after")))},
		{title: "A pong with 126 octets is refused", steps: steps(send(pong(asciiText(limit+1))), fails(protocolError))},
		{title: "Ten pings, one after the other, are all answered", steps: steps(eachPong(pings(10)...))},
		{title: "Ten pings that arrive at once are answered in order, the last one at least", steps: steps(echoed(pings(10)...))},
		{title: "Ten pings are answered in order, arriving an octet at a time", steps: steps(echoedOctetwise(pings(10)...))},
		{title: "Pings of every size from 0 to 125 are answered", steps: steps(eachPong(pingsOfEverySize()...))},
		{title: "Pings and pongs between messages change nothing about them",
			steps: steps(echoed(text("one"), ping("1"), binaryFrame(octets(70000)), pong("2"), text("three"), ping("3")))},
		{title: "A fragmented ping is refused", section: "5.5", steps: steps(send(ping("p").more(), continuation("q")), fails(protocolError))},
		{title: "A fragmented pong is refused", section: "5.5", steps: steps(send(pong("p").more(), continuation("q")), fails(protocolError))},
		{title: "A ping of 126 octets is refused inside a fragmented message", section: "5.5",
			steps: steps(send(text("Hel").more(), ping(asciiText(limit+1))), fails(protocolError))},
		{title: "A ping is answered before the rest of a frame of which it is not a part has come", section: "5.5.2",
			steps: steps(send(ping("now"), text("later").until(2)), wantPongs(ping("now")), abandons)},
	}
	for i := range cases {
		if cases[i].section == "" {
			cases[i].section = "5.5.2, 5.5.3"
		}
	}
	return number("2.1", cases)
}

func pings(n int) []frame {
	var frames []frame
	for i := range n {
		frames = append(frames, ping(fmt.Sprintf("payload %d", i)))
	}
	return frames
}

func pingsOfEverySize() []frame {
	var frames []frame
	for n := range 126 {
		frames = append(frames, ping(asciiText(n)))
	}
	return frames
}

// abandons ends the connection without a Close frame, in the middle of whatever is being sent: the endpoint must see that
// and end its side, with or without a Close frame of its own. 7.1.1: "An endpoint MAY close the connection via any means
// available when necessary".
func abandons(s *session) error {
	s.ended = true
	s.transcript.add("ended TCP without a Close frame")
	s.endWrites()
	got := s.next()
	if got.kind == closeReceived {
		got = s.next()
	}
	if got.kind == tcpClosed || got.kind == tcpReset {
		return nil
	}
	return s.should("close its side of the TCP connection once the other side has ended; got %s", got)
}

// closeCases is group 7.
func closeCases() []testCase {
	cases := number("7.1", closingHandshakeCases())
	cases = append(cases, number("7.3", closeBodyCases())...)
	cases = append(cases, number("7.5", closeReasonCases())...)
	cases = append(cases, number("7.7", validCodeCases())...)
	return append(cases, number("7.9", invalidCodeCases())...)
}

// normal is the Close frame with which most cases end, and answer the status codes that may come back for it.
var (
	normal   = closeFrame(normalClosure, "")
	answered = codes(normalClosure)
)

func closingHandshakeCases() []testCase {
	return []testCase{
		{section: "5.5.1", title: "A Close frame is answered with a Close frame and the end of TCP", steps: steps(closes(normal, answered))},
		{section: "5.5.1", title: "A message is echoed before the closing handshake", steps: steps(echoed(text("Hello")), closes(normal, answered))},
		{section: "5.5.1", title: "A second Close frame is not answered", steps: steps(closes(normal, answered, normal))},
		{section: "5.5.2", title: "A ping after a Close frame is not answered", steps: steps(closes(normal, answered, ping("after")))},
		{section: "5.5.1", title: "A message after a Close frame is not echoed", steps: steps(closes(normal, answered, text("after")))},
		{section: "5.5.1", title: "Even what would be refused is not looked at after a Close frame",
			steps: steps(closes(normal, answered, dataFrame(0xF, nil), text("\xFF")))},
		{section: "5.5.1", title: "A Close frame inside a fragmented message is answered, the rest is not looked at",
			steps: steps(send(text("frag").more()), closes(normal, answered, continuation("ment")))},
		{section: "5.5.1", title: "A Close frame is answered behind a large message and a ping in the same write",
			steps: steps(closesBehind(text(asciiText(256<<10)), text("Hello"), ping("p")))},
		{section: "5.5.1", title: "A Close frame is answered, arriving an octet at a time",
			steps: steps(octetwise(closeFrame(normalClosure, "bye")), closed(answered, false))},
		{section: "7.1.1", title: "The client SHOULD wait for the server to close TCP first", steps: steps(clientWaits), only: clientOnly},
		{section: "7.1.1", title: "TCP that ends without a Close frame is ended", steps: steps(abandons)},
		{section: "7.1.1", title: "TCP that ends after a message is ended", steps: steps(echoed(text("Hello")), abandons)},
		{section: "7.1.1", title: "TCP that ends inside a header is ended", steps: steps(send(ping("p")), wantPongs(ping("p")), partial("\x81"), abandons)},
		{section: "7.1.1", title: "TCP that ends inside a payload is ended, and the piece is no message",
			steps: steps(send(text("Hello").until(3)), abandons)},
		{section: "7.1.1", title: "TCP that ends inside a fragmented message is ended, and the piece is no message",
			steps: steps(send(text("Hel").more()), abandons)},
		{section: "5.5.1", title: "The server MUST close TCP immediately after the Close frames", steps: steps(serverEnds), only: serverOnly},
	}
}

// partial sends octets that are not a whole frame.
func partial(octets string) step {
	return func(s *session) error {
		s.transcript.add("sent: the octets % X", octets)
		s.write([]byte(octets), 0, 0)
		return nil
	}
}

// closesBehind sends a Close frame right behind other frames. Those may be answered or not: 5.5.1 lets an endpoint answer a
// Close frame before its application has got to what came before; what does come must be right.
func closesBehind(frames ...frame) step {
	return func(s *session) error {
		s.sendFrames(append(frames, normal)...)
		owed, pings := dues(frames)
		for _, p := range pings {
			owed = append(owed, event{kind: pongReceived, payload: p.payload})
		}
		got := s.next()
		for ; !got.final(); got = s.next() {
			n := slices.IndexFunc(owed, got.equal)
			if n < 0 {
				return s.should("send nothing but the echoes, the pongs and a Close frame; got %s", got)
			}
			owed = slices.Delete(owed, n, n+1)
		}
		if got.kind != closeReceived || got.code != normalClosure {
			return s.should("answer the Close frame with a Close frame with status code 1000; got %s", got)
		}
		return s.wantEnd(true)
	}
}

// serverEnds wants the server to close TCP behind its Close frame, and not to wait for the client to do so.
func serverEnds(s *session) error {
	s.ended = true
	s.sendFrames(normal)
	if got := s.next(); got.kind != closeReceived {
		return s.should("answer the Close frame; got %s", got)
	}
	if got := s.events.get(500 * time.Millisecond); got.kind != tcpClosed {
		return s.should("close TCP within half a second; got %s", got)
	}
	return nil
}

// clientWaits wants the client to leave TCP open for a while after the Close frames, as the server closes first.
func clientWaits(s *session) error {
	s.sendFrames(normal)
	if got := s.next(); got.kind != closeReceived {
		return s.should("answer the Close frame; got %s", got)
	}
	if got := s.events.get(100 * time.Millisecond); got.kind != silence {
		return s.should("wait for the server to close TCP; got %s", got)
	}
	return s.wantEnd(false)
}

// closeBodyCases is the body of a Close frame: nothing, or a status code and a reason, 125 octets in all.
func closeBodyCases() []testCase {
	return []testCase{
		{section: "5.5.1", title: "A Close frame without a body is answered, with no status code or 1000",
			steps: steps(closes(closeBody(""), codes(noStatus, normalClosure)))},
		refusal("5.5.1", "A Close frame with a body of one octet is refused", send(closeBody("\x03"))),
		{section: "5.5.1", title: "A Close frame with a status code alone is answered", steps: steps(closes(normal, answered))},
		{section: "5.5.1", title: "A Close frame with a reason is answered", steps: steps(closes(closeFrame(normalClosure, "Hello, world!"), answered))},
		{section: "5.5", title: "A Close frame with the longest reason, 123 octets, is answered",
			steps: steps(closes(closeFrame(normalClosure, asciiText(123)), answered))},
		refusal("5.5", "A Close frame with a reason of 124 octets is refused", send(closeFrame(normalClosure, asciiText(124)))),
		refusal("5.5", "A fragmented Close frame is refused", send(normal.more())),
		refusal("5.5", "A fragmented Close frame without a body is refused", send(closeBody("").more())),
	}
}

// closeReasonCases is 5.5.1: "the body MAY contain UTF-8-encoded data". The RFC names no status code for a reason that is
// not UTF-8: 1007 speaks of messages, 1002 of everything.
func closeReasonCases() []testCase {
	var cases []testCase
	for _, reason := range []string{"κόσμε", "日本国", "𝄞", "\U0010FFFF", "\uFFFE", strings.Repeat("€", 41)} {
		cases = append(cases, testCase{
			section: "5.5.1", title: fmt.Sprintf("A reason in UTF-8 is taken: %+q", reason),
			steps: steps(closes(closeFrame(normalClosure, reason), answered)),
		})
	}
	for _, reason := range []string{"\xFF", "\xCE", "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited", "\xC0\xAF", "\xF4\x90\x80\x80", asciiText(122) + "\xE2"} {
		cases = append(cases, testCase{
			section: "5.5.1, 8.1", title: fmt.Sprintf("A reason that is not UTF-8 is refused: %q", shorten(reason)),
			steps: steps(send(closeFrame(normalClosure, reason)), fails(invalidPayload, protocolError)),
		})
	}
	return cases
}

func shorten(s string) string {
	if len(s) > 30 {
		return "..." + s[len(s)-30:]
	}
	return s
}

// validCodeCases are the status codes that 7.4 and the IANA registry let an endpoint send. "When sending a Close frame in
// response, the endpoint typically echos the status code it received".
func validCodeCases() []testCase {
	var cases []testCase
	for _, c := range []statusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, testCase{
			section: "7.4", title: fmt.Sprintf("Status code %d is taken and echoed", c),
			steps: steps(closes(closeFrame(c, ""), codes(c))),
		})
	}
	return cases
}

// invalidCodeCases are those that no endpoint may send: 0 to 999 "are not used", 1004 is reserved, 1005, 1006 and 1015 "MUST
// NOT be set as a status code in a Close control frame by an endpoint", the rest to 2999 is not defined yet, and from 5000
// on there are none.
func invalidCodeCases() []testCase {
	var cases []testCase
	for _, c := range []statusCode{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32768, 65535} {
		cases = append(cases,
			refusal("7.4", fmt.Sprintf("Status code %d is refused", c), send(closeFrame(c, ""))),
			refusal("7.4", fmt.Sprintf("Status code %d is refused with a reason too", c), send(closeFrame(c, "because"))))
	}
	return cases
}
