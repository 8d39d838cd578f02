// Bench measures what WebSockets cost a server: this library, others, and a raw TCP
// loop, which is what the operating system asks for the same bytes.
//
//	go run ./bench                  # in compare/: everything, for 40 minutes
//	go run ./bench -work 'echo 64'  # what matches a regular expression
//	go run ./bench -lib 'raw|this|gws' -rounds 3 -time 500ms
//	go run ./bench -delivery        # WebSockets against polling and long polling
//
// A server is a process of its own. The client, in this process, speaks WebSocket
// with code of its own over plain TCP, and checks every payload. A figure is, unless
// it says otherwise, the CPU time of the server's process for a message, as the
// operating system accounts for it. The servers take turns in rounds, and ratios
// are taken within a round, so that what else the machine does strikes all of them
// alike. Shown are medians, with the least and the greatest of the rounds. It runs
// on Linux, where /proc tells how much memory a process has.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

func main() {
	server := flag.String("serve", "", "be a server (this program starts itself so)")
	which := flag.String("work", "", "measure only works whose names match this regular expression")
	who := flag.String("lib", "", "measure only libraries whose names match this regular expression")
	rounds := flag.Int("rounds", 5, "how often every library takes its turn")
	d := flag.Duration("time", time.Second, "for how long each is measured in a round")
	file := flag.String("results", "", "keep figures in this `FILE`, and show what is there of other works")
	out := flag.String("out", "", "write what is measured into this `FILE`, between its two markers")
	ways := flag.Bool("delivery", false, "measure what WebSockets are for instead: events for pages that wait")
	flag.Parse()
	var err error
	switch {
	case *server != "":
		err = serve(*server)
	case *ways:
		err = output(*out, "delivery", func(w io.Writer) error { return compareWays(w, *rounds) })
	default:
		err = compare(*which, *who, *rounds, *d, *file, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func compare(which, who string, rounds int, d time.Duration, file, out string) error {
	work, err := regexp.Compile(which)
	if err != nil {
		return err
	}
	lib, err := regexp.Compile(who)
	if err != nil {
		return err
	}
	all, err := loadResults(file)
	if err != nil {
		return err
	}
	for _, w := range works() {
		if !work.MatchString(w.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, w.name)
		all[w.name] = w.run(rounds, d, lib)
		if err := saveResults(file, all); err != nil {
			return err
		}
	}
	return output(out, "libraries", func(w io.Writer) error {
		write(w, all)
		return nil
	})
}

// run measures w in rounds.
func (w work) run(rounds int, d time.Duration, lib *regexp.Regexp) result {
	r := result{
		Work: w.name, Date: time.Now(), Go: runtime.Version(), Cores: runtime.NumCPU(), Versions: versions(),
		Samples: make(map[string]samples), Errors: make(map[string]string),
	}
	for i := range rounds {
		for j := range libraries {
			l := libraries[(i+j)%len(libraries)] // nobody is always the first
			if !lib.MatchString(l.name) || w.takes != nil && !w.takes(l) || r.Errors[l.name] != "" {
				continue
			}
			x, err := w.once(l, d)
			if err != nil {
				fmt.Fprintf(os.Stderr, "  %s: %v\n", l.name, err)
				r.Errors[l.name] = "fails"
				delete(r.Samples, l.name)
				continue
			}
			fmt.Fprintf(os.Stderr, "  %d %-28s %s %s\n", i+1, l.name, short(x), w.unit)
			r.Samples[l.name] = append(r.Samples[l.name], x)
		}
	}
	return r
}

// once measures one library, in a process that was started for it.
func (w work) once(l library, d time.Duration) (float64, error) {
	cfg := w.config
	cfg.Library = l.name
	p, err := start(cfg)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	return w.measure(p, d)
}

// output writes to standard output, or into a file between the two markers of a
// section.
func output(file, section string, write func(io.Writer) error) error {
	if file == "" {
		return write(os.Stdout)
	}
	var tables strings.Builder
	if err := write(&tables); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := markers(section)
	before, rest, ok1 := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no markers %q and %q", file, begin, end)
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+tables.String()+end+after), 0o666)
}

func markers(section string) (begin, end string) {
	return "<!-- begin " + section + ", written by compare/bench -->", "<!-- end " + section + " -->"
}
