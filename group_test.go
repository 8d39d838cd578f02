package websocket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memberKinds are the kinds of connections that a group gives its messages to in
// different ways.
var memberKinds = []struct {
	name string
	rig  func(t testing.TB, opts *Options) *rig
}{
	{"server", func(t testing.TB, opts *Options) *rig { return newRig(t, server, opts) }},
	{"client", func(t testing.TB, opts *Options) *rig { return newRig(t, client, opts) }},
	{"server, no socket", func(t testing.TB, opts *Options) *rig { return newPlainRig(t, server, opts) }},
	{"client, no socket", func(t testing.TB, opts *Options) *rig { return newPlainRig(t, client, opts) }},
}

// onMembers runs f in a bubble for a member of each kind.
func onMembers(t *testing.T, opts *Options, f func(t *testing.T, g *rig)) {
	t.Helper()
	for _, k := range memberKinds {
		bubble(t, k.name, func(t *testing.T) { f(t, k.rig(t, opts)) })
	}
}

func cast(t testing.TB, g *Group, text string, except ...*Conn) {
	t.Helper()
	if err := g.Broadcast(MessageText, []byte(text), except...); err != nil {
		t.Fatal(err)
	}
}

// Everybody gets every message, from when it has joined until it has left, but for
// those who are excepted.
func TestGroup(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var g Group
		cast(t, &g, "to nobody")
		var rigs []*rig
		for _, k := range memberKinds {
			rigs = append(rigs, k.rig(t, nil))
		}
		for i, r := range rigs {
			for range 2 {
				if !g.Add(r.c) {
					t.Error("Add of an open connection should say that it is a member, the second time too")
				}
			}
			if g.Len() != i+1 {
				t.Errorf("with %d members Len should say so, and says %d", i+1, g.Len())
			}
		}
		for _, n := range []int{0, 1, 125, 126, 5000, largeWrite, 100_000} {
			p := []byte(pattern(n))
			g.Broadcast(MessageBinary, p)
			clear(p)
			for _, r := range rigs {
				r.wantFrame("a member", binaryF(pattern(n)))
			}
		}
		for i, r := range rigs {
			cast(t, &g, "from "+strconv.Itoa(i), r.c)
			cast(t, &g, "to all")
			g.BroadcastPrepared(NewPreparedMessage(MessageText, []byte("prepared")), rigs[0].c, rigs[1].c)
			for j, r := range rigs {
				if j != i {
					r.wantFrame("a member", textF("from "+strconv.Itoa(i)))
				}
				r.wantFrame("a member", textF("to all"))
				if j > 1 {
					r.wantFrame("a member", textF("prepared"))
				}
			}
		}

		var all []*Conn
		for c := range g.Members() {
			all = append(all, c)
		}
		for i, r := range rigs {
			if !slices.Contains(all, r.c) || len(all) != len(rigs) {
				t.Errorf("Members should yield member %d, and yields %v", i, all)
			}
		}
		for range g.Members() {
			break
		}
		if want := (GroupStats{Messages: 8 + 3*uint64(len(rigs))}); g.Stats() != want {
			t.Errorf("Stats should return %+v, and returns %+v", want, g.Stats())
		}

		// A message that is on its way when somebody joins or leaves.
		first, late := rigs[0], memberKinds[0].rig(t, nil)
		cast(t, &g, "before")
		if !g.Remove(first.c) || g.Remove(first.c) {
			t.Error("Remove should say whether the connection was a member")
		}
		g.Add(late.c)
		cast(t, &g, "after")
		for _, r := range rigs[1:] {
			r.wantFrame("a member", textF("before"))
			r.wantFrame("a member", textF("after"))
		}
		late.wantFrame("who joins gets what is sent from then on", textF("after"))
		synctest.Wait()
		first.mine.Close() // "before" may have left already
		if rest, _ := io.ReadAll(first.far); bytes.Contains(rest, []byte("after")) {
			t.Error("who has left should get nothing more")
		}
		for _, m := range []*PreparedMessage{{}, NewPreparedMessage(MessageType(OpClose), nil)} {
			if g.BroadcastPrepared(m) == nil || g.Broadcast(m.typ, nil) == nil {
				t.Errorf("%v should be refused", m.typ)
			}
		}
	})
}

