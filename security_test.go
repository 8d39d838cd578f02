package websocket

import (
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// In all tests: a byte of a buffer that was given back is none that a peer or an
// application expects.
func init() { audited = true }

// Each row of SECURITY.md names in its last column the tests that prove it.
func TestSecurityTable(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "*/*/*_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(source, -1) {
				tests[string(m[1])] = true
			}
		}
	}
	rows := regexp.MustCompile(`(?m)^\| .*\| (.*) \|$`).FindAllSubmatch(text, -1)
	if len(rows) < 50 {
		t.Errorf("SECURITY.md has tables of %d rows", len(rows))
	}
	for _, row := range rows {
		if string(row[1]) == "test" {
			continue // the head of a table
		}
		for name := range strings.SplitSeq(string(row[1]), ", ") {
			if !tests[name] {
				t.Errorf("there is no test %q, which this row names: %s", name, row[0])
			}
		}
	}
}

// 5.3: "The masking key needs to be unpredictable". What can be seen from outside:
// no key comes again but by chance, whoever draws it, and no bit is preferred.
func TestMaskKeys(t *testing.T) {
	const writers, each = 8, 4096
	var keys [writers][each][4]byte
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				keys[w][i] = newMaskKey()
			}
		})
	}
	wg.Wait()
	seen := make(map[[4]byte]bool)
	ones, again := 0, 0
	for w := range keys {
		for _, key := range keys[w] {
			for _, b := range key {
				ones += bits.OnesCount8(b)
			}
			if seen[key] {
				again++
			}
			seen[key] = true
		}
	}
	// 32768 draws of 2^32: one repetition is to be expected in eight runs, four in none.
	if again > 3 {
		t.Errorf("%d of %d masking keys have come before", again, writers*each)
	}
	if half := writers * each * 16; ones < half*99/100 || ones > half*101/100 {
		t.Errorf("of %d bits of masking keys %d are set", 2*half, ones)
	}
}
