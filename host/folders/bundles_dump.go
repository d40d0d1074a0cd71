package folders

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// leastDump is what a dump needs at least: the smallest guest's, compressed.
const leastDump = vm.MiB

var dumpFormats = []vm.DumpFormat{vm.DumpKdump, vm.DumpELF}

func dumpName(n vm.Incarnation, format vm.DumpFormat) string {
	return fmt.Sprintf("dump-%d.%s", n, format)
}

// dumpOf reads the name of a dump that no bundle has taken over.
func dumpOf(name string) (n vm.Incarnation, whole, ok bool) {
	rest, cut := strings.CutSuffix(name, tryMark)
	for _, format := range dumpFormats {
		if _, err := fmt.Sscanf(rest, "dump-%d."+string(format), &n); err == nil && rest == dumpName(n, format) {
			return n, !cut, true
		}
	}
	return 0, false, false
}

func isDumpFile(name string) bool { return strings.HasPrefix(name, "dump.") }

// NewDump begins a guest's memory on the disk; see host.Bundles.
func (f Bundles) NewDump(_ context.Context, ref vm.Ref, format vm.DumpFormat, asked bool, limit vm.Bytes) (host.DumpFile, error) {
	at := f.Paths(ref)
	doing := "dump into " + at.Folder
	if format != vm.DumpKdump && format != vm.DumpELF {
		return nil, host.Fail(host.Broken, doing, fmt.Errorf("the format %.20q is not known", string(format)))
	}
	left, err := roomOn(at.Folder)
	if err != nil {
		return nil, fail(doing, at.Folder, err)
	}
	if left < leastDump {
		return nil, host.Fail(host.Transient, doing, fmt.Errorf("%w: %s, and %d MiB stay free", errNoRoom, room(at.Folder), stateReserve/vm.MiB))
	}
	bound := "the disk has no room for more"
	if limit > 0 && limit < left {
		left, bound = limit, fmt.Sprintf("a VM's bundles may hold %s", limit)
	}
	place, name, err := f.dumpPlace(ref, format, asked)
	if err != nil {
		return nil, err
	}
	for _, old := range inEachFormat(name, format) {
		if err := place.Remove(old + tryMark); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(fail(doing, at.Folder, err), place.Close())
		}
	}
	file, err := place.OpenFile(name+tryMark, os.O_WRONLY|os.O_CREATE|os.O_EXCL, stateMode)
	if err != nil {
		return nil, errors.Join(fail(doing, at.Folder, err), place.Close())
	}
	return &dumpFile{f: f.Folders, place: place, file: file, name: name, format: format, doing: doing, limit: left, bound: bound}, nil
}

func (f Bundles) dumpPlace(ref vm.Ref, format vm.DumpFormat, asked bool) (*os.Root, string, error) {
	if !asked {
		place, err := f.shelf(ref, true)
		return place, dumpName(ref.Incarnation, format), err
	}
	at := f.Paths(ref)
	place, err := os.OpenRoot(at.Folder)
	if err != nil {
		return nil, "", fail("dump into "+at.Folder, at.Folder, err)
	}
	return place, "memory." + string(format), nil
}

// roomOn is what may be written and leaves the reserve free; below zero: nothing.
func roomOn(folder string) (vm.Bytes, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return vm.Bytes(s.Bavail)*vm.Bytes(s.Frsize) - stateReserve, nil
}

type dumpFile struct {
	f              *Folders
	place          *os.Root
	file           *os.File
	name, doing    string
	format         vm.DumpFormat
	bound          string // what the limit is
	written, limit vm.Bytes
	over           bool // kept or dropped
}

// Write takes the next bytes of the guest's memory, up to the limit.
func (d *dumpFile) Write(b []byte) (int, error) {
	if d.written+vm.Bytes(len(b)) > d.limit {
		return 0, host.Fail(host.Broken, d.doing, fmt.Errorf("it is larger than %s: %s", d.limit, d.bound))
	}
	n, err := d.file.Write(b)
	d.written += vm.Bytes(n)
	if err != nil {
		return n, fail(d.doing, d.place.Name(), err)
	}
	return n, nil
}

// Keep syncs the bytes before the name.
func (d *dumpFile) Keep(ctx context.Context) (string, vm.Bytes, error) {
	defer d.Drop()
	for _, step := range []func() error{
		ctx.Err,
		func() error { return d.f.bundles.at("keep the dump") },
		d.file.Sync,
		func() error { return d.place.Rename(d.name+tryMark, d.name) },
		d.dropOthers,
		func() error { return syncRoot(d.place) },
	} {
		if err := step(); err != nil {
			return "", 0, fail(d.doing, d.place.Name(), err)
		}
	}
	return filepath.Join(d.place.Name(), d.name), d.written, nil
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

// Drop gives it up; what was kept has lost the name that this removes.
func (d *dumpFile) Drop() {
	if d.over {
		return
	}
	d.over = true
	_ = d.place.Remove(d.name + tryMark)
	_, _ = d.file.Close(), d.place.Close()
}
