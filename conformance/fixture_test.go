package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A fixture is an endpoint that echoes, of either role, made of the suite's own pieces. It is right in everything but
// the fault it is given: a suite that such an endpoint passes proves nothing.
type fixture struct {
	role  role
	fault fixtureFault

	conn     net.Conn
	in       *bufio.Reader
	deflater *deflater
	inflater *inflater

	open       bool // a message has begun and not ended
	opcode     opcode
	compressed bool
	message    []byte
	checked    int // octets of the message that are known to be UTF-8
}

type fixtureFault int

const (
	noFault fixtureFault = iota
	ignoresUTF8
	checksUTF8Late
	ignoresMissingMask
	ignoresMask
	sendsEmptyPongs
	sendsNoPongs
	ignoresReservedBits
	ignoresReservedOpcodes
	takesLongControls
	takesFragmentedControls
	takesLongForms
	cutsTopBit
	waitsForHugePayloads
	ignoresFragmentOrder
	takesAnyCloseCode
	takesShortClose
	takesAnyReason
	answersCloseWith1001
	sendsNoClose
	leavesTCPOpen
	closesTCPLate
	closesTCPFirst
	failsWithoutClose
	failsWith1011
	goesOnAfterClose
	masksWrongly
	repeatsMaskingKey
	repeatsHandshakeKey
	echoesTwice
	echoesAsText
	losesLastOctet
	forgetsFragments
	limitsTo1MiB
	answersAnotherKey
	ignoresHandshakeFields
	ignoresVersion
	losesDataBehindHandshake
	acceptsBadOffers
	acceptsMalformedOffers
	ignoresAccept
	ignoresStatus
	acceptsUnofferedExtension
	forgetsWindow
	keepsWindow
	ignoresWindowBits
	inflatesNothing
	ignoresBadData
)

// fixtureKey is the key of a client that does not choose one for each connection.
const fixtureKey = "AAAAAAAAAAAAAAAAAAAAAA=="

// failure is a reason to fail the connection, with the code that says so.
type failure struct{ code statusCode }

func (f failure) Error() string { return fmt.Sprint("failure ", uint16(f.code)) }

// errClosing ends the loop after the closing handshake.
var errClosing = errors.New("closing")

// serveFixture serves connections until the listener is closed.
func serveFixture(l net.Listener, fault fixtureFault) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go (&fixture{role: server, fault: fault, conn: conn}).serve()
	}
}

