package cgroup

import (
	"testing"

	"github.com/blixard/blixard/vm"
)

// BenchmarkGroup is what the group of one VMM costs, from its making to its end.
func BenchmarkGroup(b *testing.B) {
	tree := Open("bench")
	if why := tree.Holding().Memory; why != "" {
		b.Skip("skipped: " + why)
	}
	n := vm.Incarnation(0)
	for b.Loop() {
		n++
		g, err := tree.Make(vm.Ref{VM: "0123456789abcdef", Name: "bench", Incarnation: n}, vm.Limits{Memory: 256 * vm.MiB, CPUWeight: 100, IOWeight: 100, Tasks: 1024})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Start(func(int) error { return nil }); err != nil {
			b.Fatal(err)
		}
		g.Memory()
		if err := g.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}
