package folders

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// leastDump is what a dump needs at least: the smallest guest's, compressed.
const leastDump = vm.MiB

var dumpFormats = []vm.DumpFormat{vm.DumpKdump, vm.DumpELF}

// death is what a dump is of: an incarnation may die twice, where it is reset in place.
type death struct {
	incarnation vm.Incarnation
	number      uint64 // of the crash
}

func (d death) compare(o death) int {
	return cmp.Or(cmp.Compare(d.incarnation, o.incarnation), cmp.Compare(d.number, o.number))
}

func dumpName(of death, format vm.DumpFormat) string {
	return fmt.Sprintf("dump-%d-%d.%s", of.incarnation, of.number, format)
}

// dumpOf reads the name of a dump that no bundle has taken over.
func dumpOf(name string) (of death, whole, ok bool) {
	rest, cut := strings.CutSuffix(name, tryMark)
	for _, format := range dumpFormats {
		if _, err := fmt.Sscanf(rest, "dump-%d-%d."+string(format), &of.incarnation, &of.number); err == nil && rest == dumpName(of, format) {
			return of, !cut, true
		}
	}
	return death{}, false, false
}

// dropTries removes the dumps in a folder that a daemon before this one was at.
// What it can't remove is in nobody's way but the disk's.
func dropTries(above *os.Root, folder string, isDump func(name string) bool) {
	place, err := openBundle(above, folder)
	if err != nil {
		return
	}
	defer place.Close()
	names, err := namesIn(place)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasSuffix(name, tryMark) && isDump(name) {
			_ = place.Remove(name)
		}
	}
}

func isDumpFile(name string) bool { return strings.HasPrefix(name, "dump.") }

// NewDump begins a guest's memory on the disk; see host.Bundles.
func (f Bundles) NewDump(_ context.Context, ref vm.Ref, format vm.DumpFormat, crash uint64, limit vm.Bytes) (host.DumpFile, error) {
	at := f.Paths(ref)
	doing := "dump into " + at.Folder
	if format != vm.DumpKdump && format != vm.DumpELF {
		return nil, host.Fail(host.Broken, doing, fmt.Errorf("the format %.20q is not known", string(format)))
	}
	if err := f.lookAtShelves(); err != nil {
		return nil, err
	}
	d := &dumpFile{f: f.Folders, ref: ref, folder: at.Folder, format: format, doing: doing, limit: limit}
	if err := d.measure(leastDump); err != nil {
		return nil, err
	}
	var err error
	if crash == 0 {
		d.name = askedName(format)
		d.place, err = f.home(ref, doing)
	} else {
		d.name = dumpName(death{ref.Incarnation, crash}, format)
		d.place, err = f.shelf(ref, true)
	}
	if err != nil {
		return nil, err
	}
	err = f.bundles.unlessGone(ref, doing, d.begin)
	d.free()
	if err != nil {
		return nil, errors.Join(fail(doing, at.Folder, err), d.place.Close())
	}
	return d, nil
}

func (b *bundles) roomOn(folder string) (vm.Bytes, error) {
	if b.room != nil { // a test's
		return b.room(folder)
	}
	return roomOn(folder)
}

// roomOn is what may be written and leaves the reserve free; below zero: nothing.
func roomOn(folder string) (vm.Bytes, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return vm.Bytes(s.Bavail)*vm.Bytes(s.Frsize) - stateReserve, nil
}

// dumpPiece is what is written between two looks at the disk: others write too.
const dumpPiece = 16 * vm.MiB

type dumpFile struct {
	f                   *Folders
	ref                 vm.Ref
	place               *os.Root
	file                *os.File
	name, folder, doing string
	format              vm.DumpFormat
	written             vm.Bytes
	limit               vm.Bytes   // 0: none but the disk's
	room                vm.Bytes   // that may be written before the next look at the disk
	over                bool       // kept or dropped
	held                []*os.File // whose names this one has taken, until free
}

// hold keeps a file whose name goes under the lock from being freed with it: that
// takes seconds of some GiBs, and mailboxes wait for the lock.
func (d *dumpFile) hold(name string) {
	if old, _, err := openPlain(d.place, name); err == nil {
		d.held = append(d.held, old)
	}
}

