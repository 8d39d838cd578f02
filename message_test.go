package websocket

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Sequences of data frames are written as one letter a frame: t for text, b for
// binary, c for continuation; a capital letter is a frame with FIN. "tcC" is a
// text message in three frames.

// dataFrame returns the frame that letter stands for.
func dataFrame(letter byte, length int64) FrameHeader {
	opcode := Opcode(strings.IndexByte("ctb", letter|0x20))
	return FrameHeader{Fin: letter < 'a', Opcode: opcode, Length: length}
}

// beginFrames passes the empty frames of sequence to a new assembler up to the
// first that is refused, and returns how many messages they made.
func beginFrames(sequence string) (messages int, err error) {
	a := assembler{limit: -1}
	for i := range len(sequence) {
		if err := a.beginFrame(dataFrame(sequence[i], 0)); err != nil {
			return messages, err
		}
		done, err := a.endFrame()
		if err != nil {
			return messages, err
		}
		if done {
			messages++
		}
	}
	return messages, nil
}

func TestFragmentation(t *testing.T) {
	const (
		single     = `"An unfragmented message consists of a single frame with the FIN bit set and an opcode other than 0"`
		fragmented = `"A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0, followed by zero or more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame with the FIN bit set and an opcode of 0"`
		interleave = `"The fragments of one message MUST NOT be interleaved between the fragments of another message"`
	)
	for _, tc := range []struct {
		rule, frames string
		messages     int
		refused      string // what the reason must name; "" if nothing is refused
	}{
		{single, "T", 1, ""},
		{single, "B", 1, ""},
		{single, "TBBT", 4, ""},
		{single, "C", 0, "continuation"},
		{single, "c", 0, "continuation"},
		{single, "TC", 1, "continuation"},
		{fragmented, "tC", 1, ""},
		{fragmented, "bC", 1, ""},
		{fragmented, "tccccC", 1, ""},
		{fragmented, "tCbcCT", 3, ""},
		{fragmented, "tc", 0, ""},
		{fragmented, "tCC", 1, "continuation"},
		{fragmented, "bcCc", 1, "continuation"},
		{interleave, "tT", 0, "text"},
		{interleave, "tt", 0, "text"},
		{interleave, "tB", 0, "binary"},
		{interleave, "bT", 0, "text"},
		{interleave, "bcB", 0, "binary"},
		{interleave, "TBtcb", 2, "binary"},
	} {
		messages, err := beginFrames(tc.frames)
		if messages != tc.messages {
			t.Errorf("the frames %s make %d messages, want %d: %s", tc.frames, messages, tc.messages, tc.rule)
		}
		if tc.refused == "" {
			if err != nil {
				t.Errorf("the frames %s may come, but: %v: %s", tc.frames, err, tc.rule)
			}
			continue
		}
		wantRefusal(t, "the frames "+tc.frames+": "+tc.rule, err, StatusProtocolError, "5.4")
		if !strings.Contains(fmt.Sprint(err), "a "+tc.refused+" frame") {
			t.Errorf("the frames %s are refused without naming the %s frame: %v", tc.frames, tc.refused, err)
		}
	}
}

// mayFollow is the grammar of 5.4, of frames that have come so far.
var mayFollow = regexp.MustCompile(`^([TB]|[tb]c*C)*([tb]c*)?$`)

func TestFragmentationInEveryOrder(t *testing.T) {
	const letters = "TtBbCc"
	var extend func(sequence string)
	extend = func(sequence string) {
		if _, err := beginFrames(sequence); (err == nil) != mayFollow.MatchString(sequence) {
			t.Errorf("the frames %s get: %v", sequence, err)
		} else if err != nil {
			return
		}
		for i := range len(letters) {
			if len(sequence) < 5 {
				extend(sequence + letters[i:i+1])
			}
		}
	}
	extend("")
}

func TestMessageType(t *testing.T) {
	for typ, want := range map[MessageType]string{
		MessageText: "text", MessageBinary: "binary",
		0: "invalid message type 0", 8: "invalid message type 8", 255: "invalid message type 255",
	} {
		if typ.String() != want {
			t.Errorf("the message type %d is called %q, want %q", byte(typ), typ, want)
		}
	}
	if MessageText != 1 || MessageBinary != 2 {
		t.Errorf("11.8: text is opcode 1 and binary 2, but the message types are %d and %d", MessageText, MessageBinary)
	}
}

