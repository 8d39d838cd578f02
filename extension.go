package websocket

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Extensions (RFC 6455 section 9) over header fields as values: the grammar of
// offers and answers, and the negotiation of the one that there is,
// permessage-deflate (RFC 7692 7.1).

// An extension is one element of Sec-WebSocket-Extensions (9.1): an offer in a
// request, an agreement in a response.
type extension struct {
	name   string
	params []extensionParam // in order; a name may come more than once, which is for the extension to judge
}

type extensionParam struct {
	name  string
	value string // unquoted; "" stands for none, since a value is never empty
}

// String formats e as 9.1 has it. A value is a token, so it needs no quotes.
func (e extension) String() string {
	var b strings.Builder
	b.WriteString(e.name)
	for _, p := range e.params {
		b.WriteString("; " + p.name)
		if p.value != "" {
			b.WriteString("=" + p.value)
		}
	}
	return b.String()
}

// parseExtensions reads the lines of Sec-WebSocket-Extensions in one pass. 9.1:
// "Note that like other HTTP header fields, this header field MAY be split or
// combined across multiple lines."
//
//	extension-list    = 1#extension
//	extension         = extension-token *( ";" extension-param )
//	extension-param   = token [ "=" (token | quoted-string) ]
//
// The elements of a list may be empty (RFC 9110 5.6.1.2).
func parseExtensions(lines []string) ([]extension, error) {
	var list []extension
	for _, line := range lines {
		s := scanner{rest: line}
		for s.nextElement() {
			e, ok := s.extension()
			if !ok || !s.atElementEnd() {
				return nil, fmt.Errorf("websocket: malformed Sec-WebSocket-Extensions, at %.80q (RFC 6455 9.1)", s.rest)
			}
			list = append(list, e)
		}
	}
	return list, nil
}

func (s *scanner) extension() (e extension, ok bool) {
	if e.name = s.token(); e.name == "" {
		return e, false
	}
	for s.eat(';') {
		p := extensionParam{name: s.token()}
		if p.name == "" {
			return e, false
		}
		if s.eat('=') {
			if p.value, ok = s.value(); !ok {
				return e, false
			}
		}
		e.params = append(e.params, p)
	}
	return e, true
}

const permessageDeflate = "permessage-deflate"

// deflateParams are the parameters of permessage-deflate: of an offer, an answer,
// or what the two have led to. Each concerns what one role compresses.
type deflateParams struct {
	noTakeover [2]bool  // server_no_context_takeover, client_no_context_takeover
	bits       [2]uint8 // server_max_window_bits, client_max_window_bits; 0 where not given
}

const (
	minWindowBits = 8
	maxWindowBits = 15
)

// window returns how many bits the window of what r compresses has.
func (p *deflateParams) window(r role) int {
	if p.bits[r] == 0 {
		return maxWindowBits
	}
	return int(p.bits[r])
}

// The names of the parameters (7.1): at 0 and 1 those without a value, behind them
// those of windows, of the server and of the client each.
var deflateParamNames = []string{
	"server_no_context_takeover", "client_no_context_takeover",
	"server_max_window_bits", "client_max_window_bits",
}

// extension formats p. A client that can do with whatever the server asks for
// offers client_max_window_bits without a value; an answer never has 15 there.
func (p *deflateParams) extension() extension {
	e := extension{name: permessageDeflate}
	for n, name := range deflateParamNames {
		switch r, param := role(n&1), (extensionParam{name: name}); {
		case n < 2 && p.noTakeover[r]:
			e.params = append(e.params, param)
		case n >= 2 && p.bits[r] != 0:
			if r == server || p.bits[r] < maxWindowBits {
				param.value = strconv.Itoa(int(p.bits[r]))
			}
			e.params = append(e.params, param)
		}
	}
	return e
}

// deflateParams reads an offer, or else an answer. RFC 7692 7: a server "MUST
// decline" and a client "MUST _Fail the WebSocket Connection_" over a parameter that
// is not defined, has an invalid value, or comes twice.
func (e extension) deflateParams(offer bool) (p deflateParams, err error) {
	var seen [4]bool
	for _, param := range e.params {
		n := slices.Index(deflateParamNames, param.name)
		if n < 0 || seen[n] || !p.set(n, param.value, offer) {
			return p, fmt.Errorf("the parameter %.80q is unknown, comes twice, or has a value that it cannot have", param.name+"="+param.value)
		}
		seen[n] = true
	}
	return p, nil
}

// set sets parameter n, and reports whether it may have this value.
func (p *deflateParams) set(n int, value string, offer bool) (ok bool) {
	r := role(n & 1)
	switch {
	case n < 2:
		p.noTakeover[r] = true
		return value == ""
	// 7.1.2.2: in an offer it "informs the peer server that the client supports the
	// "client_max_window_bits" extension parameter in an extension negotiation
	// response", and a value is no more than a hint.
	case value == "" && offer && r == client:
		p.bits[r] = maxWindowBits
		return true
	}
	p.bits[r], ok = windowBits(value)
	return ok
}

