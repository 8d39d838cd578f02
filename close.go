package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A StatusCode tells why a connection was closed (RFC 6455 7.4).
type StatusCode uint16

// The status codes of RFC 6455 7.4.1 and of the IANA registry that it founded.
// 3000 to 3999 are for libraries and frameworks, 4000 to 4999 for applications.
const (
	StatusNormalClosure      StatusCode = 1000 // the purpose of the connection has been fulfilled
	StatusGoingAway          StatusCode = 1001 // a server going down, a browser leaving the page
	StatusProtocolError      StatusCode = 1002
	StatusUnsupportedData    StatusCode = 1003 // for instance binary data where only text is understood
	StatusNoStatus           StatusCode = 1005 // never sent: the Close frame that came had no status code
	StatusAbnormalClosure    StatusCode = 1006 // never sent: the connection ended without a Close frame
	StatusInvalidPayload     StatusCode = 1007 // for instance text that is not UTF-8
	StatusPolicyViolation    StatusCode = 1008
	StatusMessageTooBig      StatusCode = 1009
	StatusMandatoryExtension StatusCode = 1010 // sent by a client that needs an extension which the server declined
	StatusInternalError      StatusCode = 1011
	StatusServiceRestart     StatusCode = 1012
	StatusTryAgainLater      StatusCode = 1013
	StatusBadGateway         StatusCode = 1014
	StatusTLSHandshake       StatusCode = 1015 // never sent: the TLS handshake failed
)

var statusText = map[StatusCode]string{
	StatusNormalClosure:      "normal closure",
	StatusGoingAway:          "going away",
	StatusProtocolError:      "protocol error",
	StatusUnsupportedData:    "unsupported data",
	StatusNoStatus:           "no status code",
	StatusAbnormalClosure:    "abnormal closure",
	StatusInvalidPayload:     "invalid payload",
	StatusPolicyViolation:    "policy violation",
	StatusMessageTooBig:      "message too big",
	StatusMandatoryExtension: "mandatory extension",
	StatusInternalError:      "internal error",
	StatusServiceRestart:     "service restart",
	StatusTryAgainLater:      "try again later",
	StatusBadGateway:         "bad gateway",
	StatusTLSHandshake:       "TLS handshake",
}

// String returns the code with its name, as in "1001 (going away)".
func (c StatusCode) String() string {
	if text, ok := statusText[c]; ok {
		return fmt.Sprintf("%d (%s)", uint16(c), text)
	}
	return fmt.Sprint(uint16(c))
}

// sendable reports whether c may stand in a Close frame (7.4.1, 7.4.2). 1005,
// 1006 and 1015 "MUST NOT be set as a status code in a Close control frame by an
// endpoint", 1004 and the rest up to 2999 are reserved.
func (c StatusCode) sendable() bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014:
		return true
	}
	return c >= 3000 && c <= 4999
}

// A CloseError is the Close frame that the peer sent (RFC 6455 5.5.1), as the
// error that ends the reading.
type CloseError struct {
	Code   StatusCode // StatusNoStatus if the frame carried none
	Reason string     // in the words of the peer: UTF-8 of at most 123 bytes, often none
}

// Error tells the code and quotes the reason.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("websocket: closed by the peer with %v", e.Code)
	}
	return fmt.Sprintf("websocket: closed by the peer with %v: %q", e.Code, e.Reason)
}

// isNormalClose reports whether err is the peer's Close frame that ends a connection
// as it should: with 1000, 1001, or no status code, which is how a page closes that
// gives none.
func isNormalClose(err error) bool {
	var e *CloseError
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == StatusNormalClosure || e.Code == StatusGoingAway || e.Code == StatusNoStatus
}

// A ProtocolError tells what the peer did against the protocol. The connection
// has failed (RFC 6455 7.1.7), and the peer was told Code and Reason.
type ProtocolError struct {
	Code    StatusCode // StatusProtocolError, StatusInvalidPayload or StatusPolicyViolation
	Section string     // of RFC 6455, unless it names another: where the rule stands
	Reason  string     // in words
}

// Error tells the reason, the section and the code.
func (e *ProtocolError) Error() string {
	section := e.Section
	if !strings.HasPrefix(section, "RFC") {
		section = "RFC 6455 " + section
	}
	return fmt.Sprintf("websocket: the peer broke the protocol: %s (%s, status code %v)", e.Reason, section, e.Code)
}

