package policies

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// DefaultBundleQuota is enough for a month of a node where things go wrong: a
// bundle without a guest's memory takes at most about a MiB.
var DefaultBundleQuota = vm.BundleQuota{Node: vm.GiB, VM: 256 * vm.MiB, Count: 20, Age: 30 * 24 * time.Hour}

// DumpAtMost is how large the guest's memory may be that a death's bundle takes
// over; 0: nothing bounds it. A larger one would be dropped at once.
func DumpAtMost(q vm.BundleQuota) vm.Bytes {
	if q.Node > 0 && (q.VM <= 0 || q.Node < q.VM) {
		return q.Node
	}
	return q.VM
}
