package specfile

import (
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/blixard/blixard/vm"
)

// text takes a string. A number or a truth value is refused instead of being
// guessed at: "on", 0123 and 1e3 would come out as something else.
func text[T ~string](f *reader, to *T) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		switch n := n.(type) {
		case *ast.StringNode:
			*to = T(n.Value)
		case *ast.LiteralNode:
			*to = T(n.Value.Value)
		case *ast.NullNode:
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
			f.fail(placeOf(n.GetToken()), "'"+short(n)+"'", "%s is a text, this is %s", path, kind(n))
		default:
			f.fail(placeOf(firstToken(n)), "", "%s is a text, this is %s", path, kind(n))
		}
	}
}

func (f *reader) integer(to *int) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		v, ok := whole(n)
		if !ok {
			f.fail(placeOf(firstToken(n)), "", "%s is a whole number, this is %s", path, kind(n))
			return
		}
		*to = int(v)
	}
}

func (f *reader) number(to *float64) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		if v, ok := n.(*ast.FloatNode); ok {
			*to = v.Value
			return
		}
		v, ok := whole(n)
		if !ok {
			f.fail(placeOf(firstToken(n)), "", "%s is a number, this is %s", path, kind(n))
			return
		}
		*to = float64(v)
	}
}

func (f *reader) truth(to *bool) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		switch v := n.(type) {
		case *ast.BoolNode:
			*to = v.Value
		case *ast.NullNode:
		default:
			f.fail(placeOf(firstToken(n)), "true or false", "%s is true or false, this is %s", path, kind(n))
		}
	}
}

func (f *reader) size(to *vm.Bytes) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		if v, ok := whole(n); ok {
			*to = vm.Bytes(v)
			return
		}
		v, err := ParseSize(short(n))
		if err != nil {
			f.refuse(path, n, err)
			return
		}
		*to = v
	}
}

func (f *reader) percent(to *int) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		if v, ok := whole(n); ok {
			*to = int(v)
			return
		}
		v, err := ParsePercent(short(n))
		if err != nil {
			f.refuse(path, n, err)
			return
		}
		*to = v
	}
}

func (f *reader) duration(to *time.Duration) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		v, err := ParseDuration(short(n))
		if err != nil {
			f.refuse(path, n, err)
			return
		}
		*to = v
	}
}

func (f *reader) refuse(path string, n ast.Node, r *vm.Refusal) {
	f.fail(placeOf(firstToken(n)), r.Try, "%s: %s", path, r.Why)
}

// ParsePercent reads "150%" or "150": percent of one CPU.
func ParsePercent(s string) (int, *vm.Refusal) {
	v, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil {
		return 0, &vm.Refusal{Code: vm.Invalid, Why: cut(s) + " is no percentage", Try: "150%, which is one and a half CPUs"}
	}
	return v, nil
}

// ParseDuration reads "1m30s", and 0.
func ParseDuration(s string) (time.Duration, *vm.Refusal) {
	d, err := time.ParseDuration(s)
	if err == nil {
		return d, nil
	}
	r := &vm.Refusal{Code: vm.Invalid, Why: cut(s) + " is no duration; units are ms, s, m, h", Try: "30s or 1m30s"}
	if _, err := strconv.Atoi(s); err == nil {
		r.Why, r.Try = cut(s)+" is a duration without a unit; units are ms, s, m, h", s+"s"
	}
	return 0, r
}

func whole(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch v := i.Value.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= 1<<62
	}
	return 0, false
}

// short is the text of a scalar, or nothing.
func short(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	return ""
}

// kind says to people what a node is.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return "the text " + cut(n.Value)
	case *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + cut(n.GetToken().Value)
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.NullNode:
		return "empty"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias, which specs don't have"
	case *ast.TagNode:
		return "a tag, which specs don't have"
	}
	return "something else"
}