func (f *fixture) serve() {
	defer f.close()
	head, behind, err := readHead(f.conn)
	if err != nil {
		io.WriteString(f.conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return
	}
	if refusal := f.refuses(head); refusal != "" {
		io.WriteString(f.conn, "HTTP/1.1 "+refusal+"\r\n\r\n")
		return
	}
	response := (&session{request: head}).ordinaryResponse()
	if f.fault == answersAnotherKey {
		set("Sec-WebSocket-Accept", acceptKey(newKey()))(response)
	}
	f.agree(head, response)
	f.conn.Write(response.append(nil))
	f.run(behind)
}

// refuses is the status line for a request that is no handshake, or empty.
func (f *fixture) refuses(h *head) string {
	key, err := base64.StdEncoding.Strict().DecodeString(h.value("Sec-WebSocket-Key"))
	_, badExtensions := parseExtensions(h.values("Sec-WebSocket-Extensions"))
	malformed := badExtensions != nil && f.fault != acceptsMalformedOffers
	ignore := f.fault == ignoresHandshakeFields
	switch {
	case !strings.HasPrefix(h.start, "GET ") || !strings.HasSuffix(h.start, " HTTP/1.1"):
		return "405 Method Not Allowed"
	case strings.ContainsRune(fmt.Sprint(h.fields), 0) || h.has("Content-Length") || len(h.values("Host")) != 1:
		return "400 Bad Request"
	case !ignore && (!h.lists("Upgrade", "websocket") || !h.lists("Connection", "Upgrade") || err != nil || len(key) != 16):
		return "400 Bad Request"
	case h.value("Sec-WebSocket-Version") != "13" && f.fault != ignoresVersion && !ignore:
		return "426 Upgrade Required\r\nSec-WebSocket-Version: 13"
	case malformed || badProtocols(h.values("Sec-WebSocket-Protocol")):
		return "400 Bad Request"
	}
	return ""
}

func badProtocols(values []string) bool {
	if len(values) == 0 {
		return false
	}
	list := strings.Split(strings.ReplaceAll(strings.Join(values, ","), " ,", ","), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	slices.Sort(list)
	return slices.ContainsFunc(list, func(s string) bool { return !isToken(s) }) || len(slices.Compact(list)) != len(list)
}

// agree accepts the first valid offer of permessage-deflate.
func (f *fixture) agree(request, response *head) {
	list, _ := parseExtensions(request.values("Sec-WebSocket-Extensions"))
	for _, e := range list {
		offer, err := deflateOf(e, true)
		if e.name != deflateName || err != nil && f.fault != acceptsBadOffers {
			continue
		}
		answer := deflateParameters{}.answering(offer)
		add("Sec-WebSocket-Extensions", answer.String())(response)
		f.use(answer.hinted(offer))
		return
	}
}

// use makes the fixture's halves of an agreement.
func (f *fixture) use(p deflateParameters) {
	if f.fault == ignoresWindowBits {
		p.serverBits, p.clientBits = 0, 0
	}
	f.deflater, f.inflater = p.codecs(f.role.peer())
	switch f.fault {
	case forgetsWindow:
		f.inflater.takeover = false
	case keepsWindow:
		f.deflater.takeover, f.inflater.takeover = true, true
	}
}

// runFixtureClient asks a suite that listens at an address for n cases.
func runFixtureClient(address string, n int, fault fixtureFault) {
	inParallel(n, 8, func(i int) { dialFixture(address, fmt.Sprintf("/runCase?case=%d", i+1), fault) })
	dialFixture(address, "/updateReports", noFault)
}

func dialFixture(address, target string, fault fixtureFault) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	f := &fixture{role: client, fault: fault, conn: conn}
	defer f.close()
	request := (&session{host: address, target: target}).ordinaryRequest()
	offer := deflateParameters{clientBitsHint: true}
	add("Sec-WebSocket-Extensions", offer.String())(request)
	if fault == repeatsHandshakeKey {
		set("Sec-WebSocket-Key", fixtureKey)(request)
	}
	conn.Write(request.append(nil))
	response, behind, err := readHead(conn)
	if err == nil && f.takes(request, response, offer) {
		f.run(behind)
	}
}

// takes says whether the client goes on with a response.
func (f *fixture) takes(request, response *head, offer deflateParameters) bool {
	if f.fault == ignoresStatus {
		response.start = "HTTP/1.1 101 Switching Protocols"
	}
	if f.fault == ignoresAccept {
		set("Sec-WebSocket-Accept", acceptKey(request.value("Sec-WebSocket-Key")))(response)
	}
	if checkResponse(request, response) != nil {
		return false
	}
	agreed, ok, err := agreement([]deflateParameters{offer}, response)
	if ok {
		f.use(agreed)
	}
	return err == nil || f.fault == acceptsUnofferedExtension
}

// run echoes until the connection ends, and says why if it fails.
func (f *fixture) run(behind []byte) {
	if f.fault == losesDataBehindHandshake {
		behind = nil
	}
	f.in = bufio.NewReaderSize(io.MultiReader(strings.NewReader(string(behind)), f.conn), 64<<10)
	for {
		err := f.step()
		if fail, ok := err.(failure); ok {
			f.fail(fail.code)
			if f.fault == goesOnAfterClose {
				continue
			}
		}
		if err != nil {
			return
		}
	}
}

func (f *fixture) fail(code statusCode) {
	if f.fault == failsWith1011 {
		code = 1011
	}
	if f.fault != failsWithoutClose {
		f.write(closeFrame(code, ""))
	}
}

// close closes TCP as 7.1.1 describes: the end of the writes, and then what arrives until the other side's end.
func (f *fixture) close() {
	defer f.conn.Close()
	if f.fault == leavesTCPOpen {
		io.Copy(io.Discard, f.conn)
		return
	}
	if f.role == client && f.fault != closesTCPFirst {
		io.Copy(io.Discard, f.conn)
	}
	if f.fault == closesTCPLate {
		time.Sleep(700 * time.Millisecond)
	}
	f.conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, f.conn)
}