// A member leaves by itself when its connection ends, however that happens, and
// nothing of it stays behind.
func TestGroupMembersLeave(t *testing.T) {
	ends := map[string]func(r *rig){
		"Close":                   func(r *rig) { r.c.Close() },
		"Shutdown":                func(r *rig) { go r.c.Shutdown(bg, StatusNormalClosure, "") },
		"the peer's Close":        func(r *rig) { r.send(closeF(StatusNormalClosure, "")) },
		"a fault of the peer":     func(r *rig) { r.write(bytes.Repeat([]byte{0xff}, maxFrameHeader)) },
		"the peer's end":          func(r *rig) { r.far.Close() },
		"a peer that is cut off":  func(r *rig) { r.mine.In.Reset() },
		"a write that is refused": func(r *rig) { r.mine.Out.Update(func() { r.mine.Out.Dead = true }) },
	}
	for name, end := range ends {
		bubble(t, name, func(t *testing.T) {
			var g, other Group
			var rigs []*rig
			for _, k := range memberKinds {
				r := k.rig(t, nil)
				rigs = append(rigs, r)
				g.Add(r.c)
				other.Add(r.c)
				r.c.CloseRead(bg)
			}
			stays := newRig(t, server, nil)
			g.Add(stays.c)
			for _, r := range rigs {
				end(r)
			}
			cast(t, &g, "x")
			synctest.Wait()
			if g.Len() != 1 || other.Len() != 0 {
				t.Errorf("those who have ended should have left, and %d and %d are there", g.Len()-1, other.Len())
			}
			for _, r := range rigs {
				if g.Add(r.c) || g.Remove(r.c) {
					t.Error("a connection that has ended cannot be a member")
				}
			}
			stays.wantFrame("who stays", textF("x"))
		})
	}
}

// numbered returns message i of a test: of 1000 bytes on the wire of a server.
func numbered(i int) string { return fmt.Sprintf("%0996d", i) }

// A member that takes nothing delays nobody. What waits for it is bounded, and
// past the bound the policy decides.
func TestGroupSlowMember(t *testing.T) {
	const n, room = 100, 10
	policies := []struct {
		name   string
		policy SlowPolicy
		want   func(first int) []int // which messages come, when those before first were in the connection's hands
	}{
		{"close", SlowClose, nil},
		{"drop newest", SlowDropNewest, func(first int) []int { return numbers(0, first+room) }},
		{"drop oldest", SlowDropOldest, func(first int) []int { return append(numbers(0, first), numbers(n-room, n)...) }},
	}
	for _, p := range policies {
		onMembers(t, &Options{WriteTimeout: -1}, func(t *testing.T, slow *rig) {
			var missed atomic.Int64
			var told atomic.Pointer[Conn]
			g := Group{Queue: room * 1000, Slow: p.policy, OnSlow: func(c *Conn, n int) {
				missed.Add(int64(n))
				told.Store(c)
			}}
			fast := newRig(t, server, nil)
			g.Add(fast.c)
			g.Add(slow.c)
			slow.stall()
			for i := range n {
				start := time.Now()
				cast(t, &g, numbered(i))
				synctest.Wait()
				fast.wantFrame("a member that reads", textF(numbered(i)))
				if time.Since(start) > 0 {
					t.Fatal("a slow member delays the others")
				}
			}
			const first = 1 // the first is in the flusher's hands
			stats, text := g.Stats(), p.name
			if stats.Missed == 0 || stats.Messages != n || missed.Load() != int64(stats.Missed) || told.Load() != slow.c {
				t.Errorf("%s: the counters say %+v, and OnSlow was told of %d", text, stats, missed.Load())
			}
			if p.want == nil {
				if stats.Closed != 1 || g.Len() != 1 {
					t.Errorf("%s: the slow member should be closed: %+v", text, stats)
				}
				slow.unstall()
				slow.wantFrame("what has left the group is sent", textF(numbered(0)))
				slow.wantClose("the policy", StatusTryAgainLater)
				return
			}
			if stats.Closed != 0 || stats.Missed != n-first-room {
				t.Errorf("%s: %d messages should be missed, and the counters say %+v", text, n-first-room, stats)
			}
			slow.unstall()
			for _, i := range p.want(first) {
				slow.wantFrame(text, textF(numbered(i)))
			}
			slow.wantSilence("it has missed the others")
			cast(t, &g, "next")
			slow.wantFrame("when it reads again it gets all", textF("next"))
		})
	}
}

