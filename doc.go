// Package websocket implements the WebSocket protocol, RFC 6455, for servers and
// clients, with compression as RFC 7692 has it.
//
// # Connections
//
// A [Conn] is an open connection. A server gets one from a request by [Accept], or
// runs a function for each with [Handler] or [Server]; a client by [Dial];
// [NewServerConn] and [NewClientConn] make one of a net.Conn on which the
// handshake was made by other means. [Options] configures both roles. A [Redialer]
// is a client that dials again when its connection is lost.
//
// # Messages
//
// What is sent are messages, text in UTF-8 or binary ([MessageType]).
// [Conn.ReadMessage] and [Conn.AppendMessage] read one whole, [Conn.NextReader] in
// pieces; [Conn.Messages] is a loop over all that come, each a [Message].
// [Conn.WriteMessage], [Conn.WriteText] and [Conn.NextWriter] write one; what is written
// is queued, as [Conn.Buffered] tells and [Conn.Flush] waits for. [Conn.ReadJSON] and
// [Conn.WriteJSON] are for messages in JSON, and [Stream] makes a net.Conn of a
// connection, for protocols that know no messages. A [PreparedMessage] is framed once
// for many connections. Any number of goroutines may write; one at a time may read.
//
// Every call that may wait takes a context. A read that is cancelled, at whatever
// byte, loses nothing: the next goes on where it stopped.
//
// Messages are compressed if [Options] say so and the peer does too: see
// [Compression], [CompressionLevel], and [Conn.WriteUncompressed] for secrets.
//
// # Broadcast
//
// A [Group] is a set of connections that are sent the same messages. It decides what
// becomes of members that read too slowly ([SlowPolicy]), counts what they have missed
// ([GroupStats]), and forgets those that end.
// The directory examples/cluster lets groups on several machines hear each other.
//
// # Tests
//
// Package wstest connects a handler and a client in memory, where the connection can
// be stalled, slowed, cut and recorded, and time-outs cost no time.
//
// # What an application must do
//
//   - Read, so that pings are answered and the peer's close is noticed. Who only
//     writes calls [Conn.CloseRead]. A peer that has vanished is noticed anyhow:
//     see Options.KeepAlive. [Conn.Ping] asks it at once, and waits for the answer.
//   - Close: [Conn.Shutdown] makes the closing handshake, [Conn.Close] does not
//     wait for the peer. A Handler's return does it too.
//   - Take care whose pages may connect: see Options.CheckOrigin, [AllowOrigins] and
//     [AnyOrigin]; and, if pages reach it without TLS, by which names: Options.Hosts.
//
// # Errors
//
// An error tells what happened and whether the connection is still there. The
// error of a context leaves it as it was. A [*CloseError] is the Close frame of
// the peer, a [*ProtocolError] what the peer did against the RFC,
// [ErrMessageTooBig] a message beyond the read limit, [net.ErrClosed] our own
// Close, and a [*HandshakeError] an opening handshake that was refused. [ErrJSON] is
// about a message, and not about the connection.
//
// # Operation
//
// A [Server] limits ([Server.MaxConns]), refuses ([Server.Admit]), logs and counts
// ([Server.Stats], a [ServerStats]) its connections, and shuts them down
// ([Server.Shutdown]); of a single one [Conn.Stats] tells, in [Stats]. Both count
// [Traffic] each way. [http.Server.Shutdown] closes all connections that
// have come through it, with [StatusGoingAway].
//
// # From other libraries
//
// Packages compat/xnet and compat/gorilla have the APIs of golang.org/x/net/websocket
// and github.com/gorilla/websocket: a program that imports one of them in place of the
// original compiles and works. docs/migration.md leads on from there.
//
// # Terms
//
//   - A frame is the unit of the wire (RFC 6455 5.2): [FrameHeader], [Opcode],
//     [ParseFrameHeader], [AppendFrameHeader], [Mask].
//   - A message is one frame or several, fragments (5.4).
//   - Control frames are Close, ping and pong (5.5). They may stand between the
//     fragments of a message.
//   - The opening handshake is an HTTP request and its answer (4): [AcceptKey],
//     [IsUpgrade], [Subprotocols].
//   - The closing handshake is a Close frame each way (7): [StatusCode].
//   - To fail the connection (7.1.7) is to tell the peer a status code and to
//     close without waiting for its answer.
package websocket
