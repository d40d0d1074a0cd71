// Package folders makes and removes what a VM owns on disk.
//
//	STATE/             0711 at least: VMMs pass through, nobody lists it
//	  vms/NAME/        0750 root:VMM   durable
//	    saved-N.state  0600 root       the guest of incarnation N, suspended
//	    good-N.state   0600 root       the same, as it was when it became healthy
//	    manifest.json  0600 root       identity and spec: the store can be rebuilt from it
//	    disks/D.raw    0600 VMM        sparse; only Discard removes one (P14)
//	    seed.iso       0640 root:VMM   what cloud-init finds, where the spec has a seed
//	    console-N.log  0640 VMM        what the guest of incarnation N wrote
//	    vmm-N.log      0640 VMM        what its VMM wrote
//	    core-N/        0730 root:VMM   where the kernel puts the core of incarnation N's VMM, if the spec asks for one
//	    crashes/       0700 root       the evidence of each death
//	RUN/vm/NAME/       0750 root:VMM   sockets; lost at reboot, removed by Release
//
// A VMM can write to its disks and logs and to nothing else: folders belong to
// root, so it can't put a link where we would follow it. The exception is the
// folder for its core, where nothing that is in it is believed.
package folders

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Config says where the folders are and whose the files become.
type Config struct {
	State  string // durable folder of the node
	Run    string // folder on tmpfs
	Owners host.Owners
}

// Folders is the host.Folders of one node.
type Folders struct {
	Config

	known   known
	bundles bundles
}

var _ host.Folders = (*Folders)(nil)

// New makes the two roots. A root that is ours is opened for passing through
// (o+x, no listing), as the unprivileged VMMs live below it.
func New(c Config) (*Folders, error) {
	for _, path := range []*string{&c.State, &c.Run} {
		abs, err := filepath.Abs(*path)
		if err != nil || *path == "" {
			return nil, host.Fail(host.Broken, fmt.Sprintf("use folder %q", *path), errors.New("it needs a path"))
		}
		*path = abs
	}
	for _, path := range []string{c.State, filepath.Join(c.State, "vms"), c.Run, filepath.Join(c.Run, "vm")} {
		if err := passable(path); err != nil {
			return nil, fail("make folder "+path, path, err)
		}
	}
	return &Folders{Config: c}, nil
}

func passable(path string) error {
	if err := os.MkdirAll(path, 0o711); err != nil {
		return err
	}
	at, err := os.Stat(path)
	if err != nil {
		return err
	}
	if at.Mode().Perm()&0o111 == 0o111 {
		return nil
	}
	return os.Chmod(path, at.Mode().Perm()|0o111)
}

// Paths computes the places of an incarnation.
func (f *Folders) Paths(ref vm.Ref) host.Paths { return host.NewPaths(f.State, f.Run, ref) }

// Prepare makes everything that a launch needs. What exists is kept, so
// repeating it is safe at any point where an earlier one was cut off: the
// manifest is first, and says whose the rest is.
func (f *Folders) Prepare(ctx context.Context, r vm.Record) error {
	uid, gid := f.Owners.Of(r.Slot)
	at := f.Paths(r.Ref())
	if err := lost(at, r); err != nil {
		return err
	}
	place, err := f.enter(at.Folder, gid)
	if err != nil {
		return err
	}
	defer place.Close()
	if err := claim(place, at, r); err != nil {
		return err
	}
	f.bundles.claimed(r.Spec.Name)
	last := f.known.of(r.ID)
	now := preparation{incarnation: r.State.Incarnation, disks: managed(r.Spec.Disks), needs: needs(at, r.Spec), uid: uid, gid: gid}
	for _, step := range []func() error{
		func() error { return makeDisks(ctx, place, at, now, last) },
		func() error { return makeSeed(place, at, r, &now, last) },
		func() error { return makeLogs(place, at, uid, gid) },
		func() error { return makeCore(place, at, r, gid) },
		func() error { return prune(place, at, r, f.bundles.holds) },
		func() error { return f.makeRun(at.Run, gid, r.State.Incarnation) },
		func() error {
			if last.stood(now, r.State) {
				return nil
			}
			return admitted(now.needs, uid, gid)
		},
	} {
		if err := ctx.Err(); err != nil {
			return host.Fail(host.Transient, "prepare "+at.Folder, err)
		}
		if err := step(); err != nil {
			f.known.forget(r.ID)
			return err
		}
	}
	f.known.keep(r.ID, now)
	return nil
}

