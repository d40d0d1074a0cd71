package policies

import (
	"testing"

	"github.com/blixard/blixard/vm"
)

func TestADumpFitsIntoWhatItsBundleMayHold(t *testing.T) {
	for _, one := range []struct{ node, each, want vm.Bytes }{
		{0, 0, 0},
		{vm.GiB, 0, vm.GiB},
		{0, vm.MiB, vm.MiB},
		{vm.GiB, vm.MiB, vm.MiB},
		{vm.MiB, vm.GiB, vm.MiB},
	} {
		if got := DumpAtMost(vm.BundleQuota{Node: one.node, VM: one.each}); got != one.want {
			t.Errorf("node %s, each %s: %s, want %s", one.node, one.each, got, one.want)
		}
	}
}
