package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A path may hold any character, %0a too; a log has one line for an event.
func TestReviewLogLines(t *testing.T) {
	var out bytes.Buffer
	h := announce(http.NotFoundHandler(), log.New(&out, "", 0))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/a%0a127.0.0.1:1%20connects%20to%20/", nil))
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("one request makes %d lines in the log: %q", n, out.String())
	}
}

// An -origin that websocket.AllowOrigins does not take is an error with a text, and
// not a panic.
func TestReviewOriginFlag(t *testing.T) {
	for _, origin := range []string{"http://:80", "http://münchen.example", "*"} {
		func() {
			defer func() {
				if x := recover(); x != nil {
					t.Errorf("-origin %s panics: %v", origin, x)
				}
			}()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := run(ctx, []string{"-addr", "127.0.0.1:0", "-page", "127.0.0.1:0", "-origin", origin}, io.Discard)
			if err == nil {
				t.Errorf("-origin %s should be an error", origin)
			}
		}()
	}
}
