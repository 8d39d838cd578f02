package main

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"
)

// What servers do that are no echoes.
var jobs = map[string]app{
	"":          nil, // an echo
	"broadcast": nil, // each library has a way of its own
	"push":      push,
	"compute":   compute,
	"tick":      tick,
	"busy":      busy,
}

// job returns what the application called name does.
func job(name string) (app, error) {
	if a, ok := jobs[name]; ok {
		return a, nil
	}
	return nil, errors.New("no job is called " + name)
}

// An order is what a client asks a job for: two numbers in a message.
func order(a, b int) []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(a))
	return appendFrame(nil, opBinary, binary.BigEndian.AppendUint64(p, uint64(b)), &[4]byte{1, 2, 3, 4})
}

func parseOrder(p []byte) (a, b int) {
	return int(binary.BigEndian.Uint64(p)), int(binary.BigEndian.Uint64(p[8:]))
}

const (
	numbered = "________ is the number of this message, which is 64 bytes long.."
	stamped  = "________ is when this message was sent, which is 64 bytes long.."
)

// mark puts a number where a message begins.
func mark(m []byte, n uint64) { binary.BigEndian.PutUint64(m, n) }

// push sends a messages without waiting.
func push(send func([]byte) error) func([]byte) error {
	message, sent := []byte(numbered), uint64(0)
	return func(p []byte) error {
		for n, _ := parseOrder(p); n > 0; n-- {
			mark(message, sent)
			if err := send(message); err != nil {
				return err
			}
			sent++
		}
		return nil
	}
}

// stamp sends a message that tells when it was sent.
func stamp(send func([]byte) error) error {
	m := []byte(stamped)
	mark(m, uint64(time.Now().UnixNano()))
	return send(m)
}

// compute sends a messages and is busy with something else for b microseconds
// then.
func compute(send func([]byte) error) func([]byte) error {
	return func(p []byte) error {
		n, micros := parseOrder(p)
		for range n {
			if err := stamp(send); err != nil {
				return err
			}
		}
		for start := time.Now(); time.Since(start) < time.Duration(micros)*time.Microsecond; {
		}
		return nil
	}
}

// tick sends a messages every b microseconds, to a client that says nothing more.
func tick(send func([]byte) error) func([]byte) error {
	return func(p []byte) error {
		n, micros := parseOrder(p)
		go func() {
			for range time.Tick(time.Duration(micros) * time.Microsecond) {
				for range n {
					if stamp(send) != nil {
						return
					}
				}
			}
		}()
		return nil
	}
}

// busy sends without waiting from one goroutine, and now and then, every b
// microseconds, a message from another.
func busy(send func([]byte) error) func([]byte) error {
	return func(p []byte) error {
		_, micros := parseOrder(p)
		go func() {
			m := []byte(numbered)
			for send(m) == nil {
			}
		}()
		go func() {
			for range time.Tick(time.Duration(micros) * time.Microsecond) {
				if stamp(send) != nil {
					return
				}
			}
		}()
		return nil
	}
}

// announce broadcasts a messages of 128 bytes.
func announce(broadcast func([]byte)) func([]byte) error {
	message := announcement()
	sent := uint64(0)
	return func(p []byte) error {
		for n, _ := parseOrder(p); n > 0; n-- {
			mark(message, sent)
			broadcast(message)
			sent++
		}
		return nil
	}
}

func announcement() []byte { return []byte(numbered + strings.Repeat(".", 64)) }

// oneAtATime is send for libraries that leave it to the application to write from
// one goroutine at a time.
func oneAtATime(send func([]byte) error) func([]byte) error {
	var mu sync.Mutex
	return func(p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		return send(p)
	}
}
