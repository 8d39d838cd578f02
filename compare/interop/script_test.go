package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
)

var pythonPeer = &peer{
	name: "python-websockets",
	needs: func() error {
		_, err := python()
		return err
	},
	server: func(f *far) {
		program, _ := python()
		f.serveScript(program, "peer.py")
	},
	client: func(f *far, url string) {
		program, _ := python()
		f.connectScript(url, program, "peer.py")
	},
	lacks: map[string]string{"their-close-without-a-code": "its close takes a code"},
}

// python looks for one with the package websockets: the first in PATH need not be
// the one that the system's packages belong to.
var python = sync.OnceValues(func() (program string, err error) {
	for _, program := range []string{"python3", "/usr/bin/python3"} {
		if err = exec.Command(program, "-c", "import websockets").Run(); err == nil {
			return program, nil
		}
	}
	return "", fmt.Errorf("python3 with the package websockets was not found (%v)", err)
})

var nodePeer = &peer{
	name: "node-ws",
	needs: func() error {
		cmd := exec.Command("node", "-e", "require('ws')")
		cmd.Dir = "testdata"
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("node with the package ws was not found (%v); after \"npm install\" in compare/interop/testdata it is", err)
		}
		return nil
	},
	server: func(f *far) { f.serveScript("node", "peer.js") },
	client: func(f *far, url string) { f.connectScript(url, "node", "peer.js") },
}

// A script is a program in testdata that obeys. Its argument is a scriptConfig in
// JSON. It writes a line
//
//	listening URL       when its server does
//	ended CODE REASON   when a connection has ended
//	failed WHAT         when something has not worked
//
// and reads lines: "connect" asks its client to connect. It ends when there are no
// more.
type scriptConfig struct {
	URL     string       `json:"url,omitempty"` // what to connect to; none for a server
	PEM     string       `json:"pem,omitempty"` // a certificate and its key, for TLS
	Deflate *scriptFlate `json:"deflate,omitempty"`
}

type scriptFlate struct {
	Takeover   bool `json:"takeover"`
	WindowBits int  `json:"windowBits"`
}

func (f *far) serveScript(program, script string) {
	lines, _ := f.startScript(program, script, "")
	f.url = receive(f.t, script+" should listen", lines)
}

func (f *far) connectScript(url, program, script string) {
	_, stdin := f.startScript(program, script, url)
	f.connect = func() {
		if _, err := io.WriteString(stdin, "connect\n"); err != nil {
			f.failed(script, err)
		}
	}
}

// startScript starts a script. It returns a channel for the URL at which it
// listens, and its standard input.
func (f *far) startScript(program, script, url string) (listening <-chan string, _ io.Writer) {
	config := scriptConfig{URL: url}
	if f.wire.tls {
		config.PEM = localhost().pem
	}
	if d := f.wire.deflate; d != nil {
		config.Deflate = &scriptFlate{d.takeover, d.windowBits}
	}
	argument, err := json.Marshal(config)
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(program, script, string(argument))
	cmd.Dir = "testdata"
	stdin, err := cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	urls, exited := make(chan string, 1), make(chan error, 1)
	go func() {
		f.follow(stdout, urls)
		exited <- cmd.Wait()
	}()
	f.t.Cleanup(func() {
		stdin.Close()
		if err := receive(f.t, program+" should exit", exited); err != nil || stderr.Len() > 0 {
			f.t.Errorf("%s %s %s: %v\n%s", program, script, argument, err, &stderr)
		}
	})
	return urls, stdin
}

// follow reads what a script writes, until its end.
func (f *far) follow(stdout io.Reader, urls chan<- string) {
	s := bufio.NewScanner(stdout)
	for s.Scan() {
		verb, rest, _ := strings.Cut(s.Text(), " ")
		switch verb {
		case "listening":
			urls <- rest
		case "ended":
			var e ending
			fmt.Sscan(rest, &e.code)
			_, e.reason, _ = strings.Cut(rest, " ")
			f.end(e)
		default:
			f.failed(s.Text(), s.Err())
		}
	}
}