// The type that was announced by a message's first frame is that of all, also
// while control frames, which the assembler never sees, come between them.
func TestMessageTypeOfFragments(t *testing.T) {
	for _, first := range "tb" {
		var a assembler
		for i, letter := range []byte{byte(first), 'c', 'c', 'C'} {
			if a.between() != (i == 0) {
				t.Errorf("before frame %d of a message the assembler is between messages: %v", i, a.between())
			}
			if err := a.beginFrame(dataFrame(letter, 0)); err != nil || a.typ != MessageType(dataFrame(byte(first), 0).Opcode) {
				t.Errorf("frame %d of a message begun with %c belongs to a %v message, %v", i, first, a.typ, err)
			}
			if done, err := a.endFrame(); done != (letter == 'C') || err != nil {
				t.Errorf("frame %d, %c, ends the message: %v, %v", i, letter, done, err)
			}
		}
		if !a.between() {
			t.Error("after the last frame of a message the assembler is not between messages")
		}
	}
}

func TestMessageSize(t *testing.T) {
	const huge = 1 << 62
	for _, tc := range []struct {
		why     string
		limit   int64
		frames  string
		lengths []int64
		refused int // the frame that exceeds the limit; len(frames) if none does
	}{
		{"a message may have the limit's size", 10, "B", []int64{10}, 1},
		{"and no byte more", 10, "B", []int64{11}, 0},
		{"fragments count together", 10, "tcC", []int64{4, 4, 2}, 3},
		{"and no byte more in the last", 10, "tcC", []int64{4, 4, 3}, 2},
		{"nor in one before the last", 10, "tcC", []int64{4, 7, 0}, 1},
		{"empty fragments do no harm at the limit", 10, "bcccC", []int64{10, 0, 0, 0, 0}, 5},
		{"a message counts from 0 again", 10, "BBbCB", []int64{10, 10, 5, 5, 10}, 5},
		{"a limit of 0 allows empty messages", 0, "BtC", []int64{0, 0, 0}, 3},
		{"and nothing else", 0, "BT", []int64{0, 1}, 1},
		{"no limit", -1, "BtC", []int64{math.MaxInt64, huge, huge - 1}, 3},
		{"no limit, and a sum beyond an int64", -1, "tccC", []int64{huge, huge, huge, huge}, 4},
		{"any negative limit is none", math.MinInt64, "Bt", []int64{math.MaxInt64, math.MaxInt64}, 2},
		{"a length is announced, not received: it need not be plausible", 1 << 20, "B", []int64{math.MaxInt64}, 0},
		{"a sum beyond an int64 is beyond any limit", math.MaxInt64, "bC", []int64{huge, huge}, 1},
		{"however it comes together", math.MaxInt64, "bcC", []int64{1, math.MaxInt64 - 1, 1}, 2},
		{"the greatest limit may be reached", math.MaxInt64, "bC", []int64{1, math.MaxInt64 - 1}, 2},
	} {
		a := assembler{limit: tc.limit}
		for i := range tc.frames {
			err := a.beginFrame(dataFrame(tc.frames[i], tc.lengths[i]))
			if errors.Is(err, ErrMessageTooBig) != (i == tc.refused) {
				t.Errorf("%s: frame %d of %s with lengths %d and the limit %d gets: %v", tc.why, i, tc.frames, tc.lengths, tc.limit, err)
			}
			if err != nil {
				break
			}
			a.endFrame()
		}
	}
}

// A limit may be lowered while a message comes in, below what has come.
func TestMessageSizeLimitLowered(t *testing.T) {
	for _, next := range []byte("cC") {
		a := assembler{limit: 100}
		if err := a.beginFrame(dataFrame('b', 50)); err != nil {
			t.Fatal(err)
		}
		a.endFrame()
		a.limit = 49
		if err := a.beginFrame(dataFrame(next, 0)); !errors.Is(err, ErrMessageTooBig) {
			t.Errorf("a message of 50 bytes goes on with %c under a limit of 49: %v", next, err)
		}
	}
}

// The error says what was announced, what is allowed, and what to change.
func TestMessageTooBigError(t *testing.T) {
	const huge = 1 << 62
	for _, tc := range []struct {
		limit   int64
		lengths []int64
		size    string
	}{
		{10, []int64{11}, "11"},
		{10, []int64{5, 6}, "11"},
		{1 << 20, []int64{1 << 20, 1}, "1048577"},
		{1 << 20, []int64{math.MaxInt64}, "9223372036854775807"},
		{math.MaxInt64, []int64{huge, huge}, "9223372036854775808"},
		{math.MaxInt64, []int64{math.MaxInt64, math.MaxInt64}, "18446744073709551614"},
	} {
		a := assembler{limit: tc.limit}
		var err error
		for i, length := range tc.lengths {
			err = a.beginFrame(dataFrame("bc"[i], length))
		}
		if !errors.Is(err, ErrMessageTooBig) {
			t.Fatalf("fragments of %d bytes under a limit of %d get: %v", tc.lengths, tc.limit, err)
		}
		for _, want := range []string{tc.size + " bytes", fmt.Sprint("limit is ", tc.limit), "Options.ReadLimit", "Conn.SetReadLimit"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("fragments of %d bytes under a limit of %d: the error should say %q, but says: %v", tc.lengths, tc.limit, want, err)
			}
		}
	}
}

