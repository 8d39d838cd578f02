package websocket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A writer is the sending direction of a Conn: a queue of frames, and a role that
// is held by the one who writes them to the transport, the flusher. A writer
// appends its frame to the queue and is done; the flusher takes all that is there
// and writes it in one call. So what is written while a call is under way, or
// while the processors are busy with something else, leaves together.
type writer struct {
	// turn is held while a message is written in more than one step: by a
	// NextWriter, or by who waits for room. Its waiters are served in order.
	turn slot

	// prompt: the reader has handed out all that has arrived, and nothing was
	// written since. What is written next is probably an answer that somebody waits
	// for.
	prompt atomic.Bool

	flush   func() // Conn.flush, bound once: the go statement then costs no allocation
	bound   int    // Options.WriteQueue
	timeout time.Duration

	// mu guards what follows. It is never held across I/O. While something waits
	// to be written, somebody holds the flusher role or a flusher was called.
	mu       sync.Mutex
	queue    []byte  // whole frames, in a pooled buffer
	inFlight int     // bytes that the flusher has taken and not written yet
	queued   uint64  // bytes that were ever appended to the queue
	written  uint64  // bytes of these that the operating system has taken
	traffic  Traffic // what was sent, but for Wire
	received Traffic // what has come, as the holder of the reader role has published it
	pongData []byte  // of a pong for which the queue had no room: the latest wins
	pings    *pings  // nil until the first
	closing  closing
	err      error // why nothing more can be written
	role     flusherRole
	called   bool      // a flusher is on its way
	pongDue  bool      // pongData waits to be sent
	broken   bool      // the transport takes nothing more
	foreign  bool      // a message was queued that was compressed elsewhere
	open     bool      // a message was begun and its end is not in the queue yet: no other may begin
	closed   bool      // by Close
	gone     bool      // the socket is closed
	eof      bool      // the peer has closed its side
	armed    bool      // a write deadline is set
	endBy    time.Time // when the end of the connection is to be over; zero while it is open
	progress chan struct{}

	memberships *member // of groups: a list linked by next
	behind      *member // those of them for which messages wait in their group, linked by after
	ahead       int     // how many wait to write something else, which goes before these

	// These belong to the flusher.
	batch  []byte // what is being written: a block taken from queue
	shared bool   // no block of ours, but bytes that other connections send as well
	sent   int    // bytes of it that are written
	watch  watch  // of the last large write's context
}

// largeWrite is the payload size from which a frame does not go through the queue
// but straight from the caller's memory to the transport. (At 16 KiB that costs an echo
// 1.06 times what the copy does: it takes deadlines, and the flusher role for itself.)
const largeWrite = 32 << 10

var errWriteTimeout = fmt.Errorf("the peer takes nothing (Options.WriteTimeout): %w", os.ErrDeadlineExceeded)

func (w *writer) init(opts *Options) {
	w.bound = opts.writeQueue()
	w.timeout = opts.writeTimeout()
}

// WriteMessage sends a message in one frame. Any number of goroutines may call it
// at the same time. It returns when the message is in the connection's queue,
// from which it leaves together with what others write; see [Conn.Flush]. It
// waits, in order with other writers, while the queue is full (Options.WriteQueue)
// or a NextWriter is open.
//
// p belongs to the caller again when WriteMessage returns. A large message (from
// 32 KiB) is not copied, so its writer waits until the operating system has taken
// it. When ctx ends first the message is not sent at all, unless a part of a large
// one has left already, or may have (over TLS, and over net.Conns that this package
// does not know): then the connection fails, since half a frame cannot be
// taken back. Text should be UTF-8, which is not checked here; a peer fails the
// connection if it is not.
//
// The error of ctx, and that for a typ which is neither text nor binary, leave the
// connection as it was. Others are final: net.ErrClosed after Close or Shutdown
// (wrapped), the peer's [*CloseError], or the reason for which the connection has
// failed, perhaps by an earlier write.
func (c *Conn) WriteMessage(ctx context.Context, typ MessageType, p []byte) error {
	if !c.deflates(len(p)) && c.writeNow(ctx, typ, p) {
		return nil
	}
	return c.writeInTurn(ctx, typ, p, c.deflates(len(p)))
}

