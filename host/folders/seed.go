package folders

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/seed"
	"github.com/blixard/blixard/vm"
)

// makeSeed makes the disk of cloud-init, or removes the one of a spec that had a
// seed. It is made whole and then named, without a sync: what a power cut left of
// it is made anew by the next daemon's first preparing. The VMM may read it, and
// not write, for a seed is what a person said.
func makeSeed(place *os.Root, at host.Paths, r vm.Record, now *preparation, last preparation) error {
	doing := "make " + at.Seed()
	name := filepath.Base(at.Seed())
	if r.Spec.Seed.None() {
		if err := place.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail("remove "+at.Seed(), at.Folder, err)
		}
		return nil
	}
	is, err := seed.Of(r.ID, r.Spec)
	if err != nil {
		return err
	}
	now.seed = is.Sum()
	if now.seed == last.seed && now.gid == last.gid {
		if there, err := place.Lstat(name); err == nil && there.Mode().IsRegular() {
			return nil
		}
	}
	if err := writeSeed(place, name, is, now.gid); err != nil {
		return fail(doing, at.Folder, err)
	}
	return nil
}

func writeSeed(place *os.Root, name string, is seed.Seed, gid int) error {
	try := name + ".new"
	if err := place.Remove(try); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := place.OpenFile(try, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(is.WriteDisk(file), file.Chown(os.Geteuid(), gid), file.Chmod(0o640))
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, place.Remove(try))
	}
	return place.Rename(try, name)
}
