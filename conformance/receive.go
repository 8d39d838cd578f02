package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// An event is something that the endpoint under test did.
type event struct {
	kind    eventKind
	opcode  opcode  // of a message: text or binary
	payload []byte  // of a message, a ping or a pong
	key     [4]byte // that masked the last frame of a message
	code    statusCode
	reason  string
	err     error // of a fault or a reset
}

type eventKind byte

const (
	message eventKind = iota
	pingReceived
	pongReceived
	closeReceived
	tcpClosed // a FIN
	tcpReset  // a RST
	fault     // it sent what no endpoint may send
	silence   // nothing came in time
)

// final says whether nothing that a case may still wait for can follow.
func (e event) final() bool { return e.kind >= closeReceived }

// equal says whether two messages, pings or pongs are the same.
func (e event) equal(other event) bool {
	return e.kind == other.kind && e.opcode == other.opcode && bytes.Equal(e.payload, other.payload)
}

func (e event) String() string {
	switch e.kind {
	case message:
		return fmt.Sprintf("the %s message %s", e.opcode, inShort(e.payload))
	case pingReceived:
		return "a ping " + inShort(e.payload)
	case pongReceived:
		return "a pong " + inShort(e.payload)
	case closeReceived:
		return fmt.Sprintf("a Close frame with %s", describeClose(e.code, e.reason))
	case tcpClosed:
		return "the end of the TCP connection"
	case tcpReset:
		return fmt.Sprintf("a reset of the TCP connection (%v)", e.err)
	case fault:
		return e.err.Error()
	}
	return "nothing"
}

func describeClose(code statusCode, reason string) string {
	switch {
	case code == noStatus:
		return "no status code"
	case reason == "":
		return fmt.Sprintf("status code %d", code)
	}
	return fmt.Sprintf("status code %d and reason %q", code, reason)
}

// A statusCode is one of section 7.4.
type statusCode uint16

const (
	normalClosure  statusCode = 1000
	protocolError  statusCode = 1002
	noStatus       statusCode = 1005 // what 7.1.5 makes of an empty body
	invalidPayload statusCode = 1007
	messageTooBig  statusCode = 1009
)

// sendable says whether a Close frame may carry c: a code that RFC 6455 or the IANA registry defines for endpoints, or
// one of the ranges that 7.4.2 leaves to libraries and applications.
func (c statusCode) sendable() bool {
	switch c {
	case 1004, 1005, 1006, 1015:
		return false
	}
	return c >= 1000 && c <= 1014 || c >= 3000 && c <= 4999
}

// A receiver turns the frames of the endpoint under test into events, and finds the faults in them.
type receiver struct {
	from     role
	inflater *inflater // nil without permessage-deflate

	open       bool // a message has begun and not ended
	opcode     opcode
	compressed bool
	payload    []byte
	closed     bool
}

// receive takes a frame. There is an event unless a fragment only added to its message.
func (r *receiver) receive(f frame) (event, bool, error) {
	if err := r.check(f); err != nil {
		return event{}, false, err
	}
	if f.opcode.control() {
		ev, err := r.control(f)
		return ev, true, err
	}
	return r.data(f)
}

// check holds a frame against the rules that need no knowledge of its payload.
func (r *receiver) check(f frame) error {
	switch {
	case r.closed:
		return fmt.Errorf("sent a %s frame after its Close frame", f.opcode)
	case f.opcode.reserved():
		return fmt.Errorf("sent a frame with %s", f.opcode)
	case f.masked && !r.from.masks():
		return errors.New("masked a frame, which 5.1 forbids to a server")
	case !f.masked && r.from.masks():
		return errors.New("sent a frame that is not masked, as 5.1 demands of a client")
	case f.opcode.control() && !f.fin:
		return fmt.Errorf("fragmented a %s frame", f.opcode)
	case f.opcode.control() && len(f.payload) > 125:
		return fmt.Errorf("sent a %s frame with %d octets, where 125 are the most", f.opcode, len(f.payload))
	case f.rsv != 0 && !r.allowsBits(f):
		return fmt.Errorf("set reserved bits (%03b) on a %s frame without an extension that defines them", f.rsv, f.opcode)
	case f.opcode == opContinuation && !r.open:
		return errors.New("sent a continuation frame with nothing to continue")
	case f.opcode != opContinuation && !f.opcode.control() && r.open:
		return fmt.Errorf("began a %s message inside another one", f.opcode)
	}
	return nil
}

// allowsBits is RFC 7692 6: RSV1 on the first frame of a message, and nowhere else.
func (r *receiver) allowsBits(f frame) bool {
	return r.inflater != nil && f.rsv == rsv1 && (f.opcode == opText || f.opcode == opBinary)
}

func (r *receiver) control(f frame) (event, error) {
	switch f.opcode {
	case opPing:
		return event{kind: pingReceived, payload: clone(f.payload)}, nil
	case opPong:
		return event{kind: pongReceived, payload: clone(f.payload)}, nil
	}
	r.closed = true
	return parseClose(f.payload)
}

// parseClose reads the body of a Close frame (5.5.1).
func parseClose(p []byte) (event, error) {
	ev := event{kind: closeReceived, code: noStatus}
	if len(p) == 0 {
		return ev, nil
	}
	if len(p) == 1 {
		return event{}, errors.New("sent a Close frame with a body of one octet")
	}
	ev.code, ev.reason = statusCode(binary.BigEndian.Uint16(p)), string(p[2:])
	if !ev.code.sendable() {
		return event{}, fmt.Errorf("sent a Close frame with status code %d, which no endpoint may send", ev.code)
	}
	if !utf8.ValidString(ev.reason) {
		return event{}, fmt.Errorf("sent a Close frame with a reason that is not UTF-8: %q", ev.reason)
	}
	return ev, nil
}

// data adds a fragment to its message, and ends the message with FIN.
func (r *receiver) data(f frame) (event, bool, error) {
	if f.opcode != opContinuation {
		r.open, r.opcode, r.compressed, r.payload = true, f.opcode, f.rsv&rsv1 != 0, nil
	}
	r.payload = append(r.payload, f.payload...)
	if !f.fin {
		return event{}, false, nil
	}
	r.open = false
	ev, err := r.end()
	ev.key = f.key
	return ev, true, err
}

func (r *receiver) end() (event, error) {
	ev := event{kind: message, opcode: r.opcode, payload: r.payload}
	r.payload = nil
	if r.compressed {
		if err := r.inflater.checkWindow(ev.payload); err != nil {
			return event{}, fmt.Errorf("sent a compressed message that is not right: %w", err)
		}
		var err error
		if ev.payload, err = r.inflater.inflate(ev.payload); err != nil {
			return event{}, fmt.Errorf("sent a compressed message that does not inflate: %w", err)
		}
	}
	if ev.opcode == opText && !utf8.Valid(ev.payload) {
		return event{}, fmt.Errorf("sent a text message that is not UTF-8: %s", inShort(ev.payload))
	}
	return ev, nil
}

func clone(p []byte) []byte { return append([]byte{}, p...) }