func protocolError(section, format string, args ...any) error {
	return &ProtocolError{StatusProtocolError, section, fmt.Sprintf(format, args...)}
}

func invalidPayload(section, format string, args ...any) error {
	return &ProtocolError{StatusInvalidPayload, section, fmt.Sprintf(format, args...)}
}

// ErrMessageTooBig is wrapped by the error for a message that exceeds the read
// limit. The connection has failed with [StatusMessageTooBig].
var ErrMessageTooBig = errors.New("websocket: message too big")

type tooBigError struct {
	limit int64
	size  uint64 // two announced lengths always fit
}

func (e *tooBigError) Error() string {
	return fmt.Sprintf("%v: at least %d bytes, and the limit is %d (Options.ReadLimit, Conn.SetReadLimit)", ErrMessageTooBig, e.size, e.limit)
}

func (e *tooBigError) Unwrap() error { return ErrMessageTooBig }

// closeFor returns the status code and the reason with which the peer is told of
// err. ok is false if the peer has done nothing that it could be told: the
// connection itself is broken.
func closeFor(err error) (code StatusCode, reason string, ok bool) {
	var p *ProtocolError
	var big *tooBigError
	switch {
	case errors.As(err, &p):
		return p.Code, p.Reason, true
	case errors.As(err, &big):
		return StatusMessageTooBig, fmt.Sprintf("the limit is %d bytes", big.limit), true
	case errors.Is(err, errSilent):
		return StatusInternalError, "no answer to a ping", true
	}
	return 0, "", false
}

// maxCloseReason: a control frame's payload less the status code.
const maxCloseReason = maxControlPayload - 2

// checkClose judges a status code and a reason that an application wants to send.
func checkClose(code StatusCode, reason string) error {
	switch {
	case code == StatusNoStatus && reason == "":
		return nil // a Close frame without a body
	case !code.sendable():
		return fmt.Errorf("websocket: status code %v may not be sent (RFC 6455 7.4)", code)
	case len(reason) > maxCloseReason:
		return fmt.Errorf("websocket: close reason of %d bytes; %d fit into a Close frame (RFC 6455 5.5)", len(reason), maxCloseReason)
	case !utf8.ValidString(reason):
		return errors.New("websocket: close reason is not UTF-8 (RFC 6455 5.5.1)")
	}
	return nil
}

// appendClosePayload appends the body of a Close frame (5.5.1). A reason that is
// too long is cut at a character.
func appendClosePayload(dst []byte, code StatusCode, reason string) []byte {
	if code == StatusNoStatus {
		return dst
	}
	if len(reason) > maxCloseReason {
		n := maxCloseReason
		for n > 0 && !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// parseClosePayload reads the body of a Close frame (5.5.1).
func parseClosePayload(p []byte) (*CloseError, error) {
	if len(p) == 0 {
		return &CloseError{Code: StatusNoStatus}, nil
	}
	// 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte
	// unsigned integer (in network byte order) representing a status code"
	if len(p) < 2 {
		return nil, protocolError("5.5.1", "a Close frame with a body of one byte")
	}
	code := StatusCode(binary.BigEndian.Uint16(p))
	if !code.sendable() {
		return nil, protocolError("7.4", "a Close frame with status code %v", code)
	}
	// 5.5.1: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data"
	if !utf8.Valid(p[2:]) {
		return nil, invalidPayload("5.5.1", "a Close frame with a reason that is not UTF-8")
	}
	return &CloseError{Code: code, Reason: string(p[2:])}, nil
}

// closing is the closing handshake (7.1.2 to 7.1.4) as data: the Close frame
// that was sent and the one that was received. All else follows from these two.
type closing struct {
	sent     bool
	code     StatusCode // that was sent
	received *CloseError
}

// mayWrite: 5.5.1 "The application MUST NOT send any more data frames after
// sending a Close frame."
func (c *closing) mayWrite() bool { return !c.sent }

// mayRead: 7.1.6 data after a Close frame is not processed (1.4: "a peer
// discards any further data received" after it).
func (c *closing) mayRead() bool { return c.received == nil }

// complete: 7.1.4 the connection is then "closed cleanly".
func (c *closing) complete() bool { return c.sent && c.received != nil }

// replyCode: 5.5.1 "When sending a Close frame in response, the endpoint
// typically echos the status code it received."
func (c *closing) replyCode() StatusCode { return c.received.Code }