// numbers returns those from i to j, less j.
func numbers(i, j int) (all []int) {
	for ; i < j; i++ {
		all = append(all, i)
	}
	return all
}

// A message beyond the bound is taken when nothing waits.
func TestGroupLargeMessage(t *testing.T) {
	onMembers(t, nil, func(t *testing.T, r *rig) {
		g := Group{Queue: 100, Slow: SlowDropNewest}
		g.Add(r.c)
		r.stall()
		cast(t, &g, "in the flusher's hands")
		synctest.Wait()
		cast(t, &g, pattern(100_000))
		synctest.Wait()
		cast(t, &g, "too much")
		synctest.Wait()
		r.unstall()
		r.wantFrame("a slow member", textF("in the flusher's hands"))
		r.wantFrame("a slow member", textF(pattern(100_000)))
		r.wantSilence("what had no room is missed")
	})
}

// What waits for many is in memory once, whether it is large or there is much.
func TestGroupSharesMemory(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		g := Group{Queue: 4 << 20}
		const members = 50
		for range members {
			r := newRig(t, server, &Options{WriteTimeout: -1})
			r.stall()
			g.Add(r.c)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 3 {
			cast(t, &g, pattern(1<<20))
			synctest.Wait()
		}
		for range 1000 {
			cast(t, &g, "a small one")
			synctest.Wait()
		}
		runtime.ReadMemStats(&after)
		if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 20 {
			t.Errorf("3 MiB that wait for each of %d members should not take %d MiB", members, grown)
		}
		for c := range g.Members() {
			if b := c.Buffered(); b != 1<<20+10 {
				t.Errorf("the connection's own queue should hold one message, and holds %d bytes", b)
			}
			c.NetConn().Close() // what waits is not to be read
		}
	})
}

// Messages that are broadcast in a burst leave together.
func TestGroupGathers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // with more, a pass may begin in the middle of a burst
	onMembers(t, nil, func(t *testing.T, r *rig) {
		const n = 8
		var g Group
		g.Add(r.c)
		for range 3 {
			r.c.out.mu.Lock() // keeps the group's goroutine at the first, however the two are scheduled
			for i := range n {
				cast(t, &g, strconv.Itoa(i))
			}
			r.c.out.mu.Unlock()
			synctest.Wait()
			calls := r.mine.Wrote()
			if len(calls) > 3 {
				t.Errorf("a burst of %d messages leaves in %q", n, calls)
			}
			if try := strings.HasPrefix(calls[0], "try "); try != r.c.traits.tries {
				t.Errorf("to a socket it should leave in the group's own goroutine, and leaves in %q", calls)
			}
			for i := range n {
				r.wantFrame("a burst", textF(strconv.Itoa(i)))
			}
		}
		r.stall()
		for i := range 100 {
			cast(t, &g, strconv.Itoa(i))
			synctest.Wait()
		}
		r.mine.Wrote()
		r.unstall()
		for i := range 100 {
			r.wantFrame("what has waited", textF(strconv.Itoa(i)))
		}
		if calls := r.mine.Wrote(); len(calls) > 3 {
			t.Errorf("what has waited should leave together, and leaves in %q", calls)
		}
	})
}

