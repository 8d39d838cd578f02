package main

import (
	"fmt"
	"strings"
)

// Group 9, messages of up to 16 MiB in all fragmentations and chops, and group 10, very many frames. The payloads are made
// when a case runs: together they are many times what memory should hold.

const (
	kib = 1 << 10
	mib = 1 << 20
)

// A content makes a message of n octets.
type content struct {
	name    string
	message func(n int) frame
}

var contents = []content{
	{"text", func(n int) frame { return text(mixedText(n)) }},
	{"binary", func(n int) frame { return binaryFrame(octets(n)) }},
}

// mixedText is n octets of text with code points of one to four octets.
func mixedText(n int) string {
	const unit = "aé€𝄞"
	return strings.Repeat(unit, n/len(unit)) + asciiText(n%len(unit))
}

func sizeCases() []testCase {
	var cases []testCase
	for i, c := range contents {
		cases = append(cases, number(fmt.Sprintf("9.%d", 1+i), wholeCases(c))...)
		cases = append(cases, number(fmt.Sprintf("9.%d", 3+i), fragmentedCases(c))...)
		cases = append(cases, number(fmt.Sprintf("9.%d", 5+i), choppedCases(c))...)
		cases = append(cases, number(fmt.Sprintf("9.%d", 7+i), roundTripCases(c))...)
	}
	return cases
}

// sizeCase sends a message of a size, cut into fragments and into writes of given sizes; 0 is not cut.
func sizeCase(c content, size, fragment, chop int) testCase {
	title := fmt.Sprintf("A %s message of %s is echoed", c.name, inUnits(size))
	if fragment != 0 {
		title += ", in fragments of " + inUnits(fragment)
	}
	if chop != 0 {
		title += ", in writes of " + inUnits(chop)
	}
	return testCase{section: "5.2, 5.4", title: title, steps: steps(when(func() step {
		return echoedChopped(chop, fragments(c.message(size), fragment)...)
	}))}
}

func inUnits(n int) string {
	switch {
	case n >= mib && n%mib == 0:
		return fmt.Sprintf("%d MiB", n/mib)
	case n >= kib && n%kib == 0:
		return fmt.Sprintf("%d KiB", n/kib)
	}
	return fmt.Sprintf("%d octets", n)
}

func wholeCases(c content) []testCase {
	var cases []testCase
	for _, size := range []int{64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16*mib - 1, 16 * mib} {
		cases = append(cases, sizeCase(c, size, 0, 0))
	}
	return cases
}

func fragmentedCases(c content) []testCase {
	var cases []testCase
	for _, fragment := range []int{64, 256, kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4*mib - 1} {
		cases = append(cases, sizeCase(c, 4*mib, fragment, 0))
	}
	return append(cases, sizeCase(c, 16*mib, mib, 0), sizeCase(c, 16*mib, 65537, 0))
}

func choppedCases(c content) []testCase {
	var cases []testCase
	for _, chop := range []int{64, 128, 256, 512, kib, 2 * kib} {
		cases = append(cases, sizeCase(c, mib, 0, chop))
	}
	return append(cases, sizeCase(c, mib, 1000, 997), sizeCase(c, 64*kib, 3, 7), sizeCase(c, 16*mib, 0, 65537))
}

// roundTripCases send a thousand messages, the next when the last has come back, and then a thousand without waiting.
func roundTripCases(c content) []testCase {
	const many = 1000
	var cases []testCase
	for _, size := range []int{0, 16, 64, 256, kib, 4 * kib} {
		cases = append(cases, testCase{
			section: "5.2", title: fmt.Sprintf("%d %s messages of %s are echoed, one after the other", many, c.name, inUnits(size)),
			steps: steps(when(func() step { return oneByOne(many, c.message(size)) })),
		}, testCase{
			section: "5.2", title: fmt.Sprintf("%d %s messages of %s are echoed in order, sent without waiting", many, c.name, inUnits(size)),
			steps: steps(when(func() step { return echoed(numbered(many, c.message(size))...) })),
		})
	}
	return cases
}

func oneByOne(n int, m frame) step {
	return func(s *session) error {
		for range n {
			if err := echoed(m)(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// numbered is n messages like m, each beginning with another number where there is room.
func numbered(n int, m frame) []frame {
	frames := make([]frame, n)
	for i := range frames {
		frames[i] = m
		if len(m.payload) >= 16 && m.opcode == opBinary {
			frames[i].payload = clone(m.payload)
			copy(frames[i].payload, fmt.Sprintf("%08d", i))
		}
	}
	return frames
}

// manyFrameCases is group 10.
func manyFrameCases() []testCase {
	var cases []testCase
	add := func(title string, frames func() []frame) {
		cases = append(cases, testCase{section: "5.4", title: title, steps: steps(when(func() step { return echoed(frames()...) }))})
	}
	for _, c := range contents {
		for _, size := range []int{1, 125, 126, 1300, 65535} {
			add(fmt.Sprintf("A %s message of 64 KiB is echoed, in fragments of %d octets", c.name, size),
				func() []frame { return fragments(c.message(64*kib), size) })
		}
	}
	add("Ten thousand empty fragments between two others add nothing", func() []frame { return emptyFragments(10000) })
	add("A thousand fragments with a ping behind each are put together, and the pings answered", func() []frame { return interspersed(1000) })
	add("A thousand pings that arrive at once are answered in order, the last one at least", func() []frame { return pings(1000) })
	add("A thousand unsolicited pongs are ignored", func() []frame { return append(pongs(1000), text("after")) })
	cases = append(cases,
		sizeCase(contents[0], 64*kib, 1300, 1301),
		sizeCase(contents[1], 64*kib, 1301, 1300),
		testCase{section: "5.2", title: "A hundred messages arrive in writes of three octets",
			steps: steps(echoedChopped(3, numbered(100, binaryFrame(octets(20)))...))})
	return number("10.1", cases)
}

func emptyFragments(n int) []frame {
	frames := []frame{text("begin").more()}
	for range n {
		frames = append(frames, continuation("").more())
	}
	return append(frames, continuation("end"))
}

func interspersed(n int) []frame {
	var frames []frame
	for i, f := range fragments(binaryFrame(octets(n)), 1) {
		frames = append(frames, f, ping(fmt.Sprint(i)))
	}
	return frames
}

func pongs(n int) []frame {
	frames := pings(n)
	for i := range frames {
		frames[i].opcode = opPong
	}
	return frames
}