// writeNow sends a message if that is possible without waiting, and reports whether
// it was. An idle connection keeps the stack that it takes to come from here down to
// the system call: more than 2 KiB, and it would keep 4.
func (c *Conn) writeNow(ctx context.Context, typ MessageType, p []byte) bool {
	if len(p) >= largeWrite || checkType(typ) != nil || ctx.Err() != nil {
		return false
	}
	w := &c.out
	w.mu.Lock()
	if !w.mayAppend(len(p)) {
		w.mu.Unlock()
		return false
	}
	c.appendFrame(&FrameHeader{Fin: true, Opcode: Opcode(typ)}, p)
	w.count(true, len(p))
	c.kick(false)
	return true
}

// writeInTurn sends a message when its turn has come, or says why it cannot.
func (c *Conn) writeInTurn(ctx context.Context, typ MessageType, p []byte, deflate bool) error {
	if err := checkType(typ); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return c.giveUp(ctx)
	}
	if err := c.takeTurn(ctx); err != nil {
		return err
	}
	defer c.out.turn.give()
	h := FrameHeader{Fin: true, Opcode: Opcode(typ)}
	if deflate {
		return c.writeDeflated(ctx, h, p)
	}
	return c.writeFrame(ctx, h, p, len(p))
}

// WriteText is WriteMessage of a text message.
func (c *Conn) WriteText(ctx context.Context, s string) error {
	if len(s) > smallBuffer {
		return c.WriteMessage(ctx, MessageText, []byte(s))
	}
	p := append(getSmallBuffer()[:0], s...)
	defer putBuffer(p)
	return c.WriteMessage(ctx, MessageText, p)
}

func checkType(typ MessageType) error {
	if typ != MessageText && typ != MessageBinary {
		return fmt.Errorf("websocket: %v; it must be MessageText or MessageBinary", typ)
	}
	return nil
}

// NextWriter returns a writer of one message whose size need not be known before:
// it leaves in as many frames as are needed (RFC 6455 5.4). On a connection that
// compresses it is compressed as it is written, if all of it, or what first fills a
// frame of some 4 KiB, is not below Compression.MinSize. Other writers wait until
// Close ends it, so it must be closed; control frames pass. Ctx holds for all of
// it. After an error in the middle of a message, Close fails the connection, since
// the peer could not tell the beginning of a message from a message; if nothing has
// been sent of it yet, nothing is sent and the connection stays as it was.
//
// The writer is for one goroutine.
func (c *Conn) NextWriter(ctx context.Context, typ MessageType) (io.WriteCloser, error) {
	if err := checkType(typ); err != nil {
		return nil, err
	}
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	return &messageWriter{c: c, ctx: ctx, opcode: Opcode(typ)}, nil
}

// A messageWriter writes one message in pieces.
type messageWriter struct {
	c      *Conn
	ctx    context.Context
	opcode Opcode // of the next frame
	begun  bool   // a frame was sent
	buf    []byte // from the pool: the beginning of the next frame
	packed []byte // from the pool, if the message is compressed: what is to follow
	size   int    // of what was compressed since the last frame
	err    error
	busy   atomic.Bool // some goroutine is in a call
}

var (
	errConcurrentWrite = errors.New("websocket: two goroutines use one writer of a message")
	errWriterClosed    = errors.New("websocket: this message was ended by Close already")
	errAbandoned       = errors.New("websocket: a message was given up in the middle")
)

func (m *messageWriter) Write(p []byte) (int, error) {
	// Whatever two goroutines do, the pooled buffer must not come into other hands.
	if !m.busy.CompareAndSwap(false, true) {
		return 0, errConcurrentWrite
	}
	defer m.busy.Store(false)
	return m.write(p)
}

func (m *messageWriter) write(p []byte) (n int, err error) {
	if m.err != nil {
		return 0, m.err
	}
	if m.buf == nil {
		m.buf = getSmallBuffer()[:0]
	}
	if len(m.buf)+len(p) <= cap(m.buf) {
		m.buf = append(m.buf, p...)
		return len(p), nil
	}
	if len(m.buf) > 0 {
		k := copy(m.buf[len(m.buf):cap(m.buf)], p)
		m.buf = m.buf[:cap(m.buf)]
		if err := m.put(m.buf, false); err != nil {
			return 0, err
		}
		m.buf, p, n = m.buf[:0], p[k:], k
	}
	if len(p) < cap(m.buf) {
		m.buf = append(m.buf, p...)
		return n + len(p), nil
	}
	if err := m.put(p, false); err != nil {
		return n, err
	}
	return n + len(p), nil
}