// A member in the middle of a message gets what is broadcast after that, within
// the bound, and delays nobody.
func TestGroupNextWriter(t *testing.T) {
	for _, size := range []int{10, 5000, largeWrite} {
		onMembers(t, nil, func(t *testing.T, r *rig) {
			g := Group{Queue: 5000, Slow: SlowDropNewest}
			fast := newRig(t, server, nil)
			g.Add(fast.c)
			g.Add(r.c)
			m, err := r.c.NextWriter(bg, MessageBinary)
			if err != nil {
				t.Fatal(err)
			}
			cast(t, &g, "before it begins")
			r.wantFrame("a message that has not begun on the wire delays nothing", textF("before it begins"))
			fast.wantFrame("another", textF("before it begins"))

			r.mine.Out.Update(func() { r.mine.Out.Room = 1 << 20 })
			r.send(pingF("x"))
			r.c.CloseRead(bg)
			text := pattern(size)
			for range 3 {
				m.Write([]byte(text))
				synctest.Wait()
				for i := range 3 {
					cast(t, &g, numbered(i))
					synctest.Wait()
					fast.wantFrame("another", textF(numbered(i)))
				}
			}
			m.Close()
			var got strings.Builder
			var others []string
			for fin := false; !fin; {
				f, err := r.readFrame()
				switch {
				case err != nil:
					t.Fatal(err)
				case f.op == OpText && got.Len() > 0:
					t.Fatalf("a message should not begin within another: %v", f)
				case f.op == OpText:
					others = append(others, f.payload)
				case f.op != OpPong:
					got.WriteString(f.payload)
					fin = f.fin
				}
			}
			if got.String() != strings.Repeat(text, 3) {
				t.Errorf("the NextWriter's message does not arrive as it was written")
			}
			missed := 0 // a short message goes on the wire in one frame, at the end: it delays nothing
			if size > smallBuffer {
				missed = 4
			}
			for len(others) < 9-missed {
				f, err := r.readFrame()
				if err != nil {
					t.Fatalf("what has waited should come, beyond %d messages: %v", len(others), err)
				}
				others = append(others, f.payload)
			}
			for i, text := range others {
				if text != numbered(i%3) {
					t.Errorf("message %d should come, and %.30q does", i%3, text)
				}
			}
			r.wantSilence("past the bound the policy holds")
			if n := g.Stats().Missed; n != uint64(missed) {
				t.Errorf("%d messages had no room, and %d are counted", missed, n)
			}
		})
	}
}

// A NextWriter whose message was given up before a byte of it was sent, by a large
// write whose context ended, leaves the way free.
func TestGroupAfterAbandonedMessage(t *testing.T) {
	onMembers(t, &Options{WriteTimeout: -1}, func(t *testing.T, r *rig) {
		var g Group
		g.Add(r.c)
		ctx, cancel := context.WithCancel(bg)
		m, _ := r.c.NextWriter(ctx, MessageBinary)
		cancel()
		if _, err := m.Write(make([]byte, largeWrite)); err == nil {
			t.Error("a write with a context that has ended should fail")
		}
		m.Close()
		cast(t, &g, "x")
		r.wantFrame("a member", textF("x"))
	})
}

// What was written to a connection before it was added comes first.
func TestGroupAfterWrites(t *testing.T) {
	onMembers(t, nil, func(t *testing.T, r *rig) {
		var g Group
		r.stall()
		for i := range 10 {
			r.c.WriteText(bg, strconv.Itoa(i))
		}
		g.Add(r.c)
		cast(t, &g, "broadcast")
		synctest.Wait()
		r.unstall()
		for i := range 10 {
			r.wantFrame("what was written first", textF(strconv.Itoa(i)))
		}
		r.wantFrame("then what is broadcast", textF("broadcast"))
	})
}

// Shutdown and Close send what waits in groups before their Close frame.
func TestGroupThenClose(t *testing.T) {
	ends := map[StatusCode]func(c *Conn){
		StatusNormalClosure: func(c *Conn) { c.Shutdown(bg, StatusNormalClosure, "") },
		StatusGoingAway:     func(c *Conn) { c.Close() },
	}
	for code, end := range ends {
		onMembers(t, nil, func(t *testing.T, r *rig) {
			var g Group
			g.Add(r.c)
			r.stall()
			for i := range 10 {
				cast(t, &g, strconv.Itoa(i))
				synctest.Wait()
			}
			done := inBackground(func() bool { end(r.c); return true })
			synctest.Wait()
			cast(t, &g, "too late")
			r.unstall()
			for i := range 10 {
				r.wantFrame("what was broadcast before", textF(strconv.Itoa(i)))
			}
			r.wantClose("then", code)
			r.far.Close()
			<-done
		})
	}
}

