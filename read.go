package websocket

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A reader is the receiving direction of a Conn. What has been parsed of a frame
// and assembled of a message lives here and never on a stack, so that a read which
// is cancelled at any byte loses nothing: the next goes on where it stopped.
type reader struct {
	// role is held by the one who reads: a call of the application, a pump, or
	// finish in the end. It guards all fields but those of the second group.
	role slot

	err        atomic.Pointer[error] // why nothing more is read; the first one stays, but for Close
	heard      atomic.Int64          // the instant at which bytes have come last
	limit      atomic.Int64          // the next frame's msgs.limit
	wanted     atomic.Int32          // calls of the application that wait for a pump to give way
	impatient  atomic.Bool           // pumps hold a message only for lingerTimeout
	discarding atomic.Bool           // pumps discard messages
	holding    atomic.Bool           // a pump holds a message, and does not wait for the peer
	want       chan struct{}         // wakes a pump that waits with the role; made by the first, under out.mu

	// Bytes that have arrived. While the reader waits for more, it has none of
	// these, and block has been given back: waiting costs no memory.
	block  []byte // from the pool, or nil
	unread []byte // the end of block
	target []byte // what the next fill is to read into instead: a large payload's own memory
	landed int    // bytes that it has put there
	packed []byte // of a compressed frame, in block: unmasked and not inflated yet

	traffic Traffic // what has come
	large   bool    // the next block is a large one
	spare   uint8   // large blocks in a row that a small one would have done for

	// The frame in hand.
	stage   stage
	header  [maxFrameHeader]byte // as much as has come of one that has come in pieces
	nheader uint8
	whole   MessageType // of the message in hand, if partial is all of it; else 0
	frame   FrameHeader
	left    int64 // bytes of its payload that have not been taken yet
	pending bool  // the inflater may have more than there was room for
	control []byte

	// The message in hand.
	msgs    assembler
	partial []byte         // what a read that did not finish has left, or a pump has read
	stream  *messageReader // who reads it in pieces

	// The context that interrupts reads; kept from call to call.
	watch watch
	quit  func() bool // set by a pump: it has no more reason to read
}

// Who holds the reader role.
const (
	byApplication int32 = 1 + iota
	byPump
	byFinish
)

// A stage says what the next byte belongs to.
type stage byte

const (
	atHeader stage = iota
	atControl
	atData
)

var (
	errConcurrentRead = errors.New("websocket: another goroutine, or CloseRead, is reading from this connection: one at a time may")
	errDiscarded      = errors.New("websocket: this message's reader is out of date: a later read has discarded the rest of the message")

	// Never seen outside.
	errMore    = errors.New("websocket: the parser needs more bytes")
	errGiveWay = errors.New("websocket: a pump gave way")
)

func (r *reader) init(opts *Options, buffered []byte) {
	r.limit.Store(opts.readLimit())
	r.unread = buffered
	r.traffic.Wire = uint64(len(buffered))
}

// SetReadLimit sets the size in bytes of the largest message that is read, as
// [Options].ReadLimit does, but with 0 for 0. It holds from the next frame on.
func (c *Conn) SetReadLimit(n int64) { c.in.limit.Store(n) }

// ReadMessage reads the next message. It answers pings and handles the other
// control frames that come before and in between. The bytes belong to the caller.
//
// When ctx ends first, ReadMessage returns its error and nothing is lost: the next
// read, by whichever method, goes on where this one stopped. All other errors are
// final: a [*CloseError] when the peer has closed the connection, a
// [*ProtocolError] when it broke the protocol, an error that wraps
// [ErrMessageTooBig] when the message exceeds the read limit, one that wraps
// [io.ErrUnexpectedEOF] or the network's error when the connection was lost, and
// [net.ErrClosed] after Close.
func (c *Conn) ReadMessage(ctx context.Context) (MessageType, []byte, error) {
	return c.AppendMessage(ctx, nil)
}

