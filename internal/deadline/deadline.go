// Package deadline makes contexts of the deadlines of a net.Conn.
package deadline

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// A Deadline bounds calls that take a context by a time that can be changed while
// they wait, as the deadlines of a [net.Conn] can. The zero Deadline is none. Any
// number of goroutines may use it.
type Deadline struct {
	mu     sync.Mutex
	at     time.Time // zero: no deadline
	timer  *time.Timer
	ctx    context.Context // ends when the deadline is over; nil until somebody asks for it
	cancel context.CancelCauseFunc
}

// Set sets the deadline for the calls that wait and for those to come; zero is none.
func (d *Deadline) Set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	if d.timer != nil {
		d.timer.Stop()
	}
	if at.IsZero() {
		return
	}
	left := time.Until(at)
	switch {
	case left <= 0:
		d.end()
	case d.timer == nil:
		d.timer = time.AfterFunc(left, d.expire)
	default:
		d.timer.Reset(left)
	}
}

// expire is called when the timer has run out, which may have been set anew since.
func (d *Deadline) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over() {
		d.end()
	}
}

func (d *Deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// end ends the calls that wait. Called with mu held.
func (d *Deadline) end() {
	if d.ctx != nil {
		d.cancel(os.ErrDeadlineExceeded)
		d.ctx = nil
	}
}

// Context returns a context for a call. It ends with the deadline, with the cause
// os.ErrDeadlineExceeded, and is the same one from call to call until then.
func (d *Deadline) Context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over() {
		return over
	}
	if d.ctx == nil {
		d.ctx, d.cancel = context.WithCancelCause(context.Background())
	}
	return d.ctx
}

// over is the context of a deadline that has passed.
var over = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(os.ErrDeadlineExceeded)
	return ctx
}()

// Error returns os.ErrDeadlineExceeded in place of an error that is due to the end of
// ctx, a context of a Deadline.
func Error(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}