// Texts that are UTF-8 (RFC 3629), and that are not.
var utf8Texts = []struct{ what, text string }{
	{"nothing", ""},
	{"ASCII", "Hello"},
	{"the word that RFC 3629 7 has", "A\u2262\u0391."},
	{"the least character of each length", "\x00\u0080\u0800\U00010000"},
	{"the greatest character of each length", "\x7f\u07ff\uffff\U0010ffff"},
	{"the characters around the surrogates", "\ud7ff\ue000"},
	{"the replacement character, which is a character like any other", "a\ufffdb"},
	{"a byte order mark, which is one too", "\ufeffa"},
	{"a long text of short characters", strings.Repeat("€", 30)},
	{"an overlong / in two bytes", "\xc0\xaf"},
	{"an overlong DEL in two bytes", "\xc1\xbf"},
	{"an overlong / in three bytes", "\xe0\x80\xaf"},
	{"an overlong U+07FF in three bytes", "\xe0\x9f\xbf"},
	{"an overlong / in four bytes", "\xf0\x80\x80\xaf"},
	{"an overlong U+FFFF in four bytes", "\xf0\x8f\xbf\xbf"},
	{"the first surrogate", "a\xed\xa0\x80"},
	{"the last surrogate", "a\xed\xbf\xbf"},
	{"a pair of surrogates", "\xed\xa0\xbd\xed\xb8\x80"},
	{"U+110000", "abc\xf4\x90\x80\x80"},
	{"U+13FFFF", "\xf4\xbf\xbf\xbf"},
	{"a lead byte beyond any character", "\xf5\x80\x80\x80"},
	{"five bytes", "\xf8\x88\x80\x80\x80"},
	{"six bytes", "\xfc\x84\x80\x80\x80\x80"},
	{"0xFE", "Hello\xfe"},
	{"0xFF", "\xffHello"},
	{"a continuation byte without a lead", "a\x80"},
	{"one continuation byte too many", "\u20ac\x80"},
	{"a lead byte at the end", "Hello\xc3"},
	{"two of three bytes at the end", "Hello\xe2\x82"},
	{"three of four bytes at the end", "Hello\xf0\x9f\x98"},
	{"two of three bytes, then ASCII", "\xe2\x82A"},
	{"three of four bytes, then a lead byte", "\xf0\x9f\x98\xf0\x9f\x98\x80"},
	{"a bad byte far behind", strings.Repeat("a", 100) + "\xff" + strings.Repeat("b", 100)},
}

// completions are enough to complete every beginning of a character: any second
// byte that RFC 3629 4 allows after some lead byte is in a range with 80 or A0,
// but for F0, whose 90 to BF has A0 too.
var completions = []string{"", "\x80", "\xa0", "\x80\x80", "\xa0\x80", "\x80\x80\x80", "\xa0\x80\x80"}

// canBecomeUTF8 reports whether there is UTF-8 that begins with text.
func canBecomeUTF8(text string) bool {
	return slices.ContainsFunc(completions, func(end string) bool { return utf8.ValidString(text + end) })
}

// firstBadByte returns the position of the byte with which text can no longer
// become UTF-8, or its length if it still can.
func firstBadByte(text string) int {
	for n := range len(text) {
		if !canBecomeUTF8(text[:n+1]) {
			return n
		}
	}
	return len(text)
}

// checkUTF8 passes pieces to u, and checks that they are refused with the very
// piece that has the first bad byte, and that the verdict at the end is that of
// package utf8 on the whole.
func checkUTF8(t *testing.T, u *utf8Checker, pieces ...string) {
	t.Helper()
	whole := strings.Join(pieces, "")
	bad, seen := firstBadByte(whole), 0
	for _, piece := range pieces {
		seen += len(piece)
		ok := u.add([]byte(piece))
		if ok != (bad >= seen) {
			t.Errorf("%q, which is bad from byte %d on: after %d bytes the pieces %q have a verdict of %v", whole, bad, seen, pieces, ok)
		}
		if !ok {
			*u = utf8Checker{}
			return
		}
	}
	if ok := u.complete(); ok != utf8.ValidString(whole) {
		t.Errorf("%q in the pieces %q is complete: %v, but valid: %v", whole, pieces, ok, utf8.ValidString(whole))
	}
}

