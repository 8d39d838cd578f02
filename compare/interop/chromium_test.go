package interop

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"

	"example.com/websocket/internal/browser"
)

//go:embed testdata/peer.html
var chromiumPage []byte

// A page of a browser has no pings and no fragments, and closes with 1000 or
// what applications have for themselves.
var chromiumPeer = &peer{
	name:  "chromium",
	needs: browser.Find,
	client: func(f *far, target string) {
		spki := sha256.Sum256(localhost().spki)
		b := browser.Start(f.t, "--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(spki[:]))
		page := f.servePage() + "?" + url.Values{"url": {target}, "subprotocol": {subprotocol}}.Encode()
		f.connect = func() { go b.Open(page) }
	},
	lacks: map[string]string{
		"their-fragments": "a page cannot ask for fragments",
		"their-ping":      "a page cannot ask for a ping",
	},
	closes: []ending{{1000, ""}, {1000, "bye"}, {3000, ""}, {4000, "Grüße"}},
}

// servePage serves the page, which tells how its connection has ended.
func (f *far) servePage() (url string) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { w.Write(chromiumPage) })
	mux.HandleFunc("POST /ended", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.FormValue("code"))
		if err != nil {
			f.failed("the page's report", err)
			return
		}
		f.end(ending{code, r.FormValue("reason")})
	})
	s := httptest.NewServer(mux)
	f.t.Cleanup(s.Close)
	return s.URL + "/"
}
