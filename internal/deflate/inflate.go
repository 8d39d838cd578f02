package deflate

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
)

// ErrTooLarge is returned for a message that is longer than the limit.
var ErrTooLarge = errors.New("deflate: message exceeds the limit")

// A CorruptError is what is wrong with a message.
type CorruptError struct {
	Offset int64 // of the fault in the message, in bytes, or shortly behind
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("deflate: %s (at byte %d of the message)", e.Reason, e.Offset)
}

// An Inflater recovers messages from the payloads of one direction of one
// connection (RFC 7692, section 7.2.2).
//
// With context takeover it keeps the last bytes of the messages, as many as
// the window has. Without, it keeps nothing between messages. All else comes
// from a pool, for the time of a call of AppendMessage or from the first
// Inflate to the end of the message.
//
// Errors are final: an Inflater that has returned one, other than io.EOF,
// returns it again.
type Inflater struct {
	windowBits uint8
	takeover   bool
	err        error
	decoder    *decoder // of the message in progress
	history    history
}

// NewInflater returns an Inflater for distances of at most 1<<windowBits,
// 8 <= windowBits <= 15. With takeover a message may refer to those before it.
func NewInflater(windowBits int, takeover bool) *Inflater {
	checkWindowBits(windowBits)
	return &Inflater{windowBits: uint8(windowBits), takeover: takeover}
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// AppendMessage appends the message to dst whose compressed form is src. It
// returns ErrTooLarge, and has not used much more memory, when the message is
// longer than limit. With an error it returns what comes before the fault, or
// the limit.
//
// It needs outSlack bytes behind the message. A dst that it has returned and
// that is used again, cut to its old length, has them.
func (z *Inflater) AppendMessage(dst, src []byte, limit int) ([]byte, error) {
	d, err := z.begin(src)
	if err != nil {
		return dst, err
	}
	limit = min(limit, math.MaxInt-outSlack-len(dst))
	d.start, d.o = len(dst), len(dst)
	d.setRoom(dst[:cap(dst)], limit)
	for {
		switch s := d.run(); {
		case d.o-d.start > limit || s == needRoom && d.o-d.start == limit:
			return d.out[:d.start+limit], z.fail(ErrTooLarge)
		case s == needRoom:
			d.grow(limit)
		case s == needInput && d.atEnd():
			out := d.out[:d.o]
			if z.takeover {
				z.history.add(out[d.start:], d.window)
			}
			z.release()
			return out, nil
		case s == needInput:
			return d.out[:d.o], z.fail(d.corruptError("unexpected end"))
		default:
			return d.out[:d.o], z.fail(d.corruptError(d.reason))
		}
	}
}

// Inflate takes from src and writes to dst, until it needs more input or more
// room. It returns how much it wrote and took, before a fault too. The end of src
// is that of the message if last is true; then the error is io.EOF once all has
// been written. Between messages dst and src are all that an Inflater has of a
// message's memory, and all of dst may be written to.
func (z *Inflater) Inflate(dst, src []byte, last bool) (written, taken int, err error) {
	d, err := z.begin(src)
	if err != nil {
		return 0, 0, err
	}
	d.out, d.start, d.o, d.end = dst, 0, 0, len(dst)
	s := d.run()
	written, taken = d.o, d.pos
	d.taken += int64(taken)
	d.src, d.out, d.pos = nil, nil, 0
	end := s == needInput && last
	switch {
	case s == corrupt:
		return written, taken, z.fail(d.corruptError(d.reason))
	case end && !d.atEnd():
		return written, taken, z.fail(d.corruptError("unexpected end"))
	}
	if z.takeover || !end {
		z.keep(dst[:written])
	}
	if end {
		z.release()
		return written, taken, io.EOF
	}
	return written, taken, nil
}

func (z *Inflater) begin(src []byte) (*decoder, error) {
	if z.err != nil {
		return nil, z.err
	}
	if z.decoder == nil {
		z.decoder = decoders.Get().(*decoder)
		z.decoder.begin()
	}
	d := z.decoder
	d.history, d.window = &z.history, 1<<z.windowBits
	d.src, d.pos = src, 0
	return d, nil
}

// keep adds p to the history. Without takeover that is only until the message
// ends, so the ring is borrowed.
func (z *Inflater) keep(p []byte) {
	window := 1 << z.windowBits
	if !z.takeover && z.history.ring == nil {
		z.history.ring = windows.Get().(*[1 << maxWindowBits]byte)[:window]
	}
	z.history.add(p, window)
}

func (z *Inflater) fail(err error) error {
	z.err = err
	z.release()
	return err
}

// release ends the message in progress.
func (z *Inflater) release() {
	d := z.decoder
	z.decoder = nil
	d.src, d.out, d.history, d.litLen, d.dist = nil, nil, nil, nil, nil
	decoders.Put(d)
	if z.takeover {
		return
	}
	if z.history.ring != nil {
		windows.Put((*[1 << maxWindowBits]byte)(z.history.ring[:1<<maxWindowBits]))
	}
	z.history = history{}
}

func (d *decoder) corruptError(reason string) error {
	return &CorruptError{Offset: d.taken + int64(d.pos) - int64(d.n/8), Reason: reason}
}

// setRoom lets d write to out, behind d.start at most limit bytes: up to the
// slack of fastSymbols, so that all but the end of the input goes through that.
func (d *decoder) setRoom(out []byte, limit int) {
	d.out = out
	d.end = min(len(out)-outSlack, d.start+limit)
}

// grow at least doubles the room, within the limit. It follows what has been
// written; to reserve a multiple of the input, which is what an ordinary
// message would need, would be waste for most others.
func (d *decoder) grow(limit int) {
	written := d.o - d.start
	more := min(max(written, len(d.src), 256), limit-written)
	out := slices.Grow(d.out[:d.o], more+outSlack)
	d.setRoom(out[:cap(out)], limit)
}
