package main

import (
	"errors"
	"time"

	"github.com/gobwas/ws"

	"example.com/websocket"
)

// maskers are the masking functions that libraries export.
var maskers = map[string]func(p []byte, key [4]byte){
	"this library": func(p []byte, key [4]byte) { websocket.Mask(p, p, key, 0) },
	"gobwas":       func(p []byte, key [4]byte) { ws.Cipher(p, key, 0) },
}

// maskRate returns by how many GB a second a library masks payloads of 64 KiB. It
// runs in the client's process.
func maskRate(p *process, d time.Duration) (float64, error) {
	mask, buf := maskers[p.cfg.Library], make([]byte, 64<<10)
	if mask == nil {
		return 0, errors.New("exports no masking")
	}
	n, begin := 0, time.Now()
	for time.Since(begin) < d {
		for range 100 {
			mask(buf, [4]byte{1, 2, 3, 4})
		}
		n += 100 * len(buf)
	}
	return float64(n) / time.Since(begin).Seconds() / 1e9, nil
}