// Close ends the message.
func (m *messageWriter) Close() error {
	if !m.busy.CompareAndSwap(false, true) {
		return errConcurrentWrite
	}
	defer m.busy.Store(false)
	if m.err == errWriterClosed {
		return m.err
	}
	err := m.err
	if err == nil {
		err = m.put(m.buf, true)
	}
	if err != nil && m.begun && m.c.writeErr() == nil {
		m.c.fail(fmt.Errorf("%w: %w", errAbandoned, err))
	}
	if err != nil && m.packed != nil {
		m.c.undoDeflated()
	}
	putBuffer(m.buf)
	putBuffer(m.packed)
	m.buf, m.packed, m.err = nil, nil, errWriterClosed
	m.c.out.turn.give()
	return err
}

// put takes the next bytes of the message, and the last if fin is true, into one or
// more frames. The first decide whether the message is compressed.
func (m *messageWriter) put(p []byte, fin bool) error {
	if m.ctx.Err() != nil {
		m.err = m.c.giveUp(m.ctx)
		return m.err
	}
	if !m.begun && m.packed == nil && m.c.deflates(len(p)) {
		if fin {
			m.err = m.c.writeDeflated(m.ctx, FrameHeader{Fin: true, Opcode: m.opcode}, p)
			return m.err
		}
		if m.err = m.c.beginDeflated(m.ctx, 0); m.err != nil {
			return m.err
		}
		m.packed = getLargeBuffer()[:0]
	}
	if m.packed != nil {
		return m.deflate(p, fin)
	}
	return m.frame(p, fin, len(p))
}

// frame sends the next frame, which brings size bytes of the message.
func (m *messageWriter) frame(p []byte, fin bool, size int) error {
	h := FrameHeader{Fin: fin, RSV1: m.packed != nil && !m.begun, Opcode: m.opcode}
	if m.err = m.c.writeFrame(m.ctx, h, p, size); m.err == nil {
		m.opcode, m.begun = OpContinuation, true
	}
	return m.err
}

// Flush waits until all that has been written before, by whomever, was taken by
// the operating system. That the peer has got it only the peer can say: see
// [Conn.Ping]. Its errors are those of [Conn.WriteMessage].
func (c *Conn) Flush(ctx context.Context) error {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	target := w.queued
	return c.await(ctx, func() (bool, error) {
		if w.closed || w.broken {
			return false, w.err
		}
		return w.written >= target, nil
	})
}

// Buffered returns how many bytes of frames wait for the peer in the connection's
// queue. It is what Options.WriteQueue bounds.
func (c *Conn) Buffered() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.load()
}

func (c *Conn) takeTurn(ctx context.Context) error {
	if !c.out.turn.take(ctx, byApplication, nil, nil) {
		return c.giveUp(ctx)
	}
	if err := c.writeErr(); err != nil {
		c.out.turn.give()
		return err
	}
	return nil
}

// giveUp returns the error of a write that was not made: the connection's, whose
// end may be what has ended ctx, or that of ctx.
func (c *Conn) giveUp(ctx context.Context) error {
	if err := c.writeErr(); err != nil {
		return err
	}
	return ctx.Err()
}

func (c *Conn) writeErr() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.err
}

// writeFrame sends a data frame, with the turn in hand. It brings size bytes of the
// message, which is len(p) unless they are compressed.
func (c *Conn) writeFrame(ctx context.Context, h FrameHeader, p []byte, size int) error {
	if len(p) >= largeWrite {
		return c.writeLarge(ctx, h, p, size)
	}
	w := &c.out
	w.mu.Lock()
	if err := c.awaitRoom(ctx, len(p)); err != nil {
		w.mu.Unlock()
		return err
	}
	c.appendFrame(&h, p)
	w.count(h.Fin, size)
	w.open = !h.Fin
	c.kick(false)
	return nil
}

// load is how many bytes wait for the peer.
func (w *writer) load() int { return len(w.queue) + w.inFlight }

// mayAppend reports whether a message of n bytes may be appended at once: without
// the turn and without waiting.
func (w *writer) mayAppend(n int) bool {
	return w.err == nil && w.turn.holder.Load() == 0 && w.hasRoom(n)
}

