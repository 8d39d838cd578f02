package main

import (
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
)

// write writes the tables of what was measured: first what was to be reached, then
// every figure.
func write(out io.Writer, all map[string]result) {
	measured := slices.DeleteFunc(works(), func(w work) bool { return all[w.name].Samples == nil })
	fmt.Fprintf(out, "%s\n\n", about(all))
	fmt.Fprintln(out, "| work | target | this library | to raw TCP | best peer | to best peer | |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
	for _, w := range measured {
		fmt.Fprintln(out, cells(w.verdict(all[w.name])...))
	}
	fmt.Fprintf(out, "\nEvery figure:\n\n")
	libraries := slices.DeleteFunc(slices.Clone(libraries), func(l library) bool {
		return !slices.ContainsFunc(measured, func(w work) bool { return figure(all[w.name], l) != "" })
	})
	head := []string{"work"}
	for _, l := range libraries {
		head = append(head, l.name)
	}
	fmt.Fprintln(out, cells(head...))
	fmt.Fprintln(out, "|"+strings.Repeat("---|", len(head)))
	for _, w := range measured {
		row := []string{w.name + ", " + w.unit}
		for _, l := range libraries {
			row = append(row, figure(all[w.name], l))
		}
		fmt.Fprintln(out, cells(row...))
	}
}

func cells(all ...string) string { return "| " + strings.Join(all, " | ") + " |" }

// verdict is the row of w that compares.
func (w work) verdict(r result) []string {
	ours, raw := r.ours(), r.raw()
	peer, peers := r.best(w)
	row := []string{w.name, "", ours.String() + " " + w.unit, "", "", "", ""}
	var targets []string
	met := "met"
	for _, g := range w.goals {
		targets = append(targets, g.text)
		if !g.met(w, r) {
			met = "**not met**"
		}
	}
	if len(w.goals) > 0 {
		row[1], row[6] = strings.Join(targets, "; "), met
	}
	if len(raw) > 0 {
		row[3] = ours.per(raw).String()
	}
	if len(peers) > 0 {
		row[4], row[5] = fmt.Sprintf("%s %s", peer, short(peers.median())), ours.per(peers).String()
	}
	return row
}

func figure(r result, l library) string {
	if len(r.Samples[l.name]) > 0 {
		return r.Samples[l.name].String()
	}
	return r.Errors[l.name]
}

// about says when, with what and of what the figures were made.
func about(all map[string]result) string {
	var dates, gos []string
	versions := make(map[string]string)
	cores := 0
	for _, r := range all {
		dates = append(dates, r.Date.Format("2006-01-02"))
		gos = append(gos, r.Go)
		cores = r.Cores
		maps.Copy(versions, r.Versions)
	}
	var modules []string
	for _, m := range slices.Sorted(maps.Keys(versions)) {
		modules = append(modules, m+" "+versions[m])
	}
	return fmt.Sprintf("Measured on %s with %s on a machine of %d cores; %s.",
		distinct(dates), distinct(gos), cores, strings.Join(modules, ", "))
}

func distinct(all []string) string {
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " and ")
}

// versions returns those of the modules that were built in.
func versions() map[string]string {
	all := make(map[string]string)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return all
	}
	for _, m := range info.Deps {
		for _, l := range libraries {
			if l.module == m.Path && !l.ours && !l.raw && m.Replace == nil {
				all[m.Path] = m.Version
			}
		}
	}
	return all
}
