package folders

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Prune removes bundles of one VM; see host.Bundles.
func (f Bundles) Prune(ctx context.Context, ref vm.Ref, drop func(vm.KeptBundle) bool) ([]vm.KeptBundle, error) {
	shelf, err := f.shelf(ref, false)
	if host.KindOf(err) == host.Gone {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer shelf.Close()
	all, err := listOf(shelf, ref.VM)
	if err != nil {
		return nil, fail("list bundles in "+shelf.Name(), shelf.Name(), err)
	}
	all = slices.DeleteFunc(all, func(k vm.KeptBundle) bool { return !drop(k) })
	return f.dropAll(ctx, ref.Name, shelf, all)
}

// dropAll says which of them are gone, also where it fails.
func (f Bundles) dropAll(ctx context.Context, name vm.Name, shelf *os.Root, which []vm.KeptBundle) ([]vm.KeptBundle, error) {
	var gone []vm.KeptBundle
	for _, k := range which {
		err := ctx.Err()
		if err == nil {
			err = dropBundle(shelf, k.Number)
		}
		if err != nil {
			return gone, fail("drop bundle "+strconv.FormatUint(k.Number, 10), shelf.Name(), err)
		}
		f.bundles.forget(name, k.Number)
		gone = append(gone, k)
	}
	return gone, nil
}

// dropBundle takes its name first, so that no part of it ever has that name. What it
// leaves where it is cut off, the next Keep removes.
func dropBundle(shelf *os.Root, number uint64) error {
	if prunedIn(shelf) < number { // else it would be owed again
		if err := shelf.WriteFile(prunedName, strconv.AppendUint(nil, number, 10), 0o600); err != nil {
			return err
		}
	}
	name := strconv.FormatUint(number, 10)
	gone := "gone-" + name + tryMark
	if err := shelf.RemoveAll(gone); err != nil {
		return err
	}
	err := shelf.Rename(name, gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return shelf.RemoveAll(gone)
}

// prunedIn is the number up to which bundles were dropped: those up to it are owed to nobody.
func prunedIn(shelf *os.Root) uint64 {
	file, _, err := openPlain(shelf, prunedName)
	if err != nil {
		return 0
	}
	defer file.Close()
	b := make([]byte, 20)
	n, _ := file.Read(b)
	number, err := strconv.ParseUint(strings.TrimSpace(string(b[:n])), 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// Enforce removes what is beyond the quota; see host.Bundles.
func (f Bundles) Enforce(ctx context.Context, q vm.BundleQuota) error {
	if err := f.lookAtShelves(); err != nil {
		return err
	}
	f.bundles.mu.Lock()
	tooMany := beyond(q, time.Now(), f.bundles.shelves)
	f.bundles.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(tooMany)) {
		errs = append(errs, f.dropFrom(ctx, name, tooMany[name]))
	}
	return errors.Join(errs...)
}

// dropFrom drops bundles of a VM of which only the name is known: the folder
// of bundles is made by us alone, whoever has the one around it.
func (f Bundles) dropFrom(ctx context.Context, name vm.Name, which []vm.KeptBundle) error {
	shelf, err := os.OpenRoot(filepath.Join(f.State, "vms", string(name), bundlesName))
	if errors.Is(err, fs.ErrNotExist) {
		f.bundles.discarded(name)
		return nil
	}
	if err != nil {
		return fail("drop bundles of "+string(name), f.State, err)
	}
	defer shelf.Close()
	_, err = f.dropAll(ctx, name, shelf, which)
	return err
}

// lookAtShelves reads which bundles there are, once in the life of a daemon and
// before its first dump: a dump that isn't whole by then never will be.
func (f Bundles) lookAtShelves() error {
	f.bundles.mu.Lock()
	defer f.bundles.mu.Unlock()
	if f.bundles.shelves != nil {
		return nil
	}
	above, err := os.OpenRoot(filepath.Join(f.State, "vms"))
	if err != nil {
		return fail("look for bundles", f.State, err)
	}
	defer above.Close()
	names, err := namesIn(above)
	if err != nil {
		return fail("look for bundles", f.State, err)
	}
	shelves := map[vm.Name][]vm.KeptBundle{}
	for _, name := range names {
		dropTries(above, name, asksDump)
		shelf, err := above.OpenRoot(filepath.Join(name, bundlesName))
		if err != nil {
			continue // none, or nothing that holds any (P13)
		}
		dropTries(above, filepath.Join(name, bundlesName), func(name string) bool {
			_, _, ok := dumpOf(name)
			return ok
		})
		if kept, err := listIn(shelf); err == nil && len(kept) > 0 {
			shelves[vm.Name(name)] = kept
		}
		_ = shelf.Close()
	}
	f.bundles.shelves = shelves
	return nil
}

func (b *bundles) note(name vm.Name, k vm.KeptBundle) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shelves == nil {
		return // the first look finds it
	}
	kept := slices.DeleteFunc(b.shelves[name], func(o vm.KeptBundle) bool { return o.Number == k.Number })
	kept = append(kept, k)
	slices.SortFunc(kept, older)
	b.shelves[name] = kept
}

func (b *bundles) forget(name vm.Name, number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := slices.DeleteFunc(b.shelves[name], func(o vm.KeptBundle) bool { return o.Number == number })
	if len(kept) == 0 {
		delete(b.shelves, name)
		return
	}
	b.shelves[name] = kept
}

// discarded forgets what went with the folder of its VM.
func (b *bundles) discarded(name vm.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.shelves, name)
}

// shelved is a bundle with what decides on it.
type shelved struct {
	name vm.Name
	vm.KeptBundle
	newest bool // of its VM
}

// beyond says which bundles of which VM are to go: those that are too old or too
// many, then the oldest of all. The newest of a VM stays unless it is too old, or
// alone more than its VM, or the node, may hold.
func beyond(q vm.BundleQuota, now time.Time, shelves map[vm.Name][]vm.KeptBundle) map[vm.Name][]vm.KeptBundle {
	out := map[vm.Name][]vm.KeptBundle{}
	var left []shelved
	var node vm.Bytes
	for _, name := range slices.Sorted(maps.Keys(shelves)) {
		drop, stay := beyondOne(q, now, name, shelves[name])
		if len(drop) > 0 {
			out[name] = drop
		}
		for _, k := range stay {
			left, node = append(left, k), node+k.Bytes
		}
	}
	slices.SortStableFunc(left, soonest)
	for _, k := range left {
		if q.Node <= 0 || node <= q.Node {
			break
		}
		out[k.name] = append(out[k.name], k.KeptBundle)
		node -= k.Bytes
	}
	return out
}

// soonest sorts the newest of each VM behind all others, the oldest first.
func soonest(a, b shelved) int {
	switch {
	case a.newest == b.newest:
		return a.At.Compare(b.At)
	case a.newest:
		return 1
	}
	return -1
}

// beyondOne parts the bundles of one VM, oldest first, by what it may hold itself.
func beyondOne(q vm.BundleQuota, now time.Time, name vm.Name, kept []vm.KeptBundle) (drop []vm.KeptBundle, stay []shelved) {
	var sum vm.Bytes
	for _, k := range kept {
		sum += k.Bytes
	}
	for i, k := range kept {
		old, many, much := q.Age > 0 && now.Sub(k.At) > q.Age, q.Count > 0 && len(kept)-i > q.Count, q.VM > 0 && sum > q.VM
		if old || many || much {
			drop = append(drop, k)
			sum -= k.Bytes
			continue
		}
		stay = append(stay, shelved{name, k, i == len(kept)-1})
	}
	return drop, stay
}
