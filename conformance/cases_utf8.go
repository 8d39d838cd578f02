package main

import (
	"fmt"
	"strings"
	"sync"
)

// Group 6, section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in
// fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_. This rule applies both during the opening
// handshake and during subsequent data exchange."
//
// The tables follow RFC 3629 section 4, row by row: the limits of every range, and their neighbours outside.

// validTexts are well-formed, however odd.
var validTexts = []struct{ name, text string }{
	{"a mixture", "Hello-µ@ßöäüàá-UTF-8!!"},
	{"Greek", "κόσμε"},
	{"the first code point of one octet, NUL", "\x00"},
	{"the last code point of one octet", "\x7F"},
	{"the first code point of two octets", "\u0080"},
	{"the last code point of two octets", "\u07FF"},
	{"the first code point of three octets", "\u0800"},
	{"the last code point that begins with E0", "\u0FFF"},
	{"the first code point that begins with E1", "\u1000"},
	{"the last code point that begins with EC", "\uCFFF"},
	{"the first code point that begins with ED", "\uD000"},
	{"the last code point before the surrogates", "\uD7FF"},
	{"the first code point after the surrogates", "\uE000"},
	{"the last code point that begins with EE", "\uEFFF"},
	{"the replacement character", "\uFFFD"},
	{"the noncharacter U+FFFE", "\uFFFE"},
	{"the noncharacter U+FFFF", "\uFFFF"},
	{"a byte order mark, which is kept", "\uFEFFtext"},
	{"the first code point of four octets", "\U00010000"},
	{"the last code point that begins with F0", "\U0003FFFF"},
	{"the first code point that begins with F1", "\U00040000"},
	{"the last code point that begins with F3", "\U000FFFFF"},
	{"the first code point that begins with F4", "\U00100000"},
	{"the last code point of all", "\U0010FFFF"},
	{"noncharacters at the end of planes", "\U0001FFFE\U0001FFFF\U0008FFFE\U0008FFFF\U0010FFFE"},
	{"code points of one, two, three and four octets in turn", "aé€𝄞aé€𝄞𝄞€éa"},
}

// invalidTexts are ill-formed, the octet at index bad being the first after which no continuation makes them well-formed.
// Where bad is the length, the text only lacks its end.
var invalidTexts = []struct {
	name, text string
	bad        int
}{
	{"a continuation octet, the first", "\x80", 0},
	{"a continuation octet, the last", "\xBF", 0},
	{"a continuation octet in a text", "Hello\x80World", 5},
	{"two continuation octets behind a code point", "é\x80\xBF", 2},
	{"one continuation octet too many, after two octets", "\u07FF\x80", 2},
	{"one continuation octet too many, after three octets", "\uFFFF\x80", 3},
	{"one continuation octet too many, after four octets", "\U0010FFFF\x80", 4},
	{"two octets cut short", "\xC2", 1},
	{"three octets cut short after one", "\xE1", 1},
	{"three octets cut short after two", "\xE1\x80", 2},
	{"four octets cut short after one", "\xF1", 1},
	{"four octets cut short after two", "\xF1\x80", 2},
	{"four octets cut short after three", "\xF1\x80\x80", 3},
	{"a text cut short", "κόσμ\xCE", 9},
	{"two octets, the second ASCII", "\xC2\x7F", 1},
	{"two octets, the second the first of another", "\xC2\xC2\x80", 1},
	{"three octets, the third ASCII", "\xE1\x80A", 2},
	{"three octets, the third C0", "\xE1\x80\xC0", 2},
	{"four octets, the fourth ASCII", "\xF1\x80\x80/", 3},
	{"four octets, the third C0", "\xF1\x80\xC0\x80", 2},
	{"C0: an overlong NUL", "\xC0\x80", 0},
	{"C0: an overlong slash", "\xC0\xAF", 0},
	{"C1: an overlong U+007F", "\xC1\xBF", 0},
	{"E0 80: an overlong slash", "\xE0\x80\xAF", 1},
	{"E0 9F: an overlong U+07FF", "\xE0\x9F\xBF", 1},
	{"F0 80: an overlong slash", "\xF0\x80\x80\xAF", 1},
	{"F0 8F: an overlong U+FFFF", "\xF0\x8F\xBF\xBF", 1},
	{"ED A0: the first high surrogate", "\xED\xA0\x80", 1},
	{"ED AF: the last high surrogate", "\xED\xAF\xBF", 1},
	{"ED B0: the first low surrogate", "\xED\xB0\x80", 1},
	{"ED BF: the last low surrogate", "\xED\xBF\xBF", 1},
	{"a pair of surrogates", "\xED\xA0\x80\xED\xB0\x80", 1},
	{"F4 90: the first above U+10FFFF", "\xF4\x90\x80\x80", 1},
	{"F4 BF", "\xF4\xBF\xBF\xBF", 1},
	{"F5", "\xF5\x80\x80\x80", 0},
	{"F7", "\xF7\xBF\xBF\xBF", 0},
	{"F8: five octets", "\xF8\x88\x80\x80\x80", 0},
	{"FB: five octets", "\xFB\xBF\xBF\xBF\xBF", 0},
	{"FC: six octets", "\xFC\x84\x80\x80\x80\x80", 0},
	{"FD: six octets", "\xFD\xBF\xBF\xBF\xBF\xBF", 0},
	{"FE", "\xFE", 0},
	{"FF", "\xFF", 0},
	{"FE FE FF FF", "\xFE\xFE\xFF\xFF", 0},
	{"a surrogate behind Greek", "κόσμε\xED\xA0\x80edited", 11},
	{"above U+10FFFF behind Greek", "κόσμε\xF4\x90\x80\x80edited", 11},
}

