package interop

import (
	"fmt"
	"strconv"
	"strings"
)

// A speaker is a connection of a peer.
type speaker interface {
	write(text bool, p []byte) error
	ping(p string) error
	fragments(pieces []string) error // of one text message
	close(code int, reason string) error
}

// obey is what a peer does with a message: it sends it back as it is, unless it is
// a text that begins with "do ". Then it is told to do something else:
//
//	do ping 0 TEXT         to send a ping with TEXT, and, when the pong has come, a text message "pong TEXT"
//	do fragments N TEXT    to send TEXT as a text message in N fragments of the same size, but for the last
//	do close CODE REASON   to close the connection so; without a status code if it is 1005
//
// A peer that is not written in Go obeys as its script in testdata says.
func obey(s speaker, text bool, p []byte) error {
	words := strings.SplitN(string(p), " ", 4)
	if !text || words[0] != "do" || len(words) != 4 {
		return s.write(text, p)
	}
	n, err := strconv.Atoi(words[2])
	if err != nil {
		return err
	}
	switch words[1] {
	case "ping":
		return s.ping(words[3])
	case "fragments":
		return s.fragments(cut(words[3], n))
	case "close":
		return s.close(n, words[3])
	}
	return fmt.Errorf("do not know how to %s", p)
}

// cut cuts a text into n pieces, which need not be valid UTF-8 each.
func cut(s string, n int) (pieces []string) {
	size := len(s) / n
	for range n - 1 {
		pieces = append(pieces, s[:size])
		s = s[size:]
	}
	return append(pieces, s)
}

// pong is what a peer sends when the pong for a ping with that text has come.
func pong(text string) []byte { return []byte("pong " + text) }
