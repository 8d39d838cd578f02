package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFramesAreThoseOfTheRFC(t *testing.T) {
	for want, got := range map[string][]byte{ // RFC 6455 5.7
		"810548656c6c6f":         appendFrame(nil, opText, []byte("Hello"), nil),
		"818537fa213d7f9f4d5158": appendFrame(nil, opText, []byte("Hello"), &[4]byte{0x37, 0xfa, 0x21, 0x3d}),
		"827e0100":               appendFrame(nil, opBinary, make([]byte, 256), nil)[:4],
		"827f0000000000010000":   appendFrame(nil, opBinary, make([]byte, 65536), nil)[:10],
	} {
		if hex.EncodeToString(got) != want {
			t.Errorf("got the frame %x, want %s", got, want)
		}
	}
}

// served returns a receiver of what a server sends, size bytes at a time.
func served(t *testing.T, size int, stream []byte) *receiver {
	server, client := net.Pipe()
	t.Cleanup(func() { client.Close() })
	go func() {
		defer server.Close()
		for len(stream) > 0 {
			n, err := server.Write(stream[:min(size, len(stream))])
			if err != nil {
				return
			}
			stream = stream[n:]
		}
	}()
	return newReceiver(client, 300)
}

func TestReceiverTakesMessagesHoweverTheyAreCut(t *testing.T) {
	messages := payloads(4, 300, false, 7)
	messages[3] = bytes.Repeat(messages[3], 10) // larger than the buffer
	var stream []byte
	stream = appendFrame(stream, opBinary, messages[0], nil)
	stream = append(stream, 0x89, 2, 'h', 'i') // a ping
	first, last := messages[1][:100], messages[1][100:]
	stream = append(stream, opBinary, 100)
	stream = append(stream, first...)
	stream = appendFrame(stream, opContinuation, last, nil)
	stream = appendFrame(stream, opBinary, messages[2], nil)
	stream = appendFrame(stream, opBinary, messages[3], nil)
	for _, size := range []int{1, 2, 3, 7, 100, len(stream)} {
		in := served(t, size, stream)
		for i, m := range messages {
			if err := in.expect(opBinary, m); err != nil {
				t.Fatalf("in pieces of %d bytes, message %d: %v", size, i, err)
			}
		}
		if _, _, err := in.next(); err != io.EOF {
			t.Errorf("in pieces of %d bytes it ends with %v", size, err)
		}
	}
}

func TestReceiverRefusesWhatIsWrong(t *testing.T) {
	hello := []byte("Hello")
	for name, stream := range map[string][]byte{
		"another payload":       appendFrame(nil, opText, []byte("Hullo"), nil),
		"a short message":       appendFrame(nil, opText, []byte("Hell"), nil),
		"a long message":        appendFrame(nil, opText, []byte("Hello!"), nil),
		"another type":          appendFrame(nil, opBinary, hello, nil),
		"a masked frame":        appendFrame(nil, opText, hello, &[4]byte{}),
		"a Close frame":         appendFrame(nil, opClose, nil, nil),
		"a lonely continuation": appendFrame(nil, opContinuation, hello, nil),
		"a reserved bit":        {0xc1, 0},
		"an unfinished message": {0x01, 1, 'H', 0x81, 0},
	} {
		if err := served(t, 100, stream).expect(opText, hello); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := served(t, 100, []byte("abx")).expectBytes([]byte("abc")); err == nil {
		t.Error("a wrong byte of the raw loop passes")
	}
}

func TestTextIsValidAndOfItsSize(t *testing.T) {
	for size := range 100 {
		p := payloads(1, size, true, uint64(size))[0]
		if len(p) != size || !utf8.Valid(p) {
			t.Errorf("a text of %d bytes is %q", size, p)
		}
	}
}

func TestSamples(t *testing.T) {
	for want, s := range map[string]samples{
		"–":                   nil,
		"2.00":                {2},
		"2.50 (1.00–4.00)":    {4, 1, 2, 3},
		"0.123 (0.0111–0.15)": {0.0111, 0.15, 0.1234},
		"1234 (100–5678)":     {5678, 100, 1234},
	} {
		if got := s.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := (samples{1, 4, 9}).per(samples{1, 2, 3}).median(); got != 2 {
		t.Errorf("the median of ratios in pairs is %v, want 2", got)
	}
}

func figures(ours, raw, gorilla, gws float64) result {
	return result{
		Date: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Go: "go1.99", Cores: 3,
		Versions: map[string]string{"example.org/peer": "v1.2.3"},
		Samples: map[string]samples{
			"this library": {ours}, "raw TCP": {raw}, "gorilla": {gorilla}, "gws": {gws},
			"gobwas, flushed by hand": {0.01}, // is no peer
		},
		Errors: map[string]string{"x/net": "fails"},
	}
}

func TestGoals(t *testing.T) {
	w := works()[0]
	for _, test := range []struct {
		goal goal
		ours float64
		met  bool
	}{
		{noPeerCheaper, 3.1, true},
		{noPeerCheaper, 3.2, false},
		{atMostRaw(1.5), 3, true},
		{atMostRaw(1.5), 3.1, false},
		{cheaperThanPeers(3), 1, true},
		{cheaperThanPeers(3), 1.1, false},
	} {
		if got := test.goal.met(w, figures(test.ours, 2, 5, 3)); got != test.met {
			t.Errorf("%v µs against a loop of 2 and peers of 5 and 3: %s: %v", test.ours, test.goal.text, got)
		}
	}
}

func TestTablesGoBetweenTheMarkers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	begin, end := markers("libraries")
	if err := os.WriteFile(file, []byte("before\n"+begin+"\nold\n"+end+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := works()[0].name
	err := output(file, "libraries", func(w io.Writer) error {
		write(w, map[string]result{name: figures(3, 2, 5, 4)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"before\n" + begin, end + "\nafter\n",
		"2026-01-02 with go1.99 on a machine of 3 cores; example.org/peer v1.2.3.",
		"| " + name + " | at most 1.1 × raw TCP; no peer is cheaper | 3.00 µs | 1.50 | gws 4.00 | 0.75 | **not met** |",
		"| " + name + ", µs | 2.00 | 3.00 | 5.00 | 4.00 | 0.01 | fails |",
	} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("the file has no %q:\n%s", want, got)
		}
	}
	if bytes.Contains(got, []byte("old")) {
		t.Error("what stood between the markers is still there")
	}
}
