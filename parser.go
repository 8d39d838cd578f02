package websocket

import (
	"io"
	"slices"
)

// The parser: it takes what has arrived, and returns errMore when that is not
// enough. Called again after a fill, it goes on where it stopped.

// readHeader takes the header of the next frame. One that comes in pieces is
// gathered apart, so that waiting for the rest needs no block.
func (r *reader) readHeader() error {
	if r.nheader == 0 {
		n, err := r.frame.parse(r.unread)
		if err != io.ErrUnexpectedEOF {
			r.unread = r.unread[n:]
			return err
		}
	}
	for len(r.unread) > 0 {
		r.header[r.nheader] = r.unread[0]
		r.nheader++
		r.unread = r.unread[1:]
		if _, err := r.frame.parse(r.header[:r.nheader]); err != io.ErrUnexpectedEOF {
			r.nheader = 0
			return err
		}
	}
	return errMore
}

// toData goes on to the next data frame, and handles the control frames before
// it. It returns at once if there is a data frame in hand.
func (c *Conn) toData() error {
	r := &c.in
	for r.stage != atData {
		if r.stage == atHeader {
			if err := c.beginFrame(); err != nil {
				return err
			}
		}
		if r.stage == atControl {
			if err := c.readControl(); err != nil {
				return err
			}
			if r.quit != nil && r.quit() {
				return errGiveWay
			}
		}
	}
	return nil
}

// beginFrame takes the header of the next frame in hand.
func (c *Conn) beginFrame() error {
	r := &c.in
	err := r.readHeader()
	if err == errMore {
		return err
	}
	if err == nil {
		err = r.frame.check(c.role.peer(), c.flate != nil)
	}
	control := r.frame.Opcode.IsControl()
	if err == nil && !control {
		r.msgs.limit = r.limit.Load()
		err = r.msgs.beginFrame(r.frame)
	}
	if err != nil {
		return c.fail(err)
	}
	r.left, r.stage = r.frame.Length, atData
	if control {
		r.stage = atControl
	}
	return nil
}

// readControl takes the payload of a control frame, and does what the frame asks
// for.
func (c *Conn) readControl() error {
	r := &c.in
	p := r.take()
	if r.left > 0 {
		r.control = append(r.control, p...)
		return errMore
	}
	if r.control != nil {
		p = append(r.control, p...)
		r.control = nil
	}
	r.stage = atHeader
	switch r.frame.Opcode {
	case OpPing:
		return c.handlePing(p)
	case OpPong:
		return c.handlePong(p)
	case OpClose:
		e, err := parseClosePayload(p)
		if err != nil {
			return c.fail(err)
		}
		return c.handleClose(e)
	}
	return nil
}

// take returns what has arrived of the frame's payload, unmasked in place. It is
// good until the next fill.
func (r *reader) take() []byte {
	p := r.unread[:min(r.left, int64(len(r.unread)))]
	r.unread = r.unread[len(p):]
	r.unmask(p, p)
	return p
}

// unmask copies p, the next bytes of the frame's payload, to dst, unmasked, and
// counts them as taken.
func (r *reader) unmask(dst, p []byte) {
	r.frame.unmask(dst, p, int(r.frame.Length-r.left)&3)
	r.left -= int64(len(p))
}

// unmask copies p, which begins at offset in the payload of h, to dst, unmasked.
func (h *FrameHeader) unmask(dst, p []byte, offset int) {
	if h.Masked {
		Mask(dst, p, h.MaskKey, offset)
	} else {
		copy(dst, p)
	}
}

// readPayload takes the next bytes of a data frame's payload into p, which is not
// longer than what is left of it. If there are none it may ask the next fill to
// put them there: then it has to be called with the same p again. (By way of a block
// messages of 64 KiB and 1 MiB take 1.1 of the time.)
func (c *Conn) readPayload(p []byte) (n int, err error) {
	r := &c.in
	switch {
	case r.landed > 0:
		n, r.landed = r.landed, 0
		r.unmask(p, p[:n])
	case len(r.unread) > 0:
		n = min(len(p), len(r.unread))
		r.unmask(p, r.unread[:n])
		r.unread = r.unread[n:]
	default:
		if int64(len(p)) >= r.blockSize() {
			r.target = p
		}
		return 0, errMore
	}
	return n, c.checkPayload(p[:n])
}

func (c *Conn) checkPayload(p []byte) error {
	if err := c.in.msgs.payload(p); err != nil {
		return c.fail(err)
	}
	return nil
}

// endFrame ends a data frame, and reports whether that ended the message.
func (c *Conn) endFrame() (done bool, err error) {
	c.in.stage = atHeader
	done, err = c.in.msgs.endFrame()
	if err != nil {
		err = c.fail(err)
	} else if done {
		c.in.traffic.message(c.in.msgs.size)
	}
	return done, err
}

// between reports that the reader is between two messages, at the beginning of a
// header.
func (r *reader) between() bool {
	return r.stage == atHeader && r.nheader == 0 && r.msgs.between() && r.whole == 0 && r.stream == nil
}

// starved reports that it is, and that nothing more has arrived.
func (r *reader) starved() bool { return len(r.unread) == 0 && r.between() }