// free lets go of what was held, without the lock. The kernel frees what a daemon
// that ends before it leaves.
func (d *dumpFile) free() {
	if len(d.held) == 0 {
		return
	}
	_ = d.f.bundles.at("free an earlier dump")
	for _, old := range d.held {
		_ = old.Close() // nothing was written
	}
	d.held = nil
}

// begin takes the place of an earlier try, which may still be written to: it
// has lost its name then, and can't be kept.
func (d *dumpFile) begin() (err error) {
	for _, old := range inEachFormat(d.name, d.format) {
		d.hold(old + tryMark)
		if err := d.place.Remove(old + tryMark); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.file, err = d.place.OpenFile(d.name+tryMark, os.O_WRONLY|os.O_CREATE|os.O_EXCL, stateMode)
	return err
}

// measure looks whether the disk has room for that many bytes.
func (d *dumpFile) measure(need vm.Bytes) error {
	left, err := d.f.bundles.roomOn(d.folder)
	if err != nil {
		return fail(d.doing, d.folder, err)
	}
	if left < need {
		return host.Fail(host.Transient, d.doing, fmt.Errorf("%w: %s, and %d MiB stay free", errNoRoom, room(d.folder), stateReserve/vm.MiB))
	}
	d.room = max(need, min(left, dumpPiece))
	return nil
}

// Write takes the next bytes of the guest's memory, up to the limit.
func (d *dumpFile) Write(b []byte) (int, error) {
	size := vm.Bytes(len(b))
	if d.limit > 0 && d.written+size > d.limit {
		return 0, host.Fail(host.Broken, d.doing, fmt.Errorf("it is larger than %s: a VM's bundles may hold no more", d.limit))
	}
	if d.room < size {
		if err := d.measure(size); err != nil {
			return 0, err
		}
	}
	n, err := d.file.Write(b)
	d.written, d.room = d.written+vm.Bytes(n), d.room-vm.Bytes(n)
	if err != nil {
		return n, fail(d.doing, d.folder, err)
	}
	return n, nil
}

// Keep syncs the bytes before the name.
func (d *dumpFile) Keep(ctx context.Context) (string, vm.Bytes, error) {
	defer d.Drop()
	defer d.free()
	for _, step := range []func() error{
		ctx.Err,
		func() error { return d.f.bundles.at("keep the dump") },
		d.file.Sync,
		func() error { return d.f.bundles.unlessGone(d.ref, d.doing, d.rename) },
		d.dropOthers,
		func() error { return syncRoot(d.place) },
	} {
		if err := step(); err != nil {
			return "", 0, fail(d.doing, d.folder, err)
		}
	}
	return filepath.Join(d.place.Name(), d.name), d.written, nil
}

func (d *dumpFile) rename() error {
	if err := d.named(); err != nil {
		return err
	}
	d.hold(d.name)
	if err := d.place.Rename(d.name+tryMark, d.name); err != nil {
		return err
	}
	if askedWhole(d.name) {
		d.f.bundles.noted(d.ref.Name, vm.KeptBundle{At: time.Now(), Bytes: d.written, Dump: true})
	}
	return nil
}

// named proves that the name is still this file's, and no later try's.
func (d *dumpFile) named() error {
	mine, err := d.file.Stat()
	if err != nil {
		return err
	}
	at, err := d.place.Lstat(d.name + tryMark)
	if err != nil {
		return err
	}
	if !os.SameFile(mine, at) {
		return host.Fail(host.Transient, d.doing, errors.New("a later try has taken its place"))
	}
	return nil
}

// dropOthers removes the one before, which has another name in another format.
func (d *dumpFile) dropOthers() error {
	for _, old := range inEachFormat(d.name, d.format) {
		if old == d.name {
			continue
		}
		if err := d.place.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// inEachFormat are the names of the same dump in each format.
func inEachFormat(name string, format vm.DumpFormat) (out []string) {
	for _, one := range dumpFormats {
		out = append(out, strings.TrimSuffix(name, string(format))+string(one))
	}
	return out
}

// Drop gives it up; what was kept, or was begun after it, is not under the name
// that this removes.
func (d *dumpFile) Drop() {
	if d.over {
		return
	}
	d.over = true
	_ = d.f.bundles.unlessGone(d.ref, d.doing, func() error {
		if err := d.named(); err != nil {
			return err
		}
		return d.place.Remove(d.name + tryMark)
	})
	_, _ = d.file.Close(), d.place.Close()
}
