package systemd

import (
	sd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/blixard/blixard/vm"
)

// Holding is what the cgroups that systemd has here can hold.
func (l *Launcher) Holding() vm.Holding { return l.limits.Holding() }

// limits are the properties by which a unit is held, in the words of version 2
// of cgroups, which systemd translates where it has version 1.
func limits(l vm.Limits) []sd.Property {
	var out []sd.Property
	if l.Memory > 0 {
		out = append(out, value("MemoryMax", uint64(l.Memory)), value("MemorySwapMax", uint64(0)))
	}
	if l.CPUQuota > 0 {
		const second = 1_000_000 // microseconds
		out = append(out, value("CPUQuotaPerSecUSec", uint64(l.CPUQuota)*second/100))
	}
	if l.CPUWeight > 0 {
		out = append(out, value("CPUWeight", uint64(l.CPUWeight)))
	}
	if l.IOWeight > 0 {
		out = append(out, value("IOWeight", uint64(l.IOWeight)))
	}
	if l.Tasks > 0 {
		out = append(out, value("TasksMax", uint64(l.Tasks)))
	}
	return out
}
