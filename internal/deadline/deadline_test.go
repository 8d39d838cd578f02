package deadline

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var d Deadline
		waits := func(ctx context.Context) time.Duration {
			<-ctx.Done()
			if err := Error(ctx, ctx.Err()); err != os.ErrDeadlineExceeded {
				t.Errorf("the error is %v", err)
			}
			return time.Since(start)
		}
		ctx := d.Context()
		if d.Context() != ctx {
			t.Error("the context should be the same from call to call")
		}
		d.Set(start.Add(time.Second)) // after it was asked for
		d.Set(start.Add(3 * time.Second))
		time.AfterFunc(2*time.Second, func() { d.Set(start.Add(5 * time.Second)) }) // and while somebody waits
		if got := waits(ctx); got != 5*time.Second {
			t.Errorf("a deadline that was put off to 5 s ends after %v", got)
		}
		if d.Context().Err() == nil {
			t.Error("a deadline that has passed should hold for the next call")
		}
		d.Set(start.Add(6 * time.Second))
		if got := waits(d.Context()); got != 6*time.Second {
			t.Errorf("a deadline that was set anew ends after %v", got)
		}
		d.Set(time.Time{})
		ctx = d.Context()
		time.Sleep(time.Hour)
		if ctx.Err() != nil || d.Context() != ctx {
			t.Error("no deadline should not end")
		}
		d.Set(start) // long ago: those who wait are woken
		waits(ctx)
		d.Set(time.Time{})
		if d.Context().Err() != nil {
			t.Error("the deadline was taken away")
		}
		if err := Error(d.Context(), nil); err != nil {
			t.Errorf("no error becomes %v", err)
		}
	})
}
