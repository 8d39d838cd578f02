package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// exampleMemory is idleMemory of examples/echo, which is built for it, whatever the
// server.
func exampleMemory(n int) measure {
	return func(_ *process, d time.Duration) (float64, error) {
		dir, err := os.MkdirTemp("", "bench")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		p, err := startExample(filepath.Join(dir, "echo"))
		if err != nil {
			return 0, err
		}
		defer p.stop()
		return idleMemory(n)(p, d)
	}
}

// startExample builds the program file and starts it. It cannot be asked to give
// memory back, so it is told to be content with less than it needs: then it collects
// garbage at every occasion, and gives back what is free.
func startExample(file string) (*process, error) {
	build := exec.Command("go", "build", "-o", file, "example.com/websocket/examples/echo")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	p := &process{cmd: exec.Command(file, "-addr", "localhost:0", "-page", "localhost:0")}
	p.cmd.Env = append(os.Environ(), "GOMEMLIMIT=1MiB")
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	address := regexp.MustCompile(`ws://([^/)\s]+)`).FindStringSubmatch(first)
	if address == nil {
		p.stop()
		return nil, errors.Join(err, fmt.Errorf("examples/echo says %q", first))
	}
	p.addr = address[1]
	go io.Copy(io.Discard, lines) // its log
	return p, nil
}
