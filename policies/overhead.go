package policies

import "github.com/blixard/blixard/vm"

// Shape is a kind of VMM whose own memory is alike: what it boots, and by which
// acceleration.
type Shape string

// ShapeOf is the shape of a spec's VMM; anything but "kvm" is taken for TCG,
// which needs more.
func ShapeOf(s vm.Spec, accel string) Shape {
	by := "/tcg"
	if accel == "kvm" {
		by = "/kvm"
	}
	switch {
	case s.Boot.Built():
		return Shape("runner" + by)
	case s.Boot.Disk != "":
		return Shape("firmware" + by)
	}
	return Shape("direct" + by)
}

// Overheads is what VMMs need of memory besides their guests' RAM, by shape.
type Overheads map[Shape]vm.Bytes

// For is the overhead of a spec's VMM.
func (o Overheads) For(s vm.Spec, accel string) vm.Bytes {
	if learned, ok := o[ShapeOf(s, accel)]; ok {
		return learned
	}
	return defaultOverhead
}

const defaultOverhead = 64 * vm.MiB
