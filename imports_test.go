package websocket

import (
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// The files that know the protocol know nothing of how bytes come and go: what
// they import keeps it so.
func TestPureFiles(t *testing.T) {
	impure := []string{"net", "net/http", "net/url", "context", "sync", "sync/atomic", "time", "os"}
	for _, name := range []string{"frame.go", "mask.go", "message.go", "utf8.go", "close.go", "handshake.go", "extension.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range file.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); slices.Contains(impure, path) {
				t.Errorf("%s imports %s, and holds nothing but functions over bytes and values", name, path)
			}
		}
	}
}
