package folders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Names in a VM's folder:
//
//	crashes/             0700
//	  3/                 the bundle of crash 3, whole
//	    crash.json       0600 vm.Bundle
//	    console.log      the end of the console, as the guest wrote it
//	    vmm.log          the end of what the VMM wrote
//	    dump.kdump       the guest's memory; or dump.elf
//	    vmm.core         the core of its VMM
//	  4.tmp/             being written, or being removed
//	  dump-7-4.kdump     memory of incarnation 7 at crash 4, until the bundle of that takes it over
//	  pruned             the number up to which bundles were dropped
//	memory.kdump         what a person asked for last; or memory.elf
const (
	bundlesName = "crashes"
	bundleName  = "crash.json"
	consoleName = "console.log"
	stderrName  = "vmm.log"
	prunedName  = "pruned"
	tryMark     = ".tmp"
	maxBundle   = 16 * vm.MiB // of crash.json: a spec and what the run actor has noted are bounded far below
)

var bundleNumber = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// Bundles is the host.Bundles of the same folders.
type Bundles struct{ *Folders }

var _ host.Bundles = Bundles{}

// bundles is what the Folders of one daemon know of the bundles beyond the disk.
type bundles struct {
	mu      sync.Mutex
	held    map[vm.ID]map[vm.Incarnation]int // whose logs stay
	shelves vm.Shelves                       // of all VMs, sorted by number; nil: nobody has looked yet
	totals  totals                           // of shelves
	gone    map[vm.Name]vm.ID                // whose folder is discarded, until another VM claims it
	step    func(what string) error          // fails a step of the writing: for tests; nil: none
	pattern string                           // the kernel's core_pattern, for tests; empty: it is read
	room    func(folder string) (vm.Bytes, error)
}

// at is the place where a test lets a step fail.
func (b *bundles) at(what string) error {
	if b.step == nil {
		return nil
	}
	return b.step(what)
}

// Hold keeps the logs of an incarnation; see host.Bundles.
func (f Bundles) Hold(ref vm.Ref) (release func()) {
	b := &f.bundles
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = map[vm.ID]map[vm.Incarnation]int{}
	}
	if b.held[ref.VM] == nil {
		b.held[ref.VM] = map[vm.Incarnation]int{}
	}
	b.held[ref.VM][ref.Incarnation]++
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		of := b.held[ref.VM]
		if of[ref.Incarnation]--; of[ref.Incarnation] == 0 {
			delete(of, ref.Incarnation)
		}
		if len(of) == 0 {
			delete(b.held, ref.VM)
		}
	})
}

func (b *bundles) holds(id vm.ID, n vm.Incarnation) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[id][n] > 0
}

// Keep writes a bundle; see host.Bundles.
func (f Bundles) Keep(ctx context.Context, ref vm.Ref, b vm.Bundle) (vm.KeptBundle, error) {
	at := f.Paths(ref)
	doing := fmt.Sprintf("keep bundle %d in %s", b.Crash.Number, at.Folder)
	shelf, err := f.shelf(ref, true)
	if err != nil {
		return vm.KeptBundle{}, err
	}
	defer shelf.Close()
	name := strconv.FormatUint(b.Crash.Number, 10)
	if old, err := readBundle(shelf, name); err == nil && old.VM == b.VM && old.Crash.Failure.Incarnation == b.Crash.Failure.Incarnation && old.Crash.Failure.At.Equal(b.Crash.Failure.At) {
		return keptIn(shelf, name)
	}
	w := bundleWriter{f: f.Folders, shelf: shelf, ref: ref, at: at, name: name, try: name + tryMark, b: b}
	if err := w.write(ctx); err != nil {
		w.giveUp()
		return vm.KeptBundle{}, fail(doing, at.Folder, err)
	}
	w.dropCores()
	kept, err := keptIn(shelf, name)
	if err != nil {
		return kept, err
	}
	f.bundles.note(ref.Name, kept)
	return kept, nil
}

// bundleWriter writes one bundle.
type bundleWriter struct {
	f         *Folders
	shelf     *os.Root
	ref       vm.Ref
	at        host.Paths
	name, try string
	b         vm.Bundle
	in        *os.Root // the folder of the try
}

