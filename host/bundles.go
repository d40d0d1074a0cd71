package host

import (
	"context"
	"io"

	"github.com/blixard/blixard/vm"
)

// Bounds of what a bundle takes of the texts of its incarnation: their ends.
const (
	BundleConsole = vm.MiB
	BundleStderr  = 64 * vm.KiB
)

// Bundles keeps the evidence of deaths in the folders of their VMs, where only
// the daemon reads it: a guest's console and memory hold its secrets. A bundle
// is there whole or not at all, whenever the power is cut.
type Bundles interface {
	// Hold keeps the logs of an incarnation from being removed until release is
	// called: a Keep of it is to come. It is of this daemon's life, and costs nothing.
	Hold(ref vm.Ref) (release func())
	// Keep writes the bundle of a death of the incarnation, with the ends of its
	// logs, and takes over the dump that was kept of the same crash. Repeating it is safe:
	// what is kept stays. One call for a VM at a time. Gone where the VM's folder is.
	Keep(ctx context.Context, ref vm.Ref, b vm.Bundle) (vm.KeptBundle, error)
	// Owed says whether the bundle of that crash was never kept: it is false for
	// one that was dropped since.
	Owed(ctx context.Context, ref vm.Ref, number uint64) (bool, error)
	// List returns the bundles of a VM, oldest first; none where it has no folder.
	List(ctx context.Context, ref vm.Ref) ([]vm.KeptBundle, error)
	// Read returns one with the ends of its texts, at most tail bytes each; Gone where it isn't.
	Read(ctx context.Context, ref vm.Ref, number uint64, tail vm.Bytes) (Evidence, error)
	// Export writes one as a tar archive, whole; Gone where it isn't.
	Export(ctx context.Context, ref vm.Ref, number uint64, into io.Writer) error
	// Prune removes those of a VM that drop says yes to, and tells what that was;
	// drop is asked of what a person asked for too.
	// Repeating it is safe.
	Prune(ctx context.Context, ref vm.Ref, drop func(vm.KeptBundle) bool) ([]vm.KeptBundle, error)
	// Enforce removes what beyond names of all that is kept, what a person asked for
	// included. beyond must be short. Repeating it is safe.
	Enforce(ctx context.Context, beyond func(kept vm.Shelves) vm.Shelves) error
	// Held is what all that is kept of each VM holds of the disk, what a person asked
	// for included. It costs nothing but for its first time, when folders are read:
	// Transient where that takes longer than ctx.
	Held(ctx context.Context) (map[vm.Name]vm.Bytes, error)
	// NewDump begins a file for the guest's memory at the crash of that number,
	// which is yet to be recorded, in place of an earlier try of the same; 0: a
	// person asked for it, in place of the last such one of this VM. It takes at most limit
	// bytes; 0: as the disk has room, which it is asked for again as it fills:
	// Transient where it has none. Gone where the VM's folder is.
	NewDump(ctx context.Context, ref vm.Ref, format vm.DumpFormat, crash uint64, limit vm.Bytes) (DumpFile, error)
}

// Evidence is a bundle as it is read. The texts are the guest's and the VMM's own.
type Evidence struct {
	vm.Bundle
	Console, Stderr []byte
}

// DumpFile is a guest's memory that is being written.
type DumpFile interface {
	io.Writer
	// Keep makes the file durable under its name: that of a death is taken over by
	// Bundles.Keep of that crash.
	Keep(ctx context.Context) (path string, size vm.Bytes, err error)
	// Drop gives up what was not kept. Repeating it is safe.
	Drop()
}