func utf8Cases() []testCase {
	cases := number("6.1", emptyTextCases())
	for i, t := range validTexts {
		cases = append(cases, number(fmt.Sprintf("6.2.%d", i+1), validTextCases(t.name, t.text))...)
	}
	for i, t := range invalidTexts {
		cases = append(cases, number(fmt.Sprintf("6.3.%d", i+1), invalidTextCases(t.name, t.text, t.bad))...)
	}
	cases = append(cases, number("6.4", longTextCases())...)
	return append(cases, number("6.5", mixedCases())...)
}

func emptyTextCases() []testCase {
	return []testCase{
		{section: "5.6", title: "An empty text message is echoed", steps: steps(echoed(text("")))},
		{section: "5.6", title: "Three empty fragments are an empty text message",
			steps: steps(echoed(text("").more(), continuation("").more(), continuation("")))},
		{section: "5.6", title: "Empty fragments around a fragment add nothing",
			steps: steps(echoed(text("").more(), continuation("middle").more(), continuation("")))},
	}
}

// validTextCases sends a text in every way of cutting it. 5.6: "Note that a particular text frame might include a partial
// UTF-8 sequence; however, the whole message MUST contain valid UTF-8."
func validTextCases(name, s string) []testCase {
	var halves []frame
	for i := 1; i < len(s); i++ {
		halves = append(halves, text(s[:i]).more(), continuation(s[i:]))
	}
	cut := fragments(text(s), 1)
	cases := []testCase{
		{title: "%s is taken, whole, and an octet at a time", steps: steps(echoed(text(s)), echoedOctetwise(text(s)))},
		{title: "%s is taken, cut in two at every octet, and in a fragment for each", steps: steps(echoed(halves...), echoed(cut...))},
		{title: "%s is taken, with a ping answered after each octet", steps: steps(pingsBetween(cut))},
	}
	for i := range cases {
		cases[i].section, cases[i].title = "5.6", fmt.Sprintf("UTF-8, "+cases[i].title, name)
	}
	return cases
}

// pingsBetween waits for a pong after each fragment: no prefix of a valid text may fail the connection.
func pingsBetween(fragments []frame) step {
	return func(s *session) error {
		for _, f := range fragments {
			s.sendFrames(f, ping("alive"))
			if err := wantPongs(ping("alive"))(s); err != nil {
				return err
			}
		}
		return owed(fragments...)(s)
	}
}

// invalidTextCases wants the connection to fail with 1007: at the end of the text, and early, as soon as no continuation
// can make the text well-formed, while the rest of the message and of the frame is still to come.
func invalidTextCases(name, s string, bad int) []testCase {
	cut := fragments(text(s), 1)
	cases := []testCase{
		{title: "%s is refused", steps: steps(send(text(s)), fails(invalidPayload))},
		{title: "%s is refused between valid texts", steps: steps(echoed(text("é")), send(text("é"+s+"é")), fails(invalidPayload))},
		{title: "%s is refused, an octet at a time", steps: steps(octetwise(text(s)), fails(invalidPayload))},
		{title: "%s is refused in a fragment for each octet", steps: steps(send(cut...), fails(invalidPayload))},
	}
	if bad < len(s) {
		cases = append(cases, earlyCases(s, bad)...)
	}
	for i := range cases {
		cases[i].section, cases[i].title = "8.1", fmt.Sprintf("UTF-8, "+cases[i].title, name)
	}
	return cases
}

