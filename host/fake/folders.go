package fake

import (
	"context"
	"errors"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

type folders struct{ d *Daemon }

func (folders) Paths(ref vm.Ref) host.Paths { return host.NewPaths("/state", "/run", ref) }

func (f folders) Prepare(ctx context.Context, r vm.Record) error {
	if err := f.d.call(ctx, "prepare "+string(r.Spec.Name), f.d.faults().Prepare); err != nil {
		return err
	}
	w := f.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.guests(r.Ref()).PrepareFails; k != 0 {
		return host.Fail(k, "prepare", errors.New("the guest of this seed can't be prepared"))
	}
	w.folders[r.Spec.Name], w.runs[r.Spec.Name] = r.ID, r.ID
	if !f.d.dead() {
		w.dropStates(r)
	}
	return nil
}

func (f folders) Release(ctx context.Context, ref vm.Ref) error {
	if err := f.d.call(ctx, "release "+string(ref.Name), f.d.faults().Release); err != nil {
		return err
	}
	w := f.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[ref.Name] {
		if p.ref.VM == ref.VM && !f.d.dead() {
			w.promise("P7", "%s was released while incarnation %d lives", ref.Name, p.ref.Incarnation)
		}
	}
	delete(w.runs, ref.Name)
	return nil
}

func (f folders) Discard(ctx context.Context, ref vm.Ref) error {
	if err := f.d.call(ctx, "discard "+string(ref.Name), f.d.faults().Discard); err != nil {
		return err
	}
	w := f.d.world
	if w.watch.Discarded != nil {
		w.watch.Discarded(ref)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if left := w.groups[ref.VM]; len(left) > 0 {
		w.promise("P7", "%s is discarded, and cgroups of %d of its incarnations are there", ref.Name, len(left))
	}
	delete(w.groups, ref.VM)
	delete(w.folders, ref.Name)
	delete(w.runs, ref.Name)
	delete(w.images, ref.VM)
	delete(w.shelves, ref.VM)
	return nil
}

type console struct{ d *Daemon }

func (c console) Follow(host.Paths, int64, func([]byte)) (func(), error) { return func() {}, nil }

// Type is heard by nobody: the fake guest has no console to type at.
func (c console) Type(context.Context, host.Paths, string) error { return nil }

func (c console) Tail(f host.Paths, _ int) ([]byte, error) {
	c.d.bug("tail")
	c.d.world.mu.Lock()
	defer c.d.world.mu.Unlock()
	if p := c.d.world.at(f); p != nil {
		return p.console, nil
	}
	return nil, nil
}