// takeWhole appends the next message to dst if it is as most messages are: one
// frame, not compressed, all of which has arrived. If it is not, or anything is
// wrong with it, nothing is taken, and assemble will do it justice (no error is made
// for what is merely compressed: its text would cost two allocations). Without this an
// echo of 64 B messages costs 1.5 x as much in the parser and the queue.
func (c *Conn) takeWhole(dst []byte) (typ MessageType, p []byte, ok bool) {
	r := &c.in
	if !r.between() {
		return 0, nil, false
	}
	var h FrameHeader
	n, err := h.parse(r.unread)
	limit := r.limit.Load()
	switch {
	case err != nil, h.Length > int64(len(r.unread)-n), limit >= 0 && h.Length > limit:
		return 0, nil, false
	case !h.Fin, h.RSV1, h.Opcode != OpText && h.Opcode != OpBinary, h.check(c.role.peer(), false) != nil:
		return 0, nil, false
	}
	end := n + int(h.Length)
	p = slices.Grow(dst, int(h.Length))[:len(dst)+int(h.Length)]
	h.unmask(p[len(dst):], r.unread[n:end], 0)
	if h.Opcode == OpText && !validUTF8(p[len(dst):]) {
		return 0, nil, false
	}
	r.unread = r.unread[end:]
	r.traffic.message(h.Length)
	return MessageType(h.Opcode), p, true
}

// assemble appends the message in hand, or the next, to partial, until it is whole.
func (c *Conn) assemble() (MessageType, error) {
	r := &c.in
	if typ := r.whole; typ != 0 {
		r.whole = 0
		return typ, nil
	}
	for {
		if err := c.toData(); err != nil {
			return 0, err
		}
		if r.msgs.compressed {
			return c.assembleDeflated()
		}
		for r.left > 0 {
			if len(r.unread) == 0 && r.landed == 0 && r.left < r.blockSize() {
				return 0, errMore
			}
			p := r.grow(r.partial)
			room := min(int64(cap(p)-len(p)), r.left)
			n, err := c.readPayload(p[len(p) : len(p)+int(room)])
			r.partial = p[:len(p)+n]
			if err != nil {
				return 0, err
			}
		}
		typ := r.msgs.typ
		if done, err := c.endFrame(); err != nil {
			return 0, err
		} else if done {
			return typ, nil
		}
	}
}

// grow returns dst with room for the payload that is next. Memory follows what
// has arrived, never what a header declares: it is at most twice that. Whoever
// announces much has to send it. (Twice and not once, since the rest of a message of
// 64 KiB is often only what the header has displaced: ReadMessage of such messages
// takes 0.6 of the time.)
func (r *reader) grow(dst []byte) []byte {
	arrived := min(r.left, int64(len(r.unread)))
	free := int64(cap(dst) - len(dst))
	if free > 0 && free >= arrived {
		return dst
	}
	room := min(r.left, max(int64(len(dst))+2*arrived, smallBuffer))
	if !r.frame.Fin { // many small fragments must not mean as many copies of what is there
		room = max(room, int64(len(dst)))
	}
	grown := make([]byte, len(dst), int64(len(dst))+room)
	copy(grown, dst)
	return grown
}

// readStream reads the message in hand in pieces. With the last of them it returns
// io.EOF, if it can be known: an application that then reads nothing more, as a
// json.Decoder does, has left nothing.
func (c *Conn) readStream(p []byte) (n int, err error) {
	r := &c.in
	for {
		if len(r.partial) > 0 {
			n = copy(p, r.partial)
			if r.partial = r.partial[n:]; len(r.partial) > 0 || r.whole == 0 {
				return n, nil
			}
		}
		r.partial = nil
		if r.whole != 0 {
			r.whole, r.stream = 0, nil
			return n, io.EOF
		}
		if err := c.toData(); err != nil {
			return 0, err
		}
		if r.msgs.compressed {
			n, err = c.inflate(p)
			if err == io.EOF {
				r.stream = nil
			}
			return n, err
		}
		if r.left > 0 {
			n, err = c.readPayload(p[:min(int64(len(p)), r.left)])
			if err != nil || r.left > 0 || !r.frame.Fin {
				return n, err
			}
		}
		if done, err := c.endFrame(); err != nil {
			return n, err
		} else if done {
			r.stream = nil
			return n, io.EOF
		}
	}
}

// discard takes the rest of the message in hand, or the next, without keeping it.
// It is checked all the same.
func (c *Conn) discard() error {
	r := &c.in
	r.partial = nil
	if r.whole != 0 {
		r.whole, r.stream = 0, nil
		return nil
	}
	if !r.msgs.between() {
		r.stream = discarded // also if this is interrupted now
	}
	for {
		if err := c.toData(); err != nil {
			return err
		}
		r.stream = discarded
		if r.msgs.compressed {
			err := c.discardDeflated()
			if err == io.EOF {
				r.stream, err = nil, nil
			}
			return err
		}
		if r.left > 0 {
			if err := c.checkPayload(r.take()); err != nil {
				return err
			}
		}
		if r.left > 0 {
			return errMore
		}
		if done, err := c.endFrame(); err != nil {
			return err
		} else if done {
			r.stream = nil
			return nil
		}
	}
}
