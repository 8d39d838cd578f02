package websocket

import (
	"encoding/binary"
	"fmt"
	"io"
)

// An Opcode says how the payload of a frame is to be read (RFC 6455 5.2).
type Opcode byte

// The opcodes that RFC 6455 defines. All others are reserved, and a frame that
// carries one fails the connection.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xA
)

// IsControl reports whether o is the opcode of a control frame, reserved ones
// included: those "where the most significant bit of the opcode is 1" (5.5).
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// String returns what the RFC calls it, or its number if it is reserved.
func (o Opcode) String() string {
	switch o {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	}
	return fmt.Sprintf("reserved opcode %#x", byte(o))
}

func (o Opcode) reserved() bool {
	return o > OpBinary && o < OpClose || o > OpPong
}

// A role is the side of a connection that an endpoint is on. RFC 6455 treats
// the two alike but for a few rules, which are asked of the role by name.
type role byte

const (
	server role = iota
	client
)

func (r role) String() string {
	if r == client {
		return "client"
	}
	return "server"
}

func (r role) peer() role { return r ^ 1 }

// masks: 5.1 "a client MUST mask all frames that it sends to the server";
// "A server MUST NOT mask any frames that it sends to the client."
func (r role) masks() bool { return r == client }

// closesTCPFirst: 7.1.1 "In most normal cases, the TCP connection SHOULD be
// closed first by the server", so that it and not the client holds TIME_WAIT.
func (r role) closesTCPFirst() bool { return r == server }

// A FrameHeader is what stands before the payload of a frame (RFC 6455 5.2).
type FrameHeader struct {
	Fin              bool    // the last frame of its message
	RSV1, RSV2, RSV3 bool    // RSV1 marks a compressed message (RFC 7692 6); the others are reserved
	Opcode           Opcode  // how the payload is to be read
	Masked           bool    // the payload is, with MaskKey (5.3)
	MaskKey          [4]byte // if Masked
	Length           int64   // of the payload, in bytes; never negative
}

// The bits of a header's first two bytes, and the values of the seven-bit
// length that announce a longer one (5.2).
const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsv2Bit = 0x20
	rsv3Bit = 0x10
	maskBit = 0x80

	length16 = 126
	length64 = 127
)

const (
	maxFrameHeader    = 2 + 8 + 4
	maxControlPayload = 125 // 5.5: "All control frames MUST have a payload length of 125 bytes or less"
)

// ParseFrameHeader reads the frame header at the start of p and returns it with
// its size in bytes. It returns io.ErrUnexpectedEOF while p holds only a part of
// a header, and a [*ProtocolError] for a length that is not encoded as RFC 6455
// 5.2 demands. Whether such a frame may come at all (its opcode, its reserved
// bits, its mask) is not judged here.
func ParseFrameHeader(p []byte) (h FrameHeader, n int, err error) {
	if n, err = h.parse(p); err != nil {
		return FrameHeader{}, 0, err
	}
	return h, n, nil
}

// parse is ParseFrameHeader into h, of which an error leaves parts behind.
func (h *FrameHeader) parse(p []byte) (n int, err error) {
	if len(p) < 2 {
		return 0, io.ErrUnexpectedEOF
	}
	b0, b1 := p[0], p[1]
	h.Fin = b0&finBit != 0
	h.RSV1 = b0&rsv1Bit != 0
	h.RSV2 = b0&rsv2Bit != 0
	h.RSV3 = b0&rsv3Bit != 0
	h.Opcode = Opcode(b0 & 0x0f)
	h.Masked = b1&maskBit != 0
	h.MaskKey = [4]byte{}
	length := int64(b1 &^ maskBit)
	n = 2
	switch length {
	case length16:
		if len(p) < n+2 {
			return 0, io.ErrUnexpectedEOF
		}
		length = int64(binary.BigEndian.Uint16(p[n:]))
		n += 2
	case length64:
		if len(p) < n+8 {
			return 0, io.ErrUnexpectedEOF
		}
		length = int64(binary.BigEndian.Uint64(p[n:]))
		n += 8
	}
	if err := checkLength(length, n); err != nil {
		return 0, err
	}
	h.Length = length
	if h.Masked {
		if len(p) < n+4 {
			return 0, io.ErrUnexpectedEOF
		}
		h.MaskKey = [4]byte(p[n:])
		n += 4
	}
	return n, nil
}

