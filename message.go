package websocket

import "fmt"

// A MessageType says whether a message is text or binary (RFC 6455 5.6). Its
// values are those of the opcodes.
type MessageType byte

const (
	MessageText   = MessageType(OpText)   // UTF-8, checked when it is read
	MessageBinary = MessageType(OpBinary) // any bytes
)

// String returns "text" or "binary", or says that it is neither.
func (t MessageType) String() string {
	switch t {
	case MessageText:
		return "text"
	case MessageBinary:
		return "binary"
	}
	return fmt.Sprintf("invalid message type %d", byte(t))
}

// A Message is a whole message, as [Conn.Messages] yields it.
type Message struct {
	Type MessageType // MessageText or MessageBinary
	Data []byte      // of the one who has got it
}

// An assembler puts data frames together to messages (5.4). It judges what one
// frame cannot tell by itself: which frame may follow which, how long the message
// becomes, and whether text is UTF-8 across the joints of its frames.
type assembler struct {
	limit      int64       // of a message in bytes; negative: none
	typ        MessageType // of the message in hand; 0 between messages
	compressed bool        // it is
	final      bool        // the frame in hand is the last of its message
	empty      int32       // frames of the message that brought nothing and were not its last
	size       int64       // of the message, as far as its frames have announced it, or as it was inflated
	packed     int64       // of that which it was inflated from, if it came in pieces
	text       utf8Checker
}

// maxEmptyFrames bounds what the limit does not: 5.4 lets a message have fragments
// without payload, and a few may come of a stream that is flushed, but whoever sends
// one after the other never ends the message and never exceeds its limit.
const maxEmptyFrames = 1 << 16

// maxPacked bounds the same of a compressed message. DEFLATE has blocks that bring
// nothing, and senders that flush use them, so a message may be larger than what it
// inflates to. Whoever flushes behind every byte sends 8 for it, and who has nothing to
// flush sends 5.
func maxPacked(size int64) int64 { return 1<<19 + 16*size }

// between reports that no message has begun that has not ended.
func (a *assembler) between() bool { return a.typ == 0 }

// beginFrame takes the header of a data frame.
func (a *assembler) beginFrame(h FrameHeader) error {
	switch {
	// 5.4: "a single frame with the FIN bit clear and an opcode other than 0,
	// followed by zero or more frames with the FIN bit clear and the opcode set to
	// 0, and terminated by a single frame with the FIN bit set and an opcode of 0"
	case h.Opcode == OpContinuation && a.between():
		return protocolError("5.4", "a continuation frame without a message to continue")
	case h.Opcode != OpContinuation && !a.between():
		return protocolError("5.4", "a %v frame inside a fragmented message", h.Opcode)
	}
	if a.between() {
		a.typ, a.compressed, a.size, a.packed, a.empty = MessageType(h.Opcode), h.RSV1, 0, 0, 0
	}
	a.final = h.Fin
	if h.Length == 0 && !h.Fin {
		if a.empty++; a.empty > maxEmptyFrames {
			return &ProtocolError{StatusPolicyViolation, "5.4", "a message with more than 65,536 empty fragments"}
		}
	}
	if a.compressed {
		return nil // what its frames announce is not its size
	}
	// Checked with the header: nothing beyond the limit is ever read or stored. The
	// subtraction cannot overflow, as an addition of two announced sizes could.
	if a.limit >= 0 && h.Length > a.limit-a.size {
		return &tooBigError{a.limit, uint64(a.size) + uint64(h.Length)}
	}
	a.size += h.Length
	return nil
}

// inflated takes the next bytes of a compressed message, as it was before it was
// compressed. The limit is for these.
func (a *assembler) inflated(p []byte) error {
	within := p[:min(len(p), a.room()-1)]
	a.size += int64(len(within))
	if err := a.payload(within); err != nil {
		return err
	}
	if len(within) < len(p) {
		return a.tooBig()
	}
	if a.packed > maxPacked(a.size) {
		return &ProtocolError{StatusPolicyViolation, "RFC 7692 7.2.2", fmt.Sprintf("a compressed message of which %d bytes inflate to %d", a.packed, a.size)}
	}
	return nil
}

// room returns how many bytes of a compressed message may be inflated in one step:
// one more than the limit lets it have, by which it is seen that it exceeds it.
func (a *assembler) room() int {
	const most = 1 << 30
	if a.limit < 0 {
		return most
	}
	return int(min(max(a.limit-a.size, 0), most-1)) + 1
}

// tooBig is the error for a compressed message that exceeds the limit. How large
// it would become is not found out.
func (a *assembler) tooBig() error { return &tooBigError{a.limit, uint64(a.limit) + 1} }

// payload takes the next bytes of the frame in hand, unmasked, in pieces of any
// size, so that a bad byte fails as soon as it has arrived.
func (a *assembler) payload(p []byte) error {
	if a.typ == MessageText && !a.text.add(p) {
		return invalidUTF8()
	}
	return nil
}

// endFrame ends the frame in hand, and reports whether that ends the message.
func (a *assembler) endFrame() (done bool, err error) {
	if !a.final {
		return false, nil
	}
	if a.typ == MessageText && !a.text.complete() {
		return true, invalidUTF8()
	}
	a.typ = 0
	return true, nil
}

// 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that
// the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail
// the WebSocket Connection_."
func invalidUTF8() error {
	return invalidPayload("8.1", "a text message that is not UTF-8")
}
