package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"slices"
	"strings"
	"unicode"
)

const (
	maxFileLines     = 400
	maxFunctionLines = 60
	maxTestLines     = 120 // most of a long test is its table
)

// longer names files that may be longer, each with its reason.
var longer = map[string]string{}

func fileLength(s source) []string {
	lines := bytes.Count(s.text, []byte("\n"))
	if s.generated || lines <= maxFileLines || longer[s.path] != "" {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d lines; a file has at most %d", s.path, lines, maxFileLines)}
}

func functionLength(s source) []string {
	if s.generated {
		return nil
	}
	var out []string
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		lines := s.positions.Position(f.Body.End()).Line - s.positions.Position(f.Pos()).Line - 1
		limit := maxFunctionLines
		if strings.HasSuffix(s.path, "_test.go") {
			limit = maxTestLines
		}
		if lines > limit {
			out = append(out, fmt.Sprintf("%s: %s has %d lines; a function has at most %d", s.at(f), f.Name.Name, lines, limit))
		}
	}
	return out
}

// vagueFiles say where a thing is, not what it is.
var vagueFiles = []string{"types", "type", "common", "util", "utils", "helper", "helpers", "misc", "base", "shared", "lib", "stuff"}

func fileNames(s source) []string {
	name := strings.TrimSuffix(strings.TrimSuffix(s.base(), ".go"), "_test")
	if !slices.Contains(vagueFiles, name) {
		return nil
	}
	return []string{fmt.Sprintf("%s: a file is named after what it holds, not %q", s.path, name)}
}

// bannedWords has, for each word that we don't use in a name, the word that we do.
var bannedWords = map[string]string{
	"instance":  "VM or incarnation",
	"domain":    "VM",
	"task":      "effect or ask",
	"handler":   "what it does, as a verb",
	"manager":   "who decides what: fleet, tracker, gateway",
	"helper":    "what it does",
	"helpers":   "what it does",
	"util":      "what it does",
	"utils":     "what it does",
	"data":      "what it holds",
	"info":      "what it holds",
	"container": "VM, guest or unit",
}

// foreignWords are names that an interface of somebody else asks for.
var foreignWords = []string{"Handler", "ServeHTTP", "Info", "Data"}

// foreignProtocols are folders that speak somebody else's protocol, with its word.
var foreignProtocols = map[string]string{"cmd/blixard-init": "info", "host/agent": "info"} // guest-info, guest-get-osinfo

// words looks at what a file declares for others: its package, types,
// functions, methods, constants, variables and fields.
func words(s source) []string {
	if s.generated {
		return nil
	}
	var out []string
	look := func(n *ast.Ident) {
		if slices.Contains(foreignWords, n.Name) {
			return
		}
		for _, word := range split(n.Name) {
			if instead, banned := bannedWords[word]; banned && foreignProtocols[s.folder()] != word {
				out = append(out, fmt.Sprintf("%s: %s says %q; our word is: %s", s.at(n), n.Name, word, instead))
			}
		}
	}
	look(s.file.Name)
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			look(d.Name)
		case *ast.GenDecl:
			declared(d, look)
		}
	}
	return out
}

func declared(d *ast.GenDecl, look func(*ast.Ident)) {
	if d.Tok == token.IMPORT {
		return
	}
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			look(spec.Name)
			if st, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range st.Fields.List {
					if field.Tag != nil {
						continue // the name follows a wire format
					}
					for _, name := range field.Names {
						look(name)
					}
				}
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				look(name)
			}
		}
	}
}

// split cuts a Go name into its words, lower case: "QMPInfo" → qmp, info.
func split(name string) []string {
	var out []string
	runes := []rune(name)
	start := 0
	cut := func(end int) {
		if end > start {
			out = append(out, strings.ToLower(strings.Trim(string(runes[start:end]), "_")))
		}
		start = end
	}
	for i := 1; i < len(runes); i++ {
		upper, before := unicode.IsUpper(runes[i]), unicode.IsUpper(runes[i-1])
		next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if runes[i] == '_' || upper && !before || upper && before && next {
			cut(i)
		}
	}
	cut(len(runes))
	return out
}

func formatted(s source) []string {
	want, err := format.Source(s.text)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", s.path, err)}
	}
	if !bytes.Equal(want, s.text) {
		return []string{s.path + ": not gofmt'ed"}
	}
	return nil
}
