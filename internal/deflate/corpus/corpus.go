// Package corpus makes the messages that tests and benchmarks of deflate
// work on: five kinds of what WebSocket connections carry, any size, the
// same bytes on every machine.
package corpus

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A Kind is one kind of traffic.
type Kind struct {
	Name string
	Text bool // compressible; a text kind is ASCII but for a little UTF-8 in Chat
	fill func(*source, []byte) []byte
}

// Kinds lists the kinds in the order in which tables print them.
var Kinds = []Kind{
	{"chat", true, (*source).chat},
	{"ticks", true, (*source).ticks},
	{"log", true, (*source).log},
	{"html", true, (*source).html},
	{"random", false, (*source).random},
}

// Sizes are the message sizes that are measured.
var Sizes = []int{256, 2048, 16384}

// Messages returns n consecutive messages of one connection, each of size
// bytes. They resemble one another as such messages do: the same field
// names, a recurring vocabulary, new numbers.
func (k Kind) Messages(size, n int) [][]byte {
	s := newSource(k.Name)
	msgs := make([][]byte, n)
	for i := range msgs {
		var p []byte
		for len(p) < size {
			p = k.fill(s, p)
		}
		msgs[i] = p[:size:size]
	}
	return msgs
}

// A source is the state of one sender: its random numbers, its clock and
// its counters.
type source struct {
	*rand.Rand
	clock int64 // milliseconds
	seq   int
	price []int // in cents, one a symbol
}

func newSource(name string) *source {
	var seed uint64
	for _, c := range name {
		seed = seed*131 + uint64(c)
	}
	s := &source{Rand: rand.New(rand.NewPCG(seed, 7692)), clock: 1_751_328_000_000, seq: 48_213}
	for range symbols {
		s.price = append(s.price, 1000+s.IntN(90_000))
	}
	return s
}

var (
	names = strings.Fields(`alice bob carol dave erin frank grace heidi ivan judy mallory niaj
		olivia peggy quentin rupert sybil trent ursula victor walter xenia yusuf zoë`)
	rooms   = strings.Fields("general random support backend frontend release-planning incidents lunch")
	symbols = strings.Fields("AAPL MSFT GOOG AMZN NVDA META TSLA ORCL INTC AMD IBM CSCO QCOM TXN MU ADBE")
	venues  = strings.Fields("XNAS XNYS BATS ARCX IEXG")
	hosts   = strings.Fields("api-1 api-2 api-3 worker-7 worker-8 edge-fra edge-iad edge-sin")
	routes  = strings.Fields(`/v1/users /v1/orders /v1/orders/search /v1/sessions /healthz
		/v1/payments/confirm /static/app.js /v1/inventory/levels`)
	levels = strings.Fields("info info info info debug warn error")
	emoji  = strings.Fields("👍 🎉 😀 ❤️ 🚀")
	words  = strings.Fields(`the to and a of in is that it we for on you this be have with I not are
		can will at as was but if or so they what just from do when there all would like one up out
		time about know think need see deploy build server review merge test branch good morning
		thanks today tomorrow meeting customer after before should could really maybe someone please
		check again working broken fixed issue number first next week question answer looks right
		change release latency database connection message problem because where which other people
		still great idea point sure done start stop wait update version error report write read
		between another without through during against morning evening already possible remember
		understand different important actually everything something following several question
		documentation performance interface configuration implementation available example`)
)

func pick(s *source, list []string) string { return list[s.IntN(len(list))] }

// word draws from words with the skew of a natural language: the n-th word
// about as often as 1/n.
func (s *source) word() string {
	n := len(words)
	for {
		i := int(s.ExpFloat64() * float64(n) / 5)
		if i < n {
			return words[i]
		}
	}
}

func (s *source) sentence(p []byte, n int) []byte {
	for i := range n {
		if i > 0 {
			p = append(p, ' ')
		}
		p = append(p, s.word()...)
	}
	return p
}

func (s *source) chat(p []byte) []byte {
	s.clock += 200 + s.Int64N(20_000)
	s.seq++
	p = fmt.Appendf(p, `{"type":"message","id":"%08x%08x","seq":%d,"room":"%s","user":{"id":%d,"name":"%s"},"ts":%d,"text":"`,
		s.Uint32(), s.Uint32(), s.seq, pick(s, rooms), 1000+s.IntN(9000), pick(s, names), s.clock)
	p = s.sentence(p, 3+s.IntN(18))
	if s.IntN(4) == 0 {
		p = append(append(p, ' '), pick(s, emoji)...)
	}
	return fmt.Appendf(p, `","edited":%t,"reactions":[]}`, s.IntN(8) == 0)
}

func (s *source) ticks(p []byte) []byte {
	s.clock += s.Int64N(40)
	s.seq++
	i := s.IntN(len(symbols))
	s.price[i] += s.IntN(21) - 10
	cents, spread := s.price[i], 1+s.IntN(4)
	return fmt.Appendf(p, `{"e":"trade","s":"%s","x":"%s","t":%d,"n":%d,"p":"%d.%02d","q":%d,"b":"%d.%02d","a":"%d.%02d"}`+"\n",
		symbols[i], pick(s, venues), s.clock, s.seq, cents/100, cents%100, 1+s.IntN(40)*s.IntN(25),
		(cents-spread)/100, (cents-spread)%100, (cents+spread)/100, (cents+spread)%100)
}

func (s *source) log(p []byte) []byte {
	s.clock += s.Int64N(300)
	ms := s.clock % 86_400_000
	p = fmt.Appendf(p, "2025-07-01T%02d:%02d:%02d.%03dZ %s level=%s ", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000,
		pick(s, hosts), pick(s, levels))
	switch s.IntN(4) {
	case 0:
		p = append(p, `msg="`...)
		p = s.sentence(p, 3+s.IntN(9))
		p = fmt.Appendf(p, `" trace=%016x`, s.Uint64())
	default:
		p = fmt.Appendf(p, "msg=\"request done\" method=GET path=%s status=%d dur=%d.%03dms bytes=%d remote=10.%d.%d.%d trace=%016x",
			pick(s, routes), []int{200, 200, 200, 204, 304, 404, 500}[s.IntN(7)], s.IntN(90), s.IntN(1000), s.IntN(40_000),
			s.IntN(4), s.IntN(256), s.IntN(256), s.Uint64())
	}
	return append(p, '\n')
}

func (s *source) html(p []byte) []byte {
	s.seq++
	p = fmt.Appendf(p, "<li class=\"item item--%s\" id=\"item-%d\">\n  <a href=\"/articles/%d/", pick(s, levels), s.seq, s.IntN(100_000))
	for i := range 2 + s.IntN(4) {
		if i > 0 {
			p = append(p, '-')
		}
		p = append(p, s.word()...)
	}
	p = append(p, "\" class=\"item__link\"><h3 class=\"item__title\">"...)
	p = s.sentence(p, 3+s.IntN(6))
	p = fmt.Appendf(p, "</h3></a>\n  <span class=\"item__author\">%s</span> <time datetime=\"2025-%02d-%02d\">%d days ago</time>\n  <p>",
		pick(s, names), 1+s.IntN(12), 1+s.IntN(28), s.IntN(60))
	p = s.sentence(p, 10+s.IntN(40))
	return append(p, "</p>\n</li>\n"...)
}

func (s *source) random(p []byte) []byte {
	for range 64 {
		p = append(p, byte(s.Uint32()))
	}
	return p
}
