package specfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/blixard/blixard/vm"
)

// Strict reads a small YAML file of ours, such as the daemon's configuration,
// into out: an unknown key is an error of one line, with its place.
func Strict(file string, text []byte, out any) error {
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(out)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	p := &Problem{File: file, Try: "mend that line; every key stands in docs/configuration.md"}
	p.Why, _, _ = strings.Cut(err.Error(), "\n")
	if broken, ok := errors.AsType[yaml.Error](err); ok {
		at := placeOf(broken.GetToken())
		p.Line, p.Column = at.line, at.column
		p.Why, _, _ = strings.Cut(broken.GetMessage(), "\n")
		if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
			p.Why = fmt.Sprintf("%q is no %s", wrong.Token.Value, wanted(wrong.DstType))
		}
		if wrong, ok := errors.AsType[*yaml.UnexpectedNodeTypeError](err); ok {
			p.Why = fmt.Sprintf("%q is no %s", wrong.Token.Value, wantedNode(wrong.Expected))
		}
	} else {
		if r, ok := errors.AsType[*vm.Refusal](err); ok {
			p.Why, p.Try = r.Why, r.Try
		}
		at := placeOfQuoted(text, p.Why)
		p.Line, p.Column = at.line, at.column
	}
	if len(p.Why) > 200 {
		p.Why = p.Why[:200]
	}
	p.Why = string(vm.Visible([]byte(strings.ToValidUTF8(p.Why, "?"))))
	return p.Refusal()
}

// wanted is a type of ours in words.
func wanted(t reflect.Type) string {
	switch t.Kind() { //nolint:exhaustive // the others are texts to who writes them
	case reflect.Float32, reflect.Float64:
		return "number, such as 1.5"
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint, reflect.Uint64, reflect.Uint32:
		return "whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct, reflect.Map:
		return "set of keys"
	case reflect.Slice:
		return "list"
	}
	return "text"
}

func wantedNode(t ast.NodeType) string {
	switch t { //nolint:exhaustive // the others are texts to who writes them
	case ast.MappingType, ast.MappingValueType:
		return "set of keys"
	case ast.SequenceType:
		return "list"
	}
	return "text"
}

// placeOfQuoted is where the one value stands that an error quotes; nowhere,
// where there are several of it.
func placeOfQuoted(text []byte, why string) place {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return place{}
	}
	q := quoted{why: why}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			ast.Walk(&q, doc.Body)
		}
	}
	if len(q.at) != 1 {
		return place{}
	}
	return q.at[0]
}

type quoted struct {
	why string
	at  []place
}

// Visit notes each value that is quoted.
func (q *quoted) Visit(n ast.Node) ast.Visitor {
	if pair, ok := n.(*ast.MappingValueNode); ok {
		ast.Walk(q, pair.Value) // its key is no value
		return nil
	}
	if _, scalar := n.(ast.ScalarNode); scalar && strings.Contains(q.why, strconv.Quote(n.GetToken().Value)) {
		q.at = append(q.at, placeOf(n.GetToken()))
	}
	return q
}
