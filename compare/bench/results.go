package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"
)

// A result is what was measured of one work.
type result struct {
	Work     string
	Date     time.Time
	Go       string
	Cores    int
	Versions map[string]string  // of modules
	Samples  map[string]samples // of libraries, a sample a round
	Errors   map[string]string  // of libraries that did not do it
}

func (r result) ours() samples { return r.Samples[role(func(l library) bool { return l.ours })] }
func (r result) raw() samples  { return r.Samples[role(func(l library) bool { return l.raw })] }

// role returns the name of the library which is that.
func role(is func(library) bool) string {
	for _, l := range libraries {
		if is(l) {
			return l.name
		}
	}
	return ""
}

// best returns the peer with the best median in w.
func (r result) best(w work) (name string, s samples) {
	for _, l := range libraries {
		got := r.Samples[l.name]
		if l.ours || l.raw || l.aside || w.against != nil && !w.against(l) || len(got) == 0 {
			continue
		}
		if name == "" || (got.median() < s.median()) != w.more {
			name, s = l.name, got
		}
	}
	return name, s
}

// loadResults reads what saveResults has written; nothing if there is no such file.
func loadResults(file string) (all map[string]result, err error) {
	all = make(map[string]result)
	if file == "" {
		return all, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(text, &all)
}

func saveResults(file string, all map[string]result) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o666)
}
