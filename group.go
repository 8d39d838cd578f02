package websocket

import (
	"context"
	"iter"
	"slices"
	"sync"
)

// A Group is a set of connections that are sent the same messages, in the same
// order. Its zero value is an empty group; it must not be copied after its first
// use, nor its fields changed. Any number of goroutines may use it at the same
// time, and a connection may be a member of any number of groups.
//
// No member delays another, or whoever broadcasts. What a member is not ready to
// take waits for it in the group, up to a bound, past which Slow decides. A message
// that waits for many is in memory once.
//
// A member is ready again when the connection's own queue has left for the
// operating system. So a broadcast comes after what was written to the connection
// before it was added, and never within a message of a [Conn.NextWriter]; else the
// order between broadcasts and other writes to a member is open. A write that waits
// for room goes before what waits in groups.
type Group struct {
	// Queue is how many bytes may wait for a member that is still busy with what it
	// was sent before. A larger message is taken when nothing waits. 0 stands for
	// 64 KiB.
	Queue int

	// Slow decides what happens when a message has no room in a member's queue.
	Slow SlowPolicy

	// OnSlow, if it is not nil, is told of the members to which Slow was applied: how
	// many messages c has missed since the last call for it. There is one call at a
	// time, on a goroutine of its own, so it delays no message and may use the group,
	// though what it broadcasts c will miss as well, and it be called for that. A panic
	// in it ends the program, as in any goroutine.
	OnSlow func(c *Conn, missed int)

	// mu guards what follows. It may be taken with a connection's out.mu held, and not
	// the other way round.
	mu      sync.Mutex
	members []*member
	pending []broadcast // what the next pass gives to the members; the last of stats.Messages
	size    int         // bytes of it
	passing bool        // somebody makes passes
	taken   sync.Cond   // pending was
	stats   GroupStats
	slow    []*member // those of which OnSlow is to be told
	telling bool      // somebody does that

	now pass // the one that is made now; belongs to the one who makes it
}

// A SlowPolicy decides what becomes of a member of a [Group] that reads so slowly
// that a message has no room in its queue.
type SlowPolicy byte

const (
	// SlowClose removes the member and closes the connection, with
	// [StatusTryAgainLater]: a peer never misses a message without knowing it.
	SlowClose SlowPolicy = iota
	// SlowDropNewest lets the member miss the message.
	SlowDropNewest
	// SlowDropOldest lets the member miss those that have waited longest, for data of
	// which the latest counts.
	SlowDropOldest
)

// GroupStats are counters of a [Group], from its beginning.
type GroupStats struct {
	Messages uint64 // that were broadcast
	Missed   uint64 // messages that members have missed, each counted for each
	Closed   uint64 // members that SlowClose has closed
}

// A broadcast is a message on its way to the members.
type broadcast struct {
	m      *PreparedMessage
	except []*Conn
}

const defaultGroupQueue = 64 << 10

func (g *Group) queue() int {
	if g.Queue <= 0 {
		return defaultGroupQueue
	}
	return g.Queue
}

// Add makes c a member: it is sent what is broadcast from now on. It leaves by
// itself when nothing more can be written to it. Add reports whether c is a member
// now, which it is not if that has come to pass already.
func (g *Group) Add(c *Conn) bool {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return false
	}
	if w.membership(g) == nil {
		m := &member{g: g, c: c, next: w.memberships}
		w.memberships = m
		g.mu.Lock()
		m.since, m.index = g.stats.Messages, len(g.members)
		g.members = append(g.members, m)
		g.mu.Unlock()
	}
	return true
}

// Remove ends the membership of c. Messages that wait for it in the group are not
// sent any more. It reports whether c was a member.
func (g *Group) Remove(c *Conn) bool {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.membership(g)
	if m != nil {
		w.leave(m)
	}
	return m != nil
}

// remove takes m out of the members.
func (g *Group) remove(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := len(g.members) - 1
	g.members[m.index] = g.members[last]
	g.members[m.index].index = m.index
	g.members[last] = nil
	g.members = g.members[:last]
}

