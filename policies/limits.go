package policies

import "github.com/blixard/blixard/vm"

// What a VMM may have beyond its reservation before the kernel kills it. The
// reservation is what a VMM of its kind was seen to need; the limit is for one
// that leaks, and must never meet one that only is a little larger than its kind:
// a death costs a guest, while the slack costs nothing, as nobody uses it. See
// docs/operating.md for what was measured.
const (
	limitSlack   = 64 * vm.MiB
	limitPerDisk = 32 * vm.MiB // QEMU's cache of the tables of one qcow2 file, which a disk by path may be
	limitTables  = 128         // of the guest's RAM: page tables, the processor's own under KVM, are 1/256 of it and in no resident size
	limitBuilt   = vm.GiB      // a built runner may be any VMM; QEMU's translation cache has 1 GiB, where nobody says otherwise and it has no KVM
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
		Memory: max(r.Memory, s.Memory) + slack(s), CPUQuota: s.Resources.CPUQuota,
		CPUWeight: s.Resources.CPUWeight, IOWeight: s.Resources.IOWeight, Tasks: limitTasks,
	}
}

func slack(s vm.Spec) vm.Bytes {
	out := limitSlack + s.Memory/limitTables
	if s.Boot.Built() {
		out += limitBuilt
	}
	if s.Boot.Disk != "" {
		out += limitPerDisk
	}
	for _, d := range s.Disks {
		if d.Path != "" {
			out += limitPerDisk
		}
	}
	return out
}