// checkLength judges a length by the n bytes of header that it was found in,
// which FrameHeader does not keep.
func checkLength(length int64, n int) error {
	switch {
	// 5.2: "the most significant bit MUST be 0"
	case length < 0:
		return protocolError("5.2", "a payload length with its most significant bit set")
	// 5.2: "in all cases, the minimal number of bytes MUST be used to encode the length"
	case n > 2 && length < length16, n > 4 && length <= 0xffff:
		return protocolError("5.2", "a payload length of %d that is not encoded in the minimal number of bytes", length)
	}
	return nil
}

// AppendFrameHeader appends h to dst, its length in the minimal number of bytes,
// and returns the extended slice. A negative Length is taken for 0.
func AppendFrameHeader(dst []byte, h FrameHeader) []byte { return h.append(dst) }

func (h *FrameHeader) append(dst []byte) []byte {
	b0 := byte(h.Opcode & 0x0f)
	if h.Fin {
		b0 |= finBit
	}
	if h.RSV1 {
		b0 |= rsv1Bit
	}
	if h.RSV2 {
		b0 |= rsv2Bit
	}
	if h.RSV3 {
		b0 |= rsv3Bit
	}
	var b1 byte
	if h.Masked {
		b1 = maskBit
	}
	switch length := max(h.Length, 0); {
	case length < length16:
		dst = append(dst, b0, b1|byte(length))
	case length <= 0xffff:
		dst = append(dst, b0, b1|length16, byte(length>>8), byte(length))
	default:
		dst = append(dst, b0, b1|length64)
		dst = binary.BigEndian.AppendUint64(dst, uint64(length))
	}
	if h.Masked {
		dst = append(dst, h.MaskKey[:]...)
	}
	return dst
}

// check judges the header of a frame that sender has sent: every rule of 5.2 to
// 5.5 that one header by itself can break. What depends on the frames before it
// is the assembler's. deflate says that permessage-deflate was negotiated.
func (h *FrameHeader) check(sender role, deflate bool) error {
	switch {
	// 5.2: "If a nonzero value is received and none of the negotiated extensions
	// defines the meaning of such a nonzero value, the receiving endpoint MUST
	// _Fail the WebSocket Connection_."
	case h.RSV2 || h.RSV3:
		return protocolError("5.2", "a reserved bit is set")
	// RFC 7692 6.1: "This bit MUST NOT be set on control frames" nor on the frames
	// that follow the first of a message.
	case h.RSV1 && !(deflate && (h.Opcode == OpText || h.Opcode == OpBinary)):
		return protocolError("5.2", "RSV1 is set on a %v frame", h.Opcode)
	// 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the
	// WebSocket Connection_."
	case h.Opcode.reserved():
		return protocolError("5.2", "a frame with %v", h.Opcode)
	// 5.5: "All control frames MUST have a payload length of 125 bytes or less and
	// MUST NOT be fragmented."
	case h.Opcode.IsControl() && h.Length > maxControlPayload:
		return protocolError("5.5", "a %v frame with a payload of %d bytes", h.Opcode, h.Length)
	case h.Opcode.IsControl() && !h.Fin:
		return protocolError("5.5", "a fragmented %v frame", h.Opcode)
	// 5.1: "The server MUST close the connection upon receiving a frame that is not
	// masked." "A client MUST close a connection if it detects a masked frame."
	case h.Masked && !sender.masks():
		return protocolError("5.1", "a masked frame from a server")
	case !h.Masked && sender.masks():
		return protocolError("5.1", "an unmasked frame from a client")
	}
	return nil
}