// earlyCases send the first bad octet and nothing behind it.
func earlyCases(s string, bad int) []testCase {
	start := fragments(text(s[:bad+1]), 1)
	start[len(start)-1].fin = false
	return []testCase{
		{title: "%s is refused before the message ends", steps: steps(send(text(s[:bad+1]).more()), fails(invalidPayload))},
		{title: "%s is refused before the message ends, in a fragment for each octet", steps: steps(send(start...), fails(invalidPayload))},
		{title: "%s is refused before the frame ends",
			steps: steps(send(text(s+"more to come").until(bad+1)), fails(invalidPayload))},
	}
}

// longTextCases have their joints and their faults far inside, where a fast check looks at many octets at a time.
func longTextCases() []testCase {
	var cases []testCase
	add := func(title string, s ...step) {
		cases = append(cases, testCase{section: "8.1", title: title, steps: s})
	}
	add("UTF-8: every code point in one message", when(func() step { return echoed(text(everyCodePoint())) }))
	for _, size := range []int{997, 4093} {
		add(fmt.Sprintf("UTF-8: every code point, in fragments of %d octets", size),
			when(func() step { return echoed(fragments(text(everyCodePoint()), size)...) }))
		add(fmt.Sprintf("UTF-8: every code point in one frame, in writes of %d octets", size),
			when(func() step { return echoedChopped(size, text(everyCodePoint())) }))
	}
	for _, n := range []int{1, 3, 7, 8, 15, 16, 31, 32, 63, 64, 125, 126, 4095, 4096, 65534, 65535, 65536} {
		add(fmt.Sprintf("UTF-8: FF behind %d octets of ASCII is refused", n),
			send(text(asciiText(n)+"\xFF"+asciiText(20))), fails(invalidPayload))
		add(fmt.Sprintf("UTF-8: a surrogate behind %d octets, in a fragment that ends inside it, is refused early", n),
			send(text(asciiText(n)+"\xED\xA0").more()), fails(invalidPayload))
		add(fmt.Sprintf("UTF-8: a code point across the fragments behind %d octets is taken", n),
			echoed(text(asciiText(n)+"\xF0\x9D").more(), continuation("\x84").more(), continuation("\x9E"+asciiText(n))))
	}
	add("UTF-8: a bad octet in the first kilobyte of a megabyte is refused before the rest has come",
		send(text(asciiText(1000)+"\xFF"+asciiText(1<<20)).until(2000)), fails(invalidPayload))
	return cases
}

// everyCodePoint is every Unicode scalar value: some 4.4 million octets.
var everyCodePoint = sync.OnceValue(func() string {
	var b strings.Builder
	for r := rune(0); r <= 0x10FFFF; r++ {
		if r < 0xD800 || r > 0xDFFF {
			b.WriteRune(r)
		}
	}
	return b.String()
})

// mixedCases are about what the check of UTF-8 must not touch, or must remember.
func mixedCases() []testCase {
	var binaries []frame
	for _, t := range invalidTexts {
		binaries = append(binaries, binaryFrame([]byte(t.text)))
	}
	cut := fragments(binaryFrame([]byte("\xFF\xED\xA0\x80")), 1)
	return []testCase{
		{section: "5.6", title: "Binary messages need not be UTF-8", steps: steps(echoed(binaries...), echoed(cut...))},
		{section: "5.5.2", title: "The application data of a ping need not be UTF-8, nor does it touch the text around it",
			steps: steps(echoed(text("\xE2\x82").more(), ping("\xFF\x80"), continuation("\xAC")))},
		{section: "8.1", title: "A text that is cut short is refused at its end, not completed by the next message",
			steps: steps(send(text("\xE2\x82"), text("\xAC")), fails(invalidPayload))},
		{section: "8.1", title: "A text that is cut short in its last, empty fragment is refused",
			steps: steps(send(text("\xE2\x82").more(), continuation("")), fails(invalidPayload))},
		{section: "8.1", title: "A ping between the fragments does not hide a bad octet behind it",
			steps: steps(send(text("\xE2\x82").more(), ping("p")), wantPongs(ping("p")), send(continuation("A").more()), fails(invalidPayload))},
		{section: "8.1", title: "A code point across two fragments leaves nothing behind for the next message",
			steps: steps(echoed(text("\xC2").more(), continuation("\xA9"), text("\xC2\xA9")))},
	}
}
