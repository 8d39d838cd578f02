// The command conformance puts the questions of RFC 6455 and RFC 7692 to any WebSocket endpoint that echoes what it
// receives, server or client, and prints its answers as a table:
//
//	go run ./conformance -url ws://localhost:1234/
//	go run ./conformance -listen localhost:9001
//
// It speaks raw bytes over TCP and shares no code with the library. The cases are the tables of the files named cases_*.go;
// the same ones run in go test.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

type options struct {
	url      string
	listen   string
	run      string
	parallel int
	verbose  bool
	list     bool
	verdict  verdict
}

func main() {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	failures, err := o.test(os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	if failures > 0 {
		os.Exit(1)
	}
}

const usage = `Usage:

  go run ./conformance -url ws://localhost:1234/     tests the server there, which must echo each message
  go run ./conformance -listen localhost:9001        tests the client that connects, which must echo each message:
                                                     it asks /getCaseCount, runs /runCase?case=N for N = 1 to that
                                                     number, and ends with /updateReports
  go run ./conformance -list                         lists the cases

Exit status: 0 all passed, 1 something failed, 2 nothing was tested.

`

func parseOptions(args []string, w io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.SetOutput(w)
	f.Usage = func() { fmt.Fprint(w, usage); f.PrintDefaults() }
	f.StringVar(&o.url, "url", "", "test the server at this `address`")
	f.StringVar(&o.listen, "listen", "", "test the client that connects to this `address`")
	f.BoolVar(&o.list, "list", false, "list the cases for both roles, or with -url or -listen for that one")
	f.StringVar(&o.run, "run", "", "only cases whose `numbers` begin so: \"6\", or \"5.3,7.1.2\"")
	f.IntVar(&o.parallel, "parallel", 8, "test a server with this many connections at a time")
	f.BoolVar(&o.verbose, "v", false, "print every case, and which took longest")
	f.DurationVar(&o.verdict.patience, "patience", 5*time.Second, "how long to wait for anything that must come")
	f.BoolVar(&o.verdict.requireCompression, "require-compression", false, "count cases that need permessage-deflate as failed, not unsupported, if it is not agreed to")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.url == "" && o.listen == "" && !o.list || o.url != "" && o.listen != "" || o.parallel < 1 || f.NArg() > 0 {
		f.Usage()
		return nil, flag.ErrHelp
	}
	return o, nil
}

// role is that of the endpoint under test.
func (o *options) role() role {
	if o.listen != "" {
		return client
	}
	return server
}

// test does what was asked for and returns the number of failures.
func (o *options) test(w io.Writer) (int, error) {
	if o.list {
		o.printCases(w)
		return 0, nil
	}
	cases := selectCases(o.role(), o.run)
	if len(cases) == 0 {
		return 0, fmt.Errorf("no case begins with %q", o.run)
	}
	began := time.Now()
	results, err := o.results(w, cases)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	if o.verbose {
		listAll(w, results)
		slowest(w, results, 10)
	}
	return report(w, o.role(), results, took), nil
}

func (o *options) results(w io.Writer, cases []testCase) ([]result, error) {
	if o.role() == server {
		return testServer(o.url, cases, o.verdict, o.parallel)
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	fmt.Fprintf(w, "%d cases for a client, at ws://%s/getCaseCount, /runCase?case=1 to %d, /updateReports\n", len(cases), l.Addr(), len(cases))
	t := newClientTest(cases, o.verdict)
	go t.serve(l)
	return t.wait(), nil
}

func (o *options) printCases(w io.Writer) {
	for _, r := range []role{server, client} {
		if (o.url != "" || o.listen != "") && r != o.role() {
			continue
		}
		cases := selectCases(r, o.run)
		fmt.Fprintf(w, "%d cases for %s:\n", len(cases), r)
		for _, c := range cases {
			fmt.Fprintf(w, "%-9s  %-24s  %s\n", c.id, rfc(c.section), c.title)
		}
	}
}
