package websocket_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"example.com/websocket"
)

// A server that sends everybody what anybody sends, and a client of it.
func Example_broadcast() {
	var room websocket.Group
	server := &websocket.Server{Handler: func(c *websocket.Conn, r *http.Request) {
		room.Add(c) // and it leaves by itself
		for m := range c.Messages(r.Context()) {
			room.Broadcast(m.Type, m.Data)
		}
	}}
	web := httptest.NewServer(server) // elsewhere: http.ListenAndServe("localhost:1234", server)
	defer web.Close()
	ctx := context.Background()
	c, _, _ := websocket.Dial(ctx, web.URL, nil)
	c.WriteText(ctx, "Hello, world!")
	_, p, _ := c.ReadMessage(ctx)
	go server.Shutdown(ctx) // tells everybody
	_, _, err := c.ReadMessage(ctx)
	fmt.Printf("%s\n%v\n", p, err)
	// Output:
	// Hello, world!
	// websocket: closed by the peer with 1001 (going away)
}
