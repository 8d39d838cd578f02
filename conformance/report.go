package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A tally counts the verdicts on the cases of a group, or on all.
type tally struct {
	cases, passed, failed, unsupported int
	took                               time.Duration
}

func (t *tally) count(r result) {
	t.cases++
	t.took += r.took
	switch r.outcome {
	case passed:
		t.passed++
	case failed:
		t.failed++
	case unsupported:
		t.unsupported++
	}
}

// report prints a table by group, and then every failure. It returns the number of failures.
func report(w io.Writer, r role, results []result, took time.Duration) int {
	total := table(w, results)
	for _, r := range results {
		if r.outcome == failed {
			explain(w, r)
		}
	}
	fmt.Fprintf(w, "\n%s: %d of %d cases passed, %d failed, %d unsupported, in %s\n",
		r, total.passed, total.cases, total.failed, total.unsupported, took.Round(time.Millisecond))
	return total.failed
}

// table prints a row for each group that was asked for; the time is the sum over its cases, which overlap.
func table(w io.Writer, results []result) tally {
	var total tally
	rows := map[int]*tally{}
	for _, r := range results {
		total.count(r)
		if rows[r.group()] == nil {
			rows[r.group()] = new(tally)
		}
		rows[r.group()].count(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "group\tcases\tpassed\tfailed\tunsupported\ttime\t")
	for _, g := range groups {
		if row := rows[g.number]; row != nil {
			fmt.Fprintf(t, "%2d %-36s\t%s", g.number, g.title, row)
		}
	}
	fmt.Fprintf(t, "%-39s\t%s", "all", &total)
	t.Flush()
	return total
}

func (t *tally) String() string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%s\t\n", t.cases, t.passed, t.failed, t.unsupported, t.took.Round(time.Millisecond))
}

// explain prints a failure: which case, what the RFC asks for, what was sent and what came.
func explain(w io.Writer, r result) {
	fmt.Fprintf(w, "\n%s (%s) %s\n    %v\n", r.id, rfc(r.section), r.title, r.err)
	for _, line := range r.transcript {
		fmt.Fprintln(w, "      ", line)
	}
}

func rfc(section string) string {
	if len(section) > 3 && section[:3] == "RFC" {
		return section
	}
	return "RFC 6455 " + section
}

// listAll prints a line for each case, in order.
func listAll(w io.Writer, results []result) {
	for _, r := range results {
		note := ""
		if r.err != nil && !errors.Is(r.err, errUnsupported) {
			note = " | " + r.err.Error()
		}
		fmt.Fprintf(w, "%-11s  %-9s %6.1f ms  %s%s\n", r.outcome, r.id, r.took.Seconds()*1000, r.title, note)
	}
}

// slowest prints the cases that took longest.
func slowest(w io.Writer, results []result, n int) {
	byTime := slices.SortedFunc(slices.Values(results), func(a, b result) int { return int(b.took - a.took) })
	fmt.Fprintln(w, "slowest:")
	for _, r := range byTime[:min(n, len(byTime))] {
		fmt.Fprintf(w, "  %6.0f ms  %s %s\n", r.took.Seconds()*1000, r.id, r.title)
	}
}
