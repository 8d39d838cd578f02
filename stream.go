package websocket

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"example.com/websocket/internal/deadline"
)

// Stream returns a byte stream over the messages of c, for protocols that know
// nothing of messages. It is a complete [net.Conn]: any number of goroutines may use
// it, its addresses are those of c, and a read or write that a deadline has ended
// leaves the connection as it was, so that it goes on with another deadline.
//
// Read returns the bytes of the messages that come, of either type, one after the
// other; where one ends and the next begins is not to be seen. It returns [io.EOF]
// when the peer has closed the connection with [StatusNormalClosure],
// [StatusGoingAway] or [StatusNoStatus], and otherwise the errors of
// [Conn.ReadMessage]. Each message is bounded by the read limit (Options.ReadLimit).
//
// Write sends messages of type typ: one of at most 16 KiB, and several if it is given
// more, between which no other Write comes. It returns when these are in the
// connection's queue (see [Conn.Flush]), with the errors of [Conn.WriteMessage], and
// how many bytes of a Write that has failed will arrive. With MessageText each Write
// has to be UTF-8 by itself; most protocols want [MessageBinary].
//
// Close makes the closing handshake with [StatusNormalClosure], as [Conn.Shutdown]
// does: what was written arrives, and what the peer still sends is discarded. It waits
// for the peer for 5 s at the most, after which the connection is closed without, and
// an error returned. Calls that are under way, and those to come, return
// [net.ErrClosed].
//
// While the stream is in use the connection is not to be read from by other means.
// Nobody but Read notices that the peer has closed it.
func Stream(c *Conn, typ MessageType) net.Conn { return &byteStream{c: c, typ: typ} }

// streamMessage is the most that a stream sends in one message. It stays below
// largeWrite, so that each message is queued whole or not at all: a deadline never
// comes in the middle of one, which would fail the connection. And it stays far below
// the limits that peers have for a message.
const streamMessage = 16 << 10

// A byteStream is what Stream returns.
type byteStream struct {
	c                 *Conn
	typ               MessageType
	readEnd, writeEnd deadline.Deadline
	reading, writing  slot           // one Read and one Write at a time; by these, since deadlines end the wait for them too
	message           *messageReader // that was begun and is not at its end, or nil; of the holder of reading
	closed            atomic.Bool
}

func (s *byteStream) Read(p []byte) (int, error) {
	ctx := s.readEnd.Context()
	if err := s.begin(ctx, &s.reading); err != nil {
		return 0, err
	}
	defer s.reading.give()
	for len(p) > 0 {
		n, err := s.read(ctx, p)
		switch {
		case err == nil && n == 0: // an empty message, or the end of one
		case err == nil:
			return n, nil
		case isNormalClose(err) && !s.closed.Load():
			return n, io.EOF
		default:
			return n, s.reason(ctx, err)
		}
	}
	return 0, nil
}

// begin takes a slot for a call, if its deadline is still to come.
func (s *byteStream) begin(ctx context.Context, slot *slot) error {
	if ctx.Err() != nil || !slot.take(ctx, byApplication, nil, nil) {
		return s.reason(ctx, ctx.Err())
	}
	if s.closed.Load() {
		slot.give()
		return net.ErrClosed
	}
	return nil
}

// reason returns the error of a call with context ctx as a net.Conn has it.
func (s *byteStream) reason(ctx context.Context, err error) error {
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return deadline.Error(ctx, err)
}

// read reads from the message in hand, or begins the next. It may return 0 and no
// error.
func (s *byteStream) read(ctx context.Context, p []byte) (int, error) {
	if s.message == nil {
		_, r, err := s.c.NextReader(ctx)
		if err != nil {
			return 0, err
		}
		s.message = r.(*messageReader)
	}
	s.message.ctx = ctx
	n, err := s.message.Read(p)
	if err == io.EOF {
		s.message, err = nil, nil
	}
	return n, err
}

func (s *byteStream) Write(p []byte) (n int, err error) {
	ctx := s.writeEnd.Context()
	if err := s.begin(ctx, &s.writing); err != nil {
		return 0, err
	}
	defer s.writing.give()
	for n < len(p) {
		q := s.piece(p[n:])
		if err := s.c.WriteMessage(ctx, s.typ, q); err != nil {
			return n, s.reason(ctx, err)
		}
		n += len(q)
	}
	return n, nil
}

// piece returns as much of p as goes into one message. Text is cut between characters.
func (s *byteStream) piece(p []byte) []byte {
	if len(p) <= streamMessage {
		return p
	}
	n := streamMessage
	for s.typ == MessageText && n > streamMessage-utf8.UTFMax && !utf8.RuneStart(p[n]) {
		n--
	}
	return p[:n]
}

func (s *byteStream) Close() error {
	if !s.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	s.readEnd.Set(past)
	s.writeEnd.Set(past)
	ctx, cancel := context.WithTimeout(context.Background(), handlerShutdownTimeout)
	defer cancel()
	if s.reading.take(ctx, byApplication, nil, nil) { // Shutdown reads itself when nobody else does
		defer s.reading.give()
	}
	return s.c.Shutdown(ctx, StatusNormalClosure, "")
}

func (s *byteStream) LocalAddr() net.Addr  { return s.c.LocalAddr() }
func (s *byteStream) RemoteAddr() net.Addr { return s.c.RemoteAddr() }

func (s *byteStream) SetDeadline(t time.Time) error {
	return s.setDeadlines(t, &s.readEnd, &s.writeEnd)
}
func (s *byteStream) SetReadDeadline(t time.Time) error  { return s.setDeadlines(t, &s.readEnd) }
func (s *byteStream) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, &s.writeEnd) }

func (s *byteStream) setDeadlines(t time.Time, ends ...*deadline.Deadline) error {
	if s.closed.Load() {
		return net.ErrClosed
	}
	for _, end := range ends {
		end.Set(t)
	}
	return nil
}
