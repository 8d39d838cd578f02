package main

import (
	"fmt"
	"strings"
)

// Group 5, section 5.4.

func fragmentationCases() []testCase {
	cases := number("5.1", validFragmentCases())
	cases = append(cases, number("5.2", invalidFragmentCases())...)
	return append(cases, number("5.3", frameOrderCases())...)
}

// validFragmentCases are messages in fragments, with control frames between them. 5.4: "Control frames (see Section 5.5) MAY
// be injected in the middle of a fragmented message".
func validFragmentCases() []testCase {
	var cases []testCase
	add := func(title string, s ...step) {
		cases = append(cases, testCase{section: "5.4", title: title, steps: s})
	}
	hello := []frame{text("Hel").more(), continuation("lo")}
	withPing := []frame{text("Hel").more(), ping("between"), continuation("lo")}
	add("Two fragments make one message", echoed(hello...))
	add("Two fragments make one message, sent in a write each", send(hello[0]), send(hello[1]), owed(hello...))
	add("Two fragments make one message, an octet at a time", echoedOctetwise(hello...))
	add("A ping between fragments is answered before the message is complete",
		send(withPing[:2]...), wantPongs(withPing[1]), send(withPing[2]), owed(withPing[0], withPing[2]))
	add("A ping between fragments is answered, all in one write", echoed(withPing...))
	add("A ping between fragments is answered, an octet at a time", echoedOctetwise(withPing...))
	add("A pong between fragments is ignored", echoed(text("Hel").more(), pong("between"), continuation("lo")))
	add("Pings between all of five fragments are answered as they come", pingedFragments)
	add("Empty fragments at the beginning, in the middle and at the end add nothing",
		echoed(text("").more(), continuation("Hel").more(), continuation("").more(), continuation("lo").more(), continuation("")))
	add("Empty fragments alone make an empty text message", echoed(text("").more(), continuation("").more(), continuation("")))
	add("Empty fragments alone make an empty binary message", echoed(binaryFrame(nil).more(), continuation("")))
	add("Fragments of a binary message are put together", echoed(fragments(binaryFrame(octets(1000)), 7)...))
	add("Fragments of every size from 1 to 130 are put together", echoed(growingFragments(130)...))
	add("Fragments with lengths in all three forms are put together", echoed(
		binaryFrame(octets(5)).more(), continuation(string(octets(126))).more(), continuation(string(octets(65536))).more(), continuation("end")))
	add("A message follows a fragmented message, fragmented or not", echoed(append(hello,
		text("whole"), binaryFrame([]byte("wh")).more(), continuation("ole"), text("end"))...))
	return cases
}

// pingedFragments waits for each pong before it sends the next fragment.
func pingedFragments(s *session) error {
	message := fragments(text(asciiText(50)), 10)
	for i, f := range message {
		p := ping(fmt.Sprint("ping ", i))
		s.sendFrames(f, p)
		if err := wantPongs(p)(s); err != nil {
			return err
		}
	}
	return owed(message...)(s)
}

// fragments is the message f in fragments of size octets.
func fragments(f frame, size int) []frame {
	if size == 0 || len(f.payload) <= size {
		return []frame{f}
	}
	var frames []frame
	rest, o := f.payload, f.opcode
	for len(rest) > 0 {
		n := min(size, len(rest))
		frames = append(frames, frame{opcode: o, payload: rest[:n]})
		rest, o = rest[n:], opContinuation
	}
	frames[0].rsv = f.rsv
	frames[len(frames)-1].fin = true
	return frames
}

// growingFragments is a message in fragments of 1 octet, 2 octets and so on.
func growingFragments(most int) []frame {
	frames := []frame{text("").more()}
	for n := 1; n <= most; n++ {
		frames = append(frames, continuation(asciiText(n)).more())
	}
	frames[most].fin = true
	return frames
}

