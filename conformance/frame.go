package main

import (
	"encoding/binary"
	"fmt"
	"io"
)

// This file is the suite's own codec of section 5.2. It parses strictly what the endpoint under test sends, and
// appends whatever a case asks for, however wrong: that is why it is not the library's codec.

type opcode byte

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xA
)

func (o opcode) control() bool  { return o >= 0x8 }
func (o opcode) reserved() bool { return o >= 0x3 && o <= 0x7 || o >= 0xB }

func (o opcode) String() string {
	switch o {
	case opContinuation:
		return "continuation"
	case opText:
		return "text"
	case opBinary:
		return "binary"
	case opClose:
		return "Close"
	case opPing:
		return "ping"
	case opPong:
		return "pong"
	}
	return fmt.Sprintf("reserved opcode 0x%X", byte(o))
}

// The reserved bits of a frame, as the three bits in the order in which they are sent.
const (
	rsv1 = 0b100
	rsv2 = 0b010
	rsv3 = 0b001
)

// A lengthForm is one of the three forms of the payload length: "7 bits, 7+16 bits, or 7+64 bits".
type lengthForm byte

const (
	minimalLength lengthForm = iota // the only form that 5.2 allows for a given length
	length16
	length64
)

func formFor(n uint64) lengthForm {
	switch {
	case n <= 125:
		return minimalLength
	case n <= 0xFFFF:
		return length16
	}
	return length64
}

// A frame is a frame of section 5.2. Its zero masking fields mean the legal thing: masked if and only if a client
// sends it. The fields below payload are there for frames that are malformed on purpose.
type frame struct {
	fin     bool
	rsv     byte
	opcode  opcode
	masked  bool
	key     [4]byte
	payload []byte

	form      lengthForm // a form other than the minimal one
	declared  uint64     // the length announced, if it is not that of payload
	wrongMask bool       // masked by a server, or not masked by a client
}

// declares is the length that the header of f announces.
func (f frame) declares() uint64 {
	if f.declared != 0 {
		return f.declared
	}
	return uint64(len(f.payload))
}

// appendFrame appends f as it is written on the wire.
func appendFrame(dst []byte, f frame) []byte {
	dst = append(dst, bit(f.fin, 0x80)|f.rsv<<4|byte(f.opcode))
	dst = appendLength(dst, f)
	if !f.masked {
		return append(dst, f.payload...)
	}
	dst = append(dst, f.key[:]...)
	start := len(dst)
	dst = append(dst, f.payload...)
	mask(dst[start:], f.key)
	return dst
}

func appendLength(dst []byte, f frame) []byte {
	n := f.declares()
	masked := bit(f.masked, 0x80)
	switch max(f.form, formFor(n)) {
	case length16:
		return binary.BigEndian.AppendUint16(append(dst, masked|126), uint16(n))
	case length64:
		return binary.BigEndian.AppendUint64(append(dst, masked|127), n)
	}
	return append(dst, masked|byte(n))
}

func bit(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}

// mask is 5.3: "transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4)", eight octets at a time where
// there are so many: large sizes are a good part of the suite's time.
func mask(p []byte, key [4]byte) {
	k := uint64(binary.NativeEndian.Uint32(key[:]))
	k |= k << 32
	i := 0
	for ; i+8 <= len(p); i += 8 {
		binary.NativeEndian.PutUint64(p[i:], binary.NativeEndian.Uint64(p[i:])^k)
	}
	for ; i < len(p); i++ {
		p[i] ^= key[i%4]
	}
}

// parseFrame parses the frame at the beginning of b and says how many octets it took. While b does not hold all of
// it the error is io.ErrUnexpectedEOF. The payload is unmasked in b and is part of b.
func parseFrame(b []byte) (frame, int, error) {
	if len(b) < 2 {
		return frame{}, 0, io.ErrUnexpectedEOF
	}
	f := frame{fin: b[0]&0x80 != 0, rsv: b[0] >> 4 & 0b111, opcode: opcode(b[0] & 0xF), masked: b[1]&0x80 != 0}
	length, n, err := parseLength(b)
	if err != nil {
		return frame{}, 0, err
	}
	if f.masked {
		if len(b) < n+4 {
			return frame{}, 0, io.ErrUnexpectedEOF
		}
		n += copy(f.key[:], b[n:])
	}
	if uint64(len(b)-n) < length {
		return frame{}, 0, io.ErrUnexpectedEOF
	}
	end := n + int(length)
	f.payload = b[n:end:end]
	if f.masked {
		mask(f.payload, f.key)
	}
	return f, end, nil
}

