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
	_, peer := r.best(w)
	return r.ours().per(peer).median() <= noise
}}

// noPeerOnHTTPCheaper is for a work of which the peers are behind net/http, as we are.
var noPeerOnHTTPCheaper = goal{"no peer on net/http is cheaper", noPeerCheaper.met}

func atMost(x float64) goal {
	return goal{fmt.Sprintf("at most %v", x), func(w work, r result) bool { return r.ours().median() <= x }}
}

func atLeast(x float64) goal {
	return goal{fmt.Sprintf("at least %v", x), func(w work, r result) bool { return r.ours().median() >= x }}
}

var oneWithReadMessage = goal{"1 with ReadMessage", func(w work, r result) bool {
	return r.Samples[role(func(l library) bool { return l.readMessage })].median() <= 1.01
}}

func atMostRaw(ratio float64) goal {
	return goal{fmt.Sprintf("at most %v × raw TCP", ratio), func(w work, r result) bool {
		return r.ours().per(r.raw()).median() <= ratio
	}}
}

func cheaperThanPeers(ratio float64) goal {
	return goal{fmt.Sprintf("at least %v × cheaper than the best peer", ratio), func(w work, r result) bool {
		_, peer := r.best(w)
		return peer.per(r.ours()).median() >= ratio
	}}
}
