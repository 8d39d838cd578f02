package main

import "time"

// A work is a row of the table: something that every server does, and what it
// costs.
type work struct {
	name   string
	unit   string
	more   bool // more is better
	goals  []goal
	config config
	measure
	takes   func(l library) bool // which libraries take part; nil stands for all
	against func(l library) bool // which of them are peers in this; nil stands for all
}

// A measure returns the figure of one server in one round, of d.
type measure func(p *process, d time.Duration) (float64, error)

const (
	micros = "µs"
	millis = "ms"
	kib    = "KiB"
)

// work is one that measures the CPU time of a message.
func (e echo) work(name string, cfg config, goals ...goal) work {
	return work{name: name, unit: micros, goals: goals, config: cfg, measure: e.cost}
}

// applications are libraries that do more than to echo.
func applications(l library) bool { return !l.echo }

// senders are libraries that send unasked; what is written by hand answers only.
func senders(l library) bool { return !l.echo && !l.aside }

func webSockets(l library) bool { return !l.raw }

func onHTTP(l library) bool { return !l.raw && !l.notHTTP }

// nobody is a peer where differences are compared, which can be nothing.
func nobody(library) bool { return false }

func deflates(l library) bool { return l.deflate && !l.echo }

func takesOver(l library) bool { return l.takeover && !l.echo }

func hasMasker(l library) bool { return maskers[l.name] != nil }