// bytewise cuts text into pieces of one byte.
func bytewise(text string) (pieces []string) {
	for i := range len(text) {
		pieces = append(pieces, text[i:i+1])
	}
	return pieces
}

func TestUTF8InPieces(t *testing.T) {
	var u utf8Checker // is used for one text after another, as an assembler does
	for _, v := range utf8Texts {
		t.Run(v.what, func(t *testing.T) {
			checkUTF8(t, &u, v.text)
			checkUTF8(t, &u, bytewise(v.text)...)
			checkUTF8(t, &u, "", v.text, "", "")
			for cut := range len(v.text) + 1 {
				checkUTF8(t, &u, v.text[:cut], v.text[cut:])
				checkUTF8(t, &u, v.text[:cut], "", v.text[cut:], "")
				checkUTF8(t, &u, v.text[:cut], v.text[cut:min(cut+1, len(v.text))], v.text[min(cut+1, len(v.text)):])
			}
		})
	}
}

// Every sequence of bytes that are the ends of ranges in the syntax of RFC 3629 4:
// to the others of their range nothing else can happen.
func TestUTF8Syntax(t *testing.T) {
	const edges = "\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"
	var u utf8Checker
	var extend func(text string)
	extend = func(text string) {
		checkUTF8(t, &u, bytewise(text)...)
		if len(text) == utf8.UTFMax || text != "" && (utf8.ValidString(text) || !canBecomeUTF8(text)) {
			return
		}
		for i := range len(edges) {
			extend(text + edges[i:i+1])
		}
	}
	extend("")
}

// A sample of all characters, with the surrogates, and of what lies beyond, each
// cut everywhere.
func TestUTF8WholeRange(t *testing.T) {
	var u utf8Checker
	for r := rune(0); r < 0x120000; r += 61 {
		text := utf8Bits(r)
		if valid := r < 0xd800 || r > 0xdfff && r <= 0x10ffff; utf8.ValidString(text) != valid {
			t.Fatalf("%U is written as %q", r, text)
		}
		for cut := range len(text) {
			checkUTF8(t, &u, "a"+text[:cut], text[cut:]+"b")
		}
	}
}

// utf8Bits distributes the bits of r as RFC 3629 3 does, also of those that are
// no characters.
func utf8Bits(r rune) string {
	last := func(shift int) byte { return 0x80 | byte(r>>shift)&0x3f }
	switch {
	case r < 0x80:
		return string([]byte{byte(r)})
	case r < 0x800:
		return string([]byte{0xc0 | byte(r>>6), last(0)})
	case r < 0x10000:
		return string([]byte{0xe0 | byte(r>>12), last(6), last(0)})
	}
	return string([]byte{0xf0 | byte(r>>18), last(12), last(6), last(0)})
}

func TestUTF8CheckerStartsAnew(t *testing.T) {
	var u utf8Checker
	if !u.add([]byte("\xe2\x82")) || u.complete() {
		t.Error("two of three bytes are a whole text")
	}
	if !u.add([]byte("a")) || !u.complete() {
		t.Error("the text after an incomplete one is judged by the incomplete one's bytes")
	}
}

// Text is checked across its frames, and what is binary not at all.
func TestMessageUTF8(t *testing.T) {
	for _, v := range utf8Texts {
		for cut := range len(v.text) + 1 {
			fragments := []dataFragment{{'t', v.text[:cut], 0}, {'c', "", 0}, {'C', v.text[cut:], 0}}
			_, err := assemble(&assembler{limit: -1}, fragments)
			if utf8.ValidString(v.text) {
				if err != nil {
					t.Errorf("%s, cut at %d, is a fair text message, but: %v", v.what, cut, err)
				}
			} else {
				wantRefusal(t, fmt.Sprintf("a text message of %s, cut at %d", v.what, cut), err, StatusInvalidPayload, "8.1")
			}
			fragments[0].letter = 'b'
			if _, err := assemble(&assembler{limit: -1}, fragments); err != nil {
				t.Errorf("%s, cut at %d, is a fair binary message, but: %v", v.what, cut, err)
			}
		}
	}
}

