package actors

import (
	"context"

	"github.com/blixard/blixard/vm"
)

// Resources is what the node has, what is promised of it and what is used.
func (n *Node) Resources(context.Context, bool) (vm.NodeResources, error) {
	return vm.NodeResources{}, nil
}

// Usage is the last sample of that VM.
func (n *Node) Usage(vm.Name) vm.Usage { return vm.Usage{} }

// Limits are what a VM of that record is held to here.
func (n *Node) Limits(vm.Record) (vm.Limits, vm.Holding) { return vm.Limits{}, vm.Holding{} }