// A connection may be in several groups: they take turns.
func TestGroupsOfOneConnection(t *testing.T) {
	onMembers(t, nil, func(t *testing.T, r *rig) {
		const n = 20
		groups := make([]Group, 3)
		for i := range groups {
			groups[i].Add(r.c)
		}
		r.stall()
		cast(t, &groups[0], "in the flusher's hands")
		synctest.Wait()
		for i := range groups {
			for j := range n {
				cast(t, &groups[i], fmt.Sprint(i, " ", j))
			}
		}
		synctest.Wait()
		groups[2].Remove(r.c)
		r.unstall()
		r.wantFrame("first", textF("in the flusher's hands"))
		next := make([]int, 2)
		for range 2 * n {
			f, err := r.readFrame()
			if err != nil {
				t.Fatal(err)
			}
			var i, j int
			fmt.Sscan(f.payload, &i, &j)
			if i > 1 || j != next[i] {
				t.Fatalf("message %d of group %d comes, and %v should", j, i, next)
			}
			if next[i]++; next[i]-next[1-i] > 1 {
				t.Fatalf("groups should take turns: %v", next)
			}
		}
		r.wantSilence("of the group that it has left nothing comes")
	})
}

// OnSlow may take its time, and use the group.
func TestGroupOnSlow(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var calls atomic.Int32
		g := Group{Queue: 1000}
		g.OnSlow = func(c *Conn, missed int) {
			if calls.Add(1) == 1 {
				time.Sleep(10 * time.Second)
			}
			g.Remove(c)
			cast(t, &g, "somebody was too slow")
		}
		fast := newRig(t, server, nil)
		g.Add(fast.c)
		slow := make([]*rig, 5)
		for i := range slow {
			slow[i] = newRig(t, server, &Options{WriteTimeout: -1})
			slow[i].stall()
			g.Add(slow[i].c)
		}
		start := time.Now()
		for i := range 10 {
			cast(t, &g, numbered(i))
			synctest.Wait()
			fast.wantFrame("while OnSlow is at work", textF(numbered(i)))
		}
		if time.Since(start) > 0 {
			t.Error("OnSlow delays messages")
		}
		for range slow {
			fast.wantFrame("from OnSlow", textF("somebody was too slow"))
		}
		if calls.Load() != int32(len(slow)) {
			t.Errorf("OnSlow should be called for each of %d, and is called %d times", len(slow), calls.Load())
		}
	})
	g := Group{OnSlow: func(*Conn, int) { panic("boom") }}
	g.slow = []*member{{g: &g, missed: 1}}
	panicked := func() (reason any) {
		defer func() { reason = recover() }()
		g.tell()
		return nil
	}()
	if panicked != "boom" || g.Len() != 0 { // Len takes the lock
		t.Errorf("a panic in OnSlow should end the program as that, and does as %v", panicked)
	}
}

// A function that ends its goroutine, as t.FailNow does, ends nothing else.
func TestGroupOnSlowExits(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		g := Group{Queue: 1, OnSlow: func(*Conn, int) { runtime.Goexit() }}
		for range 2 {
			r := newRig(t, server, &Options{WriteTimeout: -1})
			r.stall()
			g.Add(r.c)
		}
		for i := range 3 {
			cast(t, &g, numbered(i))
			synctest.Wait()
		}
		if n := g.Stats().Closed; n != 2 || g.Len() != 0 {
			t.Errorf("two members should be closed, and %d are", n)
		}
	})
}

// A member that SlowClose has removed is gone within the 10 s of a Shutdown and the
// second that what is queued has then, also if it takes a little now and then, which
// Options.WriteTimeout lets pass.
func TestGroupSlowMemberIsGone(t *testing.T) {
	for _, trickle := range []bool{false, true} {
		onMembers(t, nil, func(t *testing.T, r *rig) {
			g := Group{Queue: 1000}
			g.Add(r.c)
			r.stall()
			for range 3 {
				cast(t, &g, pattern(100_000))
				synctest.Wait()
			}
			if g.Len() > 0 {
				t.Fatal("it should be removed at once")
			}
			start := time.Now()
			for !r.mine.IsClosed() && time.Since(start) < time.Minute {
				time.Sleep(time.Second)
				synctest.Wait()
				if trickle {
					r.mine.Out.Update(func() { r.mine.Out.Room++ })
				}
			}
			want := 10 * time.Second // Options.WriteTimeout, after which there is nothing to wait for
			if trickle {
				want = 11 * time.Second
			}
			if d := time.Since(start); d < want || d > want+time.Second {
				t.Errorf("trickle %v: its socket should be closed after %v, and is after %v", trickle, want, d)
			}
		})
	}
}

