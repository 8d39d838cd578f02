package main

import "time"

// A work is a row of the table: something that every server does, and what it
// costs.
type work struct {
	name   string
	unit   string
	goals  []goal
	config config
	more   bool // more is better

	// measure returns the figure of one library in one round.
	measure func(p *process, l library, d time.Duration) (float64, error)

	// takes tells which libraries take part; nil stands for all.
	takes func(l library) bool
}

const micros = "µs"

func (e echo) work(name string, cfg config, goals ...goal) work {
	cfg.Text = e.text
	return work{
		name: name, unit: micros, goals: goals, config: cfg,
		measure: func(p *process, l library, d time.Duration) (float64, error) { return e.cost(p, l.raw, d) },
	}
}

// applications are libraries that do more than to echo.
func applications(l library) bool { return !l.echo }

func works() []work {
	large := config{Large: true}
	return []work{
		echo{conns: 64, inFlight: 1, size: 64}.work("echo 64 B, 64 connections, 1 in flight", config{},
			atMostRaw(1.10), noPeerCheaper),
		echo{conns: 64, inFlight: 64, size: 64}.work("echo 64 B, 64 connections, 64 in flight", config{},
			atMostRaw(1.75), cheaperThanPeers(15)),
		echo{conns: 64, inFlight: 16, size: 1 << 10, text: true}.work("echo 1 KiB of non-ASCII text, 64 connections, 16 in flight", config{},
			atMostRaw(3)),
		echo{conns: 64, inFlight: 1, size: 16 << 10}.work("echo 16 KiB, 64 connections, 1 in flight", large,
			atMostRaw(1.10), noPeerCheaper),
		echo{conns: 16, inFlight: 1, size: 64 << 10}.work("echo 64 KiB, 16 connections, 1 in flight", large,
			atMostRaw(1.10), noPeerCheaper),
		echo{conns: 4, inFlight: 1, size: 1 << 20}.work("echo 1 MiB, 4 connections, 1 in flight", large,
			atMostRaw(1.10), noPeerCheaper),
		{
			name: "one goroutine sending 64 B messages without waiting", unit: micros, config: config{Job: "push"},
			goals: []goal{cheaperThanPeers(10)}, measure: pushCost, takes: applications,
		},
	}
}
