package websocket_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The documentation is held to the code: every block of Go in it compiles, and every
// exported name has a comment.

// documents are those with blocks of Go.
func documents(t *testing.T) []string {
	docs, err := filepath.Glob("docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("docs/*.md: %q, %v", docs, err)
	}
	return append(docs, "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
}

// imports are the packages that a block may use without an import declaration.
var imports = map[string]string{
	"websocket": "example.com/websocket",
	"wstest":    "example.com/websocket/wstest",
	"cookiejar": "net/http/cookiejar",
	"http":      "net/http",
	"httptest":  "net/http/httptest",
	"json":      "encoding/json",
	"slog":      "log/slog",
	"tls":       "crypto/tls",
	"url":       "net/url",
	"bufio":     "bufio",
	"context":   "context",
	"errors":    "errors",
	"expvar":    "expvar",
	"fmt":       "fmt",
	"io":        "io",
	"log":       "log",
	"net":       "net",
	"os":        "os",
	"testing":   "testing",
	"time":      "time",
}

// given are what a block may use without a declaration.
const given = `var (ctx context.Context; c *websocket.Conn; w http.ResponseWriter; r *http.Request;
	t *testing.T; handler http.Handler; typ websocket.MessageType; p []byte; v any; err error); `

// A block is one of Go in a document.
type block struct {
	where string // its first line
	text  string
}

// blocks returns the blocks between lines that begin with "```go" and "```".
func blocks(t *testing.T, name string) (list []block) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var b *block
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		switch fence := strings.TrimSpace(line); {
		case b == nil && fence == "```go":
			b = &block{where: fmt.Sprintf("%s:%d", name, n+1)}
		case b != nil && fence == "```":
			list = append(list, *b)
			b = nil
		case b != nil:
			b.text += line
		}
	}
	if b != nil {
		t.Errorf("%s: a block does not end", b.where)
	}
	return list
}

// file makes a file of a block: of a whole one, of declarations, or of statements,
// which may leave variables unused.
func (b block) file(fset *token.FileSet) (*ast.File, error) {
	if strings.HasPrefix(b.text, "package ") {
		return parser.ParseFile(fset, b.where, b.text, parser.SkipObjectResolution)
	}
	head, tail := "package p; "+given, ""
	if _, err := parser.ParseFile(fset, "", head+"\n"+b.text, 0); err != nil {
		head += "func _() error {"
		tail = "\nreturn nil }"
		f, err := parser.ParseFile(fset, b.where, head+"\n//line "+b.where+"\n"+b.text+tail, 0)
		if err != nil {
			return nil, err
		}
		for _, name := range variables(f.Decls[1].(*ast.FuncDecl).Body.List) {
			tail = "\n_ = " + name + tail
		}
	}
	text := b.text + tail
	f, err := parser.ParseFile(fset, b.where, head+"\n//line "+b.where+"\n"+text, 0)
	if err != nil {
		return nil, err
	}
	needed := "package p; "
	for _, id := range f.Unresolved {
		if path := imports[id.Name]; path != "" && !strings.Contains(needed, `"`+path+`"`) {
			needed += fmt.Sprintf("import %s %q; ", id.Name, path)
		}
	}
	return parser.ParseFile(fset, b.where, needed+strings.TrimPrefix(head, "package p; ")+"\n//line "+b.where+"\n"+text, parser.SkipObjectResolution)
}

// variables returns the names that statements declare.
func variables(list []ast.Stmt) (names []string) {
	for _, s := range list {
		var declared []*ast.Ident
		switch s := s.(type) {
		case *ast.AssignStmt:
			for _, x := range s.Lhs {
				if id, ok := x.(*ast.Ident); ok && s.Tok == token.DEFINE {
					declared = append(declared, id)
				}
			}
		case *ast.DeclStmt:
			for _, spec := range s.Decl.(*ast.GenDecl).Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					declared = append(declared, v.Names...)
				}
			}
		}
		for _, id := range declared {
			if id.Name != "_" && !slices.Contains(names, id.Name) {
				names = append(names, id.Name)
			}
		}
	}
	return names
}

// exported returns an importer of packages as the compiler has exported them.
var exported = sync.OnceValues(func() (types.Importer, error) {
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}",
		"example.com/websocket/compat/...", "os/signal", "sync", "strings"}
	for _, path := range imports {
		args = append(args, path)
	}
	list := exec.Command("go", args...)
	list.Stderr = os.Stderr
	out, err := list.Output()
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }), err
})

// check type-checks a block.
func (b block) check() error {
	imp, err := exported()
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	f, err := b.file(fset)
	if err != nil {
		return err
	}
	_, err = (&types.Config{Importer: imp}).Check("p", fset, []*ast.File{f}, nil)
	return err
}

func needGo(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not there: ", err)
	}
}

func TestDocumentsCompile(t *testing.T) {
	needGo(t)
	n := 0
	for _, name := range documents(t) {
		for _, b := range blocks(t, name) {
			n++
			if err := b.check(); err != nil {
				t.Errorf("%s: this does not compile: %v\n%s", b.where, err, b.text)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d blocks are too few to be all", n)
	}
}

// The check itself finds what is wrong.
func TestDocumentsCheck(t *testing.T) {
	needGo(t)
	for _, tc := range []struct {
		text string
		ok   bool
	}{
		{"c.WriteText(ctx, \"x\")", true},
		{"x := 1\n", true},
		{"type T struct{ c *websocket.Conn }\nfunc (t T) f() error { return t.c.Close() }\n", true},
		{"package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println() }\n", true},
		{"for m, err := range c.Messages(ctx) {\n\tif err != nil { return err }\n\t_ = m\n}\n", true},
		{"c.WriteTexts(ctx, \"x\")", false},
		{"c.WriteText(\"x\")", false},
		{"x = 1\n", false},
		{"if x := 1; true {}\n", false},
		{"func f() int { return \"\" }\n", false},
		{"package main\n\nimport \"fmt\"\n\nfunc main() {}\n", false},
		{"...", false},
	} {
		if err := (block{"test.md:1", tc.text}).check(); (err == nil) != tc.ok {
			t.Errorf("%q should compile: %v; %v", tc.text, tc.ok, err)
		}
	}
}

// Every link from a document to a file of this module leads there.
func TestDocumentsLinks(t *testing.T) {
	for _, name := range documents(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "](")[1:] {
			to, _, _ := strings.Cut(part, ")")
			to, _, _ = strings.Cut(to, "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), to)); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", name, err)
			}
		}
	}
}

// sources returns the files of Go in directories, less the tests.
func sources(t *testing.T, fset *token.FileSet, dirs ...string) (files []*ast.File) {
	t.Helper()
	for _, dir := range dirs {
		names, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
	}
	return files
}

// Every lock is in the table of docs/internals.md.
func TestInternalsTellOfEveryLock(t *testing.T) {
	text, err := os.ReadFile("docs/internals.md")
	if err != nil {
		t.Fatal(err)
	}
	fset, n := token.NewFileSet(), 0
	for _, f := range sources(t, fset, ".") {
		ast.Inspect(f, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return false
			}
			for _, field := range s.Fields.List {
				switch types.ExprString(field.Type) {
				case "sync.Mutex", "sync.RWMutex", "slot":
					for _, id := range field.Names {
						n++
						if row := "\n| `" + spec.Name.Name + "." + id.Name + "`"; !strings.Contains(string(text), row) {
							t.Errorf("%v: the table of locks has no row for %s.%s", fset.Position(id.Pos()), spec.Name.Name, id.Name)
						}
					}
				}
			}
			return false
		})
	}
	if n < 5 {
		t.Errorf("%d locks are too few to be all", n)
	}
}

// identifiers returns every name that the code of this module uses.
func identifiers(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	for _, f := range sources(t, token.NewFileSet(), ".", "internal/deflate") {
		ast.Inspect(f, func(node ast.Node) bool {
			if id, ok := node.(*ast.Ident); ok {
				names[id.Name] = true
			}
			return true
		})
	}
	return names
}

// codeSpans returns what a text has between backquotes.
func codeSpans(text string) (spans []string) {
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			spans = append(spans, part)
		}
	}
	return spans
}

// unknown returns a name in a span, such as "Conn.Close", that the code has not, or "".
func unknown(names map[string]bool, span string) string {
	for name := range strings.SplitSeq(strings.TrimPrefix(span, "*"), ".") {
		if !names[name] {
			return name
		}
	}
	return ""
}

// Every name in docs/internals.md is one of the code.
func TestInternalsNamesExist(t *testing.T) {
	text, err := os.ReadFile("docs/internals.md")
	if err != nil {
		t.Fatal(err)
	}
	names, spans := identifiers(t), codeSpans(string(text))
	for _, span := range spans {
		if name := unknown(names, span); name != "" {
			t.Errorf("there is no %s in the code, as in `%s`", name, span)
		}
	}
	if len(spans) < 50 {
		t.Errorf("%d names are too few to be all", len(spans))
	}
}

// The tables of docs/migration.md tell of every function, method and type of the packages
// under compat, but for what a net.Conn, an error or an http.Handler has anyhow.
func TestMigrationIsComplete(t *testing.T) {
	text, err := os.ReadFile("docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	anyhow := []string{"Addr", "Network", "Error", "Unwrap", "ServeHTTP", "ProtocolError"}
	n := 0
	for _, dir := range []string{"compat/xnet", "compat/gorilla"} {
		for _, f := range sources(t, token.NewFileSet(), dir) {
			for _, d := range f.Decls {
				for _, name := range declared(d) {
					n++
					if !strings.Contains(string(text), name) && !slices.Contains(anyhow, name) {
						t.Errorf("docs/migration.md does not tell what becomes of %s's %s", dir, name)
					}
				}
			}
		}
	}
	if n < 80 {
		t.Errorf("%d names are too few to be all", n)
	}
}

// declared returns the exported function, method or types that d declares.
func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && isExportedReceiver(d) {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
				names = append(names, s.Name.Name)
			}
		}
	}
	return names
}

// What the tables of docs/migration.md advise is there, and compiles.
func TestMigrationTables(t *testing.T) {
	needGo(t)
	text, err := os.ReadFile("docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	const given = "var (opts *websocket.Options; h websocket.Handler; header http.Header; text, url string; " +
		"bytes, buf []byte; n int64; closed *websocket.CloseError); _, _, _, _, _, _, _, _, _ = opts, h, header, text, url, bytes, buf, n, closed\n"
	names, calls := identifiers(t), 0
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(line, " | ")
		if len(columns) != 2 {
			continue
		}
		for _, span := range codeSpans(columns[1]) {
			if !strings.ContainsAny(span, "(&=") {
				if name := unknown(names, span); name != "" {
					t.Errorf("there is no %s, as in `%s`", name, span)
				}
				continue
			}
			calls++
			var failed error
			for _, head := range []string{"", "_ = ", "_ = websocket."} {
				code := given + head + strings.ReplaceAll(span, "{ ... }", "{}") + "\n"
				if failed = (block{"docs/migration.md", code}).check(); failed == nil {
					break
				}
			}
			if failed != nil {
				t.Errorf("`%s` does not compile: %v", span, failed)
			}
		}
	}
	if calls < 20 {
		t.Errorf("%d calls are too few to be all", calls)
	}
}

func TestExportedNamesHaveComments(t *testing.T) {
	fset, n := token.NewFileSet(), 0
	for _, f := range sources(t, fset, ".", "wstest", "compat/xnet", "compat/gorilla") {
		for id, comment := range exportedNames(fset, f) {
			n++
			if strings.TrimSpace(comment) == "" {
				t.Errorf("%v: %s has no comment", fset.Position(id.Pos()), id.Name)
			}
		}
	}
	if n < 200 {
		t.Errorf("%d exported names are too few to be all", n)
	}
}

// exportedNames returns the exported names of a file with their comments. A group of
// constants may share one.
func exportedNames(fset *token.FileSet, f *ast.File) map[*ast.Ident]string {
	names := make(map[*ast.Ident]string)
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && isExportedReceiver(d) {
				names[d.Name] = d.Doc.Text()
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						names[s.Name] = d.Doc.Text() + s.Doc.Text()
						exportedFields(fset, s, names)
					}
				case *ast.ValueSpec:
					for _, id := range s.Names {
						if id.IsExported() {
							names[id] = d.Doc.Text() + s.Doc.Text() + s.Comment.Text()
						}
					}
				}
			}
		}
	}
	return names
}

// exportedFields adds the exported fields of a struct. One on the line below another may
// share its comment; what is embedded has that of its type.
func exportedFields(fset *token.FileSet, s *ast.TypeSpec, names map[*ast.Ident]string) {
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		return
	}
	comment, next := "", 0
	for _, f := range st.Fields.List {
		if own := f.Doc.Text() + f.Comment.Text(); own != "" || fset.Position(f.Pos()).Line != next {
			comment = own
		}
		next = fset.Position(f.End()).Line + 1
		for _, id := range f.Names {
			if id.IsExported() {
				names[id] = comment
			}
		}
	}
}

func isExportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}