// invalidFragmentCases begin continuations and messages where there is none to continue, or one that has not ended. 5.4: "The
// fragments of one message MUST NOT be interleaved between the fragments of another message".
func invalidFragmentCases() []testCase {
	ok := text("before")
	return []testCase{
		refusal("5.4", "A continuation with FIN and nothing to continue is refused", send(continuation("non-continuation"))),
		refusal("5.4", "A continuation without FIN and nothing to continue is refused", send(continuation("non-continuation").more(), text("after"))),
		refusal("5.4", "A continuation behind a whole message is refused", both(echoed(ok), send(continuation("late")))),
		refusal("5.4", "A continuation behind a whole message is refused, in one write", both(send(ok, continuation("late")), owed(ok))),
		refusal("5.4", "A continuation behind a whole message is refused, an octet at a time", both(octetwise(ok, continuation("late")), owed(ok))),
		refusal("5.4", "A continuation behind a fragmented message is refused",
			both(echoed(text("Hel").more(), continuation("lo")), send(continuation("late").more()))),
		refusal("5.4", "A text message inside a fragmented text message is refused", send(text("Hel").more(), text("lo"))),
		refusal("5.4", "A text message inside a fragmented text message is refused, in a write each",
			both(send(text("Hel").more()), send(text("lo")))),
		refusal("5.4", "A first fragment inside a fragmented message is refused", send(text("Hel").more(), text("lo").more())),
		refusal("5.4", "A binary message inside a fragmented text message is refused", send(text("Hel").more(), binaryFrame(octets(5)))),
		refusal("5.4", "A text message inside a fragmented binary message is refused", send(binaryFrame(octets(5)).more(), continuation("x").more(), text("lo"))),
		refusal("5.4", "An empty text message inside a fragmented message is refused, an octet at a time",
			octetwise(text("").more(), text(""))),
		refusal("5.4", "A ping between them does not make a message inside a message right",
			both(send(text("Hel").more(), ping("p")), wantPongs(ping("p")), send(text("lo")))),
	}
}

// frameOrderCases are all orders of up to four frames out of five kinds: the legal ones of four, and every one that becomes
// illegal with its last frame.
func frameOrderCases() []testCase {
	var cases []testCase
	var extend func(order string, open bool)
	extend = func(order string, open bool) {
		if len(order) == 4 {
			cases = append(cases, legalOrder(order))
			return
		}
		for _, kind := range "TtCcP" {
			next := order + string(kind)
			if illegal := kind != 'P' && open != strings.ContainsRune("Cc", kind); illegal {
				cases = append(cases, illegalOrder(next))
				continue
			}
			extend(next, kind == 't' || kind == 'c' || kind == 'P' && open)
		}
	}
	extend("", false)
	return cases
}

func legalOrder(order string) testCase {
	frames := inOrder(order)
	return testCase{section: "5.4", title: "Legal order of frames: " + inWords(order), steps: steps(echoed(frames...))}
}

// illegalOrder is an order of frames of which the last one is illegal: what came before is owed still.
func illegalOrder(order string) testCase {
	frames := inOrder(order)
	return refusal("5.4", "Illegal order of frames: "+inWords(order), both(send(frames...), owed(frames[:len(frames)-1]...)))
}

// inOrder makes frames of letters: T a text frame, C a continuation, lower case without FIN, P a ping.
func inOrder(order string) []frame {
	var frames []frame
	for i, kind := range order {
		payload := fmt.Sprintf("%c%d", kind, i)
		switch kind {
		case 'T':
			frames = append(frames, text(payload))
		case 't':
			frames = append(frames, text(payload).more())
		case 'C':
			frames = append(frames, continuation(payload))
		case 'c':
			frames = append(frames, continuation(payload).more())
		case 'P':
			frames = append(frames, ping(payload))
		}
	}
	return frames
}

func inWords(order string) string {
	var words []string
	for _, f := range inOrder(order) {
		word := f.opcode.String()
		if !f.fin {
			word += " FIN=0"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}
