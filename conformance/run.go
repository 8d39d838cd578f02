package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// An outcome is the verdict on a case.
type outcome byte

const (
	passed outcome = iota
	failed
	unsupported
)

func (o outcome) String() string { return [...]string{"passed", "failed", "unsupported"}[o] }

// A result is what became of a case.
type result struct {
	testCase
	outcome    outcome
	err        error    // why it failed
	transcript []string // what was sent and what came
	took       time.Duration
}

// A verdict is how strictly and how patiently the suite judges.
type verdict struct {
	patience           time.Duration // for anything that must come
	requireCompression bool          // not to agree to permessage-deflate is a failure
}

// A case that takes longer than this is cut off, whatever it waits for.
const maxCase = 60 * time.Second

// judge puts one case to the endpoint at the other end of s.
func (v verdict) judge(c testCase, s *session) result {
	began := time.Now()
	s.patience = v.patience
	s.conn.SetWriteDeadline(began.Add(maxCase))
	defer s.conn.Close()
	err := s.play(c)
	r := result{testCase: c, err: err, transcript: s.transcript.all(), took: time.Since(began)}
	switch {
	case errors.Is(err, errUnsupported) && !v.requireCompression:
		r.outcome = unsupported
	case err != nil:
		r.outcome = failed
	}
	return r
}

// play runs a case from its opening handshake to its end.
func (s *session) play(c testCase) error {
	open := c.open
	if open == nil {
		open = ordinaryOpening
	}
	if err := open(s); err != nil {
		return err
	}
	if err := runSteps(s, c.steps); err != nil {
		return err
	}
	if !s.ended {
		if err := closesNormally(s); err != nil {
			return err
		}
	}
	return s.nothingMore()
}

// testServer puts the cases to the server at an address ws://host:port/path, some of them at the same time.
func testServer(address string, cases []testCase, v verdict, parallel int) ([]result, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an address like ws://localhost:1234/", address)
	}
	results := make([]result, len(cases))
	inParallel(len(cases), parallel, func(i int) { results[i] = v.testServerOnce(u, cases[i]) })
	return results, nil
}

// inParallel calls do for each number below n, with so many calls at a time.
func inParallel(n, parallel int, do func(int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}

// testServerOnce puts one case to a server.
func (v verdict) testServerOnce(u *url.URL, c testCase) result {
	conn, err := net.DialTimeout("tcp", hostPort(u), v.patience)
	if err != nil {
		return result{testCase: c, outcome: failed, err: fmt.Errorf("the server should take a TCP connection; got %w", err)}
	}
	return v.judge(c, &session{role: server, conn: conn, host: u.Host, target: u.RequestURI()})
}

func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return u.Host
}
