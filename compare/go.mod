module example.com/websocket/compare

go 1.25

require example.com/websocket v0.0.0

require github.com/klauspost/compress v1.20.3

replace example.com/websocket => ../