// AppendMessage is [Conn.ReadMessage] into memory of the caller: it appends the
// message to dst and returns the extended slice, which is a new one only if dst
// had no room; a compressed message needs room for some 300 bytes more. On an error
// it returns dst as it was.
func (c *Conn) AppendMessage(ctx context.Context, dst []byte) (MessageType, []byte, error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, dst, err
	}
	var err error
	if c.in.starved() { // so that what comes can be taken whole, some 3 % cheaper with one message in flight
		err = c.fill(ctx)
	}
	typ, p, ok := c.takeWhole(dst)
	if ok {
		c.endRead()
		return typ, p, nil
	}
	p = dst
	if err == nil {
		err = c.discardStream(ctx)
	}
	if err == nil {
		c.in.append(dst)
		typ, err = c.assemble()
		for err == errMore {
			if err = c.fill(ctx); err == nil {
				typ, err = c.assemble()
			}
		}
		p = c.in.appended(dst, err == nil)
	}
	c.endRead()
	return typ, p, err
}

// append makes dst what the message is assembled behind.
func (r *reader) append(dst []byte) {
	if cap(dst) > 0 {
		r.partial = append(dst, r.partial...)
	}
}

// appended returns dst with the message behind it, if that is whole. If not, what
// has come of it is kept, and dst is as it was.
func (r *reader) appended(dst []byte, whole bool) []byte {
	switch {
	case whole:
		dst, r.partial = r.partial, nil
	case cap(dst) > 0:
		r.partial = append([]byte(nil), r.partial[len(dst):]...)
	}
	return dst
}

// Messages returns the messages that come, for a loop:
//
//	for m, err := range c.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		c.WriteMessage(ctx, m.Type, m.Data)
//	}
//
// Each is read when the loop asks for it, as [Conn.ReadMessage] reads one, and its
// bytes belong to the caller. The loop ends without an error when the peer closes
// the connection with [StatusNormalClosure], [StatusGoingAway] or [StatusNoStatus]
// (RFC 6455 7.4.1); an error of any other kind comes last, with the zero Message.
// A loop that is left, or that the error of ctx has ended, has lost nothing: another
// one, or any other way to read, goes on with the next message.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			typ, p, err := c.ReadMessage(ctx)
			if err != nil {
				if !isNormalClose(err) {
					yield(Message{}, err)
				}
				return
			}
			if !yield(Message{typ, p}, nil) {
				return
			}
		}
	}
}

// NextReader returns a reader of the next message, for messages that are not to
// be in memory as a whole. Its Read returns [io.EOF] at the end of the message,
// with its last bytes or behind them, and the errors of [Conn.ReadMessage]; ctx
// interrupts it in the same way, and loses nothing. The next read of a message, by
// whichever method, discards what was not read of this one.
func (c *Conn) NextReader(ctx context.Context) (MessageType, io.Reader, error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, nil, err
	}
	r := &c.in
	err := c.discardStream(ctx)
	typ := r.whole
	if err == nil && typ == 0 {
		err = c.toData()
		for err == errMore {
			if err = c.fill(ctx); err == nil {
				err = c.toData()
			}
		}
		typ = r.msgs.typ
	}
	if err != nil {
		c.endRead()
		return 0, nil, err
	}
	m := &messageReader{c: c, ctx: ctx}
	r.stream = m
	c.endRead()
	return typ, m, nil
}

// discarded is the reader of a message that nobody wants the rest of.
var discarded = new(messageReader)

// A messageReader reads one message in pieces.
type messageReader struct {
	c   *Conn
	ctx context.Context
	eof bool
}

func (m *messageReader) Read(p []byte) (int, error) {
	if m.eof {
		return 0, io.EOF
	}
	c := m.c
	if err := c.beginRead(m.ctx); err != nil {
		return 0, err
	}
	var n int
	var err error
	switch {
	case c.in.stream != m:
		err = errDiscarded
	case len(p) > 0:
		n, err = c.readStream(p)
		for err == errMore {
			if err = c.fill(m.ctx); err == nil {
				n, err = c.readStream(p)
			}
		}
	}
	c.endRead()
	m.eof = err == io.EOF
	return n, err
}