// Who writes to a member that never catches up with what is broadcast waits for his
// turn, and not for ever.
func TestGroupLetsWritersIn(t *testing.T) {
	for _, size := range []int{1000, largeWrite} {
		for _, prepared := range []bool{false, true} {
			onMembers(t, nil, func(t *testing.T, r *rig) {
				g := Group{Slow: SlowDropOldest}
				g.Add(r.c)
				r.mine.Out.Update(func() { r.mine.Out.Room = 1000 })
				text := strings.Repeat("x", size)
				var written <-chan error
				for i := range 1000 {
					for range 2 {
						cast(t, &g, numbered(i))
						synctest.Wait()
					}
					f, err := r.readFrame()
					switch {
					case err != nil:
						t.Fatal(err)
					case f.payload == text:
						if err := <-written; err != nil {
							t.Error(err)
						}
						return
					case i == 200 && prepared:
						written = inBackground(func() error { return r.c.WritePrepared(bg, NewPreparedMessage(MessageText, []byte(text))) })
					case i == 200:
						written = writeAsync(bg, r.c, text)
					}
				}
				t.Errorf("a write of %d bytes, prepared %v, waits while 800 messages of the group are sent", size, prepared)
			})
		}
	}
}

// So does a Ping, also where the queue of the connection is short.
func TestGroupLetsPingsIn(t *testing.T) {
	onMembers(t, &Options{WriteQueue: 1000}, func(t *testing.T, r *rig) {
		g := Group{Slow: SlowDropOldest}
		g.Add(r.c)
		r.mine.Out.Update(func() { r.mine.Out.Room = 1000 })
		var pinged <-chan error
		for i := range 1000 {
			for range 2 {
				cast(t, &g, numbered(i))
				synctest.Wait()
			}
			if i == 200 {
				pinged = startPing(bg, r.c)
			}
			f, err := r.readFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == OpPing {
				r.send(pongF(f.payload))
				if err := <-pinged; err != nil {
					t.Error(err)
				}
				return
			}
		}
		t.Error("a Ping waits while 800 messages of the group are sent")
	})
}

// The order is the same for every member, whatever its kind and pace.
func TestGroupOrder(t *testing.T) {
	const senders, each = 4, 200
	bubble(t, "", func(t *testing.T) {
		g := Group{Queue: 1 << 20}
		var rigs []*rig
		for i := range 12 {
			r := memberKinds[i%len(memberKinds)].rig(t, nil)
			if i >= 8 {
				r.mine.Out.Update(func() { r.mine.Out.Room, r.mine.Out.Chunk = 50, 7 })
			}
			rigs = append(rigs, r)
			g.Add(r.c)
		}
		for s := range senders {
			go func() {
				for i := range each {
					cast(t, &g, fmt.Sprint(s, " ", i))
				}
			}()
		}
		var order []frame
		for range senders * each {
			f, err := rigs[0].readFrame()
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, f)
		}
		for _, r := range rigs[1:] {
			for _, f := range order {
				r.wantFrame("the order should be that of the first member", f)
			}
		}
		next := make([]int, senders)
		for _, f := range order {
			var s, i int
			fmt.Sscan(f.payload, &s, &i)
			if i != next[s] {
				t.Fatalf("message %d of sender %d comes, and %d should", i, s, next[s])
			}
			next[s]++
		}
	})
}

// What is broadcast is compressed once for all members that compress alike.
func TestGroupCompressesOnce(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var g Group
		var peers []*Conn
		for range 10 {
			for _, o := range []*Compression{nil, both(false, 15), both(true, 15), both(false, 9)} {
				pair := newDeflatePair(t, o)
				g.Add(pair[server])
				peers = append(peers, pair[client])
			}
		}
		m := NewPreparedMessage(MessageText, []byte(pattern(5000)))
		g.BroadcastPrepared(m)
		for _, c := range peers {
			wantRead(t, "broadcast", c, MessageText, pattern(5000))
		}
		if len(m.packed) != 2 { // windows of 15 and of 9 bits
			t.Errorf("a message to %d members should be compressed twice, and is %d times", len(peers), len(m.packed))
		}
	})
}