// Len returns the number of members.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// Members returns an iterator over the members, in no order: those that there are
// when it begins.
func (g *Group) Members() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		g.mu.Lock()
		members := slices.Clone(g.members)
		g.mu.Unlock()
		for _, m := range members {
			if !yield(m.c) {
				return
			}
		}
	}
}

// Stats returns the group's counters.
func (g *Group) Stats() GroupStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// Broadcast sends a message to all members but those in except, where often the
// sender is. It copies p and returns before the message has left. It never waits
// for a member; when messages come faster than the processors can hand them out,
// it waits for these. Text should be UTF-8, which is not checked here.
//
// Members get all messages in the same order, those of one goroutine in its order.
// An error of a member is seen by whoever reads from it. The only error of
// Broadcast is that for a typ which is neither text nor binary.
func (g *Group) Broadcast(typ MessageType, p []byte, except ...*Conn) error {
	if err := checkType(typ); err != nil {
		return err
	}
	return g.BroadcastPrepared(NewPreparedMessage(typ, p), except...)
}

// BroadcastPrepared is [Group.Broadcast] of a prepared message.
func (g *Group) BroadcastPrepared(m *PreparedMessage, except ...*Conn) error {
	if err := checkType(m.typ); err != nil {
		return err
	}
	b := broadcast{m: m}
	if len(except) > 0 {
		b.except = slices.Clone(except)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.passing && g.size > 0 && g.size+m.size() > g.queue() {
		if g.taken.L == nil {
			g.taken.L = &g.mu
		}
		g.taken.Wait()
	}
	g.stats.Messages++
	if len(g.members) == 0 && !g.passing {
		return nil
	}
	g.pending = append(g.pending, b)
	g.size += m.size()
	if !g.passing {
		g.passing = true
		go g.pass()
	}
	return nil
}

// pass makes passes over the members until nothing is pending.
func (g *Group) pass() {
	for g.beginPass() {
		for _, m := range g.now.members {
			if missed, closed := g.now.give(m); missed > 0 {
				g.missed(m, missed, closed)
			}
		}
		g.now.end()
	}
}

// beginPass takes what is pending and who is a member, or ends the passes.
func (g *Group) beginPass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) == 0 {
		g.passing = false
		return false
	}
	p := &g.now
	p.first = g.stats.Messages - uint64(len(g.pending))
	p.messages, g.pending, g.size = g.pending, p.messages, 0
	p.members = append(p.members, g.members...)
	p.except = slices.ContainsFunc(p.messages, func(b broadcast) bool { return b.except != nil })
	g.taken.Broadcast()
	return true
}

// missed counts the messages that m has missed, and sees to it that OnSlow is told.
func (g *Group) missed(m *member, missed int, closed bool) {
	g.mu.Lock()
	g.stats.Missed += uint64(missed)
	if closed {
		g.stats.Closed++
	}
	if g.OnSlow != nil {
		if m.missed == 0 {
			g.slow = append(g.slow, m)
		}
		m.missed += missed
		if !g.telling {
			g.telling = true
			go g.tell()
		}
	}
	g.mu.Unlock()
	if closed {
		go m.c.Shutdown(context.Background(), StatusTryAgainLater, "too slow for what is broadcast")
	}
}

// tell calls OnSlow until there is nothing to tell. If OnSlow ends the goroutine,
// another goes on; a panic ends the program.
func (g *Group) tell() {
	told := false
	defer func() {
		if !told {
			go g.tell()
		}
	}()
	for m, missed := g.nextSlow(); m != nil; m, missed = g.nextSlow() {
		g.OnSlow(m.c, missed)
	}
	told = true
}

// nextSlow takes the next member of which OnSlow is to be told, and how many messages it
// has missed, or ends the telling.
func (g *Group) nextSlow() (m *member, missed int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.slow) == 0 {
		g.telling = false
		return nil, 0
	}
	m = g.slow[0]
	g.slow = slices.Delete(g.slow, 0, 1)
	missed, m.missed = m.missed, 0
	return m, missed
}