// CloseRead reads on behalf of an application that only writes: it answers pings,
// notices when the peer closes the connection, and discards messages. The context
// that it returns is derived from ctx and ends with the connection, or when ctx
// does, and then nothing is read any more; its cause says why. The application
// cannot read meanwhile, nor call CloseRead again: while somebody else reads, the
// context that is returned has ended.
func (c *Conn) CloseRead(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	if err := c.beginRead(ctx); err != nil {
		cancel(err)
		return ctx
	}
	go func() {
		var err error
		for err == nil {
			if err = c.discard(); err == errMore {
				err = c.fill(ctx)
			}
		}
		c.endRead()
		cancel(err)
	}()
	return ctx
}

// beginRead takes the reader role for a call of the application.
func (c *Conn) beginRead(ctx context.Context) error {
	r := &c.in
	if !r.role.tryTake(byApplication) {
		if err := r.ended(); err != nil {
			return err
		}
		if r.role.holder.Load() == byApplication {
			return errConcurrentRead
		}
		if !c.claim(ctx) {
			return c.waitError(ctx)
		}
	}
	if err := r.ended(); err != nil { // what has ended it has interrupted the last reader, not us
		r.role.give()
		return err
	}
	c.watchRead(ctx)
	return nil
}

// endRead gives it back. Nobody defers it: that would cost a message a tenth of what
// its parsing does, and only a handler can panic meanwhile, for which handle is there.
func (c *Conn) endRead() {
	r := &c.in
	prompt := len(r.unread) == 0
	if prompt != c.out.prompt.Load() {
		c.out.prompt.Store(prompt)
	}
	r.tidy()
	r.role.give()
}

// claim takes the reader role for the application from a pump, which gives way.
func (c *Conn) claim(ctx context.Context) bool {
	r := &c.in
	r.wanted.Add(1)
	defer r.wanted.Add(-1)
	c.nudgePump()
	c.interruptRead()
	return r.role.take(ctx, byApplication, nil, c.lifetime().Done())
}

// waitError tells why a wait for the reader role, or with it, was given up.
func (c *Conn) waitError(ctx context.Context) error {
	if err := c.in.ended(); err != nil {
		return err
	}
	if err := c.cause(); err != nil {
		return err
	}
	return ctx.Err()
}

// end ends the reading because of err, if nothing has before, and returns the
// reason that holds.
func (r *reader) end(err error) error {
	r.err.CompareAndSwap(nil, &err)
	return r.ended()
}

// close ends the reading whatever has happened before.
func (r *reader) close() {
	err := net.ErrClosed
	r.err.Store(&err)
}

func (r *reader) ended() error {
	if p := r.err.Load(); p != nil {
		return *p
	}
	return nil
}

// hurry makes pumps discard what comes, but for messages that somebody may want: a
// loop that is reading now, or reads a message in pieces, has a while for its next
// read.
func (r *reader) hurry() {
	switch {
	case r.role.tryTake(byPump):
		r.discarding.Store(!r.halfRead())
		r.role.give()
	case r.role.holder.Load() != byApplication:
		r.discarding.Store(true)
	}
	r.impatient.Store(true)
}

// halfRead reports that the application reads a message in pieces and has not come
// to its last byte. Called with the role.
func (r *reader) halfRead() bool {
	if r.stream == nil || r.stream == discarded {
		return false
	}
	return len(r.partial) > 0 || len(r.packed) > 0 || r.pending || r.left > 0 || !r.msgs.final
}

// watchRead makes the end of ctx interrupt reads, but for a context that ends with
// the connection, which interrupts them anyhow.
func (c *Conn) watchRead(ctx context.Context) {
	if x, ok := ctx.(*requestContext); ok && x.c == c {
		if c.in.watch.done != nil {
			c.in.watch.off()
		}
		return
	}
	c.in.watch.on(ctx, c, (*Conn).interruptRead)
}

func (c *Conn) interruptRead() { c.nc.SetReadDeadline(past) }

