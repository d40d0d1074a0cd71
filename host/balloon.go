package host

import (
	"context"

	"github.com/blixard/blixard/vm"
)

// Ballooning takes memory of a running guest and gives it again. It is part of a
// Session; a VMM without a balloon answers Broken.
type Ballooning interface {
	// Balloon has the guest keep so much of its memory, and give the rest to the
	// host; all of it deflates the balloon. It returns at once: the guest's driver
	// does it in its own time, or never. Repeating it is safe.
	Balloon(ctx context.Context, leave vm.Bytes) error
	// Left is what the balloon leaves to the guest now, by the VMM's word alone.
	Left(ctx context.Context) (vm.Bytes, error)
	// Memory is what the balloon leaves to the guest now, and what the guest says
	// of it, where it says something within a moment. It wakes the guest.
	Memory(ctx context.Context) (GuestMemory, error)
}

// GuestMemory is the guest's memory as its balloon sees it. A guest may lie
// about all but Left.
type GuestMemory struct {
	Left      vm.Bytes // what the balloon leaves to it
	Free      vm.Bytes // 0: it doesn't say
	Available vm.Bytes // free, or at hand without swapping; 0: it doesn't say
}
