package main

import (
	"encoding/binary"
	"time"
)

// pushOrder is how many messages the client asks for at a time.
const pushOrder = 1 << 16

// pushCost returns what the server needs for a message that it sends without
// waiting, over one connection.
func pushCost(p *process, _ library, d time.Duration) (float64, error) {
	conns, err := dial(p.addr, 1, false)
	if err != nil {
		return 0, err
	}
	defer closeAll(conns)
	conns[0].SetDeadline(time.Now().Add(warmUp + d + patience))
	order := appendFrame(nil, opBinary, binary.BigEndian.AppendUint64(nil, pushOrder), &[4]byte{1, 2, 3, 4})
	n := uint64(0)
	message := pushed(0)
	check := &frameChecker{opcode: opBinary, next: func() []byte {
		binary.BigEndian.PutUint64(message, n)
		n++
		return message
	}}
	l := &load{}
	l.working.Go(func() {
		if err := l.run(conns[0], order, pushOrder, check, 64<<10); err != nil {
			l.failed.CompareAndSwap(nil, &err)
		}
	})
	time.Sleep(warmUp)
	cost, err := l.measure(p, d)
	if err != nil {
		return 0, err
	}
	return cost, l.finish()
}
