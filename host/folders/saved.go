package folders

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// stateReserve stays free on the disk when a guest is saved: a disk that is full
// to the last byte would take the node's own store, and other guests, down.
const stateReserve = 256 * vm.MiB

// stateMode is root's alone: a guest's memory holds its secrets.
const stateMode = 0o600

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // the processor's own instruction

var (
	errNoRoom  = errors.New("the disk has no room for it")
	errTooLong = errors.New("its VMM wrote more than a guest of this size has")
	errNotIt   = errors.New("it isn't what was written")
	errNoState = errors.New("it does not exist")
)

// NewState begins a saved guest; see host.States.
func (f *Folders) NewState(ctx context.Context, ref vm.Ref, good bool, limit vm.Bytes) (host.StateFile, error) {
	at := f.Paths(ref)
	doing := "save into " + at.Folder
	if err := ctx.Err(); err != nil { // what it removes may be another one's by now
		return nil, fail(doing, at.Folder, err)
	}
	if err := roomFor(at.Folder, limit); err != nil {
		return nil, host.Fail(host.Transient, doing, err)
	}
	place, err := os.OpenRoot(at.Folder)
	if err != nil {
		return nil, fail(doing, at.Folder, err)
	}
	// An earlier try may still be written to: it has lost its name, and so can't be kept.
	final := host.StateName{Of: ref.Incarnation, Good: good, Whole: true}
	name := host.StateName{Of: ref.Incarnation, Good: good}.String()
	for _, old := range []string{name, filepath.Base(at.State(ref.Incarnation))} {
		if err := place.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(fail(doing, at.Folder, err), place.Close())
		}
	}
	file, err := place.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, stateMode)
	if err != nil {
		return nil, errors.Join(fail(doing, at.Folder, err), place.Close())
	}
	return &stateFile{
		place: place, file: file, name: name, final: final,
		doing: doing, limit: limit, look: f.bundles.roomOn, sum: crc32.New(castagnoli),
	}, nil
}

// roomFor says what is missing on the disk.
func roomFor(folder string, need vm.Bytes) error {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return err
	}
	free := vm.Bytes(s.Bavail) * vm.Bytes(s.Frsize)
	if free < need+stateReserve {
		return fmt.Errorf("%w: up to %d MiB, and %d MiB stay free; %d MiB are left",
			errNoRoom, need/vm.MiB, stateReserve/vm.MiB, free/vm.MiB)
	}
	return nil
}

type stateFile struct {
	place          *os.Root
	file           *os.File
	name           string
	final          host.StateName
	doing          string
	written, limit vm.Bytes
	room           vm.Bytes // that may be written before the next look at the disk: others write too
	look           func(folder string) (vm.Bytes, error)
	sum            hash.Hash32
	over           bool // kept or dropped
}

// Write takes the next bytes of the guest, up to the limit.
func (s *stateFile) Write(b []byte) (int, error) {
	if s.written+vm.Bytes(len(b)) > s.limit {
		return 0, host.Fail(host.Broken, s.doing, errTooLong)
	}
	if size := vm.Bytes(len(b)); s.room < size {
		left, err := s.look(s.place.Name())
		if err != nil {
			return 0, fail(s.doing, s.place.Name(), err)
		}
		if left < size {
			return 0, host.Fail(host.Transient, s.doing, fmt.Errorf("%w: %d MiB stay free", errNoRoom, stateReserve/vm.MiB))
		}
		s.room = max(size, min(left, dumpPiece))
	}
	n, err := s.file.Write(b)
	s.written, s.room = s.written+vm.Bytes(n), s.room-vm.Bytes(n)
	_, _ = s.sum.Write(b[:n]) // never fails
	if err != nil {
		return n, fail(s.doing, s.place.Name(), err)
	}
	return n, nil
}

// Keep syncs the bytes before the name, and the name before it is told of: a
// power cut at any point leaves no name, or a whole file under it.
func (s *stateFile) Keep(ctx context.Context) (vm.SavedState, error) {
	defer s.Drop()
	if err := ctx.Err(); err != nil {
		return vm.SavedState{}, fail(s.doing, s.name, err)
	}
	for _, step := range []func() error{
		s.file.Sync,
		s.named,
		func() error { return s.place.Rename(s.name, s.final.String()) },
		func() error { return syncRoot(s.place) },
	} {
		if err := step(); err != nil {
			return vm.SavedState{}, fail(s.doing, s.place.Name(), err)
		}
	}
	s.name = "" // nothing is to be dropped
	return vm.SavedState{At: time.Now(), Bytes: s.written, Sum: s.sum.Sum32(), Good: s.final.Good}, nil
}

