package websocket

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// maskByDefinition is 5.3 as it stands: "Octet i of the transformed data is the
// XOR of octet i of the original data with octet at index i modulo 4 of the
// masking key".
func maskByDefinition(data []byte, key [4]byte, offset int) []byte {
	transformed := make([]byte, len(data))
	for i := range data {
		transformed[i] = data[i] ^ key[(offset+i)%4]
	}
	return transformed
}

// randomBytes returns the same n bytes in every run.
func randomBytes(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

func TestMaskRFC(t *testing.T) {
	p := []byte("Hello")
	if Mask(p, p, rfcKey, 0); string(p) != "\x7f\x9f\x4d\x51\x58" {
		t.Errorf(`"Hello", masked with the key of 5.7, is % x, want 7f 9f 4d 51 58`, p)
	}
}

// maskSizes are those that end in every way before, in and after the turns of
// Mask's loops.
func maskSizes() (sizes []int) {
	for size := range 301 {
		sizes = append(sizes, size)
	}
	for size := 4096 - 9; size <= 4096+9; size++ {
		sizes = append(sizes, size)
	}
	return sizes
}

const maxMaskSize = 4096 + 9

// Every size, from every alignment to every alignment, at every position.
func TestMask(t *testing.T) {
	data := randomBytes(maxMaskSize)
	guard := bytes.Repeat([]byte{0xee}, maxMaskSize+16)
	for offset := range 8 {
		want := maskByDefinition(data, rfcKey, offset)
		for alignments := range 8 * 8 {
			from, to := alignments/8, alignments%8
			src := append(guard[:from:from], data...)[from:]
			for _, size := range maskSizes() {
				memory := bytes.Clone(guard[:to+size+8])
				Mask(memory[to:], src[:size], rfcKey, offset)
				if !bytes.Equal(memory[to:to+size], want[:size]) {
					t.Fatalf("%d bytes from alignment %d to %d, at position %d, are not masked as 5.3 defines", size, from, to, offset)
				}
				if !bytes.Equal(memory[:to], guard[:to]) || !bytes.Equal(memory[to+size:], guard[:8]) {
					t.Fatalf("masking %d bytes from alignment %d to %d, at position %d, changes what is around them", size, from, to, offset)
				}
			}
			if !bytes.Equal(src, data) {
				t.Fatalf("masking to another slice changes its source, at alignment %d", from)
			}
		}
	}
}

func TestMaskInPlace(t *testing.T) {
	data := randomBytes(8 + maxMaskSize + 8)
	for offset := range 8 {
		for at := range 8 {
			want := maskByDefinition(data[at:], rfcKey, offset)
			for _, size := range maskSizes() {
				memory := bytes.Clone(data[:at+size+8])
				p := memory[at : at+size]
				Mask(p, p, rfcKey, offset)
				if !bytes.Equal(p, want[:size]) {
					t.Fatalf("%d bytes at alignment %d and position %d, masked in place, are not what 5.3 defines", size, at, offset)
				}
				Mask(p, p, rfcKey, offset)
				if !bytes.Equal(memory, data[:len(memory)]) {
					t.Fatalf("masking %d bytes at alignment %d and position %d twice does not leave all as it was", size, at, offset)
				}
			}
		}
	}
}

func TestMaskInPieces(t *testing.T) {
	data := randomBytes(300)
	want := maskByDefinition(data, rfcKey, 0)
	for cut := range len(data) + 1 {
		got := make([]byte, len(data))
		Mask(got, data[:cut], rfcKey, 0)
		Mask(got[cut:], data[cut:], rfcKey, cut)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes, masked in two pieces cut at %d, differ from the whole", len(data), cut)
		}
	}
	for size := 1; size <= 70; size++ {
		got := bytes.Clone(data)
		for at := 0; at < len(got); at += size {
			piece := got[at:min(at+size, len(got))]
			Mask(piece, piece, rfcKey, at)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes, masked in pieces of %d, differ from the whole", len(data), size)
		}
	}
}

// A destination that is too short is a mistake of the caller, and no reason to
// write beyond it, even where its capacity has room.
func TestMaskShortDestination(t *testing.T) {
	memory := make([]byte, 100)
	defer func() {
		if recover() == nil || !bytes.Equal(memory, make([]byte, 100)) {
			t.Error("masking 90 bytes to a slice of 80 should panic and write nothing")
		}
	}()
	Mask(memory[:80], randomBytes(90), rfcKey, 0)
}

func FuzzMask(f *testing.F) {
	for _, v := range rfcFrames {
		f.Add([]byte(v.payload), rfcKey[0], rfcKey[1], rfcKey[2], rfcKey[3], byte(0), uint16(3))
	}
	f.Add(randomBytes(200), byte(1), byte(2), byte(3), byte(4), byte(3), uint16(65))
	f.Fuzz(func(t *testing.T, data []byte, k0, k1, k2, k3, offset byte, cut uint16) {
		key, at := [4]byte{k0, k1, k2, k3}, min(int(cut), len(data))
		want := maskByDefinition(data, key, int(offset))
		got := make([]byte, len(data))
		Mask(got, data[:at], key, int(offset))
		Mask(got[at:], data[at:], key, int(offset)+at)
		if !bytes.Equal(got, want) {
			t.Errorf("%x, masked with %x at position %d in pieces cut at %d, is %x, want %x", data, key, offset, at, got, want)
		}
		if Mask(got, got, key, int(offset)); !bytes.Equal(got, data) {
			t.Errorf("%x, masked with %x at position %d and unmasked in place, is %x", data, key, offset, got)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	for _, size := range []int{16, 125, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				Mask(p, p, rfcKey, 1)
			}
		})
	}
}