// A dataFragment is a data frame with its payload, of which more may have been
// announced than has come.
type dataFragment struct {
	letter  byte
	payload string
	missing int64
}

func (f dataFragment) length() int64 { return int64(len(f.payload)) + f.missing }

// assemble passes frames to a, a few bytes of payload at a time, up to the first
// fault, and returns how many frames had none.
func assemble(a *assembler, frames []dataFragment) (int, error) {
	for i, f := range frames {
		if err := a.beginFrame(dataFrame(f.letter, f.length())); err != nil {
			return i, err
		}
		for piece := range slices.Chunk([]byte(f.payload), 3) {
			if err := a.payload(piece); err != nil {
				return i, err
			}
		}
		done, err := a.endFrame()
		if err != nil {
			return i, err
		}
		if done != a.between() {
			return i, fmt.Errorf("the frame ended its message: %v, and the assembler is between messages: %v", done, a.between())
		}
	}
	return len(frames), nil
}

// judge says what an assembler should, from all that has come and with nothing
// kept: how many frames are without fault, and the status code for the next.
func judge(limit int64, frames []dataFragment) (int, StatusCode) {
	var letters, message string
	var announced uint64 // of one message within the limit and a frame: no overflow
	var typ byte
	for i, f := range frames {
		if letters += string([]byte{f.letter}); !mayFollow.MatchString(letters) {
			return i, StatusProtocolError
		}
		if f.letter|0x20 != 'c' {
			typ, message, announced = f.letter|0x20, "", 0
		}
		message += f.payload
		announced += uint64(f.length())
		if limit >= 0 && announced > uint64(limit) {
			return i, StatusMessageTooBig
		}
		if final := f.letter < 'a'; typ == 't' && (!canBecomeUTF8(message) || final && !utf8.ValidString(message)) {
			return i, StatusInvalidPayload
		}
	}
	return len(frames), 0
}

// parseFragments reads frames from a script such as "tHel|Clo": each is a letter
// and a payload, and a payload that begins with + is one of which 2^62 bytes are
// missing. Any script means something.
func parseFragments(script string) (frames []dataFragment) {
	const letters = "TtBbCc"
	for _, s := range strings.Split(script, "|") {
		if s == "" {
			continue
		}
		f := dataFragment{letter: s[0], payload: s[1:]}
		if !strings.Contains(letters, s[:1]) {
			f.letter = letters[int(s[0])%len(letters)]
		}
		if strings.HasPrefix(f.payload, "+") {
			f.missing = 1 << 62
		}
		frames = append(frames, f)
	}
	return frames
}

// An assembler, which keeps no more than it needs, judges every sequence of
// frames as it would be judged with all of it at hand.
func FuzzAssembler(f *testing.F) {
	for _, script := range []string{"THello", "tHel|Clo", "t|c|c|C|Bx", "C", "tHel|Tlo", "b+|C+", "bxxxxx|cxxxxx|Cx"} {
		f.Add(script, int64(10))
		f.Add(script, int64(-1))
		f.Add(script, int64(math.MaxInt64))
	}
	for _, v := range utf8Texts {
		for _, cut := range []int{0, len(v.text) / 2} {
			f.Add("t"+v.text[:cut]+"|C"+v.text[cut:], int64(-1))
		}
	}
	f.Fuzz(func(t *testing.T, script string, limit int64) {
		frames := parseFragments(script)
		wantGood, wantCode := judge(limit, frames)
		good, err := assemble(&assembler{limit: limit}, frames)
		code, _, _ := closeFor(err)
		if good != wantGood || code != wantCode {
			t.Errorf("%d of the frames %+v, under a limit of %d, are without fault, then: %v; want %d, then status code %v", good, frames, limit, err, wantGood, wantCode)
		}
	})
}

// Text in pieces is judged as package utf8 judges the whole, and as early as its
// bytes allow. Each byte of cuts is the length of a piece.
func FuzzUTF8(f *testing.F) {
	for _, v := range utf8Texts {
		f.Add(v.text, "")
		f.Add(v.text, "\x01\x01\x01\x01\x01\x01\x01\x01")
		f.Add(v.text, "\x00\x03\x02")
	}
	f.Fuzz(func(t *testing.T, text, cuts string) {
		if len(text) > 256 {
			t.Skip() // the oracle looks at every prefix of the whole
		}
		var pieces []string
		rest := text
		for _, cut := range []byte(cuts) {
			n := min(int(cut), len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		var u utf8Checker
		checkUTF8(t, &u, append(pieces, rest)...)
		checkUTF8(t, &u, bytewise(text)...)
	})
}
