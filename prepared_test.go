package websocket

import (
	"bytes"
	"context"
	"sync"
	"testing"
)

// A prepared message arrives as one that is written does, on connections of both
// roles, and is not the caller's slice.
func TestWritePrepared(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 4096, largeWrite - 1, largeWrite, 65535, 65536, 1 << 20}
	prepared := make([]*PreparedMessage, len(sizes))
	for i, n := range sizes {
		p := []byte(pattern(n))
		prepared[i] = NewPreparedMessage(MessageText, p)
		clear(p)
	}
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for i, n := range sizes {
			for range 2 {
				written := inBackground(func() error { return g.c.WritePrepared(bg, prepared[i]) })
				g.wantFrame("WritePrepared", textF(pattern(n)))
				if err := <-written; err != nil {
					t.Error(err)
				}
			}
		}
		if g.c.role == client && len(g.keys) != 2*len(sizes) {
			t.Errorf("%d frames should have as many masking keys, and have %d", 2*len(sizes), len(g.keys))
		}
		for _, m := range []*PreparedMessage{{}, NewPreparedMessage(MessageType(OpPing), nil)} {
			if err := g.c.WritePrepared(bg, m); err == nil {
				t.Errorf("%v should be refused", m.typ)
			}
		}
		g.wantSilence("after refused types")
	})
}

// One prepared message may be written to many connections at the same time.
func TestWritePreparedConcurrently(t *testing.T) {
	const conns, each = 8, 50
	m := NewPreparedMessage(MessageBinary, []byte(pattern(300)))
	onBoth(t, nil, func(t *testing.T, g *rig) {
		rigs := []*rig{g}
		for len(rigs) < conns {
			rigs = append(rigs, newRig(t, role(len(rigs)%2), nil))
		}
		var done sync.WaitGroup
		for _, g := range rigs {
			done.Go(func() {
				for range each {
					g.c.WritePrepared(bg, m)
				}
			})
			done.Go(func() {
				for range each {
					if f, err := g.readFrame(); err != nil || f != binaryF(pattern(300)) {
						t.Errorf("it should send the message, and sends %v, %v", f, err)
						return
					}
				}
			})
		}
		done.Wait()
	})
}

// It waits as other writers do: for room in the queue, and for a NextWriter.
func TestWritePreparedWaits(t *testing.T) {
	small, large := NewPreparedMessage(MessageText, []byte("small")), NewPreparedMessage(MessageText, []byte(pattern(largeWrite)))
	write := func(ctx context.Context, g *rig, m *PreparedMessage) <-chan error {
		return inBackground(func() error { return g.c.WritePrepared(ctx, m) })
	}
	onBoth(t, &Options{WriteQueue: 1000, WriteTimeout: -1}, func(t *testing.T, g *rig) {
		g.stall()
		g.c.WriteText(bg, pattern(2000))
		ctx, cancel := context.WithCancel(bg)
		first := write(bg, g, small)
		wantPending(t, "a full queue: it should wait", first)
		second, third := write(ctx, g, small), write(ctx, g, large)
		wantPending(t, "a full queue: it should wait", second)
		wantPending(t, "a full queue: it should wait", third)
		cancel()
		wantNow(t, "a cancelled WritePrepared", second, context.Canceled)
		wantNow(t, "a cancelled WritePrepared", third, context.Canceled)
		wantNow(t, "WritePrepared with a context that has ended", write(ctx, g, small), context.Canceled)
		g.unstall()
		g.wantFrame("what was queued first", textF(pattern(2000)))
		g.wantFrame("then what has waited", textF("small"))
		g.wantSilence("what was cancelled is not sent")
		if err := <-first; err != nil {
			t.Error(err)
		}

		m, err := g.c.NextWriter(bg, MessageText)
		if err != nil {
			t.Fatal(err)
		}
		behind := write(bg, g, small)
		wantPending(t, "it should wait for a NextWriter", behind)
		m.Write([]byte("begun"))
		m.Close()
		g.wantFrame("the NextWriter's message", textF("begun"))
		g.wantFrame("and then the other", textF("small"))
		if err := <-behind; err != nil {
			t.Error(err)
		}

		closed := inBackground(func() error { g.c.Close(); return nil })
		g.wantFrame("Close", closeF(StatusGoingAway, ""))
		g.far.Close()
		<-closed
		for _, m := range []*PreparedMessage{small, large} {
			if err := g.c.WritePrepared(bg, m); err == nil {
				t.Error("after Close it should return an error")
			}
		}
	})
}

// A server's frame is the prepared one, byte by byte.
func TestPreparedFrame(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		m := NewPreparedMessage(MessageText, []byte(pattern(n)))
		if want := textF(pattern(n)).bytes(server); !bytes.Equal(m.plain.frame, want) {
			t.Errorf("a message of %d bytes should be framed as %.20q, and is %.20q", n, want, m.plain.frame)
		}
	}
}
