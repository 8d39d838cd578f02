package websocket

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"
)

type point struct{ X, Y int }

// What goes out in JSON is one text message with nothing behind it.
func TestWriteJSON(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for _, tc := range []struct {
			v    any
			want string
		}{
			{point{1, -2}, `{"X":1,"Y":-2}`},
			{nil, "null"},
			{"a\nb", `"a\nb"`},
			{json.RawMessage("[1,\n2]\n"), "[1,2]"},
		} {
			if err := g.c.WriteJSON(bg, tc.v); err != nil {
				t.Fatal(err)
			}
			g.wantFrame("WriteJSON should send one text message without a line break", textF(tc.want))
		}
		g.c.WriteJSON(bg, "not UTF-8: \xff")
		var got string
		f, err := g.readFrame()
		if json.Unmarshal([]byte(f.payload), &got); err != nil || got != "not UTF-8: \ufffd" || !utf8.ValidString(f.payload) {
			t.Errorf("WriteJSON should replace what is not UTF-8, and sends %v, %v", f, err)
		}
	})
}

// Whoever gets an error learns whether it is the value or the connection.
func TestWriteJSONErrors(t *testing.T) {
	onBoth(t, nil, func(t *testing.T, g *rig) {
		for _, v := range []any{make(chan int), math.Inf(1), json.RawMessage("{"), json.RawMessage("\"\xff\"")} {
			if err := g.c.WriteJSON(bg, v); !errors.Is(err, ErrJSON) {
				t.Errorf("a value of type %T that is no JSON: %v", v, err)
			}
		}
		var unsupported *json.UnsupportedTypeError
		if err := g.c.WriteJSON(bg, make(chan int)); !errors.As(err, &unsupported) {
			t.Errorf("the error of encoding/json should be in it: %v", err)
		}
		synctest.Wait()
		g.wantSilence("nothing of what is not JSON should be sent")
		ctx, cancel := context.WithCancel(bg)
		cancel()
		if err := g.c.WriteJSON(ctx, 1); err != context.Canceled {
			t.Errorf("the error of the context should be returned as it is, and is %v", err)
		}
		if err := g.c.WriteJSON(bg, 1); err != nil {
			t.Fatalf("the connection is as it was: %v", err)
		}
		g.wantFrame("the connection is as it was", textF("1"))
		g.c.Close()
		if err := g.c.WriteJSON(bg, 1); !errors.Is(err, net.ErrClosed) || errors.Is(err, ErrJSON) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A message is one JSON value, whatever its type, its frames, and the space around it.
func TestReadJSON(t *testing.T) {
	onBoth(t, &Options{ReadLimit: 64}, func(t *testing.T, g *rig) {
		for _, frames := range [][]frame{
			{textF(`{"X":1,"Y":-2}`)},
			{binaryF(`{"X":1,"Y":-2}`)},
			{textF(" {\"X\":1,\"Y\":-2}\r\n\n")},
			{textF(`{"X":1`).open(), pingF(""), contF(`,"Y":-2}`)},
		} {
			g.send(frames...)
			var got point
			if err := g.c.ReadJSON(bg, &got); err != nil || got != (point{1, -2}) {
				t.Errorf("%v is read as %v, %v", frames, got, err)
			}
		}

		for _, text := range []string{"", "{", `{"X":"a"}`, "{} {}", "{}x", "1"} {
			g.send(textF(text), textF(`{"X":7}`))
			var got point
			err := g.c.ReadJSON(bg, &got)
			if !errors.Is(err, ErrJSON) {
				t.Errorf("%q is no point in JSON, and the error is %v", text, err)
			}
			var syntax *json.SyntaxError
			var mismatch *json.UnmarshalTypeError
			if !errors.As(err, &syntax) && !errors.As(err, &mismatch) {
				t.Errorf("%q: the error of encoding/json should be in %v", text, err)
			}
			if err := g.c.ReadJSON(bg, &got); err != nil || got.X != 7 {
				t.Fatalf("after %q the next message should be read, and is %v, %v", text, got, err)
			}
		}
	})
}

// An error of the connection is not one of JSON, whatever is in the message.
func TestReadJSONErrors(t *testing.T) {
	var v any
	onBoth(t, &Options{ReadLimit: 64}, func(t *testing.T, g *rig) {
		ctx, cancel := context.WithCancel(bg)
		result := inBackground(func() error { return g.c.ReadJSON(ctx, &v) })
		g.send(textF("[1,").open())
		synctest.Wait()
		cancel()
		if err := <-result; err != context.Canceled {
			t.Errorf("the error of the context should be returned as it is, and is %v", err)
		}
		g.send(contF("2]"))
		if err := g.c.ReadJSON(bg, &v); err != nil || len(v.([]any)) != 2 {
			t.Errorf("a read that was cancelled loses nothing, but: %v, %v", v, err)
		}
		g.send(textF(`"` + strings.Repeat("x", 64) + `"`))
		if err := g.c.ReadJSON(bg, &v); !errors.Is(err, ErrMessageTooBig) || errors.Is(err, ErrJSON) {
			t.Errorf("a message beyond the limit: %v", err)
		}
		g.wantClose("a message beyond the limit", StatusMessageTooBig)
	})
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(closeF(StatusNormalClosure, ""))
		if err := g.c.ReadJSON(bg, &v); errors.Is(err, ErrJSON) {
			t.Errorf("the peer's close: %v", err)
		} else {
			wantCloseError(t, "the peer's close", err, StatusNormalClosure)
		}
	})
	onBoth(t, nil, func(t *testing.T, g *rig) {
		g.send(textF("[1,").open())
		g.nc.Close()
		if err := g.c.ReadJSON(bg, &v); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrJSON) {
			t.Errorf("a connection that is lost in the middle of a message: %v", err)
		}
	})
}
