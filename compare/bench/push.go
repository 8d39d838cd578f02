package main

import "time"

// pushOrder is how many messages the client asks for at a time.
const pushOrder = 1 << 16

// pushCost returns what the server needs for a message that it sends without
// waiting, over one connection.
func pushCost(p *process, d time.Duration) (float64, error) {
	conns, err := dial(p, 1)
	if err != nil {
		return 0, err
	}
	l := &load{conns: conns}
	defer l.end()
	in := newReceiver(conns[0], 64<<10)
	message, sent := []byte(numbered), uint64(0)
	l.add(func() error {
		if _, err := conns[0].Write(order(pushOrder, 0)); err != nil {
			return err
		}
		for range pushOrder {
			mark(message, sent)
			if err := in.expect(opBinary, message); err != nil {
				return err
			}
			sent++
			l.messages.Add(1)
		}
		return nil
	}, 0, func() {})
	return l.cost(p, d)
}
