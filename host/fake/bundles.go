package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// shelf is what the disk holds of the deaths of one VM.
type shelf struct {
	kept   map[uint64]vm.Bundle
	pruned uint64
	dumps  map[uint64]vm.Bytes // by the number of the crash
}

// Kept are the bundles of a VM, oldest first.
func (w *World) Kept(id vm.ID) []vm.Bundle {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.Bundle
	for _, n := range w.numbers(id) {
		out = append(out, w.shelves[id].kept[n])
	}
	return out
}

// numbers are those of the bundles of a VM. The world's lock is held.
func (w *World) numbers(id vm.ID) []uint64 {
	var out []uint64
	for n := range w.shelf(id).kept {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (w *World) shelf(id vm.ID) *shelf {
	if w.shelves == nil {
		w.shelves = map[vm.ID]*shelf{}
	}
	if w.shelves[id] == nil {
		w.shelves[id] = &shelf{kept: map[uint64]vm.Bundle{}, dumps: map[uint64]vm.Bytes{}}
	}
	return w.shelves[id]
}

type bundles struct{ d *Daemon }

func (bundles) Hold(vm.Ref) func() { return func() {} }

func (b bundles) Keep(ctx context.Context, ref vm.Ref, one vm.Bundle) (vm.KeptBundle, error) {
	if err := b.d.call(ctx, "bundle "+string(ref.Name), b.d.faults().Bundle); err != nil {
		return vm.KeptBundle{}, err
	}
	w := b.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.folders[ref.Name] != ref.VM || b.d.dead() {
		return vm.KeptBundle{}, host.Fail(host.Gone, "keep", errors.New("its VM has no folder"))
	}
	if w.full {
		return vm.KeptBundle{}, host.Fail(host.Transient, "keep", errors.New("no room"))
	}
	w.shelf(ref.VM).kept[one.Crash.Number] = one
	return w.kept(ref.VM, one.Crash.Number), nil
}

// kept is a bundle as List tells of it. The world's lock is held.
func (w *World) kept(id vm.ID, n uint64) vm.KeptBundle {
	s := w.shelf(id)
	f := s.kept[n].Crash.Failure
	out := vm.KeptBundle{Number: n, At: f.At, Bytes: vm.KiB + s.dumps[n], Dump: s.dumps[n] > 0}
	if f.Exit != nil && f.Exit.Core {
		out.Bytes, out.Core = out.Bytes+vm.MiB, true
	}
	return out
}

func (b bundles) Owed(ctx context.Context, ref vm.Ref, number uint64) (bool, error) {
	if err := b.d.call(ctx, "owed "+string(ref.Name), 0); err != nil {
		return false, err
	}
	w := b.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	_, there := w.shelf(ref.VM).kept[number]
	return !there && w.shelf(ref.VM).pruned < number, nil
}

func (b bundles) List(_ context.Context, ref vm.Ref) ([]vm.KeptBundle, error) {
	w := b.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.KeptBundle
	for _, n := range w.numbers(ref.VM) {
		out = append(out, w.kept(ref.VM, n))
	}
	return out, nil
}

var errNoBundle = errors.New("there is no such bundle")

func (b bundles) Read(_ context.Context, ref vm.Ref, number uint64, _ vm.Bytes) (host.Evidence, error) {
	w := b.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	one, ok := w.shelf(ref.VM).kept[number]
	if !ok {
		return host.Evidence{}, host.Fail(host.Gone, "read a bundle", errNoBundle)
	}
	return host.Evidence{Bundle: one}, nil
}

func (b bundles) Export(ctx context.Context, ref vm.Ref, number uint64, into io.Writer) error {
	one, err := b.Read(ctx, ref, number, 0)
	if err == nil {
		_, err = fmt.Fprintln(into, one.Crash.Failure)
	}
	return err
}

func (b bundles) Prune(_ context.Context, ref vm.Ref, drop func(vm.KeptBundle) bool) ([]vm.KeptBundle, error) {
	w := b.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.KeptBundle
	for _, n := range w.numbers(ref.VM) {
		if k := w.kept(ref.VM, n); drop(k) {
			out = append(out, k)
			w.drop(ref.VM, n)
		}
	}
	return out, nil
}

func (w *World) drop(id vm.ID, n uint64) {
	s := w.shelf(id)
	delete(s.kept, n)
	s.pruned = max(s.pruned, n)
}

func (b bundles) Enforce(ctx context.Context, beyond func(vm.Shelves) vm.Shelves) error {
	if err := b.d.call(ctx, "enforce", b.d.faults().Bundle); err != nil {
		return err
	}
	w := b.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, which := range beyond(w.stock()) {
		for _, k := range which {
			w.drop(w.folders[name], k.Number)
		}
	}
	return nil
}

func (b bundles) Held(context.Context) (map[vm.Name]vm.Bytes, error) {
	w := b.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[vm.Name]vm.Bytes{}
	for name, kept := range w.stock() {
		for _, k := range kept {
			out[name] += k.Bytes
		}
	}
	return out, nil
}

// stock is what is kept of all VMs that have a folder. The world's lock is held.
func (w *World) stock() vm.Shelves {
	out := vm.Shelves{}
	for name, id := range w.folders {
		for _, n := range w.numbers(id) {
			out[name] = append(out[name], w.kept(id, n))
		}
	}
	return out
}

func (b bundles) NewDump(ctx context.Context, ref vm.Ref, _ vm.DumpFormat, crash uint64, _ vm.Bytes) (host.DumpFile, error) {
	if err := b.d.call(ctx, "dump into "+string(ref.Name), b.d.faults().Bundle); err != nil {
		return nil, err
	}
	b.d.world.mu.Lock()
	defer b.d.world.mu.Unlock()
	if b.d.world.full {
		return nil, host.Fail(host.Transient, "dump into the disk", errors.New("no room"))
	}
	return &dumpFile{d: b.d, ref: ref, crash: crash}, nil
}

type dumpFile struct {
	d     *Daemon
	ref   vm.Ref
	crash uint64
	size  vm.Bytes
}

func (f *dumpFile) Write(b []byte) (int, error) {
	f.size += vm.Bytes(len(b))
	return len(b), nil
}

func (f *dumpFile) Keep(ctx context.Context) (string, vm.Bytes, error) {
	if err := f.d.call(ctx, "keep the dump of "+string(f.ref.Name), f.d.faults().Bundle); err != nil {
		return "", 0, err
	}
	f.d.world.mu.Lock()
	defer f.d.world.mu.Unlock()
	if f.crash > 0 && !f.d.dead() {
		f.d.world.shelf(f.ref.VM).dumps[f.crash] = f.size
	}
	return "/state/vms/" + string(f.ref.Name) + "/memory", f.size, nil
}

func (*dumpFile) Drop() {}
