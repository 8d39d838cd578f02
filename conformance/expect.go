package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The vocabulary of the cases: steps that send, and steps that say what must come.

// send sends frames in one write.
func send(frames ...frame) step {
	return func(s *session) error { s.sendFrames(frames...); return nil }
}

// chopped sends frames in writes of size octets.
func chopped(size int, frames ...frame) step { return slowly(size, 0, frames...) }

// octetwise sends frames an octet a write, slowly enough that most octets are segments of their own.
func octetwise(frames ...frame) step { return slowly(1, pause, frames...) }

// pause is long enough for a segment to be sent and read by itself, mostly.
const pause = 200 * time.Microsecond

func slowly(size int, pause time.Duration, frames ...frame) step {
	return func(s *session) error { s.sendChopped(size, pause, frames...); return nil }
}

// echoed sends legal frames in one write and wants what an endpoint that echoes owes for them.
func echoed(frames ...frame) step { return both(send(frames...), owed(frames...)) }

// echoedChopped does the same with frames sent in writes of size octets.
func echoedChopped(size int, frames ...frame) step {
	return both(chopped(size, frames...), owed(frames...))
}

// echoedOctetwise does the same, an octet at a time.
func echoedOctetwise(frames ...frame) step { return both(octetwise(frames...), owed(frames...)) }

func both(s ...step) step {
	return func(session *session) error { return runSteps(session, s) }
}

// when makes a step when it is run: for those whose frames are too many or too large to be kept in a table.
func when(make func() step) step {
	return func(s *session) error { return make()(s) }
}

func runSteps(session *session, s []step) error {
	for _, step := range s {
		if err := step(session); err != nil {
			return err
		}
	}
	return nil
}

// owed wants what an endpoint that echoes owes for legal frames: each message back, and pongs.
func owed(frames ...frame) step {
	messages, pings := dues(frames)
	return both(wantMessages(messages...), wantPongs(pings...))
}

// dues are the messages that frames make, and the pings among them.
func dues(frames []frame) (messages []event, pings []frame) {
	var open event
	for _, f := range frames {
		switch f.opcode {
		case opPing:
			pings = append(pings, f)
		case opText, opBinary:
			open = event{kind: message, opcode: f.opcode, payload: slices.Clip(f.payload)}
		case opContinuation:
			open.payload = append(open.payload, f.payload...)
		}
		if f.fin && !f.opcode.control() {
			messages = append(messages, open)
		}
	}
	return messages, pings
}

// wantMessages wants these messages, in this order.
func wantMessages(want ...event) step {
	return func(s *session) error {
		for _, m := range want {
			if err := s.wantMessage(m.opcode, m.payload); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *session) wantMessage(o opcode, payload []byte) error {
	got := s.await(message)
	if got.equal(event{kind: message, opcode: o, payload: payload}) {
		return nil
	}
	want := fmt.Sprintf("echo the %s message %s", o, inShort(payload))
	if got.kind == message && got.opcode == o {
		return s.should("%s; it differs: %s", want, difference(got.payload, payload))
	}
	return s.should("%s; got %s", want, got)
}

// difference says where two payloads begin to differ.
func difference(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d octets came, not %d: %s", len(got), len(want), inShort(got))
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Sprintf("octet %d is 0x%02X, not 0x%02X", i, got[i], want[i])
		}
	}
	return "not at all"
}

// wantPongs wants pongs for pings sent without waiting, in order, that of the last ping among them. 5.5.3: "the endpoint
// MAY elect to send a Pong frame for only the most recently processed Ping frame".
func wantPongs(pings ...frame) step {
	return func(s *session) error {
		for i := 0; i < len(pings); {
			got := s.await(pongReceived)
			n := slices.IndexFunc(pings[i:], func(p frame) bool { return bytes.Equal(p.payload, got.payload) })
			if got.kind != pongReceived || n < 0 {
				return s.should("answer the ping %s with a pong carrying the same application data; got %s", inShort(pings[i].payload), got)
			}
			i += n + 1
		}
		return nil
	}
}

// eachPong sends pings, and waits for the pong of one before it sends the next.
func eachPong(pings ...frame) step {
	return func(s *session) error {
		for _, p := range pings {
			if err := echoed(p)(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// fails wants the endpoint to _Fail the WebSocket Connection_ (7.1.7): a Close frame with one of the codes, then the end
// of TCP. "An endpoint MUST NOT continue to attempt to process data": nothing may come between.
func fails(codes ...statusCode) step {
	return func(s *session) error {
		got := s.next()
		if got.kind != closeReceived || !slices.Contains(codes, got.code) {
			return s.should("fail the connection with status code %s; got %s", oneOf(codes), got)
		}
		return s.wantEnd(true)
	}
}

func oneOf(codes []statusCode) string {
	s := fmt.Sprint(codes[0])
	for _, c := range codes[1:] {
		s += fmt.Sprintf(" or %d", c)
	}
	return s
}

// closes sends a Close frame, with whatever is sent in the same write behind it, and wants the closing handshake to
// succeed: a Close frame back, with one of the codes, and the end of TCP.
func closes(c frame, codes []statusCode, behind ...frame) step {
	return both(send(append([]frame{c}, behind...)...), closed(codes, len(behind) > 0))
}

// closed wants the second half of the closing handshake. Where data followed our Close frame, a reset is no fault.
func closed(codes []statusCode, dataBehind bool) step {
	return func(s *session) error {
		got := s.next()
		if got.kind != closeReceived || !slices.Contains(codes, got.code) {
			return s.should("answer the Close frame with a Close frame with status code %s; got %s", oneOf(codes), got)
		}
		return s.wantEnd(dataBehind)
	}
}

func codes(c ...statusCode) []statusCode { return c }

// closesNormally is the closing handshake that ends a case in which nothing went wrong.
func closesNormally(s *session) error {
	return closes(closeFrame(normalClosure, ""), codes(normalClosure))(s)
}

// wantEnd wants the end of the TCP connection after Close frames. 5.5.1: "The server MUST close the underlying TCP
// connection immediately; the client SHOULD wait for the server to close the connection": so a suite that plays the server
// closes first. A reset in place of a FIN may destroy what was sent: it is taken only where the suite sent data that
// nobody was to read.
func (s *session) wantEnd(resetAllowed bool) error {
	s.ended = true
	if s.role == client {
		s.endWrites()
	}
	got := s.next()
	if got.kind == tcpClosed || got.kind == tcpReset && resetAllowed {
		return nil
	}
	return s.should("close the TCP connection after the Close frames; got %s", got)
}

// nothingMore wants no message or pong to be left when a case ends.
func (s *session) nothingMore() error {
	if len(s.pending) > 0 {
		return s.should("send nothing more; got %s", s.pending[0])
	}
	return nil
}

// should is a failure: what the endpoint under test should do, and what it did.
func (s *session) should(format string, args ...any) error {
	return fmt.Errorf("%s should "+format, append([]any{s.role}, args...)...)
}

// errUnsupported ends a case that needs an extension which the endpoint under test does not agree to.
var errUnsupported = errors.New("the endpoint does not agree to what the case needs")
