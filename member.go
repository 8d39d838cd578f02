package websocket

import "slices"

// The group's side of a connection, and the connection's side of a group: how what
// is broadcast gets into a member's hands.

// A member is the membership of a connection in a group.
type member struct {
	g *Group
	c *Conn

	// Guarded by g.mu; since does not change.
	since  uint64 // how many messages the group had been sent before
	index  int    // in g.members
	missed int    // messages, of which OnSlow is to be told

	// Guarded by c.out.mu.
	next    *member
	after   *member
	left    bool               // it is no member any more
	waiting []*PreparedMessage // what waits in the group, behind what has left it
	head    int                // how many of waiting have left
	size    int                // bytes that wait
}

// A pass gives messages to the members of a group, in one go for each.
type pass struct {
	messages []broadcast
	first    uint64 // the number of the first
	members  []*member
	except   bool    // some of the messages are not for all
	blocks   []block // one for each packing that members have, of this pass and of earlier ones
}

// A block is all messages of a pass, as servers of one packing send them.
type block struct {
	packing
	frames  []byte  // nil until the pass needs them
	traffic Traffic // what they count for, but for Wire
	foreign bool    // some of them are compressed
	scratch []byte  // memory for frames
	kept    bool    // a member has kept a part of it
}

// block returns the messages for members of a packing.
func (p *pass) block(how packing) *block {
	i := slices.IndexFunc(p.blocks, func(b block) bool { return b.packing == how })
	if i < 0 {
		i = len(p.blocks)
		p.blocks = append(p.blocks, block{packing: how})
	}
	b := &p.blocks[i]
	if b.frames == nil {
		b.gather(p.messages)
	}
	return b
}

// gather puts the messages together.
func (b *block) gather(messages []broadcast) {
	b.frames, b.traffic = b.scratch[:0], Traffic{}
	for _, x := range messages {
		f := x.m.form(b.packing)
		b.foreign = b.foreign || f.head.RSV1
		b.traffic.Messages++
		b.traffic.Bytes += uint64(f.size)
		if len(messages) == 1 {
			b.frames = f.frame
			return
		}
		b.frames = append(b.frames, f.frame...)
	}
	b.scratch = b.frames
}

// end lets go of what the pass has given.
func (p *pass) end() {
	clear(p.messages)
	clear(p.members)
	p.messages, p.members = p.messages[:0], p.members[:0]
	p.blocks = slices.DeleteFunc(p.blocks, func(b block) bool { return b.frames == nil })
	for i := range p.blocks {
		b := &p.blocks[i]
		if b.frames, b.foreign = nil, false; b.kept || cap(b.scratch) > largeBuffer {
			b.scratch, b.kept = nil, false
		}
	}
}

// give gives the messages to a member: at once to one that is ready, and else, or
// as far as they are not all for it, by way of its queue in the group (by which a message
// takes 1.07 of the time, and a burst of eight 1.2). It returns how many the member
// misses since it is too slow, and whether it is to be closed for that.
func (p *pass) give(m *member) (missed int, closed bool) {
	c := m.c
	w := &c.out
	b := p.block(c.packing()) // compressed before out.mu is taken
	w.mu.Lock()
	if m.left {
		w.mu.Unlock()
		return 0, false
	}
	if !p.except && m.since <= p.first && c.takesShared() {
		w.foreign = w.foreign || b.foreign
		w.traffic.add(b.traffic)
		b.kept = c.tryShared(b.frames) || b.kept
		return 0, false
	}
	for i, b := range p.messages {
		if p.first+uint64(i) >= m.since && !slices.Contains(b.except, c) {
			missed += m.wait(b.m)
		}
	}
	if closed = missed > 0 && m.g.Slow == SlowClose; closed {
		missed += len(m.waiting) - m.head
		w.leave(m)
	}
	c.kick(true)
	return missed, closed
}

// takesShared reports that c is ready for messages, in the plain form of servers and
// in the caller's goroutine. Called with out.mu held.
func (c *Conn) takesShared() bool {
	w := &c.out
	return c.traits.tries && !c.role.masks() && w.role == nobody && w.empty() && !w.open && w.behind == nil && w.ahead == 0
}

// tryShared writes p, which are whole frames, as far as that is possible without
// waiting. What is left a flusher writes: then it reports that p is kept. Called
// with out.mu held, while takesShared; returns without it.
func (c *Conn) tryShared(p []byte) (kept bool) {
	w := &c.out
	w.role = somebody
	w.take(p)
	w.mu.Unlock()
	n, err := c.tryWrite(p)
	w.mu.Lock()
	c.wrote(n, err)
	kept = w.batch != nil
	c.giveRole()
	return kept
}

