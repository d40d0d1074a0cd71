package policies

import (
	"fmt"
	"strings"

	"github.com/blixard/blixard/vm"
)

//go:generate go test . -run TestTheLifecyclePageIsUpToDate -update-page

// LifecyclePage is docs/lifecycle.md: the table as a matrix, and as a diagram
// of the moves that are no deletion or wake-up.
func LifecyclePage() string {
	var b strings.Builder
	b.WriteString("# The lifecycle of a VM\n\nGenerated from `policies/lifecycle.go` by `make gen`; a test fails when it drifts.\n\n")
	b.WriteString("A cell says what an event does in a phase: → moves, ⚖ asks supervision what follows and moves ")
	b.WriteString("(behind ↻ to where, if that is a restart at once under the same spec), · stays, blank ignores, ✗ refuses. Effects stand in brackets; each may be repeated safely.\n\n## Diagram\n\n```mermaid\nstateDiagram-v2\n    [*] --> stopped\n")
	writeMoves(&b)
	b.WriteString("    removing --> [*]\n```\n\n## Matrix\n\n| event |")
	phases := vm.AllPhases.Each()
	for _, p := range phases {
		fmt.Fprintf(&b, " %s |", p)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(phases)) + "\n")
	for _, e := range vm.Events() {
		fmt.Fprintf(&b, "| %s |", e)
		for _, p := range phases {
			fmt.Fprintf(&b, " %s |", cells[cell{p, e}])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// writeMoves writes one arrow for each pair of phases, labelled with its events.
func writeMoves(b *strings.Builder) {
	for _, from := range vm.AllPhases.Each() {
		for _, to := range vm.AllPhases.Each() {
			var labels []string
			for _, e := range vm.Events() {
				a := cells[cell{from, e}]
				goes := (a.verb == verbMove || a.verb == verbJudge) && a.to == to || a.atOnce != nil && a.atOnce.to == to
				if goes && to != vm.Removing && e != vm.Woke {
					labels = append(labels, e.String())
				}
			}
			if len(labels) > 0 {
				fmt.Fprintf(b, "    %s --> %s: %s\n", from, to, strings.Join(labels, ", "))
			}
		}
	}
}

// String is the cell of the matrix.
func (a action) String() string {
	var effects string
	if len(a.effects) > 0 {
		names := make([]string, len(a.effects))
		for i, e := range a.effects {
			names[i] = e.String()
		}
		effects = " [" + strings.Join(names, " ") + "]"
	}
	switch a.verb {
	case verbMove:
		return "→ " + a.to.String() + effects
	case verbJudge:
		if a.atOnce != nil {
			effects += ", ↻" + strings.TrimPrefix(a.atOnce.String(), "→")
		}
		return "⚖ " + a.to.String() + effects
	case verbStay:
		return "·" + effects
	case verbRefuse:
		return "✗"
	case verbIgnore:
		return ""
	}
	panic("policies: a cell without a verb")
}