func (f *fixture) write(frames ...frame) {
	for _, fr := range frames {
		fr.masked = f.role.masks() != (f.fault == masksWrongly)
		if fr.masked {
			fr.key = [4]byte{1, 2, 3, 4}
			if f.fault != repeatsMaskingKey {
				copy(fr.key[:], newKey())
			}
		}
		f.conn.Write(appendFrame(nil, fr))
	}
}

// step takes one frame.
func (f *fixture) step() error {
	fr, length, err := f.header()
	if err != nil {
		return err
	}
	if err := f.check(fr, length); err != nil {
		return err
	}
	if fr.opcode.control() || fr.opcode.reserved() {
		fr.payload = make([]byte, length)
		if _, err := io.ReadFull(f.in, fr.payload); err != nil {
			return err
		}
		f.unmask(fr, fr.payload, 0)
		return f.control(fr)
	}
	return f.data(fr, int(length))
}

// header reads the header of a frame.
func (f *fixture) header() (frame, uint64, error) {
	var b [14]byte
	if _, err := io.ReadFull(f.in, b[:2]); err != nil {
		return frame{}, 0, err
	}
	fr := frame{fin: b[0]&0x80 != 0, rsv: b[0] >> 4 & 7, opcode: opcode(b[0] & 0xF), masked: b[1]&0x80 != 0}
	length, form := uint64(b[1]&0x7F), minimalLength
	if length >= 126 {
		form = lengthForm(length - 125)
		size := 2 + 6*int(form-length16)
		if _, err := io.ReadFull(f.in, b[8-size:8]); err != nil {
			return fr, 0, err
		}
		clear(b[:8-size])
		length = binary.BigEndian.Uint64(b[:8])
	}
	if f.fault == cutsTopBit {
		length &^= 1 << 63
	}
	if length>>63 != 0 || form != formFor(length) && f.fault != takesLongForms && f.fault != cutsTopBit {
		return fr, 0, failure{protocolError}
	}
	if fr.masked {
		_, err := io.ReadFull(f.in, fr.key[:])
		return fr, length, err
	}
	return fr, length, nil
}

// check is what a header alone can get wrong.
func (f *fixture) check(fr frame, length uint64) error {
	control := fr.opcode.control()
	compressed := f.inflater != nil && fr.rsv == rsv1 && (fr.opcode == opText || fr.opcode == opBinary)
	wrongMask := fr.masked == f.role.masks()
	limit := uint64(16 * mib)
	if f.fault == limitsTo1MiB {
		limit = mib
	}
	switch {
	case wrongMask && f.fault != ignoresMissingMask && f.fault != ignoresMask,
		fr.rsv != 0 && !compressed && f.fault != ignoresReservedBits,
		fr.opcode.reserved() && f.fault != ignoresReservedOpcodes,
		control && length > 125 && (f.fault != takesLongControls || length > 1000),
		control && !fr.fin && f.fault != takesFragmentedControls,
		!control && !fr.opcode.reserved() && f.open != (fr.opcode == opContinuation) && f.fault != ignoresFragmentOrder:
		return failure{protocolError}
	case !control && uint64(len(f.message))+length > limit && f.fault != waitsForHugePayloads:
		return failure{messageTooBig}
	}
	return nil
}