// windowBits: 7.1.2 "a decimal integer value without leading zeroes between 8 to
// 15, inclusive".
func windowBits(s string) (uint8, bool) {
	for n := minWindowBits; n <= maxWindowBits; n++ {
		if s == strconv.Itoa(n) {
			return uint8(n), true
		}
	}
	return 0, false
}

// acceptDeflate answers the first offer that is one. own is what the server wants
// for itself; any valid offer can be met.
func acceptDeflate(own *deflateParams, offers []extension) *deflateParams {
	if own == nil {
		return nil
	}
	for _, e := range offers {
		if e.name != permessageDeflate {
			continue
		}
		// 5.1: the offers of a client are "in order of preference".
		if offer, err := e.deflateParams(true); err == nil {
			return own.answer(offer)
		}
	}
	return nil
}

// answer returns what a server answers to an offer.
func (own *deflateParams) answer(offer deflateParams) *deflateParams {
	p := *own
	for r := range p.noTakeover {
		// 7.1.1.1: a server "accepts" the demand of a client "by including" the
		// parameter, and may make the demand of itself. 7.1.1.2: it may demand the same
		// of the client whatever that has offered; and what the client has promised
		// saves us memory.
		p.noTakeover[r] = own.noTakeover[r] || offer.noTakeover[r]
	}
	// 7.1.2.1: "by including [...] with the same or smaller value", which it may do
	// without having been asked, too.
	p.bits[server] = least(own.bits[server], offer.bits[server])
	p.bits[client] = least(own.bits[client], offer.bits[client])
	switch {
	// 7.1.2.2: "If a received extension negotiation offer doesn't have the
	// "client_max_window_bits" extension parameter, the corresponding extension
	// negotiation response to the offer MUST NOT include" it. Then the client's
	// window is 32 KiB; that we keep it between messages is for us to prevent.
	case offer.bits[client] == 0:
		p.noTakeover[client] = p.noTakeover[client] || p.bits[client] != 0
		p.bits[client] = 0
	case p.bits[client] == maxWindowBits: // as without
		p.bits[client] = 0
	}
	return &p
}

// least returns the lesser of two windows, of which 0 is one without a limit.
func least(a, b uint8) uint8 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// checkExtensions judges what a server has answered to our offer, which is nil if
// we made none, and returns what that leads to: nil for no extension.
//
// 4.1 "5. If the response includes a |Sec-WebSocket-Extensions| header field and
// this header field indicates the use of an extension that was not present in the
// client's handshake [...], the client MUST _Fail the WebSocket Connection_."
func checkExtensions(header map[string][]string, offer *deflateParams) (*deflateParams, error) {
	fail := func(why string) error {
		return fmt.Errorf("its Sec-WebSocket-Extensions is %s, and %s", show(header[fieldExtensions]), why)
	}
	list, err := parseExtensions(header[fieldExtensions])
	switch {
	case err != nil:
		return nil, fail("must be a list of extensions with parameters (RFC 6455 9.1)")
	case len(list) == 0:
		return nil, nil
	case offer == nil:
		return nil, fail("no extension was offered")
	case len(list) > 1 || list[0].name != permessageDeflate:
		return nil, fail("permessage-deflate was offered, once")
	}
	answer, err := list[0].deflateParams(false)
	if err != nil {
		return nil, fail(err.Error() + " (RFC 7692 7)")
	}
	if section := answer.breaks(offer); section != "" {
		return nil, fail("does not answer the offer " + offer.extension().String() + " (RFC 7692 " + section + ")")
	}
	// 7.1.1.2, 7.1.2.2: what a client has said of itself in its offer it keeps to,
	// whether or not the answer repeats it.
	answer.noTakeover[client] = answer.noTakeover[client] || offer.noTakeover[client]
	answer.bits[client] = least(answer.bits[client], offer.bits[client])
	return &answer, nil
}

// breaks returns the section by which p is no answer to an offer, "" if it is one.
func (p *deflateParams) breaks(offer *deflateParams) (section string) {
	switch {
	// "A server accepts an extension negotiation offer that includes the
	// "server_no_context_takeover" extension parameter by including" it.
	case offer.noTakeover[server] && !p.noTakeover[server]:
		return "7.1.1.1"
	// The same "with the same or smaller value".
	case offer.bits[server] != 0 && (p.bits[server] == 0 || p.bits[server] > offer.bits[server]):
		return "7.1.2.1"
	// And not at all if it was not offered.
	case p.bits[client] > offer.bits[client]:
		return "7.1.2.2"
	}
	return ""
}
