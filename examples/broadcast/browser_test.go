package main

import (
	"strings"
	"testing"

	"example.com/websocket/internal/browser"
)

// status is the condition that the page says so of its connection.
func status(text string) string {
	return `document.querySelector("#status").innerText === "` + text + `"`
}

// received is the condition that a message from another page, or the page itself,
// stands in the log.
func received(text, from string) string {
	return `[...log.querySelectorAll(".received")].some(entry =>
		entry.innerText.includes("Received: ` + text + ` from: ` + from + ` at: "))`
}

// counted is the condition that the page tells how many are there.
func counted(text string) string {
	return `document.querySelector("#count").innerText === "` + text + `"`
}

func TestPagesFromTwoPortsTalkToEachOther(t *testing.T) {
	b := browser.Start(t)
	e := start(t)
	one, two := b.Open(e.Pages[0]), b.Open(e.Pages[1])
	one.Wait(status("connected"))
	two.Wait(status("connected"))
	one.Wait(counted("2 are here"))
	two.Wait(counted("2 are here"))
	hostOne := strings.TrimPrefix(e.Pages[0], "http://")
	hostTwo := strings.TrimPrefix(e.Pages[1], "http://")

	one.Click("#send")
	one.Wait(received("Hello, world!", hostOne))
	two.Wait(received("Hello, world!", hostOne))

	two.Click("#message")
	two.Press("Enter")
	one.Wait(received("Hello, world!", hostTwo))
	two.Wait(received("Hello, world!", hostTwo))

	e.Stop()
	one.Wait(status("closed (1001)"))
	two.Wait(status("closed (1001)"))
}
