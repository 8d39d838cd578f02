package main

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// This file is RFC 7692 7.2: the payloads of compressed messages. The DEFLATE itself is that of the standard library.

// The end of every compressed message, which its sender removes and its receiver appends (7.2.1, 7.2.2).
const syncMarker = "\x00\x00\xFF\xFF"

// A final empty block, so that compress/flate sees where the message ends.
const finalBlock = "\x01\x00\x00\xFF\xFF"

const largestWindow = 1 << 15

// A deflater compresses messages, within a window, with or without context takeover.
type deflater struct {
	takeover bool
	window   int
	out      bytes.Buffer
	w        *flate.Writer
}

func newDeflater(takeover bool, windowBits int) *deflater {
	d := &deflater{takeover: takeover, window: 1 << windowBits}
	d.w, _ = flate.NewWriter(&d.out, flate.DefaultCompression) // fails for unknown levels only
	return d
}

// deflate compresses a message. compress/flate knows one window, of 32 KiB; a smaller one is kept by beginning anew before
// any distance could be longer.
func (d *deflater) deflate(p []byte) []byte {
	d.out.Reset()
	if !d.takeover {
		d.w.Reset(&d.out)
	}
	if d.window < largestWindow {
		d.inPieces(p)
	} else {
		d.w.Write(p)
		d.w.Flush()
	}
	return clone(bytes.TrimSuffix(d.out.Bytes(), []byte(syncMarker)))
}

func (d *deflater) inPieces(p []byte) {
	for first := true; first || len(p) > 0; first = false {
		n := min(len(p), d.window)
		d.w.Reset(&d.out)
		d.w.Write(p[:n])
		d.w.Flush()
		p = p[n:]
	}
}

// An inflater is the other direction.
type inflater struct {
	takeover bool
	window   int
	history  []byte // at most a window of what went before
	r        io.ReadCloser
}

func newInflater(takeover bool, windowBits int) *inflater {
	return &inflater{takeover: takeover, window: 1 << windowBits, r: flate.NewReader(nil)}
}

// inflate expands a message. A block with BFINAL ends a DEFLATE stream and not the message (7.2.3.4), so as long as there is
// input it begins again.
func (i *inflater) inflate(p []byte) ([]byte, error) {
	if !i.takeover {
		i.history = nil
	}
	in := bytes.NewReader(append(clone(p), syncMarker+finalBlock...))
	var message []byte
	for in.Len() > 0 {
		i.r.(flate.Resetter).Reset(in, i.history)
		part, err := io.ReadAll(io.LimitReader(i.r, maxFrame))
		if err != nil {
			return nil, err
		}
		message = append(message, part...)
		if len(message) >= maxFrame {
			return nil, errors.New("it inflates to more than any message that was sent")
		}
		i.history = i.tail(part)
	}
	return message, nil
}

// tail is the last window of the history and p.
func (i *inflater) tail(p []byte) []byte {
	if len(p) < i.window {
		p = append(clone(i.history), p...)
	}
	return p[max(0, len(p)-i.window):]
}

// deflateParameters are the parameters of permessage-deflate (RFC 7692 7.1), offered or agreed.
type deflateParameters struct {
	serverNoTakeover bool
	clientNoTakeover bool
	serverBits       int  // 0 is none given
	clientBits       int  // 0 is none given
	clientBitsHint   bool // offered without a value: the server may give one
}

func (p deflateParameters) String() string {
	s := "permessage-deflate"
	if p.serverNoTakeover {
		s += "; server_no_context_takeover"
	}
	if p.clientNoTakeover {
		s += "; client_no_context_takeover"
	}
	if p.serverBits != 0 {
		s += fmt.Sprintf("; server_max_window_bits=%d", p.serverBits)
	}
	if p.clientBits != 0 {
		s += fmt.Sprintf("; client_max_window_bits=%d", p.clientBits)
	} else if p.clientBitsHint {
		s += "; client_max_window_bits"
	}
	return s
}

// codecs makes the suite's two halves of an agreement: the endpoint under test has the given role.
func (p deflateParameters) codecs(tested role) (*deflater, *inflater) {
	serverBits, clientBits := orLargest(p.serverBits), orLargest(p.clientBits)
	if tested == server {
		return newDeflater(!p.clientNoTakeover, clientBits), newInflater(!p.serverNoTakeover, serverBits)
	}
	return newDeflater(!p.serverNoTakeover, serverBits), newInflater(!p.clientNoTakeover, clientBits)
}

func orLargest(bits int) int {
	if bits == 0 {
		return 15
	}
	return bits
}

// packBits packs a DEFLATE stream written as the bits in the order in which they are sent; spaces are for the reader. RFC 1951
// 3.1.1: octets fill from their least significant bit.
func packBits(s string) string {
	var p []byte
	n := 0
	for _, c := range s {
		if c == ' ' {
			continue
		}
		if n%8 == 0 {
			p = append(p, 0)
		}
		p[n/8] |= byte(c-'0') << (n % 8)
		n++
	}
	return string(p)
}
