package fake

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

type salvage struct{ d *Daemon }

// List returns every folder that is there, by name.
func (s salvage) List(ctx context.Context) ([]vm.FoundFolder, error) {
	if err := s.d.call(ctx, "list folders", s.d.faults().Find); err != nil {
		return nil, err
	}
	w := s.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[vm.Name]vm.FoundFolder{}
	for name, id := range w.folders {
		found[name] = vm.FoundFolder{Name: name, Path: "/state/vms/" + string(name), ID: id, Folder: true}
	}
	for name, one := range found {
		for of := range w.images[one.ID] {
			if of.good {
				one.Good = append(one.Good, of.n)
			} else {
				one.Saved = append(one.Saved, of.n)
			}
		}
		found[name] = one
	}
	for name := range w.runs {
		one := found[name]
		one.Name, one.Run, one.Tenant = name, true, 1
		found[name] = one
	}
	var out []vm.FoundFolder
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[name])
	}
	return out, nil
}

// Quarantine moves a folder of a VM that the record doesn't know; of one that
// it knows would be a loss of its disks.
func (s salvage) Quarantine(_ context.Context, f vm.FoundFolder) (string, error) {
	w := s.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.folders[f.Name] != f.ID {
		return "", host.Fail(host.Denied, "quarantine", errors.New("it isn't what was found"))
	}
	delete(w.folders, f.Name)
	w.aside[string(f.Name)] = f.ID
	w.story("folder of %s of %s moved aside", f.Name, f.ID)
	return string(f.Name), nil
}

// Restore moves it back.
func (s salvage) Restore(_ context.Context, name string) error {
	w := s.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	id, ok := w.aside[name]
	if !ok {
		return host.Fail(host.Gone, "restore", errors.New("nothing of that name"))
	}
	delete(w.aside, name)
	w.folders[vm.Name(name)] = id
	return nil
}

// Aside says which VM's folder was moved aside under a name; empty: none.
func (w *World) Aside(name string) vm.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.aside[name]
}