func (f *fixture) unmask(fr frame, p []byte, at int) {
	if fr.masked {
		k := at % 4
		mask(p, [4]byte{fr.key[k], fr.key[(k+1)%4], fr.key[(k+2)%4], fr.key[(k+3)%4]})
	}
}

func (f *fixture) control(fr frame) error {
	switch fr.opcode {
	case opPing:
		if f.fault == sendsEmptyPongs {
			fr.payload = nil
		}
		if f.fault != sendsNoPongs {
			f.write(pong(string(fr.payload)))
		}
	case opClose:
		return f.closing(fr.payload)
	}
	return nil
}

func (f *fixture) closing(body []byte) error {
	switch {
	case len(body) == 1 && f.fault != takesShortClose:
		return failure{protocolError}
	case len(body) >= 2 && !statusCode(binary.BigEndian.Uint16(body)).sendable() && f.fault != takesAnyCloseCode:
		return failure{protocolError}
	case len(body) > 2 && !utf8.Valid(body[2:]) && f.fault != takesAnyReason:
		return failure{invalidPayload}
	}
	if f.fault == answersCloseWith1001 {
		body = []byte{0x03, 0xE9}
	}
	if f.fault != sendsNoClose {
		f.write(closeBody(string(body[:min(2, len(body))])))
	}
	if f.fault == goesOnAfterClose {
		return nil
	}
	return errClosing
}

// data reads the payload of a data frame as it comes, and echoes the message when it is complete.
func (f *fixture) data(fr frame, length int) error {
	if fr.opcode != opContinuation {
		f.open, f.opcode, f.compressed = true, fr.opcode, fr.rsv&rsv1 != 0 && f.inflater != nil
		f.message, f.checked = nil, 0
	}
	if f.fault == forgetsFragments {
		f.message = nil
	}
	for at := 0; at < length; {
		piece := make([]byte, min(length-at, max(1, f.in.Buffered())))
		n, err := f.in.Read(piece)
		if err != nil {
			return err
		}
		f.unmask(fr, piece[:n], at)
		f.message = append(f.message, piece[:n]...)
		at += n
		if f.badText(false) {
			return failure{invalidPayload}
		}
	}
	if !fr.fin {
		return nil
	}
	f.open = false
	return f.complete()
}

// badText says whether the text so far, or the whole text, is not UTF-8. It looks at what it has not seen yet.
func (f *fixture) badText(whole bool) bool {
	if f.opcode != opText || f.fault == ignoresUTF8 || !whole && (f.fault == checksUTF8Late || f.compressed) {
		return false
	}
	text := f.message[min(f.checked, len(f.message)):]
	if !whole {
		text = text[:len(text)-unfinished(text)]
	}
	f.checked += len(text)
	return !utf8.Valid(text)
}

// unfinished is how many octets at the end of p begin a code point that may still become one.
func unfinished(p []byte) int {
	for n := 1; n <= min(3, len(p)); n++ {
		if end := p[len(p)-n:]; utf8.RuneStart(end[0]) && !utf8.FullRune(end) {
			return n
		}
	}
	return 0
}

// complete echoes a whole message.
func (f *fixture) complete() error {
	rsv := byte(0)
	if f.compressed && f.fault != inflatesNothing {
		inflated, err := f.inflater.inflate(f.message)
		if err != nil && f.fault != ignoresBadData {
			return failure{invalidPayload}
		}
		f.message = inflated
	}
	if f.badText(true) {
		return failure{invalidPayload}
	}
	f.distort()
	echo := frame{fin: true, rsv: rsv, opcode: f.opcode, payload: f.message}
	if f.compressed {
		echo.payload, echo.rsv = f.deflater.deflate(f.message), rsv1
	}
	f.write(echo)
	if f.fault == echoesTwice {
		f.write(echo)
	}
	f.message = nil
	return nil
}

func (f *fixture) distort() {
	switch {
	case f.fault == echoesAsText:
		f.opcode = opText
	case f.fault == losesLastOctet && len(f.message) > 60000:
		f.message = f.message[:len(f.message)-1]
	}
}