// enter opens the VM's folder, made if need be, as a root that nothing leaves.
func (f *Folders) enter(folder string, gid int) (*os.Root, error) {
	doing := "make folder " + folder
	above, err := os.OpenRoot(filepath.Dir(folder))
	if err != nil {
		return nil, fail(doing, folder, err)
	}
	defer above.Close()
	if err := ownDir(above, filepath.Base(folder), gid); err != nil {
		return nil, fail(doing, folder, err)
	}
	place, err := above.OpenRoot(filepath.Base(folder))
	if err != nil {
		return nil, fail(doing, folder, err)
	}
	return place, nil
}

// ownDir makes a folder that the VMM may pass and list but not change.
func ownDir(in *os.Root, name string, gid int) error {
	if err := in.Mkdir(name, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	at, err := dirAt(in, name)
	if err != nil {
		return err
	}
	if s, ok := at.Sys().(*syscall.Stat_t); ok && int(s.Uid) == os.Geteuid() && int(s.Gid) == gid && at.Mode().Perm() == 0o750 {
		return nil // setting what is set would write to the file system's journal
	}
	if err := in.Lchown(name, os.Geteuid(), gid); err != nil {
		return err
	}
	return in.Chmod(name, 0o750) // whatever the umask is
}

var errNoFolder = errors.New("there is something else than a folder")

func dirAt(in *os.Root, name string) (fs.FileInfo, error) {
	at, err := in.Lstat(name)
	if err == nil && !at.IsDir() {
		err = errNoFolder
	}
	return at, err
}

// tenantName is the file in the run folder that says which incarnation it was
// made for. It is on tmpfs, as the sockets beside it are, and needs no sync.
const tenantName = "incarnation"

func (f *Folders) makeRun(run string, gid int, n vm.Incarnation) error {
	place, err := f.enter(run, gid)
	if err != nil {
		return err
	}
	defer place.Close()
	if !oursToUse(place) {
		return host.Fail(host.Broken, "make "+run, errors.New("it holds files that no VM put there: move them away, or give the daemon another --socket, beside which it makes this folder"))
	}
	if err := mark(place, n); err != nil {
		return fail("mark "+run, run, err)
	}
	return nil
}

// mark writes over the mark that is there: to cut a file that is written to
// again makes a disk's file system write it out at once.
func mark(place *os.Root, n vm.Incarnation) error {
	file, err := place.OpenFile(tenantName, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	b := strconv.AppendUint(nil, uint64(n), 10)
	at, err := file.Stat()
	if err == nil && at.Size() > int64(len(b)) {
		err = file.Truncate(0)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, 0)
	return err
}

// oursToUse says whether a run folder has our mark, or nothing: whatever else is
// in the folder beside the socket is somebody's.
func oursToUse(place *os.Root) bool {
	if _, err := place.Lstat(tenantName); err == nil {
		return true
	}
	entries, err := fs.ReadDir(place.FS(), ".")
	return err == nil && len(entries) == 0
}

// tenant is the incarnation that the run folder was made for; 0: nobody's.
func tenant(above *os.Root, run string) vm.Incarnation {
	b, err := above.ReadFile(filepath.Join(run, tenantName))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0
	}
	return vm.Incarnation(n)
}

// Release removes the run folder and what is in it: the sockets. One of an
// incarnation that has a successor removes nothing, as the folder is the
// successor's by now. Repeating it is safe.
func (f *Folders) Release(_ context.Context, ref vm.Ref) error {
	at := f.Paths(ref)
	doing := "release " + at.Run
	if m, err := ReadManifest(at.Manifest); err == nil && m.ID != ref.VM {
		if _, err := os.Lstat(at.Run); errors.Is(err, fs.ErrNotExist) {
			return nil // a start that was refused for that folder made none here
		}
		return host.Fail(host.Denied, doing, foreign(m, ref.VM)) // P8
	}
	above, err := os.OpenRoot(filepath.Dir(at.Run))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail(doing, at.Run, err)
	}
	defer above.Close()
	if tenant(above, filepath.Base(at.Run)) > ref.Incarnation {
		return nil
	}
	place, err := above.OpenRoot(filepath.Base(at.Run))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return nil // a file, or a link: no run folder of ours, and left alone (P8)
	}
	ours := oursToUse(place)
	if err := place.Close(); err != nil {
		return fail(doing, at.Run, err)
	}
	if !ours {
		return nil // P8
	}
	if err := above.RemoveAll(filepath.Base(at.Run)); err != nil {
		return fail(doing, at.Run, err)
	}
	return nil
}

