// Package websocket has the API of github.com/gorilla/websocket, on the connections of
// example.com/websocket: a program that imports it in place of that one compiles and
// works. What is documented there holds here: handlers are called by reads, errors
// of reads and of writes that timed out stay, Close sends no Close frame.
//
// What differs:
//
//	github.com/gorilla/websocket               here
//	-----------------------------------------  --------------------------------------
//	one goroutine at a time may write, a       any number may; of two NextWriters
//	second one may panic                       the second still ends the first
//	two goroutines that read corrupt the       the second waits
//	connection
//	a thousand reads after an error: panic     the error, every time
//	a write makes a system call                writes of many goroutines, or behind
//	                                           each other, leave together
//	a write returns when the system has taken  it returns when the message is in the
//	the bytes                                  connection's queue; an error of the
//	                                           network shows at a later call
//	Close cuts off what is being written       it waits for that, a second at the most
//	a close handler that sends nothing leaves  the peer gets the answer that RFC 6455
//	the peer without an answer                 5.5.1 asks for, after the handler
//	text that is not UTF-8 is passed on        the connection fails with 1007 (8.1)
//	a Close frame with any status is sent      one that must not be sent is an error
//	http.Server.Shutdown leaves connections    it closes them with 1001
//	alone
//	a compressed message is bounded by its     by its real size
//	size on the wire (SetReadLimit)
//	IsCloseError looks at the error itself     it looks through wrapped errors
//	ReadBufferSize, WriteBufferSize and        accepted, and without effect: idle
//	WriteBufferPool size a connection's own    connections hold no buffers
//	buffers
//	SetCompressionLevel                        checks the level, and has no effect
//	Upgrader.HandshakeTimeout                  has no effect: the answer has 10 s
//	an Upgrader without CheckOrigin looks at   it must be an origin as browsers send it:
//	the host of an Origin                      http or https, the latter if the server
//	                                           has TLS, and no path. Over loopback
//	                                           without TLS a name other than localhost
//	                                           is refused with 421, since any site's can
//	                                           lead there (DNS rebinding): with a proxy
//	                                           that has no TLS before it on the same
//	                                           machine a program sets CheckOrigin
//	the answers to bad handshakes              have the status of the RFC, 426 for one,
//	                                           and say what is wrong, in words
//	fields set on the ResponseWriter are lost  they go into the answer
//	a control character in a field of the      it is an error
//	answer becomes a space
//	a subprotocol that was not offered is      the server does not choose it, and the
//	answered and accepted                      client fails (4.1)
//	a server's Upgrade may list more           it is websocket, or Dial fails (4.1)
//	a URL with a user, with http or https, is  the user is sent as Authorization, and
//	refused, and a fragment is dropped         http is ws; a fragment is an error (3)
//	ReadMessage returns a part with an error   it returns no part
//	WriteJSON of what JSON has not sends an    it sends nothing
//	empty message
//	a Cookie of the requestHeader replaces     both are sent; with Go 1.26 the Jar goes by
//	those of the Jar, which goes by the URL    the Host, if the requestHeader has one
//
// As in gorilla/websocket there is no read limit and no keepalive unless the program
// sets one by [Conn.SetReadLimit] and by pings. The API of this module's own package
// has both as its defaults, contexts, and more; docs/migration.md shows the way.
package websocket
