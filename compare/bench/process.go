package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Each server is a process of its own, so that the operating system can tell what
// it costs, and that a client and a server may have 20,000 files each. This
// program starts itself for it, and asks it through its standard input: a line
// "usage" is answered by a line of JSON, and one with "free" too, when memory that
// is not needed has been given back.

// A usage is what a server process has cost up to now.
type usage struct {
	CPU     time.Duration // user and system time
	Mallocs uint64        // objects that were allocated
}

// A process is a running server.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser // nil for an example, which answers no questions
	out  *bufio.Reader
	addr string
	cfg  config
	raw  bool
}

// start starts a server.
func start(cfg config) (*process, error) {
	l, err := find(cfg.Library)
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, "-serve", string(arg)), cfg: cfg, raw: l.raw}
	if cfg.Procs > 0 {
		p.cmd.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", cfg.Procs))
	}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("the server did not start: %w", err)
	}
	p.addr = strings.TrimSpace(line)
	return p, nil
}

func (p *process) ask(what string) (u usage, err error) {
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		return u, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("the server is gone: %w", err)
	}
	return u, json.Unmarshal(line, &u)
}

// stop ends the server, which ends by itself when its standard input does, or is an
// example.
func (p *process) stop() {
	if p.in != nil {
		p.in.Close()
	} else {
		p.cmd.Process.Signal(os.Interrupt)
	}
	p.cmd.Wait()
}

// serve is the server process.
func serve(arg string) error {
	s := setting{}
	if err := json.Unmarshal([]byte(arg), &s.cfg); err != nil {
		return err
	}
	l, err := find(s.cfg.Library)
	if err != nil {
		return err
	}
	s.library = l
	if s.cfg.TLS {
		if s.certificate, err = ownCertificate(); err != nil {
			return err
		}
	}
	if s.app, err = job(s.cfg.Job); err != nil {
		return err
	}
	if s.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- l.serve(s) }()
	go func() { failed <- answer(os.Stdin, os.Stdout) }()
	fmt.Println(s.ln.Addr())
	return <-failed
}

// answer answers what the client asks about this process, until it asks no more.
func answer(in io.Reader, out io.Writer) error {
	questions := bufio.NewScanner(in)
	for questions.Scan() {
		if questions.Text() == "free" {
			debug.FreeOSMemory()
			debug.FreeOSMemory() // what pools hold survives the first collection
		}
		line, err := json.Marshal(ownUsage())
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", line)
	}
	return questions.Err()
}

func ownUsage() (u usage) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // there is no other process to ask for
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Mallocs = m.Mallocs
	return u
}

// memory returns the bytes of resident memory that the server needs.
func (p *process) memory() (int64, error) {
	time.Sleep(warmUp) // it may be in the middle of something
	if p.in != nil {
		if _, err := p.ask("free"); err != nil {
			return 0, err
		}
	}
	return residentMemory(p.cmd.Process.Pid)
}

// residentMemory is what Linux says in proc(5), statm: the second number is in
// pages.
func residentMemory(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm says %q", pid, statm)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
