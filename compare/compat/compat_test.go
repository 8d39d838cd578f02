// Package compat_test holds the packages under compat to the ones that they stand in
// for: what those export is there, with the same types, and programs that are written
// for them do with both what their tests say.
package compat_test

import (
	"bytes"
	"fmt"
	"go/constant"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var packages = []struct {
	ours, original string
	// What the original exports by accident: methods of unexported interfaces that it
	// embeds. WriteClose makes sense, and is there for a *Conn, but not for a Conn,
	// which must not be copied.
	accidents []string
}{
	{"example.com/websocket/compat/xnet", "golang.org/x/net/websocket", []string{
		"method Conn.HandleFrame", "method Conn.HeaderReader", "method Conn.Len",
		"method Conn.NewFrameReader", "method Conn.NewFrameWriter", "method Conn.TrailerReader", "method Conn.WriteClose",
	}},
	{"example.com/websocket/compat/gorilla", "github.com/gorilla/websocket", nil},
}

// load type-checks packages, from what the compiler has exported of them.
func load(t *testing.T, paths ...string) map[string]*types.Package {
	t.Helper()
	list := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, paths...)...)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	loaded := make(map[string]*types.Package)
	for _, path := range paths {
		if loaded[path], err = imp.Import(path); err != nil {
			t.Fatal(err)
		}
	}
	return loaded
}

// describe returns what p exports: a line for each name, method and field, and what it is.
func describe(p *types.Package) map[string]string {
	d := make(map[string]string)
	text := func(t types.Type) string {
		return types.TypeString(nameless(t), func(q *types.Package) string {
			if q == p {
				return ""
			}
			return q.Path()
		})
	}
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		d["name "+name] = fmt.Sprintf("%T %s", o, kind(o, text))
		if _, ok := o.(*types.TypeName); !ok {
			continue
		}
		if s, ok := o.Type().Underlying().(*types.Struct); ok {
			for f := range s.Fields() {
				if f.Exported() {
					d["field "+name+"."+f.Name()] = fmt.Sprint(text(f.Type()), " embedded: ", f.Embedded())
				}
			}
		}
		for _, typ := range []types.Type{o.Type(), types.NewPointer(o.Type())} {
			for m := range types.NewMethodSet(typ).Methods() {
				if m.Obj().Exported() {
					// A method of T is one of *T too: the line says which has it.
					d["method "+name+"."+m.Obj().Name()] += " " + text(typ) + ": " + text(m.Type())
				}
			}
		}
	}
	return d
}

// nameless takes the names of parameters off, which are no part of a type.
func nameless(t types.Type) types.Type {
	s, ok := t.(*types.Signature)
	if !ok {
		return t
	}
	tuple := func(t *types.Tuple) *types.Tuple {
		var list []*types.Var
		for v := range t.Variables() {
			list = append(list, types.NewParam(token.NoPos, nil, "", nameless(v.Type())))
		}
		return types.NewTuple(list...)
	}
	return types.NewSignatureType(nil, nil, nil, tuple(s.Params()), tuple(s.Results()), s.Variadic())
}

func kind(o types.Object, text func(types.Type) string) string {
	switch o := o.(type) {
	case *types.Const:
		return text(o.Type()) + " = " + constant.ToInt(o.Val()).ExactString()
	case *types.TypeName:
		switch o.Type().Underlying().(type) {
		case *types.Struct, *types.Interface:
			return fmt.Sprintf("%T", o.Type().Underlying())
		}
		return text(o.Type().Underlying())
	}
	return text(o.Type())
}

// Every exported name of the original is there, and is the same.
func TestExportedNames(t *testing.T) {
	for _, p := range packages {
		t.Run(p.original, func(t *testing.T) {
			loaded := load(t, p.ours, p.original)
			ours, theirs := describe(loaded[p.ours]), describe(loaded[p.original])
			if len(theirs) < 20 {
				t.Fatalf("%d names are too few", len(theirs))
			}
			for name, want := range theirs {
				got, ok := ours[name]
				switch {
				case slices.Contains(p.accidents, name):
				case !ok:
					t.Errorf("missing: %s: %s", name, want)
				case got != want:
					t.Errorf("%s is\n\t%s, and in the original\n\t%s", name, got, want)
				}
			}
			for name := range ours {
				if _, ok := theirs[name]; !ok {
					t.Logf("only ours: %s: %s", name, ours[name])
				}
			}
			t.Logf("%d names, methods and fields are compared", len(theirs))
		})
	}
}

// The programs that test a package of ours do the same with the original.
func TestProgramsWithOriginal(t *testing.T) {
	for _, p := range packages {
		t.Run(p.original, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join("..", "..", strings.TrimPrefix(p.ours, "example.com/websocket/"), "programs_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(source, []byte(`"`+p.ours+`"`)); n != 1 {
				t.Fatalf("the programs import %s %d times", p.ours, n)
			}
			source = bytes.Replace(source, []byte(p.ours), []byte(p.original), 1)
			dir, err := os.MkdirTemp(".", "original") // in this module, for its requirements
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if err := os.WriteFile(filepath.Join(dir, "programs_test.go"), source, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("go", "test", "-v", "-count=1", "./"+dir).CombinedOutput()
			if err != nil || bytes.Count(out, []byte("--- PASS: TestProgram")) < 3 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
