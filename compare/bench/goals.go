package main

import "fmt"

// A goal is what a work should cost at the most, and says so.
type goal struct {
	text string
	met  func(w work, r result) bool
}

// noise is how much two servers may differ and still cost the same here.
const noise = 1.05

var noPeerCheaper = goal{"no peer is cheaper", func(w work, r result) bool {
	_, peer := r.best(w.more)
	return r.ours().per(peer).median() <= noise
}}

func atMostRaw(ratio float64) goal {
	return goal{fmt.Sprintf("at most %v × raw TCP", ratio), func(w work, r result) bool {
		return r.ours().per(r.raw()).median() <= ratio
	}}
}

func cheaperThanPeers(ratio float64) goal {
	return goal{fmt.Sprintf("at least %v × cheaper than the best peer", ratio), func(w work, r result) bool {
		_, peer := r.best(w.more)
		return peer.per(r.ours()).median() >= ratio
	}}
}
