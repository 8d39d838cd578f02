package websocket

import (
	"io"
	"testing"

	"example.com/websocket/internal/bridge"
)

// A handler of compat/gorilla that panics has ended the read that has called it, and
// no more: somebody may recover, and read or close.
func TestControlHandlerPanics(t *testing.T) {
	type handler func() error
	frames := map[string]struct {
		frame    frame
		handlers func(h handler) *bridge.Handlers
	}{
		"ping": {pingF("p"), func(h handler) *bridge.Handlers {
			return &bridge.Handlers{Ping: func(string) error { return h() }}
		}},
		"pong": {pongF("p"), func(h handler) *bridge.Handlers {
			return &bridge.Handlers{Pong: func(string) error { return h() }}
		}},
		"close": {closeF(StatusNormalClosure, ""), func(h handler) *bridge.Handlers {
			return &bridge.Handlers{Close: func(uint16, string) error { return h() }}
		}},
	}
	reads := map[string]func(c *Conn){
		"ReadMessage": func(c *Conn) { c.ReadMessage(bg) },
		"NextReader": func(c *Conn) {
			_, m, _ := c.NextReader(bg)
			io.ReadAll(m)
		},
		"Ping": func(c *Conn) { c.Ping(bg) },
	}
	for name, f := range frames {
		for how, read := range reads {
			for _, inside := range []bool{false, true} {
				t.Run(name+" "+how, func(t *testing.T) {
					onBoth(t, nil, func(t *testing.T, g *rig) {
						panics := true
						bridge.SetHandlers(g.c, f.handlers(func() error {
							if panics {
								panic("a handler's")
							}
							return nil
						}))
						want := "next"
						if inside { // a message, which NextReader has begun
							g.send(textF("be").open())
							want = "begun"
						}
						g.send(f.frame)
						if p := recovered(func() { read(g.c) }); p != "a handler's" {
							t.Fatalf("the handler's panic should come, but: %v", p)
						}
						panics = false
						switch {
						case name == "close":
							wantCloseError(t, "a read after the panic", readErr(g.c), StatusNormalClosure)
						case inside && how == "NextReader": // it discards what was begun
							g.send(contF("gun"), textF("next"))
							wantRead(t, "after the panic", g.c, MessageText, "next")
						case inside:
							g.send(contF("gun"))
							wantRead(t, "after the panic", g.c, MessageText, want)
						default:
							g.send(textF(want))
							wantRead(t, "after the panic", g.c, MessageText, want)
						}
					})
				})
			}
		}
	}
}

// recovered runs f and returns what it panics with.
func recovered(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}
