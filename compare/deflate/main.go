// The program deflate compares internal/deflate with compress/flate and
// github.com/klauspost/compress: the cost of compressing and inflating
// messages, and the ratio.
//
// It measures in rounds of a few milliseconds, the codecs of a row taking
// turns, and prints medians.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"example.com/websocket/internal/deflate/corpus"
)

var (
	rounds   = flag.Int("rounds", 21, "rounds of which the median is taken")
	duration = flag.Duration("round", 2*time.Millisecond, "length of a round")
	conns    = flag.Int("conns", 1, "connections whose compressors take turns: with many, each finds the caches cold")
	only     = flag.String("only", "", "only the rows that match this regular expression, as in chat/2048/takeover")
)

func main() {
	flag.Parse()
	filter, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\tratio\t\t\tcompress us\t\t\t\t\tinflate us\t\t\t\t\t")
	fmt.Fprintln(tw, "\tours\tk\tstd\tours\tk\tstd\tk/ours\tstd/ours\tours\tk\tstd\tk/ours\tstd/ours\t")
	for _, takeover := range []bool{false, true} {
		for _, kind := range corpus.Kinds {
			for _, size := range corpus.Sizes {
				name := fmt.Sprintf("%s/%d", kind.Name, size)
				if takeover {
					name += "/takeover"
				}
				if filter.MatchString(name) {
					// Enough messages that a repetition is beyond any window.
					row(tw, name, kind.Messages(size, max(64, 256<<10/size)), takeover)
				}
			}
		}
	}
	tw.Flush()
}

// row measures one line of the table.
func row(tw *tabwriter.Writer, name string, msgs [][]byte, takeover bool) {
	var work []func(int)
	var ratios []float64
	for _, c := range codecs {
		r := c.run(msgs, takeover)
		work = append(work, r.compress, r.inflate)
		ratios = append(ratios, r.ratio)
	}
	t := interleaved(work)
	fmt.Fprintf(tw, "%s\t%.3f\t%.3f\t%.3f\t", name, ratios[0], ratios[1], ratios[2])
	for i := range 2 {
		ours, k, std := t[i], t[2+i], t[4+i]
		fmt.Fprintf(tw, "%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t", ours, k, std, k/ours, std/ours)
	}
	fmt.Fprintln(tw)
}

// interleaved returns the median time, in microseconds, of each function's
// work on one message.
func interleaved(work []func(int)) []float64 {
	times := make([][]float64, len(work))
	next := make([]int, len(work)) // message: each goes on where its last round stopped, as its history does
	for range *rounds {
		for i, f := range work {
			n := 0
			start := time.Now()
			for time.Since(start) < *duration {
				f(next[i])
				next[i]++
				n++
			}
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/1e3/float64(n))
		}
	}
	medians := make([]float64, len(work))
	for i, t := range times {
		slices.Sort(t)
		medians[i] = t[len(t)/2]
	}
	return medians
}
