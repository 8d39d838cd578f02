package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A clientTest serves cases to a client under test, in the way that is customary, so that the few lines which other
// suites ask for serve here too. The client connects to
//
//	/getCaseCount          and receives the number of cases as a text message,
//	/runCase?case=N        for N from 1 to that number, and echoes every message that it receives,
//	/updateReports         when it is through.
//
// That a case makes its connection fail, at whatever point, must not stop the client.
type clientTest struct {
	cases   []testCase
	verdict verdict

	mu      sync.Mutex
	results []result // as many as cases

	running sync.WaitGroup // connections
	done    chan struct{}  // closed when the client has asked for the report, and no case is running any more
	once    sync.Once
}

func newClientTest(cases []testCase, v verdict) *clientTest {
	t := &clientTest{cases: cases, verdict: v, results: make([]result, len(cases)), done: make(chan struct{})}
	for i, c := range cases {
		t.results[i] = result{testCase: c, outcome: failed, err: errors.New("the client should ask for each case; it did not for this one")}
	}
	return t
}

// serve takes connections until the listener is closed.
func (t *clientTest) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		t.running.Go(func() { t.handle(conn) })
	}
}

// wait returns the results once the client is through.
func (t *clientTest) wait() []result {
	<-t.done
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]result{}, t.results...)
}

// handle reads one request and does what its target asks for.
func (t *clientTest) handle(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(maxCase))
	request, behind, err := readHead(conn)
	if err != nil {
		return
	}
	noteKey(request.value("Sec-WebSocket-Key"))
	s := &session{role: client, conn: conn, request: request, patience: t.verdict.patience}
	s.transcript.add("came: %s", request.short())
	path, query := target(request)
	switch path {
	case "/getCaseCount":
		s.tell(text(strconv.Itoa(len(t.cases))))
	case "/runCase":
		t.runCase(s, query.Get("case"), behind)
	case "/updateReports":
		s.tell()
		t.once.Do(func() { go t.finish() })
	default:
		fmt.Fprint(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	}
}

// finish ends the test when the suite is through with the last case too: the client may be ahead of it.
func (t *clientTest) finish() {
	t.running.Wait()
	close(t.done)
}

// target is the path and the query of a request.
func target(request *head) (string, url.Values) {
	fields := strings.Fields(request.start)
	if len(fields) < 2 {
		return "", nil
	}
	u, err := url.ParseRequestURI(fields[1])
	if err != nil {
		return "", nil
	}
	return u.Path, u.Query()
}

// tell opens, sends frames, and closes: this is no case, and nothing is judged.
func (s *session) tell(frames ...frame) {
	if ordinaryOpening(s) == nil {
		s.sendFrames(append(frames, normal)...)
		s.await(closeReceived)
		s.endWrites()
		s.arrival()
	}
}

func (t *clientTest) runCase(s *session, number string, behind []byte) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(t.cases) {
		s.tell()
		return
	}
	r := t.verdict.judge(t.cases[n-1], s)
	if len(behind) > 0 {
		r.outcome, r.err = failed, errors.New("the client should wait for the response before it sends data (4.1)")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.results[n-1] = r
}