// Discard removes the VM's folder with its disks, if the manifest names this
// VM (P14). The manifest goes last, so a discard that was cut off goes on where
// it ended; no link is followed. Repeating it is safe.
func (f *Folders) Discard(ctx context.Context, ref vm.Ref) error {
	if err := f.Release(ctx, ref); err != nil {
		return err
	}
	f.known.forget(ref.VM)
	at := f.Paths(ref)
	doing := "discard " + at.Folder
	above, err := os.OpenRoot(filepath.Dir(at.Folder))
	if err != nil {
		return fail(doing, at.Folder, err)
	}
	defer above.Close()
	name := filepath.Base(at.Folder)
	switch _, err := dirAt(above, name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return host.Fail(host.Denied, doing, err)
	}
	if err := emptied(ctx, above, name, ref.VM, func() { f.bundles.discarding(ref) }); err != nil {
		return fail(doing, at.Folder, err)
	}
	if err := above.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(doing, at.Folder, err)
	}
	f.bundles.discarded(ref.Name)
	return syncRoot(above)
}

// emptied calls proven before it removes anything.
func emptied(ctx context.Context, above *os.Root, name string, id vm.ID, proven func()) error {
	place, err := above.OpenRoot(name)
	if err != nil {
		return err
	}
	defer place.Close()
	entries, err := fs.ReadDir(place.FS(), ".")
	if err != nil || len(entries) == 0 {
		return err
	}
	b, err := place.ReadFile(manifestName)
	if err != nil {
		return host.Fail(host.Denied, "read its manifest, which would prove whose it is", err)
	}
	m, err := parseManifest(b)
	if err != nil {
		return host.Fail(host.Denied, "read its manifest", err)
	}
	if m.ID != id {
		return host.Fail(host.Denied, "check whose it is", foreign(m, id))
	}
	proven()
	if entries, err = fs.ReadDir(place.FS(), "."); err != nil {
		return err // with what was made meanwhile
	}
	for _, e := range entries {
		if e.Name() == manifestName {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := removeAll(place, e.Name()); err != nil {
			return err
		}
	}
	return place.Remove(manifestName)
}

// removeAll goes on where something was written meanwhile: a bundle that is
// being kept has a few files, and none of them is made twice.
func removeAll(place *os.Root, name string) (err error) {
	if _, is := incarnationOf(name); is {
		return dropCore(place, name)
	}
	for range 20 {
		if err = place.RemoveAll(name); !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return err
}

func syncRoot(r *os.Root) error {
	d, err := r.Open(".")
	if err != nil {
		return fail("sync "+r.Name(), r.Name(), err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fail("sync "+r.Name(), r.Name(), err)
	}
	return nil
}

// plain says whether a name stays where it is put.
func plain(name string) bool {
	return name != "" && !strings.ContainsAny(name, "/\x00") && name[0] != '.'
}
