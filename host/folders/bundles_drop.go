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
	"sync"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Prune removes bundles of one VM; see host.Bundles.
func (f Bundles) Prune(ctx context.Context, ref vm.Ref, drop func(vm.KeptBundle) bool) ([]vm.KeptBundle, error) {
	asked, err := f.pruneAsked(ref, drop)
	if err != nil {
		return nil, err
	}
	shelf, all, err := f.stock(ref)
	if shelf == nil || err != nil {
		return asked, err
	}
	defer shelf.Close()
	all = slices.DeleteFunc(all, func(k vm.KeptBundle) bool { return !drop(k) })
	gone, err := f.dropAll(ctx, ref.Name, shelf, all)
	return append(asked, gone...), err
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
func (f Bundles) Enforce(ctx context.Context, beyond func(vm.Shelves) vm.Shelves) error {
	if err := f.lookAtShelves(); err != nil {
		return err
	}
	f.bundles.mu.Lock()
	tooMany := beyond(f.bundles.shelves)
	f.bundles.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(tooMany)) {
		errs = append(errs, f.dropFrom(ctx, name, tooMany[name]))
	}
	return errors.Join(errs...)
}

// Held is what is on the shelves; see host.Bundles.
func (f Bundles) Held(ctx context.Context) (map[vm.Name]vm.Bytes, error) {
	if held := f.bundles.totals.all(); held != nil {
		return held, nil
	}
	looked := make(chan error, 1)
	go func() { looked <- f.lookAtShelves() }()
	select {
	case err := <-looked:
		return f.bundles.totals.all(), err
	case <-ctx.Done():
		return nil, host.Fail(host.Transient, "look for bundles", ctx.Err())
	}
}

// totals are what shelves hold. Their lock is held by nobody who works on a
// disk, as whoever asks for a VM's status waits for it (P11).
type totals struct {
	mu sync.Mutex
	of map[vm.Name]vm.Bytes // nil: nobody has looked yet
}

func (t *totals) all() map[vm.Name]vm.Bytes {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.of)
}

func (t *totals) begin(shelves vm.Shelves) {
	t.mu.Lock()
	t.of = map[vm.Name]vm.Bytes{}
	t.mu.Unlock()
	for name, kept := range shelves {
		t.sum(name, kept)
	}
}

// sum follows a shelf, once there was a look at all.
func (t *totals) sum(name vm.Name, kept []vm.KeptBundle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		return
	}
	delete(t.of, name)
	for _, k := range kept {
		t.of[name] += k.Bytes
	}
}

// dropFrom drops bundles of a VM of which only the name is known: the folder
// of bundles is made by us alone, whoever has the one around it.
func (f Bundles) dropFrom(ctx context.Context, name vm.Name, which []vm.KeptBundle) error {
	if len(which) > 0 && which[0].Asked() {
		if err := f.dropAsked(name, which[0]); err != nil || len(which) == 1 {
			return err
		}
		which = which[1:]
	}
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
	shelves := vm.Shelves{}
	for _, name := range names {
		dropTries(above, name, asksDump)
		if asked, ok := askedIn(above, name); ok {
			shelves[vm.Name(name)] = []vm.KeptBundle{asked}
		}
		shelf, err := above.OpenRoot(filepath.Join(name, bundlesName))
		if err != nil {
			continue // none, or nothing that holds any (P13)
		}
		dropTries(above, filepath.Join(name, bundlesName), func(name string) bool {
			_, _, ok := dumpOf(name)
			return ok
		})
		if kept, err := listIn(shelf); err == nil && len(kept) > 0 {
			shelves[vm.Name(name)] = append(shelves[vm.Name(name)], kept...)
		}
		_ = shelf.Close()
	}
	f.bundles.shelves = shelves
	f.bundles.totals.begin(shelves)
	return nil
}

func (b *bundles) note(name vm.Name, k vm.KeptBundle) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noted(name, k)
}

// noted is note where the lock is held.
func (b *bundles) noted(name vm.Name, k vm.KeptBundle) {
	if b.shelves == nil {
		return // the first look finds it
	}
	kept := slices.DeleteFunc(b.shelves[name], func(o vm.KeptBundle) bool { return o.Number == k.Number })
	kept = append(kept, k)
	slices.SortFunc(kept, older)
	b.shelves[name] = kept
	b.totals.sum(name, kept)
}

func (b *bundles) forget(name vm.Name, number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgotten(name, number)
}

// forgotten is forget where the lock is held.
func (b *bundles) forgotten(name vm.Name, number uint64) {
	kept := slices.DeleteFunc(b.shelves[name], func(o vm.KeptBundle) bool { return o.Number == number })
	b.totals.sum(name, kept)
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
	b.totals.sum(name, nil)
}
