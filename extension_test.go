package websocket

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The tests of the grammar are in handshake_test.go; these are of RFC 7692 7.1.

// params reads "server_no_context_takeover; ..." as an offer or an answer.
func params(t testing.TB, s string, offer bool) deflateParams {
	t.Helper()
	list, err := parseExtensions([]string{s})
	if err != nil || len(list) != 1 {
		t.Fatalf("%q is no extension: %v", s, err)
	}
	p, err := list[0].deflateParams(offer)
	if err != nil {
		t.Fatalf("%q should be valid: %v", s, err)
	}
	return p
}

func TestDeflateParams(t *testing.T) {
	const offer, answer = true, false
	for _, tc := range []struct {
		why   string
		offer bool
		text  string // behind "permessage-deflate"
		want  string // "" if it is not valid
	}{
		{"no parameter at all", offer, "", "[false false] [0 0]"},
		{"all four", offer, "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10", "[true true] [9 10]"},
		{"in any order", answer, "; client_max_window_bits=15; server_no_context_takeover", "[true false] [0 15]"},
		{"quoted values", answer, `; server_max_window_bits="1\0"`, "[false false] [10 0]"},
		{"7.1.2.2: no value, or a decimal integer", offer, "; client_max_window_bits", "[false false] [0 15]"},
		{"7.1.2.2: in a response with a value", answer, "; client_max_window_bits", ""},
		{"7.1.2.1: with a value", offer, "; server_max_window_bits", ""},
		{"7.1.2.1: with a value", answer, "; server_max_window_bits", ""},
		{"between 8 and 15, inclusive", offer, "; server_max_window_bits=8; client_max_window_bits=15", "[false false] [8 15]"},
		{"between 8 and 15, inclusive", offer, "; server_max_window_bits=7", ""},
		{"between 8 and 15, inclusive", answer, "; server_max_window_bits=16", ""},
		{"between 8 and 15, inclusive", offer, "; client_max_window_bits=0", ""},
		{"beyond any integer", offer, "; client_max_window_bits=18446744073709551626", ""},
		{"without leading zeroes", offer, "; server_max_window_bits=09", ""},
		{"a decimal integer value", offer, "; server_max_window_bits=+9", ""},
		{"a decimal integer value", offer, "; server_max_window_bits=0x9", ""},
		{"a decimal integer value", offer, "; client_max_window_bits=9.0", ""},
		{"no value", offer, "; server_no_context_takeover=1", ""},
		{"no value", answer, "; client_no_context_takeover=true", ""},
		{"multiple extension parameters with the same name", offer, "; server_no_context_takeover; server_no_context_takeover", ""},
		{"multiple extension parameters with the same name", offer, "; client_max_window_bits; client_max_window_bits=9", ""},
		{"multiple extension parameters with the same name", answer, "; server_max_window_bits=9; server_max_window_bits=9", ""},
		{"a parameter not defined for use", offer, "; max_window_bits=9", ""},
		{"a parameter not defined for use", answer, "; x", ""},
		{"names are compared as they are", offer, "; Server_No_Context_Takeover", ""},
	} {
		list, err := parseExtensions([]string{"permessage-deflate" + tc.text})
		if err != nil {
			t.Fatalf("%q is malformed: %v", tc.text, err)
		}
		p, err := list[0].deflateParams(tc.offer)
		if got := fmt.Sprint(p.noTakeover, p.bits); tc.want != "" && (err != nil || got != tc.want) {
			t.Errorf("%s: %q should be read as %s, and is as %s, %v", tc.why, tc.text, tc.want, got, err)
		}
		if tc.want == "" && err == nil {
			t.Errorf("%s: %q should not be valid", tc.why, tc.text)
		}
	}
}

