package folders

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

var _ host.Salvage = (*Folders)(nil)

// List returns every folder of a VM, durable or run, sorted by name. One that
// can't be read is told of with its reason and hides no other (P13).
func (f *Folders) List(ctx context.Context) ([]vm.FoundFolder, error) {
	byName := map[string]*vm.FoundFolder{}
	durable, run := filepath.Join(f.State, "vms"), filepath.Join(f.Run, "vm")
	for _, above := range []string{durable, run} {
		entries, err := os.ReadDir(above)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fail("list "+above, above, err)
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return nil, host.Fail(host.Transient, "list "+above, err)
			}
			one := byName[e.Name()]
			if one == nil {
				one = &vm.FoundFolder{Name: vm.Name(e.Name()), Path: filepath.Join(durable, e.Name())}
				byName[e.Name()] = one
			}
			if above == run {
				one.Run = true
				one.Tenant = tenantOf(run, e.Name())
				one.Last = max(one.Last, one.Tenant) // else nobody may remove it
				continue
			}
			one.Folder = true
			identify(one)
		}
	}
	out := make([]vm.FoundFolder, 0, len(byName))
	for _, one := range byName {
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b vm.FoundFolder) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out, nil
}

func tenantOf(run, name string) vm.Incarnation {
	above, err := os.OpenRoot(run)
	if err != nil {
		return 0
	}
	defer above.Close()
	return tenant(above, name)
}

// identify reads whose a folder is and what it holds.
func identify(f *vm.FoundFolder) {
	m, err := ReadManifest(filepath.Join(f.Path, manifestName))
	if err == nil && m.Spec.Name != f.Name {
		err = fmt.Errorf("the manifest in it is of VM %q", m.Spec.Name)
	}
	if err != nil {
		f.Why = vm.OneLine(err.Error(), 0)
	} else {
		f.ID, f.Slot, f.Spec = m.ID, m.Slot, &m.Spec
	}
	for _, in := range []string{f.Path, filepath.Join(f.Path, "disks")} {
		entries, err := os.ReadDir(in)
		if err != nil {
			continue // gone meanwhile, or nothing that it could hold
		}
		for _, e := range entries {
			f.Bytes += allocated(e)
			if match := logName.FindStringSubmatch(e.Name()); match != nil {
				n, _ := strconv.ParseUint(match[1], 10, 64) // the pattern lets nothing else through but what overflows to the highest
				f.Last = max(f.Last, vm.Incarnation(n))
			}
			switch n, ok := host.StateOf(e.Name()); {
			case !ok || in != f.Path:
			case n.Good:
				f.Good = append(f.Good, n.Of)
			default:
				f.Saved = append(f.Saved, n.Of)
			}
		}
	}
}

// allocated is what a file takes on the disk, which for a sparse one is less
// than its length.
func allocated(e fs.DirEntry) vm.Bytes {
	at, err := e.Info()
	if err != nil || !at.Mode().IsRegular() {
		return 0
	}
	if s, ok := at.Sys().(*syscall.Stat_t); ok {
		return vm.Bytes(s.Blocks * 512)
	}
	return vm.Bytes(at.Size())
}

// quarantine is where folders are moved aside, below the state folder: on the
// same file system, so that a move is whole or not at all.
const quarantine = "quarantine"

// Quarantine moves a durable folder aside under the name NAME.UID.TIME (P14).
// It must still be the one that was found: its manifest names the same VM.
func (f *Folders) Quarantine(_ context.Context, found vm.FoundFolder) (string, error) {
	from := filepath.Join(f.State, "vms", string(found.Name))
	doing := "move " + from + " aside"
	if _, err := vm.ParseName(string(found.Name)); err != nil || !plain(string(found.ID)) {
		return "", host.Fail(host.Denied, doing, errors.New("it has no name and uid of a VM"))
	}
	if m, err := ReadManifest(filepath.Join(from, manifestName)); err != nil || m.ID != found.ID {
		return "", host.Fail(host.Denied, doing, fmt.Errorf("it isn't what was found: %w", errors.Join(err, foreign(m, found.ID))))
	}
	aside := filepath.Join(f.State, quarantine)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return "", fail(doing, aside, err)
	}
	name := fmt.Sprintf("%s.%s.%s", found.Name, found.ID, time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := move(from, filepath.Join(aside, name)); err != nil {
		return "", fail(doing, aside, err)
	}
	return name, nil
}

// Restore moves a folder back to its place.
func (f *Folders) Restore(_ context.Context, name string) error {
	doing := "restore " + strconv.Quote(name)
	vmName, _, ok := strings.Cut(name, ".")
	if _, err := vm.ParseName(vmName); err != nil || !ok || !plain(name) {
		return host.Fail(host.Broken, doing, errors.New("that is no name of a folder in quarantine, such as web.0123456789abcdef.20260102T150405Z"))
	}
	from, to := filepath.Join(f.State, quarantine, name), filepath.Join(f.State, "vms", vmName)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return host.Fail(host.Gone, doing, errors.New("nothing of that name is in quarantine"))
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return host.Fail(host.Broken, doing, errors.Join(fmt.Errorf("%s is taken: move it away first", to), err))
	}
	if err := move(from, to); err != nil {
		return fail(doing, to, err)
	}
	return nil
}

// move renames and makes that durable on both sides.
func move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(to), filepath.Dir(from)} {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}
