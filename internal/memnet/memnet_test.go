package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var _ net.Conn = (*Conn)(nil)

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(4, Unlimited)
		if n, err := a.Try([]byte("abcdef")); n != 4 || err != nil {
			t.Fatalf("a try writes what fits, 4 bytes, and not %d, %v", n, err)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write([]byte("ef")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a write waits for room until its deadline: %d, %v", n, err)
		}
		a.SetWriteDeadline(time.Time{})
		got := make(chan string, 1)
		go func() {
			p := make([]byte, 6)
			io.ReadFull(b, p)
			got <- string(p)
		}()
		if n, err := a.Write([]byte("ef")); n != 2 || err != nil || <-got != "abcdef" {
			t.Fatalf("bytes arrive in order: %d, %v", n, err)
		}
		b.Write([]byte("unread"))
		a.Write([]byte("lost"))
		a.Close()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("closing with unread input resets: %v", err)
		}
		b.Close()
	})
}

// Bytes arrive at the lane's rate, after its delay, and then the end.
func TestSlowLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Unlimited, Unlimited)
		a.Out.Rate, a.Out.Delay = 1000, time.Second
		start := time.Now()
		a.Write(make([]byte, 500))
		a.Write(make([]byte, 1500))
		a.CloseWrite()
		first := make([]byte, 1)
		io.ReadFull(b, first)
		if d := time.Since(start); d != 1100*time.Millisecond {
			t.Errorf("the first bytes should arrive after 1.1 s, and do after %v", d)
		}
		rest, err := io.ReadAll(b)
		if d := time.Since(start); d != 3*time.Second || len(rest) != 1999 || err != nil {
			t.Errorf("2000 bytes should have arrived after 3 s: %d after %v, %v", len(rest)+1, d, err)
		}
	})
}