func TestAcceptDeflate(t *testing.T) {
	free := &Compression{ServerContextTakeover: true, ClientContextTakeover: true}
	small := &Compression{ServerContextTakeover: true, ClientContextTakeover: true, ServerWindowBits: 10, ClientWindowBits: 9}
	for _, tc := range []struct {
		why    string
		own    *Compression
		offers string
		want   string // the answer; "" if it declines
	}{
		{"without Options.Compression nothing is agreed to", nil, "permessage-deflate", ""},
		{"no offer, no answer", free, "", ""},
		{"an offer of something else is declined", free, "permessage-bzip2, x-webkit-deflate-frame", ""},
		{"7.1.3: the simplest offer and answer", free, "permessage-deflate", "permessage-deflate"},
		{"7.1.3: the server takes what it knows, and need not limit the client", free,
			"permessage-deflate; client_max_window_bits; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"},
		{"5.1: offers are in order of preference", free,
			"permessage-deflate; server_no_context_takeover, permessage-deflate", "permessage-deflate; server_no_context_takeover"},
		{"7: an offer that is not valid is declined, and the next is looked at", free,
			"x-unknown; a=1, permessage-deflate; unknown, permessage-deflate; server_max_window_bits=7, permessage-deflate; client_max_window_bits=12, permessage-deflate",
			"permessage-deflate; client_max_window_bits=12"},
		{"7: if none is valid all are declined", free, "permessage-deflate; server_max_window_bits, permessage-deflate; client_max_window_bits=16", ""},
		{"7.1.1.1: server_no_context_takeover is accepted by including it", free, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"},
		{"7.1.1.1: a server may include it without having been asked", new(Compression), "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"7.1.1.2: what the client promises is taken", free, "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"},
		{"7.1.2.1: server_max_window_bits is accepted with the same value", free, "permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"},
		{"7.1.2.1: or a smaller one", small, "permessage-deflate; server_max_window_bits=12", "permessage-deflate; server_max_window_bits=10; client_no_context_takeover"},
		{"7.1.2.1: never a larger one", small, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8", "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"},
		{"7.1.2.2: client_max_window_bits limits a client that offers it", small, "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"},
		{"7.1.2.2: and no other, whose window is then not kept", small, "permessage-deflate", "permessage-deflate; client_no_context_takeover; server_max_window_bits=10"},
	} {
		list, err := parseExtensions([]string{tc.offers})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if p := acceptDeflate(tc.own.params(), list); p != nil {
			got = p.extension().String()
		}
		if !sameElements(got, tc.want) {
			t.Errorf("%s: to %q the server should answer %q, and answers %q", tc.why, tc.offers, tc.want, got)
		}
	}
}

// sameElements compares two extensions whose parameters may be in another order.
func sameElements(a, b string) bool {
	x, y := strings.Split(a, "; "), strings.Split(b, "; ")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

func TestOfferDeflate(t *testing.T) {
	for _, tc := range []struct {
		own  *Compression
		want string
	}{
		{&Compression{}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"},
		{&Compression{ServerContextTakeover: true}, "permessage-deflate; client_no_context_takeover; client_max_window_bits"},
		{&Compression{ServerContextTakeover: true, ClientContextTakeover: true, ServerWindowBits: 9, ClientWindowBits: 10}, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"},
		{&Compression{ServerContextTakeover: true, ClientContextTakeover: true, ServerWindowBits: 15, ClientWindowBits: 15}, "permessage-deflate; client_max_window_bits"},
	} {
		if got := tc.own.offer().extension().String(); got != tc.want {
			t.Errorf("of %+v a client should offer %q, and offers %q", *tc.own, tc.want, got)
		}
	}
	if (*Compression)(nil).offer() != nil {
		t.Error("without Options.Compression a client should offer nothing")
	}
}

func TestCheckDeflateAnswer(t *testing.T) {
	const any = "permessage-deflate; client_max_window_bits"
	for _, tc := range []struct {
		why    string
		offer  string
		answer string
		want   string // what is agreed, or, with !, a part of the error
	}{
		{"7.1.3: the plain answer", any, "permessage-deflate", "[false false] [0 15]"},
		{"a server may decline", any, "", "none"},
		{"7.1.1.1: the server may do without context takeover unasked", any, "permessage-deflate; server_no_context_takeover", "[true false] [0 15]"},
		{"7.1.1.2: and have the client do so", any, "permessage-deflate; client_no_context_takeover", "[false true] [0 15]"},
		{"7.1.1.1: and is asked to", "permessage-deflate; server_no_context_takeover", "permessage-deflate", "!RFC 7692 7.1.1.1"},
		{"7.1.1.2: what the client has promised it does", "permessage-deflate; client_no_context_takeover", "permessage-deflate", "[false true] [0 0]"},
		{"7.1.2.1: the server may limit itself unasked", any, "permessage-deflate; server_max_window_bits=8", "[false false] [8 15]"},
		{"7.1.2.1: with the same value", "permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10", "[false false] [10 0]"},
		{"7.1.2.1: or a smaller one", "permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=9", "[false false] [9 0]"},
		{"7.1.2.1: not a larger one", "permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=11", "!RFC 7692 7.1.2.1"},
		{"7.1.2.1: nor without it", "permessage-deflate; server_max_window_bits=10", "permessage-deflate", "!RFC 7692 7.1.2.1"},
		{"7.1.2.2: the client is limited", any, "permessage-deflate; client_max_window_bits=9", "[false false] [0 9]"},
		{"7.1.2.2: and by its own hint", "permessage-deflate; client_max_window_bits=9", "permessage-deflate", "[false false] [0 9]"},
		{"7.1.2.2: never beyond it", "permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=10", "!RFC 7692 7.1.2.2"},
		{"7.1.2.2: not unless it was offered", "permessage-deflate", "permessage-deflate; client_max_window_bits=15", "!RFC 7692 7.1.2.2"},
		{"7.1.2.2: in a response with a value", any, "permessage-deflate; client_max_window_bits", "!RFC 7692 7)"},
		{"7: a parameter that is not defined", any, "permessage-deflate; unknown", "!RFC 7692 7)"},
		{"7: a value that is not valid", any, "permessage-deflate; server_max_window_bits=16", "!RFC 7692 7)"},
		{"7: a parameter twice", any, "permessage-deflate; client_no_context_takeover; client_no_context_takeover", "!comes twice"},
		{"the extension twice", any, "permessage-deflate, permessage-deflate", "!permessage-deflate was offered, once"},
		{"an extension that was not offered", any, "x-webkit-deflate-frame", "!permessage-deflate was offered"},
		{"another besides", any, "permessage-deflate, x", "!permessage-deflate was offered, once"},
		{"9.1: a malformed list", any, "permessage-deflate;", "!must be a list of extensions"},
		{"an extension where none was offered", "", "permessage-deflate", "!no extension was offered"},
	} {
		var offer *deflateParams
		if tc.offer != "" {
			p := params(t, tc.offer, true)
			offer = &p
		}
		p, err := checkExtensions(map[string][]string{"Sec-Websocket-Extensions": {tc.answer}}, offer)
		got := "none"
		if p != nil {
			got = fmt.Sprint(p.noTakeover, p.bits)
		}
		reason, fails := strings.CutPrefix(tc.want, "!")
		if fails && (err == nil || !strings.Contains(err.Error(), reason)) {
			t.Errorf("%s: %q to %q should fail the connection with %q, but: %s, %v", tc.why, tc.answer, tc.offer, reason, got, err)
		}
		if !fails && (err != nil || got != tc.want) {
			t.Errorf("%s: %q to %q should lead to %s, and leads to %s, %v", tc.why, tc.answer, tc.offer, tc.want, got, err)
		}
	}
}

func TestCompressionOptions(t *testing.T) {
	for _, bad := range []Compression{{ServerWindowBits: 7}, {ClientWindowBits: 16}, {ClientWindowBits: -1}, {ServerWindowBits: 256 + 9}, {Level: 2}} {
		if err := bad.check(); err == nil || !strings.Contains(err.Error(), "Options.Compression") {
			t.Errorf("%+v should be an error that names the option, and is %v", bad, err)
		}
		for _, r := range bothRoles {
			if (&Options{Compression: &bad}).checkHandshake(r) == nil {
				t.Errorf("%+v should be an error of a handshake as %v", bad, r)
			}
		}
	}
	for _, good := range []*Compression{nil, {}, {Level: CompressionBetter, ServerWindowBits: 8, ClientWindowBits: 15, MinSize: -1}} {
		if err := good.check(); err != nil {
			t.Errorf("%+v should pass: %v", good, err)
		}
	}
}

// Whatever a client offers, an answer is one that the client takes if it offered
// it itself, and both sides then mean the same.
func FuzzDeflateOffer(f *testing.F) {
	for _, s := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; client_max_window_bits=9",
		`x, permessage-deflate; server_max_window_bits="1\0", permessage-deflate; client_max_window_bits=16`,
	} {
		f.Add(s, byte(0), byte(10), true, false)
	}
	f.Fuzz(func(t *testing.T, offers string, serverBits, clientBits byte, serverTakeover, clientTakeover bool) {
		own := &Compression{ServerContextTakeover: serverTakeover, ClientContextTakeover: clientTakeover, ServerWindowBits: int(serverBits), ClientWindowBits: int(clientBits)}
		list, err := parseExtensions([]string{offers})
		if err != nil || own.check() != nil {
			return
		}
		mine := acceptDeflate(own.params(), list)
		if mine == nil {
			return
		}
		for _, e := range list {
			offer, err := e.deflateParams(true)
			if e.name != permessageDeflate || err != nil {
				continue
			}
			theirs, err := checkExtensions(map[string][]string{"Sec-Websocket-Extensions": {mine.extension().String()}}, &offer)
			if err != nil {
				t.Fatalf("to %q the server answers %q, and: %v", e, mine.extension(), err)
			}
			same := theirs.noTakeover == mine.noTakeover && theirs.window(server) == mine.window(server) && theirs.window(client) == mine.window(client)
			if !same {
				t.Fatalf("to %q the server answers %q; it means %v by that, and the client %v", e, mine.extension(), *mine, *theirs)
			}
			if limit := least(limitedWindow(own.ServerWindowBits), offer.bits[server]); limit != 0 && mine.window(server) > int(limit) {
				t.Fatalf("to %q the server answers %q, a window beyond %d bits", e, mine.extension(), limit)
			}
			return
		}
		t.Fatalf("the server answers %q, and %q has no valid offer", mine.extension(), offers)
	})
}
