package policies

import (
	"maps"
	"slices"

	"github.com/blixard/blixard/vm"
)

// Shape is a kind of VMM whose own memory is alike: its machine, and its
// acceleration.
type Shape string

// bareBelow is the memory under which no Linux boots, so that a kernel that asks
// for nothing gets the smallest machine.
const bareBelow = 32 * vm.MiB

// ShapeOf is the shape of a spec's VMM; anything but "kvm" is taken for TCG,
// which needs more. It follows what host/qemu makes of a spec, but for the
// kernel's own format, which only its file tells.
func ShapeOf(s vm.Spec, accel string) Shape {
	by := "/tcg"
	if accel == "kvm" {
		by = "/kvm"
	}
	machine := "direct"
	switch {
	case s.Boot.Built():
		machine = "runner"
	case s.Boot.Disk != "":
		machine = "firmware"
	case s.Boot.Kernel != "" && s.Memory < bareBelow && s.Boot.Initrd == "" && s.Boot.Cmdline == "" && s.CPUs <= 1 &&
		len(s.Disks)+len(s.Networks) == 0 && !slices.ContainsFunc(s.Health, func(c vm.Check) bool { return c.Type == vm.CheckAgent }):
		machine = "bare"
	}
	return Shape(machine + by)
}

// defaultOverheads were measured with QEMU 7.2 under TCG on 2 vCPUs of a Xeon,
// as what counts against a memory limit and can't be dropped: anonymous memory
// beside the guest's RAM, page tables and kernel stacks. Pages of files, 22 to
// 69 MiB of them, are the page cache's.
//
//	bare      10.7 MiB with an idle guest of 8 MiB
//	direct    51.9 MiB once Linux was up; it is the same with 96 MiB and 1 CPU
//	          and with 1 GiB and 4, as its translation cache of 32 MiB is full by then
//	firmware  18.3 MiB with SeaBIOS alone: 82 MiB once its cache of 64 MiB is full
//
// The rest up to these numbers is for queues of devices under load. Those of KVM
// are the same without the translation cache, which a VMM that uses KVM hasn't;
// they were not measured, for want of a machine. A built runner may be any VMM:
// its numbers are those of QEMU with the devices that microvm.nix gives it.
// Learn corrects the others by what is seen.
var defaultOverheads = Overheads{
	"bare/tcg": 16 * vm.MiB, "direct/tcg": 64 * vm.MiB, "firmware/tcg": 96 * vm.MiB, "runner/tcg": 128 * vm.MiB,
	"bare/kvm": 16 * vm.MiB, "direct/kvm": 32 * vm.MiB, "firmware/kvm": 48 * vm.MiB, "runner/kvm": 64 * vm.MiB,
}

// What a VMM needs by its size, over what its shape needs.
const (
	perCPUByTCG = 4 * vm.MiB // QEMU's TLB of one vCPU grows with what its guest touches
	perCPUByKVM = vm.MiB     // its run page, and stack
	perPage     = 512        // a page table of 8 bytes for each page of 4 KiB; KVM has one more of its own
)

// Overheads is what VMMs need of memory besides their guests' RAM, by shape;
// what it doesn't hold is as it was measured once. A value is never changed.
type Overheads map[Shape]vm.Bytes

// For is the overhead of a spec's VMM.
func (o Overheads) For(s vm.Spec, accel string) vm.Bytes {
	shape := ShapeOf(s, accel)
	return o.base(shape) + bySize(s, accel)
}

func (o Overheads) base(shape Shape) vm.Bytes {
	if learned, ok := o[shape]; ok {
		return bounded(shape, learned)
	}
	return defaultOverheads[shape]
}

// bounded keeps what was learned between the half and the fourfold of what was
// measured: one VMM that leaks must not make every VM dear.
func bounded(shape Shape, b vm.Bytes) vm.Bytes {
	usual := defaultOverheads[shape]
	return min(max(b, usual/2), usual*4)
}

func bySize(s vm.Spec, accel string) vm.Bytes {
	more := vm.Bytes(max(s.CPUs-1, 0))
	if accel == "kvm" {
		return more*perCPUByKVM + 2*s.Memory/perPage
	}
	return more*perCPUByTCG + s.Memory/perPage
}

// How far one look moves what is known. Upwards it is faster: too little ends a
// guest at its limit, too much only costs room.
const (
	learnUp   = 16
	learnDown = 128
)

// Seen is one VMM at one look.
type Seen struct {
	Spec    vm.Spec  // that it was launched with
	Charged vm.Bytes // see vm.Counters
}

// Learn moves each shape by the neediest VMM of it at one look. Only a guest
// that has touched all of its RAM tells anything: of another, nobody knows how
// much is the VMM's. Nor does a built runner: what it gives to its guest is its
// own word. What is promised already stays as it is.
func (o Overheads) Learn(look []Seen, accel string) Overheads {
	neediest := map[Shape]vm.Bytes{}
	for _, one := range look {
		own := one.Charged - one.Spec.Memory - bySize(one.Spec, accel)
		if own > 0 && !one.Spec.Boot.Built() {
			shape := ShapeOf(one.Spec, accel)
			neediest[shape] = max(neediest[shape], own)
		}
	}
	out := o
	for shape, own := range neediest {
		now := o.base(shape)
		next := now + (own-now)/learnUp
		if own < now {
			next = now - (now-own)/learnDown
		}
		if next = bounded(shape, next); next != now {
			if out = maps.Clone(out); out == nil {
				out = Overheads{}
			}
			out[shape] = next
		}
	}
	return out
}

// Apart is how far two models are from each other in any shape.
func (o Overheads) Apart(from Overheads) (most vm.Bytes) {
	for shape := range defaultOverheads {
		most = max(most, o.base(shape)-from.base(shape), from.base(shape)-o.base(shape))
	}
	return most
}
