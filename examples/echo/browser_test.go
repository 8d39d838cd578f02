package main

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/websocket/examples/internal/exampletest"
	"example.com/websocket/internal/browser"
)

// shows is the condition that the page's log has an entry which begins so.
func shows(text string) string {
	return `[...log.children].some(entry => entry.innerText.replace(/\s+/g, " ").startsWith("` + text + `"))`
}

// status is the condition that the page says so of its connection.
func status(text string) string {
	return `document.querySelector("#status").innerText === "` + text + `"`
}

func TestPage(t *testing.T) {
	b := browser.Start(t)
	e := start(t)
	page := b.Open(e.Pages[0])
	page.Wait(status("connected"))

	t.Log("the first message is ready to be sent")
	page.Click("#send")
	page.Wait(shows("sent Hello, world!"))
	page.Wait(shows("received Hello, world!"))

	t.Log("by keyboard: what is typed replaces the message, Enter sends it")
	page.Wait(`document.activeElement.id === "send"`)
	page.Click("#message")
	page.Wait(`document.activeElement.id === "message"`)
	page.Press("Enter")
	page.Wait(`log.querySelectorAll(".received").length === 2`)
	page.Type("Grüße <b>")
	page.Press("Enter")
	page.Wait(shows("received Grüße <b>"))
	page.Press("Tab")
	page.Wait(`document.activeElement.id === "send"`)
	page.Press("Enter")
	page.Wait(`[...log.querySelectorAll(".received")].filter(entry => entry.innerText.includes("Grüße")).length === 2`)

	t.Log("a file is a binary message, and comes back as one")
	file := filepath.Join(t.TempDir(), "five.bin")
	if err := os.WriteFile(file, []byte{0, 1, 2, 0xfe, 0xff}, 0o600); err != nil {
		t.Fatal(err)
	}
	page.Choose("#file", file)
	page.Wait(shows("received 5 bytes of binary: 00 01 02 fe ff"))
}

func TestPageStamp(t *testing.T) {
	b := browser.Start(t)
	page := b.Open(start(t).Pages[0])
	page.Wait(status("connected"))
	page.Press("Tab") // around the end of the page to its beginning, where one chooses the server
	page.Wait(`(document.querySelector("#path").focus(), document.activeElement.id === "path")`)
	page.Type("/st")
	page.Wait(shows("closed (1000)"))
	page.Wait(status("connected"))
	page.Click("#send")
	page.Wait(`[...log.querySelectorAll(".received")].some(entry =>
		/Received: Hello, world! at: \d{4}\/\d{1,2}\/\d{1,2} \d\d:\d\d:\d\d/.test(entry.innerText))`)
}

func TestPageServerGoneAndBack(t *testing.T) {
	b := browser.Start(t)
	e := start(t)
	page := b.Open(e.Pages[0])
	page.Wait(status("connected"))

	e.Stop()
	page.Wait(status("closed (1001)"))
	page.Wait(shows("closed (1001)"))
	page.Wait(`document.querySelector("#send").disabled`)

	t.Log("there is nobody to connect to")
	page.Click("#connect")
	page.Wait(status("closed (1006)"))

	t.Log("the server is back")
	exampletest.Start(t, run, e.Addresses()...)
	page.Click("#connect")
	page.Wait(status("connected"))
	page.Click("#send")
	page.Wait(shows("received Hello, world!"))

	t.Log("and the page may leave by itself")
	page.Click("#connect")
	page.Wait(status("closed (1000)"))
}

func TestPageFromItsOtherNames(t *testing.T) {
	b := browser.Start(t)
	e := start(t)
	for _, address := range []string{
		"http://127.0.0.1" + port(e.Pages[0]),
		"http://localhost" + port(e.Sockets),
		"http://127.0.0.1" + port(e.Sockets),
	} {
		page := b.Open(address)
		page.Wait(status("connected"))
	}
}
