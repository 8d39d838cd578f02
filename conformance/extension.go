package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// This file reads Sec-WebSocket-Extensions (9.1) and judges agreements on permessage-deflate (RFC 7692 7.1).

// An extension is a name and its parameters, in order.
type extension struct {
	name       string
	parameters []parameter
}

type parameter struct {
	name, value string
	hasValue    bool
}

// parseExtensions reads the grammar of 9.1: extension-list = 1#extension, over all header fields.
func parseExtensions(values []string) ([]extension, error) {
	var list []extension
	for _, v := range values {
		for element := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(element) == "" {
				continue // the list rule of RFC 2616 2.1: "null elements are allowed"
			}
			e, err := parseExtension(element)
			if err != nil {
				return nil, fmt.Errorf("%w in Sec-WebSocket-Extensions %q", err, v)
			}
			list = append(list, e)
		}
	}
	return list, nil
}

func parseExtension(s string) (extension, error) {
	name, rest, more := strings.Cut(s, ";")
	e := extension{name: strings.TrimSpace(name)}
	if !isToken(e.name) {
		return e, fmt.Errorf("the name %q is no token", e.name)
	}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ";")
		p, err := parseParameter(part)
		if err != nil {
			return e, err
		}
		e.parameters = append(e.parameters, p)
	}
	return e, nil
}