// hasRoom reports whether a frame with n bytes of payload may be appended.
func (w *writer) hasRoom(n int) bool {
	load := w.load()
	return load == 0 || load+maxFrameHeader+n <= w.bound
}

// empty reports that nothing waits to be written.
func (w *writer) empty() bool {
	return len(w.queue) == 0 && len(w.batch) == 0 && !w.pongDue && !w.mayRefill()
}

// idle reports that nothing is being sent, or can be.
func (w *writer) idle() bool { return w.broken || w.role == nobody && w.empty() }

// refuse lets nothing more be written, because of err.
func (w *writer) refuse(err error) {
	if w.err == nil {
		w.err = err
	}
	w.leaveGroups()
	w.wake()
	w.turn.release()
}

// drop gives up the queue. What the flusher has taken it will fail to write.
func (w *writer) drop() {
	putBuffer(w.queue)
	w.queue, w.pongDue, w.broken = nil, false, true
}

// wake makes those in await look again.
func (w *writer) wake() {
	if w.progress != nil {
		close(w.progress)
		w.progress = nil
	}
}

// await waits until ready says true or returns an error. It is called, and
// returns, with out.mu held.
func (c *Conn) await(ctx context.Context, ready func() (bool, error)) error {
	w := &c.out
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.progress == nil {
			w.progress = make(chan struct{})
		}
		progress := w.progress
		w.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
		}
		w.mu.Lock()
	}
}

// awaitRoom waits until a frame with n bytes of payload may be appended. It is called,
// and returns, with out.mu held.
func (c *Conn) awaitRoom(ctx context.Context, n int) error {
	return c.awaitAhead(ctx, func() bool { return c.out.hasRoom(n) })
}

// awaitAhead is await for who wants to write something. Meanwhile what waits in groups
// stays there: the queue of a member that never catches up with it would be filled by
// it for ever.
func (c *Conn) awaitAhead(ctx context.Context, ready func() bool) error {
	w := &c.out
	w.ahead++
	err := c.await(ctx, func() (bool, error) { return ready(), w.err })
	if w.ahead--; err != nil { // else what is written now makes it go on
		c.kick(false)
		w.mu.Lock()
	}
	return err
}

// appendFrame appends a frame to the queue, masked if that is our role; h.Masked,
// h.MaskKey and h.Length are set here. Called with out.mu held.
func (c *Conn) appendFrame(h *FrameHeader, p []byte) {
	w := &c.out
	before := len(w.queue)
	w.queue = c.appendFrameTo(growBuffer(w.queue, maxFrameHeader+len(p)), h, p)
	w.queued += uint64(len(w.queue) - before)
}

func (c *Conn) appendFrameTo(dst []byte, h *FrameHeader, p []byte) []byte {
	h.Length = int64(len(p))
	if !c.role.masks() {
		return append(h.append(dst), p...)
	}
	h.Masked, h.MaskKey = true, newMaskKey()
	dst = h.append(dst)
	n := len(dst)
	dst = dst[:n+len(p)]
	Mask(dst[n:], p, h.MaskKey, 0)
	return dst
}

// appendClose appends a Close frame. It always has room, since there is only one.
// Called with out.mu held.
func (c *Conn) appendClose(code StatusCode, reason string) {
	var buf [maxControlPayload]byte
	c.appendFrame(&FrameHeader{Fin: true, Opcode: OpClose}, appendClosePayload(buf[:0], code, reason))
	c.out.closing.sent, c.out.closing.code = true, code
}

// A keyBatch is randomness for masking keys, fetched for many frames at once, which takes
// 0.7 of the time even where fetching it is no system call. 5.3:
// "The masking key needs to be unpredictable; thus, the masking key MUST be
// derived from a strong source of entropy".
type keyBatch struct {
	bytes [256]byte
	left  int
}

var keyBatches = sync.Pool{New: func() any { return new(keyBatch) }}

func newMaskKey() (key [4]byte) {
	b := keyBatches.Get().(*keyBatch)
	if b.left == 0 {
		rand.Read(b.bytes[:]) // never fails
		b.left = len(b.bytes)
	}
	copy(key[:], b.bytes[b.left-4:b.left])
	b.left -= 4
	keyBatches.Put(b)
	return key
}