// write makes everything durable in a folder of another name, and that name last.
func (w *bundleWriter) write(ctx context.Context) error {
	for _, one := range []struct {
		what string
		do   func() error
	}{
		{"sweep", w.sweep},
		{"make the folder", func() error { return w.shelf.Mkdir(w.try, 0o700) }},
		{"open the folder", w.open},
		{"copy the console", func() error { return w.copyTail(consoleName, w.at.Log, host.BundleConsole) }},
		{"copy the vmm's log", func() error { return w.copyTail(stderrName, w.at.Stderr, host.BundleStderr) }},
		{"take the core over", w.takeCore},
		{"write crash.json", w.writeCrash},
		{"take the dump over", w.takeDump},
		{"sync the folder", func() error { return syncRoot(w.in) }},
		{"make way", w.makeWay},
		{"rename", func() error { return w.shelf.Rename(w.try, w.name) }},
		{"sync", func() error { return syncRoot(w.shelf) }},
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.f.bundles.at(one.what); err != nil {
			return err
		}
		if err := one.do(); err != nil {
			return err
		}
	}
	return w.in.Close()
}

func (w *bundleWriter) open() (err error) {
	w.in, err = w.shelf.OpenRoot(w.try)
	return err
}

// giveUp leaves nothing behind but what the next Keep removes; a dump may be
// wanted by that one.
func (w *bundleWriter) giveUp() {
	if w.in != nil {
		_ = w.in.Close()
	}
	if w.f.bundles.at("give up") != nil {
		return
	}
	w.rescue()
	_ = w.shelf.RemoveAll(w.try)
}

// sweep removes what earlier tries have left, but for the dump of this death.
func (w *bundleWriter) sweep() error {
	w.rescue()
	names, err := namesIn(w.shelf)
	if err != nil {
		return err
	}
	for _, name := range names {
		of, whole, isDump := dumpOf(name)
		order := of.compare(w.death())
		switch {
		case isDump && (order < 0 || order == 0 && !whole):
		case !isDump && filepath.Ext(name) == tryMark:
		default:
			continue
		}
		if err := w.shelf.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (w *bundleWriter) death() death { return death{w.b.Crash.Failure.Incarnation, w.b.Crash.Number} }

// rescue takes dump and core back out of a try that came to nothing.
func (w *bundleWriter) rescue() {
	_ = w.leaveCore()
	for _, format := range dumpFormats {
		_ = w.shelf.Rename(path.Join(w.try, "dump."+string(format)), dumpName(w.death(), format))
	}
}

func (w *bundleWriter) takeDump() error {
	for _, format := range dumpFormats {
		from := dumpName(w.death(), format)
		err := w.shelf.Rename(from, path.Join(w.try, "dump."+string(format)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copyTail takes the end of a log, byte by byte as it was written. One that
// can't be read is told of in the bundle and keeps nothing else out of it.
func (w *bundleWriter) copyTail(name, log string, most vm.Bytes) error {
	place, err := os.OpenRoot(w.at.Folder)
	if err != nil {
		return err
	}
	defer place.Close()
	b, err := tailIn(place, filepath.Base(log), most)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.b.Lacks = append(w.b.Lacks, fmt.Sprintf("%s: %v", filepath.Base(log), err))
	}
	if len(b) == 0 {
		return nil
	}
	return w.put(name, b)
}

func (w *bundleWriter) writeCrash() error {
	b, err := json.MarshalIndent(w.b, "", "  ")
	if err != nil {
		return host.Fail(host.Broken, "write "+bundleName, err)
	}
	if err := w.put(bundleName, append(b, '\n')); err != nil {
		return err
	}
	died := w.b.Crash.Failure.At
	return w.in.Chtimes(bundleName, time.Time{}, died)
}

// put writes a file and syncs it.
func (w *bundleWriter) put(name string, b []byte) error {
	file, err := w.in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// makeWay removes a bundle of the same number that is another death's: its store
// was lost since, and numbers begin anew.
func (w *bundleWriter) makeWay() error {
	if _, err := w.shelf.Lstat(w.name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return w.shelf.RemoveAll(w.name)
}

// tailIn reads at most that many last bytes of a log, and of the part that was
// cut away before it.
func tailIn(place *os.Root, name string, most vm.Bytes) ([]byte, error) {
	b, err := endOf(place, name, most)
	if err != nil || vm.Bytes(len(b)) == most {
		return b, err
	}
	before, err := endOf(place, name+".1", most-vm.Bytes(len(b)))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return append(before, b...), err
}

func endOf(place *os.Root, name string, most vm.Bytes) ([]byte, error) {
	file, size, err := openPlain(place, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := make([]byte, min(size, most))
	n, err := file.ReadAt(b, int64(max(0, size-most)))
	if n < len(b) { // cut meanwhile
		err = nil
	}
	return b[:n], err
}

// openPlain opens a regular file for reading, and nothing that somebody has put
// in its place.
func openPlain(place *os.Root, name string) (*os.File, vm.Bytes, error) {
	seen, err := place.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !seen.Mode().IsRegular() {
		return nil, 0, errNoFile
	}
	file, err := place.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	at, err := file.Stat()
	if err == nil && !os.SameFile(seen, at) {
		err = errNoFile
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, vm.Bytes(at.Size()), nil
}
