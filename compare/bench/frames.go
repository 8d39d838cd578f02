package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// What the load client needs of RFC 6455 is written here a second time, and uses
// no WebSocket library: so it can judge all of them.

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8

	rsv1 = 0x40 // the message is compressed (RFC 7692 6)
)

// appendFrame appends the frame of a whole message, masked if key is not nil
// (section 5.2).
func appendFrame(b []byte, opcode byte, payload []byte, key *[4]byte) []byte {
	mask := byte(0)
	if key != nil {
		mask = 0x80
	}
	b = append(b, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if key == nil {
		return append(b, payload...)
	}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

// A receiver reads the messages of a server.
type receiver struct {
	r       *bufio.Reader
	message []byte // of which frames have been read, if it is in several

	deflate    bool // the server may compress
	compressed bool // the message that was read last is
}

// newReceiver returns a receiver of nc. Messages of up to size bytes are not copied.
func newReceiver(nc net.Conn, size int) *receiver {
	return &receiver{r: bufio.NewReaderSize(nc, size+maxHeader)}
}

const maxHeader = 10 // bytes of a frame without a mask

// next reads a message. The payload is valid until the next call. Pings are passed
// over.
func (m *receiver) next() (opcode byte, payload []byte, err error) {
	m.message = m.message[:0]
	for {
		first, length, err := m.header()
		if err != nil {
			return 0, nil, err
		}
		if payload, err = m.payload(length); err != nil {
			return 0, nil, err
		}
		op, fin := first&0x0f, first&0x80 != 0
		switch {
		case first&0x30 != 0, first&rsv1 != 0 && (!m.deflate || op != opText && op != opBinary):
			return 0, nil, errors.New("a reserved bit is set")
		case op == opClose:
			return 0, nil, errors.New("the server closes the connection")
		case op > opClose:
			continue
		case (op == opContinuation) != (opcode != 0):
			return 0, nil, fmt.Errorf("a frame with opcode %d in the wrong place", op)
		case op != opContinuation:
			opcode, m.compressed = op, first&rsv1 != 0
			if fin {
				return opcode, payload, nil
			}
		}
		if m.message = append(m.message, payload...); fin {
			return opcode, m.message, nil
		}
	}
}

// header reads a frame's header.
func (m *receiver) header() (first byte, length int, err error) {
	h, err := m.r.Peek(2)
	if err != nil {
		return 0, 0, err
	}
	size := 2
	switch length = int(h[1]); {
	case length > 127:
		return 0, 0, errors.New("a server's frame is masked")
	case length == 126:
		size = 4
	case length == 127:
		size = 10
	}
	if h, err = m.r.Peek(size); err != nil {
		return 0, 0, err
	}
	first = h[0]
	switch size {
	case 4:
		length = int(binary.BigEndian.Uint16(h[2:]))
	case 10:
		length = int(binary.BigEndian.Uint64(h[2:]))
	}
	m.r.Discard(size)
	return first, length, nil
}

// payload reads a frame's payload, in place if that is possible.
func (m *receiver) payload(length int) ([]byte, error) {
	if length <= m.r.Size() {
		p, err := m.r.Peek(length)
		m.r.Discard(len(p))
		return p, err
	}
	p := make([]byte, length)
	_, err := io.ReadFull(m.r, p)
	return p, err
}

// expect reads a message and compares it.
func (m *receiver) expect(opcode byte, want []byte) error {
	op, p, err := m.next()
	switch {
	case err != nil:
		return err
	case op != opcode:
		return fmt.Errorf("a message of type %d, where %d was expected", op, opcode)
	case !bytes.Equal(p, want):
		return errors.New("a message is not the one that was expected")
	}
	return nil
}

// expectBytes reads bytes and compares them: what the raw loop sends is no frame of
// a server's.
func (m *receiver) expectBytes(want []byte) error {
	p, err := m.payload(len(want))
	if err == nil && !bytes.Equal(p, want) {
		err = errors.New("the bytes that came back are not those that were sent")
	}
	return err
}
