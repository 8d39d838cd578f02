package main

import "sync"

// A room is who gets what is broadcast.
type room[C any] struct {
	mu      sync.Mutex
	members []C
}

func (r *room[C]) add(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, c)
}

func (r *room[C]) each(do func(C)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.members {
		do(c)
	}
}

// A hub has a goroutine for each connection that writes to it, fed by a channel, as
// the chat examples of gorilla and of coder do: so no slow member holds up the
// others.
type hub[C, M any] struct {
	room    room[chan M]
	prepare func([]byte) M
	write   func(C, M) error
}

func newHub[C, M any](prepare func([]byte) M, write func(C, M) error) *hub[C, M] {
	return &hub[C, M]{prepare: prepare, write: write}
}

// join makes c a member and returns what broadcasts to all.
func (h *hub[C, M]) join(c C) func([]byte) {
	messages := make(chan M, 256)
	h.room.add(messages)
	go func() {
		for m := range messages {
			if h.write(c, m) != nil {
				return
			}
		}
	}()
	return func(p []byte) {
		m := h.prepare(p)
		h.room.each(func(messages chan M) {
			select {
			case messages <- m:
			default: // too slow: it will miss a message, and the client will notice
			}
		})
	}
}
