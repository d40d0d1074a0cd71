package folders

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// managed are the disks that are made here; the others are somebody's own.
func managed(disks []vm.Disk) []vm.Disk {
	var out []vm.Disk
	for _, d := range disks {
		if d.Path == "" {
			out = append(out, d)
		}
	}
	return out
}

func makeDisks(ctx context.Context, place *os.Root, at host.Paths, now, last preparation) error {
	if err := ownDir(place, "disks", now.gid); err != nil {
		return fail("make folder "+at.Disks, at.Folder, err)
	}
	if len(now.disks) == 0 {
		return nil
	}
	in, err := place.OpenRoot("disks")
	if err != nil {
		return fail("open "+at.Disks, at.Folder, err)
	}
	defer in.Close()
	made := false
	for _, d := range now.disks {
		path := at.Disk(d.Name)
		doing := fmt.Sprintf("make disk %s of %d bytes", path, d.Size)
		if !plain(d.Name) || d.Size <= 0 {
			return host.Fail(host.Broken, doing, errors.New("a disk has a plain name and a size"))
		}
		if err := ctx.Err(); err != nil {
			return host.Fail(host.Transient, doing, err)
		}
		grown, err := makeDisk(in, filepath.Base(path), d.Size, now.uid, now.gid)
		if err != nil {
			return fail(doing, at.Folder, err)
		}
		made = made || grown
	}
	if !made && slices.Equal(now.disks, last.disks) {
		return nil // synced when they were made, or by the first preparing of this daemon
	}
	return syncRoot(in)
}

// makeDisk makes a sparse file, or grows one: what a guest wrote is never
// shortened or written over. A growth also heals a making that was cut off.
// It says whether anything was done.
func makeDisk(in *os.Root, name string, size vm.Bytes, uid, gid int) (bool, error) {
	file, err := openOwn(in, name, os.O_RDWR, uid, gid, 0o600)
	if err != nil {
		return false, err
	}
	defer file.Close()
	now, err := file.Stat()
	if err != nil || vm.Bytes(now.Size()) >= size {
		return false, err
	}
	if err := file.Truncate(int64(size)); err != nil {
		return true, err
	}
	return true, file.Sync()
}

var errNoFile = errors.New("there is something else than a regular file")

// openOwn opens a regular file of the VMM, made if need be. What a VMM could
// have put in its place is not followed, not even inside the root.
func openOwn(in *os.Root, name string, flags, uid, gid int, mode os.FileMode) (*os.File, error) {
	switch at, err := in.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
		flags |= os.O_CREATE | os.O_EXCL
	case err != nil:
		return nil, err
	case !at.Mode().IsRegular():
		return nil, errNoFile
	}
	file, err := in.OpenFile(name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Chown(uid, gid), file.Chmod(mode)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// makeLogs makes the logs beforehand, as the VMM may not make files here.
func makeLogs(place *os.Root, at host.Paths, uid, gid int) error {
	for _, path := range []string{at.Log, at.Stderr} {
		file, err := openOwn(place, filepath.Base(path), os.O_WRONLY|os.O_APPEND, uid, gid, 0o640)
		if err != nil {
			return fail("make log "+path, at.Folder, err)
		}
		if err := file.Close(); err != nil {
			return fail("make log "+path, at.Folder, err)
		}
	}
	return nil
}

// keptLogs is how many incarnations keep their logs: enough to read a crash
// loop's whole default budget of five failures.
const keptLogs = 5

var logName = regexp.MustCompile(`^(?:console|vmm)-([0-9]{1,19})\.log(?:\.1)?$`)

// prune removes the logs of incarnations that are too old (P15), and not wanted
// for a bundle any more.
func prune(place *os.Root, at host.Paths, r vm.Record, held func(vm.ID, vm.Incarnation) bool) error {
	names, err := namesIn(place)
	if err != nil {
		return fail("list "+at.Folder, at.Folder, err)
	}
	newest := r.State.Incarnation
	if err := errors.Join(dropAmong(names, place, at, r), sealCores(names, place, at, r, held)); err != nil {
		return err
	}
	for _, name := range names {
		match := logName.FindStringSubmatch(name)
		if match == nil {
			continue
		}
		n, err := strconv.ParseUint(match[1], 10, 64)
		if err != nil || vm.Incarnation(n)+keptLogs > newest || held(r.ID, vm.Incarnation(n)) {
			continue
		}
		if err := place.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail("remove old log "+name, at.Folder, err)
		}
	}
	return nil
}

// namesIn lists a folder without a look at each file.
func namesIn(place *os.Root) ([]string, error) {
	d, err := place.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
