package specfile

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/blixard/blixard/vm"
)

// MaxSize is the most that a file may hold: a thousand VMs of a kilobyte each.
const MaxSize = 1 << 20

// maxDepth bounds the nesting before the parser, which recurses, sees it. A
// spec nests five deep.
const maxDepth = 32

// maxIndent bounds the nesting of blocks, where each level costs a column.
const maxIndent = 256

// Parse reads every spec of a file. file is its name: it stands in errors, and
// relative paths inside of the file start from its folder ("-" and "" are the
// working directory). What was not said stays zero; every spec has passed
// Filled().Check(). The error is a *Problem, or one of r.
func Parse(r io.Reader, file string) ([]vm.Spec, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if file == "" || file == "-" {
		file = "standard input"
	}
	f := &reader{file: file, folder: "."}
	if file != "standard input" {
		f.folder = filepath.Dir(file)
	}
	if f.folder, err = filepath.Abs(f.folder); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	tree := f.tree(text)
	if f.problem == nil {
		f.documents(tree)
	}
	if f.problem != nil {
		return nil, f.problem
	}
	return f.specs, nil
}

// reader holds one file while it is read. The first problem ends it: what
// comes after often follows from it.
type reader struct {
	file    string
	folder  string
	problem *Problem
	specs   []vm.Spec
	places  map[string]place // of the document at hand, by the field's path
}

func (f *reader) fail(at place, try, why string, args ...any) {
	if f.problem == nil {
		f.problem = &Problem{File: f.file, Line: at.line, Column: at.column, Why: fmt.Sprintf(why, args...), Try: try}
	}
}

func (f *reader) tree(text []byte) *ast.File {
	switch {
	case len(text) > MaxSize:
		f.fail(place{}, "split it into several files", "the file is larger than %d bytes, the most that is read", MaxSize)
		return nil
	case !utf8.Valid(text):
		f.fail(place{}, "save it as UTF-8", "the file is no UTF-8 text")
		return nil
	}
	tokens := lexer.Tokenize(string(text))
	if f.checkDepth(tokens); f.problem != nil {
		return nil
	}
	tree, err := parser.Parse(tokens, 0)
	if err == nil {
		return tree
	}
	at, why := place{}, err.Error()
	var broken yaml.Error
	if errors.As(err, &broken) {
		at, why = placeOf(broken.GetToken()), broken.GetMessage()
	}
	why, _, _ = strings.Cut(why, "\n")
	if len(why) > 200 {
		why = why[:200]
	}
	f.fail(at, "", "this is no YAML: %s", vm.Visible([]byte(strings.ToValidUTF8(why, "?"))))
	return nil
}

func (f *reader) checkDepth(tokens token.Tokens) {
	depth, dashes, line := 0, 0, 0
	for _, t := range tokens {
		at := placeOf(t)
		if at.line != line {
			line, dashes = at.line, 0
			if depth == 0 && at.column > maxIndent {
				f.fail(at, "", "indented by %d columns, at most %d are read", at.column, maxIndent)
			}
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType, token.MappingValueType:
			if depth == 0 {
				dashes++
			}
		default:
		}
		if depth > maxDepth || dashes > maxDepth {
			f.fail(at, "", "nested deeper than %d levels", maxDepth)
			return
		}
	}
}

func (f *reader) documents(tree *ast.File) {
	seen := map[vm.Name]bool{}
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		f.places = map[string]place{"": placeOf(firstToken(doc.Body))}
		s := f.spec(doc.Body)
		if f.problem == nil {
			f.check(s)
		}
		if f.problem == nil && seen[s.Name] {
			f.fail(f.places["name"], "give each VM a name of its own", "%q is in this file twice", s.Name)
		}
		if f.problem != nil {
			return
		}
		seen[s.Name] = true
		f.specs = append(f.specs, s)
	}
	if len(f.specs) == 0 {
		f.fail(place{}, "name: web", "there is no VM in it")
	}
}

// check is Spec.Check with the place of the field that its refusal begins with.
func (f *reader) check(s vm.Spec) {
	err := s.Filled().Check()
	if err == nil {
		return
	}
	at, path := f.places[""], ""
	if r, ok := errors.AsType[*vm.Refusal](err); ok {
		path, _, _ = strings.Cut(r.Why, " ")
		path = strings.TrimSuffix(path, ":")
		if strings.Contains(r.Why, "VM name") {
			path = "name"
		}
		for path != "" {
			if p, ok := f.places[path]; ok {
				at = p
				break
			}
			path = path[:max(strings.LastIndexAny(path, ".["), 0)]
		}
		f.fail(at, r.Try, "%s", r.Why)
		return
	}
	f.fail(at, "", "%v", err)
}

// firstToken is where a node begins: the token of a mapping is its first colon.
func firstToken(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}
