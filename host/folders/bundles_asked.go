package folders

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/blixard/blixard/vm"
)

// The guest's memory that a person asked for lies beside the bundles, one of each
// VM, and counts with them: as number 0, which no crash has.

func askedName(format vm.DumpFormat) string { return "memory." + string(format) }

// asksDump says whether it is the name of one, whole or not.
func asksDump(name string) bool {
	_, known := askedFormat(strings.TrimSuffix(name, tryMark))
	return known
}

func askedFormat(name string) (vm.DumpFormat, bool) {
	for _, format := range dumpFormats {
		if name == askedName(format) {
			return format, true
		}
	}
	return "", false
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
	b := &f.bundles
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept := b.shelves[name]; len(kept) == 0 || kept[0] != k {
		return nil
	}
	for _, format := range dumpFormats {
		if err := place.Remove(askedName(format)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail("drop the memory that was asked for of "+string(name), f.State, err)
		}
	}
	b.forgotten(name, k.Number)
	return nil
}