// parseParameter reads token [ "=" (token | quoted-string) ]; "the value after quoted-string unescaping MUST conform to the
// 'token' ABNF", so that no comma or semicolon can hide in it.
func parseParameter(s string) (parameter, error) {
	name, value, hasValue := strings.Cut(s, "=")
	p := parameter{strings.TrimSpace(name), strings.TrimSpace(value), hasValue}
	if inner, ok := strings.CutPrefix(p.value, `"`); ok {
		if p.value, ok = strings.CutSuffix(inner, `"`); !ok {
			return p, errors.New("a quoted string does not end")
		}
		p.value = strings.ReplaceAll(p.value, `\`, "")
	}
	if !isToken(p.name) || hasValue && !isToken(p.value) {
		return p, fmt.Errorf("the parameter %q is malformed", strings.TrimSpace(s))
	}
	return p, nil
}

// isToken is the token of RFC 2616 2.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7F || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

const deflateName = "permessage-deflate"

// deflateOf reads the parameters of an element named permessage-deflate. In an offer, client_max_window_bits may come without
// a value (RFC 7692 7.1.2.2); nothing else may, and nothing may come twice or have another value.
func deflateOf(e extension, offer bool) (deflateParameters, error) {
	var p deflateParameters
	seen := map[string]bool{}
	for _, param := range e.parameters {
		if seen[param.name] {
			return p, fmt.Errorf("%s comes twice", param.name)
		}
		seen[param.name] = true
		if err := p.set(param, offer); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *deflateParameters) set(param parameter, offer bool) error {
	bits := slices.Index(windowBits, param.value) + 8
	switch {
	case param.name == "server_no_context_takeover" && !param.hasValue:
		p.serverNoTakeover = true
	case param.name == "client_no_context_takeover" && !param.hasValue:
		p.clientNoTakeover = true
	case param.name == "server_max_window_bits" && bits >= 8:
		p.serverBits = bits
	case param.name == "client_max_window_bits" && bits >= 8:
		p.clientBits = bits
	case param.name == "client_max_window_bits" && offer && !param.hasValue:
		p.clientBitsHint = true
	default:
		return fmt.Errorf("the parameter %q is not defined, or not with that value", param.name+"="+param.value)
	}
	return nil
}

// windowBits are the values of RFC 7692 7.1.2: "a decimal integer value without leading zeroes between 8 to 15 inclusive".
var windowBits = []string{"8", "9", "10", "11", "12", "13", "14", "15"}

// agreement reads the response of a server under test. It says whether permessage-deflate is in use, and with what.
func agreement(offers []deflateParameters, response *head) (deflateParameters, bool, error) {
	if !response.has("Sec-WebSocket-Extensions") {
		return deflateParameters{}, false, nil
	}
	list, err := parseExtensions(response.values("Sec-WebSocket-Extensions"))
	if err != nil {
		return deflateParameters{}, false, fmt.Errorf("the server should send a well-formed list of extensions; got %w", err)
	}
	if len(list) != 1 || list[0].name != deflateName {
		return deflateParameters{}, false, fmt.Errorf("the server should use no extension but one that was offered, once; got %q", response.values("Sec-WebSocket-Extensions"))
	}
	p, err := deflateOf(list[0], false)
	if err != nil {
		return p, false, fmt.Errorf("the server should answer with valid parameters; %w", err)
	}
	for _, offer := range offers {
		if p.accepts(offer) {
			return p.hinted(offer), true, nil
		}
	}
	return p, false, fmt.Errorf("the server should answer an offer that was made; %q answers none of %v", p, offers)
}

// accepts says whether the response p corresponds to an offer.
func (p deflateParameters) accepts(offer deflateParameters) bool {
	switch {
	case offer.serverNoTakeover && !p.serverNoTakeover:
		return false // 7.1.1.1: a server accepts by including the parameter
	case offer.serverBits != 0 && (p.serverBits == 0 || p.serverBits > offer.serverBits):
		return false // 7.1.2.1: by including it "with the same or smaller value"
	case p.clientBits != 0 && !offer.clientBitsHint && offer.clientBits == 0:
		return false // 7.1.2.2: not without the client's offering it
	case offer.clientBits != 0 && p.clientBits > offer.clientBits:
		return false
	}
	return true
}

// hinted is the agreement p, with what the client said of itself in its offer: 7.1.1.2 and 7.1.2.2 bind it although the
// response may not repeat it.
func (p deflateParameters) hinted(offer deflateParameters) deflateParameters {
	p.clientNoTakeover = p.clientNoTakeover || offer.clientNoTakeover
	if p.clientBits == 0 {
		p.clientBits = offer.clientBits
	}
	return p
}

// deflating opens a connection that compresses with these parameters: as offered to a server under test, as the answer to
// a client's. An endpoint that does not agree is not at fault.
func deflating(p deflateParameters) step {
	return func(s *session) error {
		if s.role == server {
			return s.offerDeflate([]deflateParameters{p})
		}
		return s.answerDeflate(p)
	}
}

// offerDeflate makes offers to a server under test, the first preferred.
func (s *session) offerDeflate(offers []deflateParameters) error {
	elements := make([]string, len(offers))
	for i, p := range offers {
		elements[i] = p.String()
	}
	return s.offerText(strings.Join(elements, ", "), offers)
}

// offerText makes offers as they are written, of which those that are valid are given in offers.
func (s *session) offerText(header string, offers []deflateParameters) error {
	agreed := false
	o := opening{edits: []edit{add("Sec-WebSocket-Extensions", header)}}
	o.response = func(_, response *head) (err error) {
		s.agreed, agreed, err = agreement(offers, response)
		if agreed {
			s.deflater, s.receiver.inflater = s.agreed.codecs(server)
		}
		return err
	}
	if err := o.open(s); err != nil {
		return err
	}
	if !agreed {
		return errUnsupported
	}
	return nil
}

// answerDeflate answers the first valid offer of a client under test that the wanted parameters are a legal answer to.
func (s *session) answerDeflate(p deflateParameters) error {
	offers, err := parseExtensions(s.request.values("Sec-WebSocket-Extensions"))
	if err != nil {
		return fmt.Errorf("the client should offer a well-formed list of extensions; got %w", err)
	}
	for _, e := range offers {
		offer, err := deflateOf(e, true)
		if e.name != deflateName || err != nil {
			continue
		}
		answer := p.answering(offer)
		if answer.accepts(offer) {
			s.agreed = answer.hinted(offer)
			s.deflater, s.receiver.inflater = s.agreed.codecs(client)
			return opening{edits: []edit{add("Sec-WebSocket-Extensions", answer.String())}}.open(s)
		}
	}
	ordinaryOpening(s)
	return errUnsupported
}

// answering is p with what an answer to the offer must include.
func (p deflateParameters) answering(offer deflateParameters) deflateParameters {
	p.serverNoTakeover = p.serverNoTakeover || offer.serverNoTakeover
	if offer.serverBits != 0 && (p.serverBits == 0 || p.serverBits > offer.serverBits) {
		p.serverBits = offer.serverBits
	}
	if p.clientBits > offer.clientBits && offer.clientBits != 0 {
		p.clientBits = offer.clientBits
	}
	p.clientBitsHint = false
	return p
}