// works are in the order of the table.
func works() []work {
	large, idle := config{Large: true}, config{Idle: true}
	few := echo{conns: 64, inFlight: 1, size: 64}
	slowly := ticking{conns: 64, burst: 1, interval: 5 * time.Millisecond}
	floods := ticking{conns: 16, burst: 1000, interval: 50 * time.Millisecond}
	calm := pinging{conns: 64, interval: time.Millisecond}
	documents := echo{conns: 16, inFlight: 8, size: 2 << 10}
	all := []work{
		few.work("echo 64 B, 64 connections, 1 in flight", config{},
			atMostRaw(1.10), noPeerCheaper),
		echo{conns: 64, inFlight: 64, size: 64}.work("echo 64 B, 64 connections, 64 in flight", config{},
			atMostRaw(1.75), cheaperThanPeers(15)),
		echo{conns: 64, inFlight: 16, size: 1 << 10}.work("echo 1 KiB of non-ASCII text, 64 connections, 16 in flight", config{Text: true},
			atMostRaw(3)),
		{
			name: "one goroutine sending 64 B messages without waiting", unit: micros, config: config{Job: "push"},
			goals: []goal{cheaperThanPeers(10)}, measure: pushCost, takes: applications,
		},
		echo{conns: 64, inFlight: 1, size: 16 << 10}.work("echo 16 KiB, 64 connections, 1 in flight", large,
			atMostRaw(1.10), noPeerCheaper),
		echo{conns: 16, inFlight: 1, size: 64 << 10}.work("echo 64 KiB, 16 connections, 1 in flight", large,
			atMostRaw(1.10), noPeerCheaper),
		echo{conns: 4, inFlight: 1, size: 1 << 20}.work("echo 1 MiB, 4 connections, 1 in flight", large,
			atMostRaw(1.10), noPeerCheaper),
		{
			name: "broadcast of 128 B to 1000 connections, one at a time, for each", unit: micros, config: config{Job: "broadcast"},
			goals: []goal{noPeerCheaper}, measure: broadcast{conns: 1000, burst: 1}.cost, takes: senders,
		},
		{
			name: "broadcast of 128 B to 1000 connections, in bursts of 8, for each", unit: micros, config: config{Job: "broadcast"},
			goals: []goal{cheaperThanPeers(3)}, measure: broadcast{conns: 1000, burst: 8}.cost, takes: senders,
		},
		{
			name: "echo of 2 KiB of JSON, compressed, 16 connections, 8 in flight", unit: micros, config: config{Deflate: true},
			goals: []goal{cheaperThanPeers(2)}, measure: documents.cost, takes: deflates,
		},
		{
			name: "size of these messages, against compress/flate at level 1", unit: "×", config: config{Deflate: true},
			goals: []goal{atMost(1)}, measure: documents.compressedSize, takes: deflates,
		},
		{
			name: "opening handshake", unit: micros,
			goals: []goal{noPeerOnHTTPCheaper}, measure: handshakeCost, takes: applications, against: onHTTP,
		},
		{
			name: "8000 idle connections, memory of each", unit: kib, config: idle,
			goals: []goal{atMost(4.5)}, measure: idleMemory(8000), takes: webSockets,
		},
		{
			name: "8000 idle connections of examples/echo, memory of each", unit: kib,
			goals: []goal{atMost(7)}, measure: exampleMemory(8000), takes: func(l library) bool { return l.ours },
		},
		{
			name: "2000 idle connections over TLS, memory of each", unit: kib, config: config{Idle: true, TLS: true},
			goals: []goal{noPeerCheaper}, measure: idleMemory(2000), takes: webSockets,
		},
		{
			name: "1000 idle connections that compress, more memory of each", unit: kib, config: config{Idle: true, Deflate: true},
			goals: []goal{atMost(1)}, measure: compressedMemory(1000, 1), takes: deflates, against: nobody,
		},
		{
			name: "200 idle connections that compress with context takeover, after 64 KiB, more memory of each", unit: kib,
			config: config{Idle: true, Deflate: true, Takeover: true},
			goals:  []goal{atMost(100)}, measure: compressedMemory(200, 32), takes: takesOver, against: nobody,
		},
		{
			name: "allocations of an echo of 64 B", unit: "",
			goals: []goal{atMost(0.01), oneWithReadMessage}, measure: few.allocations,
		},
		{
			name: "delay of the first message since a read that waited, before 50 ms of computing", unit: millis,
			config: config{Job: "compute"}, goals: []goal{atMost(0.5)}, measure: computeDelay(1), takes: applications,
		},
		{
			name: "delay of the second", unit: millis,
			config: config{Job: "compute"}, goals: []goal{atMost(1)}, measure: computeDelay(2), takes: applications,
		},
		{
			name: "a message of 10,000 active connections against one of 64", unit: "×",
			goals: []goal{atMost(1.5)}, measure: manyAgainstFew(64, 10_000),
		},
		{
			name: "masking 64 KiB", unit: "GB/s", more: true,
			goals: []goal{atLeast(20)}, measure: maskRate, takes: hasMasker,
		},
		{
			name: "a message every 5 ms to a silent client, 64 connections", unit: micros,
			config: config{Job: "tick"}, measure: slowly.cost, takes: senders,
		},
		{
			name: "the same, 99 of 100 arrive within", unit: millis,
			config: config{Job: "tick"}, measure: slowly.delay(0.99), takes: senders,
		},
		{
			name: "floods of 1000 messages every 50 ms to silent clients, 16 connections", unit: micros,
			config: config{Job: "tick"}, measure: floods.cost, takes: senders,
		},
		{
			name: "a lone message on a connection that another goroutine keeps busy, 99 of 100 arrive within", unit: millis,
			config: config{Job: "busy"}, measure: busyDelay(0.99), takes: applications,
		},
		{
			name: "one connection floods, 1000 exchange 20 messages a second, 99 of 100 are back within", unit: millis,
			measure: pinging{conns: 1000, interval: 50 * time.Millisecond, flooding: 1}.delay(0.99),
		},
	}
	for procs := 1; procs <= 4; procs *= 2 {
		all = append(all, work{
			name: "64 connections exchange 1000 messages a second, GOMAXPROCS=" + string(rune('0'+procs)) + ", 999 of 1000 are back within",
			unit: millis, config: config{Procs: procs}, measure: calm.delay(0.999),
		})
	}
	return append(all, work{
		name: "memory that each of 64 connections keeps of a burst of 1 MiB messages", unit: kib,
		config: config{Idle: true, Large: true}, measure: burstMemory(64, 1<<20), takes: webSockets, against: nobody,
	})
}