// The longest frame that the suite takes: no case asks for an echo of more than 16 MiB.
const maxFrame = 16<<20 + 1<<10

// parseLength parses the payload length of the frame at the beginning of b and says where it ends.
func parseLength(b []byte) (length uint64, n int, err error) {
	form := minimalLength
	switch b[1] & 0x7F {
	case 126:
		form, n = length16, 4
	case 127:
		form, n = length64, 10
	default:
		return uint64(b[1] & 0x7F), 2, nil
	}
	if len(b) < n {
		return 0, 0, io.ErrUnexpectedEOF
	}
	if form == length16 {
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	} else {
		length = binary.BigEndian.Uint64(b[2:])
	}
	if formFor(length) != form {
		return 0, 0, fmt.Errorf("announces %d octets in %d octets of length: 5.2 says that \"the minimal number of bytes MUST be used to encode the length\"", length, n-2)
	}
	if length > maxFrame {
		return 0, 0, fmt.Errorf("announces %d octets, more than any message that was sent", length)
	}
	return length, n, nil
}

// A notation of frames, for tables of cases: text("Hel").more(), continuation("lo"), ping("").

func text(s string) frame         { return dataFrame(opText, []byte(s)) }
func binaryFrame(p []byte) frame  { return dataFrame(opBinary, p) }
func continuation(s string) frame { return dataFrame(opContinuation, []byte(s)) }
func ping(s string) frame         { return dataFrame(opPing, []byte(s)) }
func pong(s string) frame         { return dataFrame(opPong, []byte(s)) }

func dataFrame(o opcode, p []byte) frame { return frame{fin: true, opcode: o, payload: p} }

// closeFrame is a Close frame with a status code and a reason.
func closeFrame(code statusCode, reason string) frame {
	p := binary.BigEndian.AppendUint16(nil, uint16(code))
	return dataFrame(opClose, append(p, reason...))
}

// closeBody is a Close frame with any octets as its body.
func closeBody(p string) frame { return dataFrame(opClose, []byte(p)) }

// more is f with the FIN bit clear: more frames of the message follow.
func (f frame) more() frame { f.fin = false; return f }

// bits is f with these reserved bits.
func (f frame) bits(rsv byte) frame { f.rsv = rsv; return f }

// in is f with its length in a longer form than needed.
func (f frame) in(form lengthForm) frame { f.form = form; return f }

// declaring is f with a header that announces n octets, whatever its payload holds.
func (f frame) declaring(n uint64) frame { f.declared = n; return f }

// until is f cut short: announced whole, but only its first n octets are sent.
func (f frame) until(n int) frame {
	f.declared, f.payload = uint64(len(f.payload)), f.payload[:n]
	return f
}

// wronglyMasked is f masked if a server sends it, and not masked if a client does.
func (f frame) wronglyMasked() frame { f.wrongMask = true; return f }

// String is f in short, for the record of what was sent.
func (f frame) String() string {
	s := f.opcode.String()
	if !f.fin {
		s += " FIN=0"
	}
	for i, name := range []string{"RSV1", "RSV2", "RSV3"} {
		if f.rsv&(rsv1>>i) != 0 {
			s += " " + name
		}
	}
	if f.wrongMask {
		s += " (wrongly masked or unmasked)"
	}
	if f.form != minimalLength && f.form != formFor(f.declares()) {
		s += fmt.Sprintf(" (length in %d octets)", 2+6*int(f.form-length16))
	}
	if f.declares() != uint64(len(f.payload)) {
		s += fmt.Sprintf(" announcing %d octets", f.declares())
	}
	return s + " " + inShort(f.payload)
}

// inShort describes a payload of any size in a few words.
func inShort(p []byte) string {
	const most = 24
	if len(p) <= most {
		return fmt.Sprintf("%q", p)
	}
	return fmt.Sprintf("%q... (%d octets)", p[:most], len(p))
}