// A watch calls a function when a context ends. It is kept from call to call, so
// that the same context costs nothing again; the function may thus be called when
// nobody waits for it any more.
type watch struct {
	done <-chan struct{}
	stop func() bool
}

// on watches ctx instead of what was watched before. Channels are compared, since
// comparing contexts can panic.
func (w *watch) on(ctx context.Context, c *Conn, interrupt func(*Conn)) {
	done := ctx.Done()
	if done == w.done {
		return
	}
	w.off()
	if done != nil {
		w.done, w.stop = done, context.AfterFunc(ctx, func() { interrupt(c) })
	}
}

func (w *watch) off() {
	if w.stop != nil {
		w.stop()
	}
	*w = watch{}
}

// interrupted judges an error of the transport. It returns nil if that was the
// echo of an interruption which no longer matters. This is the only place where a
// past deadline is cleared, and it is cleared before the reasons are looked at: a
// reason that comes later sets it again.
func (c *Conn) interrupted(ctx context.Context, err error) error {
	r := &c.in
	if !isTimeout(err) {
		return c.lost(err)
	}
	if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
		return c.lost(err)
	}
	switch {
	case r.ended() != nil:
		return r.ended()
	case r.watch.done != nil && ctx.Err() != nil && c.cause() == nil: // else finish ends it, within a second
		r.watch.off() // it has fired and will not again
		return ctx.Err()
	case r.quit != nil && r.quit():
		return errGiveWay
	}
	return nil
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// fill waits for more bytes. All waiting is done here, at the bottom of a call of
// the application, and none by the parser below: so the stack of a goroutine that
// waits stays at the 2 KiB that it has begun with, and needs no buffer either. (With
// one frame more between them an idle connection needs 7.4 KiB instead of 5.4.)
func (c *Conn) fill(ctx context.Context) error {
	r := &c.in
	r.release()
	c.flushGathered()
	for idle := 0; ; idle++ {
		n, err := c.t.read(r)
		if n > 0 {
			r.heard.Store(int64(now()))
			r.filled(n)
			return nil
		}
		if err == nil && idle == 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			if err = c.interrupted(ctx, err); err != nil {
				r.target = nil
				return err
			}
		}
	}
}

// filled counts n bytes that a fill has brought.
func (r *reader) filled(n int) {
	r.traffic.Wire += uint64(n)
	if r.target != nil {
		r.landed, r.target = n, nil
		return
	}
	r.unread = r.block[:n]
	r.adapt(n)
}

// The reader as the transport's memory.

func (r *reader) direct() bool { return r.target != nil }

func (r *reader) space() []byte {
	switch {
	case r.target != nil:
		return r.target
	case r.block != nil:
	case r.large:
		r.block = getLargeBuffer()
	default:
		r.block = getSmallBuffer()
	}
	return r.block
}

func (r *reader) unused() {
	if r.target == nil {
		r.release()
	}
}

func (r *reader) release() {
	if r.block != nil {
		putBuffer(r.block)
	}
	r.block, r.unread, r.packed = nil, nil, nil
}

// tidy gives the block back if nothing in it is unread.
func (r *reader) tidy() {
	if len(r.unread)+len(r.packed) == 0 {
		r.release()
	}
}

// adapt chooses the size of the next block by what the last brought: a full one
// asks for a large one, and only a row of nearly empty ones for a small one again.
// With small ones an echo of 16 KiB takes 1.05 of the time.
func (r *reader) adapt(n int) {
	switch {
	case n == len(r.block):
		r.large, r.spare = true, 0
	case n > smallBuffer/2:
		r.spare = 0
	case r.large:
		if r.spare++; r.spare == 16 {
			r.large, r.spare = false, 0
		}
	}
}

// blockSize is the size of the next block.
func (r *reader) blockSize() int64 {
	if r.large {
		return largeBuffer
	}
	return smallBuffer
}

// discardStream discards the rest of a message that a NextReader has begun.
func (c *Conn) discardStream(ctx context.Context) (err error) {
	for c.in.stream != nil && err == nil {
		if err = c.discard(); err == errMore {
			err = c.fill(ctx)
		}
	}
	return err
}
