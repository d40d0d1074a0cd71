package folders

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// The guest's memory that a person asked for lies beside the bundles, one of each
// VM, and counts with them: as number 0, which no crash has.

func askedName(format vm.DumpFormat) string { return "memory." + string(format) }

// asksDump says whether it is the name of one, whole or not.
func asksDump(name string) bool { return askedWhole(strings.TrimSuffix(name, tryMark)) }

func askedWhole(name string) bool {
	return slices.ContainsFunc(dumpFormats, func(format vm.DumpFormat) bool { return name == askedName(format) })
}

// askedIn looks for the one in the folder of a VM.
func askedIn(above *os.Root, name string) (k vm.KeptBundle, ok bool) {
	for _, format := range dumpFormats {
		at, err := above.Lstat(filepath.Join(name, askedName(format)))
		if err == nil && at.Mode().IsRegular() {
			k = vm.KeptBundle{At: at.ModTime(), Bytes: k.Bytes + vm.Bytes(at.Size()), Dump: true}
			ok = true
		}
	}
	return k, ok
}

// pruneAsked removes the one of a VM, if drop says yes to it.
func (f Bundles) pruneAsked(ref vm.Ref, drop func(vm.KeptBundle) bool) ([]vm.KeptBundle, error) {
	place, err := f.home(ref, "look for the memory that was asked for of "+string(ref.Name))
	if host.KindOf(err) == host.Gone {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer place.Close()
	if err := f.lookAtShelves(); err != nil {
		return nil, err
	}
	asked := f.bundles.asked(ref.Name)
	if len(asked) == 0 || !drop(asked[0]) {
		return nil, nil
	}
	return asked, f.dropAsked(ref.Name, asked[0])
}

// asked is the one of a VM, or none.
func (b *bundles) asked(name vm.Name) []vm.KeptBundle {
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept := b.shelves[name]; len(kept) > 0 && kept[0].Asked() {
		return []vm.KeptBundle{kept[0]}
	}
	return nil
}

// dropAsked removes the one that was decided on, and no newer one.
func (f Bundles) dropAsked(name vm.Name, k vm.KeptBundle) error {
	place, err := os.OpenRoot(filepath.Join(f.State, "vms", string(name)))
	if errors.Is(err, fs.ErrNotExist) {
		f.bundles.forget(name, k.Number)
		return nil
	}
	if err != nil {
		return fail("drop the memory that was asked for of "+string(name), f.State, err)
	}
	defer place.Close()
	held, err := f.bundles.takeAsked(place, name, k)
	if err == nil {
		err = f.bundles.at("free the memory that was asked for")
	}
	for _, file := range held {
		_ = file.Close() // nothing was written
	}
	if err != nil {
		return fail("drop the memory that was asked for of "+string(name), f.State, err)
	}
	return nil
}

// takeAsked takes its names away, and gives the files, of which nothing is freed
// before they are closed: that takes seconds of some GiBs, and mailboxes wait
// for the lock. The kernel frees what a daemon that ends between the two leaves.
func (b *bundles) takeAsked(place *os.Root, name vm.Name, k vm.KeptBundle) (held []*os.File, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept := b.shelves[name]; len(kept) == 0 || kept[0] != k {
		return nil, nil
	}
	for _, format := range dumpFormats {
		if file, _, err := openPlain(place, askedName(format)); err == nil {
			held = append(held, file)
		}
		if err := place.Remove(askedName(format)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return held, err
		}
	}
	b.forgotten(name, k.Number)
	return held, nil
}