// named proves that the name is still this file's, and no later try's.
func (s *stateFile) named() error {
	mine, err := s.file.Stat()
	if err != nil {
		return err
	}
	at, err := s.place.Lstat(s.name)
	if err != nil {
		return err
	}
	if !os.SameFile(mine, at) {
		return host.Fail(host.Transient, s.doing, errors.New("a later try has taken its place"))
	}
	return nil
}

// Drop gives it up.
func (s *stateFile) Drop() {
	if s.over {
		return
	}
	s.over = true
	if s.name != "" && s.named() == nil {
		_ = s.place.Remove(s.name) // what stays is removed by the next try, or with what no record names
	}
	_, _ = s.file.Close(), s.place.Close()
}

// Kept reads the file of an incarnation; see host.States.
func (f *Folders) Kept(ctx context.Context, ref vm.Ref) (vm.SavedState, error) {
	at := f.Paths(ref)
	doing := "look for a saved guest in " + at.Folder
	file, err := openState(at.State(ref.Incarnation))
	if errors.Is(err, fs.ErrNotExist) {
		return vm.SavedState{}, host.Fail(host.Gone, doing, errNoState)
	}
	if err != nil {
		return vm.SavedState{}, fail(doing, at.Folder, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return vm.SavedState{}, fail(doing, at.Folder, err)
	}
	n, sum, err := summed(ctx, file, vm.Bytes(info.Size()))
	if err != nil {
		return vm.SavedState{}, fail(doing, at.Folder, err)
	}
	return vm.SavedState{At: info.ModTime(), Bytes: n, Sum: sum}, nil
}

// CheckState reads the file; see host.States. It is in the host's memory then,
// where its VMM finds it.
func (f *Folders) CheckState(ctx context.Context, ref vm.Ref, saved vm.SavedState) error {
	at := f.Paths(ref)
	path := at.Saved(saved)
	doing := "check " + path
	file, err := openState(path)
	if errors.Is(err, fs.ErrNotExist) {
		return host.Fail(host.Broken, doing, errNoState)
	}
	if err != nil {
		return fail(doing, at.Folder, err)
	}
	defer file.Close()
	n, sum, err := summed(ctx, file, saved.Bytes+1)
	if err != nil {
		return fail(doing, at.Folder, err)
	}
	if n != saved.Bytes || sum != saved.Sum {
		return host.Fail(host.Broken, doing, fmt.Errorf("%w: %d bytes with the sum %08x, written were %d with %08x",
			errNotIt, n, sum, saved.Bytes, saved.Sum))
	}
	return nil
}

// HasState looks at the file; see host.States.
func (f *Folders) HasState(ref vm.Ref, saved vm.SavedState) error {
	at := f.Paths(ref)
	path := at.Saved(saved)
	doing := "look for " + path
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return host.Fail(host.Broken, doing, errNoState)
	case err != nil:
		return fail(doing, at.Folder, err)
	case !info.Mode().IsRegular() || vm.Bytes(info.Size()) != saved.Bytes:
		return host.Fail(host.Broken, doing, fmt.Errorf("%w: %d bytes, written were %d", errNotIt, info.Size(), saved.Bytes))
	}
	return nil
}

// openState opens what may have been put there by anybody.
func openState(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// summed reads at most that many bytes.
func summed(ctx context.Context, file *os.File, most vm.Bytes) (vm.Bytes, uint32, error) {
	sum := crc32.New(castagnoli)
	stop := context.AfterFunc(ctx, func() { _ = file.Close() })
	defer stop()
	n, err := io.CopyBuffer(sum, io.LimitReader(file, int64(most)), make([]byte, vm.MiB))
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return vm.Bytes(n), sum.Sum32(), err
}

// DropStates removes what no record names; see host.States.
func (f *Folders) DropStates(_ context.Context, r vm.Record) error {
	at := f.Paths(r.Ref())
	place, err := os.OpenRoot(at.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail("drop saved states in "+at.Folder, at.Folder, err)
	}
	defer place.Close()
	names, err := namesIn(place)
	if err != nil {
		return fail("list "+at.Folder, at.Folder, err)
	}
	return dropAmong(names, place, at, r)
}

func dropAmong(names []string, place *os.Root, at host.Paths, r vm.Record) error {
	for _, name := range names {
		n, ok := host.StateOf(name)
		if !ok || n.Of > r.State.Incarnation || n.Of == r.State.Incarnation && r.State.Phase&vm.AtRest == 0 {
			continue // it may be just being written
		}
		if n.NamedBy(r.State) {
			continue
		}
		if err := place.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail("remove saved state "+name, at.Folder, err)
		}
	}
	return nil
}
