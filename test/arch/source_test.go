package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/blixard/blixard"

// source is one parsed Go file of the tree.
type source struct {
	path      string // below the root: "host/qemu/args.go"
	text      []byte
	file      *ast.File
	positions *token.FileSet
	generated bool
}

func parse(name string, text []byte) (source, error) {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	return source{path: name, text: text, file: file, positions: positions, generated: ast.IsGenerated(file)}, nil
}

func (s source) folder() string { return path.Dir(s.path) }
func (s source) base() string   { return path.Base(s.path) }

// isTest says whether the file only exists for tests.
func (s source) isTest() bool {
	return strings.HasSuffix(s.path, "_test.go") || within(s.folder(), "test") || within(s.folder(), "host/fake")
}

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.positions.Position(n.Pos()).Line)
}

// imports returns the import paths with their nodes.
func (s source) imports() map[string]*ast.ImportSpec {
	out := make(map[string]*ast.ImportSpec, len(s.file.Imports))
	for _, spec := range s.file.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			out[name] = spec
		}
	}
	return out
}

// within says whether folder is home or lies below it.
func within(folder, home string) bool {
	return folder == home || strings.HasPrefix(folder, home+"/")
}

// tree parses every Go file below the root; folders that nobody wrote yet are simply not there.
func tree(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir("../..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); base == "build" || base == "bin" || base == "testdata" || (strings.HasPrefix(base, ".") && base != "." && base != "..") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel("../..", name)
		if err != nil {
			return err
		}
		one, err := parse(filepath.ToSlash(relative), text)
		if err != nil {
			t.Errorf("%v", err)
			return nil
		}
		out = append(out, one)
		return nil
	})
	if err != nil {
		t.Fatalf("reading the tree: %v", err)
	}
	return out
}
