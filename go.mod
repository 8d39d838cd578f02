module example.com/websocket

go 1.25
