package policies

import "github.com/blixard/blixard/vm"

// limitSlack is what a VMM may have beyond its reservation before the kernel
// kills it. The reservation is what a VMM of its kind was seen to need; the
// limit is for one that leaks, and must never meet one that only is a little
// larger than its kind: a death costs a guest, while the slack costs nothing, as
// nobody uses it. See docs/operating.md for what was measured.
//
// Besides, the kernel keeps page tables of the guest's RAM, the processor's own
// under KVM, and counts them: 8 bytes each for 4 KiB, together 1/256 at most.
// They are in nobody's resident size.
const (
	limitSlack  = 64 * vm.MiB
	limitTables = 128 // the same again for what was never measured
)

// limitTasks bounds processes and threads of a VMM. QEMU has a thread for each
// processor of the guest, one for itself and for RCU, and pools of at most 64
// threads for the I/O of disks. A bound that is met breaks a guest, and what it
// is for is a fork bomb, which passes any: so it is far above both.
const limitTasks = 1024

// LimitsFor is what the VMM of a spec is held to. Weight and quota are the
// spec's own word.
func LimitsFor(s vm.Spec, r vm.Reservation) vm.Limits {
	return vm.Limits{
		Memory: max(r.Memory, s.Memory) + limitSlack + s.Memory/limitTables, CPUQuota: s.Resources.CPUQuota,
		CPUWeight: s.Resources.CPUWeight, IOWeight: s.Resources.IOWeight, Tasks: limitTasks,
	}
}
