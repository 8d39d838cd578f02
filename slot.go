package websocket

import (
	"context"
	"sync"
	"sync/atomic"
)

// A slot is held by one goroutine at a time, as a mutex is, but is waited for with
// a context, and given to those who wait in the order in which they came. While
// nobody waits it costs no memory beyond itself.
type slot struct {
	mu      sync.Mutex
	held    atomic.Bool // written under mu
	waiters []chan struct{}
}

// tryTake takes the slot if it is free.
func (s *slot) tryTake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.held.Swap(true)
}

// take waits for the slot until ctx ends, or one of done and ended is closed. It
// reports whether it has got the slot.
func (s *slot) take(ctx context.Context, done, ended <-chan struct{}) bool {
	s.mu.Lock()
	if !s.held.Swap(true) {
		s.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	s.waiters = append(s.waiters, mine)
	s.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	case <-done:
	case <-ended:
	}
	s.leave(mine)
	return false
}

// leave takes a waiter back. If the slot was given to it meanwhile, it is passed on.
func (s *slot) leave(mine chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, w := range s.waiters {
		if w == mine {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			return
		}
	}
	s.pass()
}

// give gives the slot up.
func (s *slot) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass()
}

func (s *slot) pass() {
	if len(s.waiters) == 0 {
		s.waiters = nil
		s.held.Store(false)
		return
	}
	close(s.waiters[0])
	s.waiters = s.waiters[1:]
}
