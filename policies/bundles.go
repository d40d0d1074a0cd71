package policies

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// DefaultBundleQuota is enough for a month of a node where things go wrong: a
// bundle without a guest's memory takes at most about a MiB.
var DefaultBundleQuota = vm.BundleQuota{Node: vm.GiB, VM: 256 * vm.MiB, Count: 20, Age: 30 * 24 * time.Hour}

// The defaults of a dump.
const (
	DefaultDumpTime   = 30 * time.Second
	DefaultDumpFormat = vm.DumpKdump
)
