package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A role is that of the endpoint under test; the suite plays the other one.
type role byte

const (
	server role = iota
	client
)

func (r role) String() string {
	if r == server {
		return "the server"
	}
	return "the client"
}

// masks says whether an endpoint of this role masks its frames (5.1).
func (r role) masks() bool { return r == client }

func (r role) peer() role { return 1 - r }

// A testCase is one question to an endpoint that echoes every message, and the answers that the RFC allows.
type testCase struct {
	id      string // group.subgroup.number, where the group is that of the table groups
	title   string // what the RFC asks for, in plain words
	section string // of RFC 6455, or of RFC 7692 if it says so

	// open makes the opening handshake; nil is the ordinary one. Steps follow in order. A case that has not ended the
	// connection by then ends it with the closing handshake, which must succeed.
	open  step
	steps []step

	only only // the role that the question can be put to, if not both
}

// A step sends, or says what must come. Its error is a sentence about the protocol.
type step func(*session) error

func steps(s ...step) []step { return s }

type only byte

const (
	bothRoles only = iota
	serverOnly
	clientOnly
)

func (o only) allows(r role) bool {
	return o == bothRoles || (o == serverOnly) == (r == server)
}

func (c testCase) group() int {
	n, _, _ := strings.Cut(c.id, ".")
	group, _ := strconv.Atoi(n)
	return group
}

// A group is a row of the report. Numbers 1 to 7, 9, 10, 12 and 13 cover what those of the well-known suite do.
type group struct {
	number int
	title  string
	cases  func() []testCase
}

var groups = []group{
	{1, "Framing: lengths and masks", framingCases},
	{2, "Pings and pongs", pingCases},
	{3, "Reserved bits", reservedBitCases},
	{4, "Opcodes", opcodeCases},
	{5, "Fragmentation", fragmentationCases},
	{6, "UTF-8", utf8Cases},
	{7, "Closing", closeCases},
	{8, "Opening handshake", handshakeCases},
	{9, "Limits and sizes", sizeCases},
	{10, "Many frames", manyFrameCases},
	{11, "Extension negotiation", negotiationCases},
	{12, "Compression: payloads and sizes", compressionCases},
	{13, "Compression: parameters and faults", deflateCases},
}

// selectCases returns the cases for a role whose identifiers begin with one of the comma-separated prefixes, which
// end at a dot: "6.2" is 6.2.1 and 6.2.9, not 6.20. No prefix selects all.
func selectCases(r role, prefixes string) []testCase {
	var selected []testCase
	for _, g := range groups {
		for _, c := range g.cases() {
			if c.only.allows(r) && selects(prefixes, c.id) {
				selected = append(selected, c)
			}
		}
	}
	slices.SortStableFunc(selected, func(a, b testCase) int { return compareIDs(a.id, b.id) })
	return selected
}

func selects(prefixes, id string) bool {
	if prefixes == "" {
		return true
	}
	for prefix := range strings.SplitSeq(prefixes, ",") {
		prefix = strings.TrimSuffix(strings.TrimSpace(prefix), ".")
		if id == prefix || strings.HasPrefix(id, prefix+".") {
			return true
		}
	}
	return false
}

// compareIDs orders identifiers by their numbers: 5.9 before 5.10.
func compareIDs(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}
