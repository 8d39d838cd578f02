package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// What the load client needs of RFC 6455 is written here a second time, and uses
// no WebSocket library: so it can judge all of them.

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
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

// A checker compares what a server sends with the messages that it should send.
type checker interface {
	// feed takes the next bytes and returns how many messages they complete.
	feed(p []byte) (done int, err error)
}

// A streamChecker expects the same bytes over and over: the raw loop's.
type streamChecker struct {
	want  []byte
	frame int // bytes of a message
	at    int
}

func (c *streamChecker) feed(p []byte) (done int, err error) {
	for len(p) > 0 {
		n := min(len(p), len(c.want)-c.at)
		if !bytes.Equal(p[:n], c.want[c.at:c.at+n]) {
			return done, errors.New("the bytes that came back are not those that were sent")
		}
		done += (c.at+n)/c.frame - c.at/c.frame
		c.at = (c.at + n) % len(c.want)
		p = p[n:]
	}
	return done, nil
}

// A frameChecker expects messages in frames, which a server may cut as it likes.
type frameChecker struct {
	opcode byte
	next   func() []byte // the payload of the next message; valid until it is called again

	header  [10]byte
	nheader int
	left    int    // bytes of the frame's payload that are still to come
	begun   bool   // a message's first frame has been seen
	want    []byte // what is still to come of the message
}

// round returns a next function that goes through payloads, over and over.
func round(payloads [][]byte) func() []byte {
	i := -1
	return func() []byte {
		i = (i + 1) % len(payloads)
		return payloads[i]
	}
}

func (c *frameChecker) feed(p []byte) (done int, err error) {
	for len(p) > 0 {
		if c.left == 0 {
			n, whole, err := c.feedHeader(p)
			if err != nil {
				return done, err
			}
			p = p[n:]
			if !whole {
				continue
			}
		}
		n := min(len(p), c.left)
		if !c.control() {
			if n > len(c.want) || !bytes.Equal(p[:n], c.want[:n]) {
				return done, errors.New("a message is not the one that was expected")
			}
			c.want = c.want[n:]
		}
		p, c.left = p[n:], c.left-n
		if c.left == 0 {
			c.nheader = 0
			if c.header[0]&0x80 != 0 && !c.control() {
				if len(c.want) != 0 {
					return done, errors.New("a message ended early")
				}
				c.begun = false
				done++
			}
		}
	}
	return done, nil
}

func (c *frameChecker) control() bool { return c.header[0]&0x08 != 0 }

// feedHeader takes bytes of a header. Whole says that it is complete, and that its
// payload is in left.
func (c *frameChecker) feedHeader(p []byte) (n int, whole bool, err error) {
	for n < len(p) {
		c.header[c.nheader] = p[n]
		c.nheader++
		n++
		if c.nheader < 2 {
			continue
		}
		switch length := c.header[1]; {
		case length < 126:
			c.left = int(length)
		case length == 126 && c.nheader == 4:
			c.left = int(binary.BigEndian.Uint16(c.header[2:4]))
		case length == 127 && c.nheader == 10:
			c.left = int(binary.BigEndian.Uint64(c.header[2:10]))
		case length > 127:
			return n, false, errors.New("a server's frame is masked")
		default:
			continue
		}
		return n, true, c.begin()
	}
	return n, false, nil
}

// begin judges a header.
func (c *frameChecker) begin() error {
	opcode := c.header[0] & 0x0f
	switch {
	case c.header[0]&0x70 != 0:
		return errors.New("a reserved bit is set")
	case opcode == opClose:
		return errors.New("the server closes the connection")
	case c.control():
		return nil
	case opcode == opContinuation && c.begun:
		return nil
	case opcode != c.opcode || c.begun:
		return fmt.Errorf("a frame with opcode %d in the wrong place", opcode)
	}
	c.begun, c.want = true, c.next()
	return nil
}
