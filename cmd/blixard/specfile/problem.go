package specfile

import (
	"fmt"

	"github.com/goccy/go-yaml/token"

	"github.com/blixard/blixard/vm"
)

// Problem is what is wrong with a file, and where.
type Problem struct {
	File         string
	Line, Column int // from 1; 0: the file as a whole
	Why          string
	Try          string
}

// Error is one line, such as "web.yaml:3:1: unknown field "memmory"; try: memory".
func (p *Problem) Error() string {
	if p.Try == "" {
		return p.where() + ": " + p.Why
	}
	return p.where() + ": " + p.Why + "; try: " + p.Try
}

// Refusal is the problem as every other refusal of Blixard.
func (p *Problem) Refusal() *vm.Refusal {
	return &vm.Refusal{Code: vm.Invalid, Why: p.where() + ": " + p.Why, Try: p.Try}
}

func (p *Problem) where() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// place is a line and a column.
type place struct{ line, column int }

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{line: t.Position.Line, column: t.Position.Column}
}

// cut keeps what a file says to one short, harmless piece of a line.
func cut(s string) string {
	return fmt.Sprintf("%q", vm.Cut(s, 60))
}
