package cgroup

import (
	"fmt"
	"os"
	"testing"
)

// BenchmarkAGroupsLife is what a launch and an end pay for their group.
func BenchmarkAGroupsLife(b *testing.B) {
	tree := Open(fmt.Sprintf("bench%d", os.Getpid()))
	defer tree.Close()
	if why := tree.Holding().Tasks; why != "" {
		b.Skip("no cgroup can be made here: " + why)
	}
	for b.Loop() {
		g, err := tree.Make(ref, limits)
		if err == nil {
			err = g.Start(func(int) error { return nil })
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = g.Memory()
		if err := g.Remove(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHolding is what each look at a VM pays.
func BenchmarkHolding(b *testing.B) {
	tree := Open("bench")
	for b.Loop() {
		_ = tree.Holding()
	}
}