// take puts a batch into the flusher's hands that does not come from the queue.
func (w *writer) take(p []byte) {
	w.batch, w.shared, w.sent = p, true, 0
	w.inFlight = len(p)
	w.queued += uint64(len(p))
}

// wait lets a message wait for m. It returns how many messages, this one included,
// m misses for want of room. Called with out.mu held.
func (m *member) wait(x *PreparedMessage) (missed int) {
	room := max(m.g.queue()-x.size(), 0)
	if m.size == 0 {
		m.c.out.addBehind(m)
	}
	for m.g.Slow == SlowDropOldest && m.size > room {
		m.pop()
		missed++
	}
	if m.size > room {
		return missed + 1
	}
	m.push(x)
	return missed
}

// The queue of a member: waiting, less the first head of it.

func (m *member) push(x *PreparedMessage) {
	if n := len(m.waiting); n == cap(m.waiting) && m.head > n/2 {
		m.waiting = slices.Delete(m.waiting, 0, m.head)
		m.head = 0
	}
	m.waiting = append(m.waiting, x)
	m.size += x.size()
}

func (m *member) pop() *PreparedMessage {
	x := m.waiting[m.head]
	m.waiting[m.head] = nil
	m.head++
	m.size -= x.size()
	if m.size == 0 {
		m.waiting, m.head = m.waiting[:0], 0
		if cap(m.waiting) > 64 {
			m.waiting = nil
		}
	}
	return x
}

// The memberships of a connection. All are called with out.mu held.

func (w *writer) membership(g *Group) *member {
	for m := w.memberships; m != nil; m = m.next {
		if m.g == g {
			return m
		}
	}
	return nil
}

// leave ends a membership.
func (w *writer) leave(m *member) {
	at := &w.memberships
	for *at != m {
		at = &(*at).next
	}
	*at = m.next
	w.removeBehind(m)
	m.end()
}

// leaveGroups ends all memberships.
func (w *writer) leaveGroups() {
	for m := w.memberships; m != nil; m = m.next {
		m.end()
	}
	w.memberships, w.behind = nil, nil
}

func (m *member) end() {
	m.left, m.waiting, m.head, m.size = true, nil, 0, 0
	m.g.remove(m)
}

// addBehind puts m at the end of those for which messages wait: they take turns.
func (w *writer) addBehind(m *member) {
	at := &w.behind
	for *at != nil {
		at = &(*at).after
	}
	*at = m
}

func (w *writer) removeBehind(m *member) {
	for at := &w.behind; *at != nil; at = &(*at).after {
		if *at == m {
			*at, m.after = m.after, nil
			return
		}
	}
}

// mayRefill reports whether messages wait in groups that may be sent now.
func (w *writer) mayRefill() bool { return w.behind != nil && !w.open && w.ahead == 0 }

// nextBehind takes the message that is next of those that wait in groups.
func (w *writer) nextBehind() *PreparedMessage {
	m := w.behind
	x := m.pop()
	w.removeBehind(m)
	if m.size > 0 {
		w.addBehind(m)
	}
	return x
}

// refill appends to the queue what waits in groups, as much as is written in one
// go. A message that is large, or the only one, a server sends from where it is: then
// it is in the flusher's hands already, and refill returns true. Called by the
// holder of the flusher role.
func (c *Conn) refill() (done bool) {
	w := &c.out
	for w.mayRefill() {
		m := w.behind
		f := m.waiting[m.head].form(c.packing())
		n := len(w.queue) + len(f.frame)
		alone := n == len(f.frame) && len(m.waiting)-m.head == 1 && m.after == nil
		switch {
		case len(w.queue) > 0 && n > largeBuffer:
			return false
		case len(w.queue) == 0 && !c.role.masks() && (alone || len(f.payload) >= largeWrite):
			w.nextBehind()
			w.foreign = w.foreign || f.head.RSV1
			w.count(true, f.size)
			w.take(f.frame)
			return true
		}
		w.nextBehind()
		c.appendForm(f)
	}
	return false
}

// catchUp appends to the queue all that waits in groups, before a Close frame is.
func (c *Conn) catchUp() {
	w := &c.out
	for w.behind != nil && !w.open {
		c.appendForm(w.nextBehind().form(c.packing()))
	}
}