// Joining, leaving, stalling, ending and writing during broadcasts. Whoever is a
// member all the time gets everything; so does, in order, whoever is for a while.
func TestGroupStress(t *testing.T) {
	const messages, comers = 600, 12
	onNetworks := networks
	if testing.Short() {
		onNetworks = networks[:1]
	}
	for _, n := range onNetworks {
		t.Run(n.name, func(t *testing.T) {
			watchLeaks(t)
			g := Group{Queue: 1 << 20}
			var over atomic.Bool
			var all, comeAndGo sync.WaitGroup
			for i := range 4 {
				c, p := newNetPair(t, n, role(i%2), nil)
				g.Add(c)
				all.Go(func() {
					for i := 0; i < messages; {
						f, err := p.readFrame()
						if err != nil {
							t.Error(err)
							return
						}
						if f.op == OpBinary {
							continue
						}
						if f.payload != strconv.Itoa(i) {
							t.Errorf("message %d should come, and %q does", i, f.payload)
							return
						}
						i++
					}
				})
				all.Go(func() {
					for i := 0; !over.Load() && i < messages; i++ {
						c.WriteMessage(bg, MessageBinary, []byte("between"))
					}
				})
			}
			for i := range comers {
				comeAndGo.Go(func() {
					for !over.Load() {
						visit(t, n, &g, i, &over)
					}
				})
			}
			for i := range messages {
				cast(t, &g, strconv.Itoa(i))
				if i%10 == 0 {
					runtime.Gosched()
				}
			}
			all.Wait()
			over.Store(true)
			for c := range g.Members() {
				c.Close()
			}
			comeAndGo.Wait()
			if n := g.Len(); n > 0 {
				t.Errorf("all have left, and %d are members", n)
			}
		})
	}
}

// visit joins g over n for some messages, and leaves in one of many ways.
func visit(t *testing.T, n network, g *Group, i int, over *atomic.Bool) {
	s, cl := n.connect(t)
	defer cl.Close()
	c := newConn(s, server, nil, "", nil)
	defer c.Close()
	p := &rawPeer{t: t, nc: cl, role: client}
	c.CloseRead(bg)
	g.Add(c)
	if over.Load() {
		return
	}
	last := -1
	for range rand.IntN(50) {
		f, err := p.readFrame()
		if err != nil || f.op == OpClose {
			return
		}
		k, _ := strconv.Atoi(f.payload)
		if last >= 0 && k != last+1 {
			t.Errorf("message %d should come, and %q does", last+1, f.payload)
		}
		last = k
	}
	switch i % 6 {
	case 0:
		g.Remove(c)
	case 1:
		cl.Close()
	case 2:
		c.Close()
	case 3:
		cl.Write(closeF(StatusNormalClosure, "").bytes(client))
	case 4:
		g.Add(c)
		g.Remove(c)
		g.Add(c)
	}
}

// A broadcast allocates nothing a member.
func TestGroupAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const members = 10_000
	still := &Options{KeepAlive: -1} // nothing of them is to wake when the test is long over
	var g Group
	for range members {
		mine, _ := newMemPipe(0)
		c := newConn(mine, server, still, "", nil)
		c.t = sink{memSocket{mine}}
		c.traits = c.t.traits()
		g.Add(c)
	}
	m := NewPreparedMessage(MessageText, make([]byte, 128))
	for what, except := range map[string][]*Conn{"": nil, ", not to the sender,": {g.members[0].c}} {
		broadcast := func() {
			for range 8 {
				g.BroadcastPrepared(m, except...)
			}
			for g.busy() {
				runtime.Gosched()
			}
		}
		broadcast()
		if n := testing.AllocsPerRun(20, broadcast); n > 50 {
			t.Errorf("8 messages%s to %d members allocate %v times", what, members, n)
		}
	}
}

func (g *Group) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passing
}

// A sink is a socket that takes everything.
type sink struct{ memSocket }

func (sink) tryWrite(p []byte) (int, error) { return len(p), nil }
