// Package websocket has the API of golang.org/x/net/websocket, on the connections of
// example.com/websocket: a program that imports it in place of that one compiles and
// works. What x/net does against RFC 6455 is done right, and what is written is
// gathered, limited and checked as everywhere else in this module.
//
// What differs:
//
//	golang.org/x/net/websocket                 here
//	-----------------------------------------  --------------------------------------
//	a fragment is a message of its own         messages are whole (RFC 6455 5.4)
//	a Close frame gets no answer               it gets one (5.5.1)
//	reserved bits, bad UTF-8, bad masks and    the connection fails with the status
//	lengths pass                               code of the RFC (5.2, 8.1, 7.1.7)
//	bytes that are no UTF-8 leave as text      they leave as a binary message (8.1)
//	a malformed handshake passes, or is        an answer in HTTP that says what is
//	answered without a length                  wrong, in words (4.2.2)
//	a handler's return cuts the connection     it is closed with 1000, after what
//	                                           was written
//	http.Server.Shutdown leaves connections    it closes them with 1001
//	alone
//	a panic of a handler cuts the connection   the same, with 1011, and net/http logs it
//	Hijack fails: panic                        501, and a text that says why
//	the Header of a Server's Config is one     each connection has a copy
//	map for all connections
//	a server's Handshake may choose a          it is not chosen
//	subprotocol that was not offered
//	the user in a URL is left out              it is sent as Authorization
//	an origin is sent with its path            without (RFC 6454 6.2)
//	a peer's unlimited message fills memory    Receive takes MaxPayloadBytes at the
//	that is allocated as it comes              most, and memory follows what has come
//	Write returns when the system has taken    it returns when the message is in the
//	the bytes                                  connection's queue; an error of the
//	                                           network shows at a later call
//	a peer that takes nothing blocks writers   it is gone after ten seconds
//	for ever
//	a deadline that is over may cut a frame    it loses nothing: set a new one, and
//	in two                                     go on
//	redirects, proxies, cookies: none          the same
//	DialError does not unwrap                  it does
//
// As in x/net, [Handler] lets pages of every origin connect: look at
// Conn.Config().Origin, or use a [Server] with a Handshake. The API of this module's
// own package has a safe default, contexts and more; docs/migration.md shows the
// way.
package websocket
