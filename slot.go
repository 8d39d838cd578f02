package websocket

import (
	"context"
	"sync"
	"sync/atomic"
)

// A slot is held by one goroutine at a time, as a mutex is, but is waited for with
// a context, and given to those who wait in the order in which they came. It knows
// who holds it. While nobody waits it takes one atomic operation to take and one
// to give, and no memory beyond itself.
type slot struct {
	holder  atomic.Int32 // 0: free
	waiting atomic.Int32 // how many waiters there are

	mu    sync.Mutex // guards what follows
	first *waiter
	over  bool // nobody waits any more
}

type waiter struct {
	who  int32
	done chan struct{}
	got  bool // the slot; set before done is closed
	next *waiter
}

// tryTake takes the slot for who, which is not 0, if it is free.
func (s *slot) tryTake(who int32) bool { return s.holder.CompareAndSwap(0, who) }

// take waits for the slot until ctx ends, or one of done and ended is closed, or
// release is called. It reports whether it has got the slot.
func (s *slot) take(ctx context.Context, who int32, done, ended <-chan struct{}) bool {
	if s.tryTake(who) {
		return true
	}
	w := &waiter{who: who, done: make(chan struct{})}
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return false
	}
	s.add(w)
	s.pass() // the holder may have given it up before it could see w
	s.mu.Unlock()
	select {
	case <-w.done:
		return w.got
	case <-ctx.Done():
	case <-done:
	case <-ended:
	}
	s.leave(w)
	return false
}

// give gives the slot up.
func (s *slot) give() {
	s.holder.Store(0)
	if s.waiting.Load() > 0 {
		s.mu.Lock()
		s.pass()
		s.mu.Unlock()
	}
}

// pass gives the slot, if it is free, to the first who waits. Called with mu held.
func (s *slot) pass() {
	if w := s.first; w != nil && s.tryTake(w.who) {
		w.got = true
		close(w.done)
		s.remove(w)
	}
}

// leave takes a waiter back. If the slot was given to it meanwhile, it gives it on.
func (s *slot) leave(w *waiter) {
	s.mu.Lock()
	s.remove(w)
	s.mu.Unlock()
	if w.got {
		s.give()
	}
}

// release ends all waiting for the slot, now and later.
func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for s.first != nil {
		close(s.first.done)
		s.remove(s.first)
	}
}

// add puts w at the end of those who wait.
func (s *slot) add(w *waiter) {
	end := &s.first
	for *end != nil {
		end = &(*end).next
	}
	*end = w
	s.waiting.Add(1)
}

// remove takes w out of those who wait, if it is one of them.
func (s *slot) remove(w *waiter) {
	for at := &s.first; *at != nil; at = &(*at).next {
		if *at == w {
			*at = w.next
			s.waiting.Add(-1)
			return
		}
	}
}
