package websocket_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/websocket"
	"example.com/websocket/internal/browser"
)

// The chat of the README, built in an empty folder by what the README says.
func startChat(t *testing.T) (addr string) {
	needGo(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()

	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source := ""
	for _, b := range blocks(t, "README.md") {
		if strings.HasPrefix(b.text, "package main") {
			source += strings.ReplaceAll(b.text, "localhost:8080", addr)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
	}
	run("go", "mod", "init", "chat")
	run("go", "mod", "edit", "-require", "example.com/websocket@v0.0.0", "-replace", "example.com/websocket="+root)
	run("go", "build", "-o", "chat.exe", ".")
	chat := exec.Command(filepath.Join(dir, "chat.exe"))
	if err := chat.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		chat.Process.Kill()
		chat.Wait()
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr); err == nil {
			resp.Body.Close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatal("the chat does not answer")
		}
	}
}

func TestReadmeChat(t *testing.T) {
	addr := startChat(t)
	if t.Run("clients", func(t *testing.T) {
		var members []*websocket.Conn
		for range 2 {
			c, _, err := websocket.Dial(t.Context(), "ws://"+addr+"/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.WriteText(t.Context(), "hello")
			if _, p, err := c.ReadMessage(t.Context()); err != nil || string(p) != "hello" {
				t.Fatalf("who speaks should hear himself, and hears %q, %v", p, err)
			}
			members = append(members, c)
		}
		if _, p, err := members[0].ReadMessage(t.Context()); err != nil || string(p) != "hello" {
			t.Errorf("the first should hear the second, and hears %q, %v", p, err)
		}
		foreign := &websocket.Options{Header: http.Header{"Origin": {"https://evil.example"}}}
		if _, resp, err := websocket.Dial(t.Context(), "ws://"+addr+"/ws", foreign); err == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("another's page should be refused: %v", err)
		}
	}) {
		t.Run("pages", func(t *testing.T) {
			b := browser.Start(t)
			one, two := b.Open("http://"+addr), b.Open("http://"+addr)
			for _, page := range []*browser.Page{one, two} {
				page.Wait(`document.querySelector("pre").innerText.includes("connected")`)
			}
			one.Click("input")
			one.Type("Hello, world!")
			one.Press("Enter")
			for _, page := range []*browser.Page{one, two} {
				page.Wait(`document.querySelector("pre").innerText.includes("Hello, world!")`)
			}
		})
	}
}
