package folders

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// The kernel puts the core of a VMM into its working directory, with the VMM's
// own rights, so that it has to be one in which the VMM may make files:
//
//	Prepare N    makes core-N/, 0730 root:VMM; seals those of earlier incarnations: 0700 root
//	the kernel   core-N/core
//	Keep of N    ─▶ crashes/7.tmp/vmm.core ─▶ crashes/7/vmm.core; then core-N/ and all earlier ones go
//
// Whatever else a VMM that was taken over puts there is junk and goes with the
// folder. Nothing of that is done on the way to a start but what takes no time.
const (
	coreName = "vmm.core"
	coreMode = 0o730

	// keptCores is how many folders of earlier incarnations may wait for the bundles
	// of their deaths: a crash loop that is faster than those fills no disk.
	keptCores = 3
	// coreLook is how many names are looked at: an honest kernel makes one.
	coreLook = 64
	// coreFar is how long a core may be, most of which are holes: what is above it no
	// VMM of ours has made.
	coreFar = 2 * vm.GiB
)

var coreFolder = regexp.MustCompile(`^core-([1-9][0-9]{0,18})$`)

func incarnationOf(name string) (vm.Incarnation, bool) {
	match := coreFolder.FindStringSubmatch(name)
	if match == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(match[1], 10, 64)
	return vm.Incarnation(n), err == nil
}

// makeCore makes the folder of this incarnation's core.
func makeCore(place *os.Root, at host.Paths, r vm.Record, gid int) error {
	if !r.Spec.Dump.Core {
		return nil
	}
	name := filepath.Base(at.Core)
	err := place.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		_, err = dirAt(place, name)
	}
	if err == nil {
		err = errors.Join(place.Lchown(name, os.Geteuid(), gid), place.Chmod(name, coreMode))
	}
	if err != nil {
		return fail("make folder "+at.Core, at.Folder, err)
	}
	return nil
}

// sealCores takes the folders of earlier incarnations out of the next VMM's hands,
// which has the same user, and removes those that no bundle is to come for, or that
// are too many. What can't be removed in no time is left to the next bundle's writing.
func sealCores(names []string, place *os.Root, at host.Paths, r vm.Record, wanted func(vm.ID, vm.Incarnation) bool) error {
	newest, old := r.State.Incarnation, []vm.Incarnation(nil)
	for _, name := range names {
		if n, ok := incarnationOf(name); ok && n < newest && place.Remove(name) != nil {
			old = append(old, n)
		}
	}
	slices.Sort(old)
	for i, n := range old {
		name := fmt.Sprintf("core-%d", n)
		if err := sealCore(place, name); err != nil {
			return fail("seal "+name, at.Folder, err)
		}
		if (i < len(old)-keptCores || !wanted(r.ID, n)) && emptyCore(place, name, coreLook) == nil {
			_ = place.Remove(name)
		}
	}
	return nil
}

func sealCore(place *os.Root, name string) error {
	at, err := dirAt(place, name)
	if err != nil || at.Mode().Perm() == 0o700 {
		return err
	}
	return errors.Join(place.Chmod(name, 0o700), place.Lchown(name, os.Geteuid(), os.Getegid()))
}

// emptyCore removes that many names in the folder, and files alone.
func emptyCore(place *os.Root, name string, most int) error {
	in, err := openBundle(place, name)
	if err != nil {
		return err
	}
	defer in.Close()
	inside, err := someNames(in, most)
	for _, one := range inside {
		err = errors.Join(err, in.Remove(one))
	}
	return err
}

func someNames(in *os.Root, most int) ([]string, error) {
	d, err := in.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(most)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// CorePattern is what the kernel does with cores.
func CorePattern() string {
	b, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		return "core" // as every kernel has it from the start
	}
	return strings.TrimSpace(string(b))
}

// CoreElsewhere says where the core of a process goes with that core_pattern, and
// how a person gets at it; empty: into the process's working directory, where it
// is found. pid is a number, or what stands for it.
func CoreElsewhere(pattern, pid string) string {
	program, piped := strings.CutPrefix(pattern, "|")
	program, _, _ = strings.Cut(program, " ")
	switch {
	case piped && filepath.Base(program) == "systemd-coredump":
		return "systemd-coredump has taken it: coredumpctl info " + pid
	case piped:
		return fmt.Sprintf("the kernel has handed it to %.200q", program)
	case strings.HasPrefix(pattern, "@"):
		return fmt.Sprintf("the kernel has handed it to the socket %.200q", strings.TrimLeft(pattern, "@"))
	case strings.HasPrefix(pattern, "/"):
		return fmt.Sprintf("the kernel was to write it to %.200q", pattern)
	case pattern == "" || strings.Contains(pattern, "/"):
		return fmt.Sprintf("the kernel's core_pattern is %.200q, by which it makes none for a VMM", pattern)
	}
	return ""
}

// takeCore moves the core of this death's VMM into the bundle, or says why not. It
// is looked for where the exit tells of one, or can't be known.
func (w *bundleWriter) takeCore() error {
	x := w.b.Crash.Failure.Exit
	if x == nil || x.Known && !x.Core { // it lives, or left none
		return nil
	}
	pattern := w.f.bundles.pattern
	if pattern == "" {
		pattern = CorePattern()
	}
	if away := CoreElsewhere(pattern, pidWord(w.b.PID)); away != "" {
		if x.Core {
			w.b.Core = &vm.Core{Why: away}
		}
		return nil
	}
	size, err := w.moveCore()
	switch {
	case err == nil:
		w.b.Core = &vm.Core{Bytes: size}
	case errors.Is(err, fs.ErrNotExist) && !x.Core:
	default: // a bundle without it is better than none
		w.b.Core = &vm.Core{Why: fmt.Sprintf("the core in %s can't be taken: %v", filepath.Base(w.at.Core), err)}
	}
	return nil
}

func pidWord(pid int) string {
	if pid <= 0 {
		return "PID"
	}
	return strconv.Itoa(pid)
}

// moveCore proves the file before it has its new name, and after: until the folder
// was sealed, a VMM of the same user may have had its hands in it.
func (w *bundleWriter) moveCore() (vm.Bytes, error) {
	place, err := os.OpenRoot(w.at.Folder)
	if err != nil {
		return 0, err
	}
	defer place.Close()
	folder := filepath.Base(w.at.Core)
	if err := sealCore(place, folder); err != nil {
		return 0, err
	}
	in, err := openBundle(place, folder)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	uid, _ := w.f.Owners.Of(w.ref.Slot)
	name, file, err := findCore(in, uid)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	to := path.Join(bundlesName, w.try, coreName)
	if err := place.Rename(path.Join(folder, name), to); err != nil {
		return 0, err
	}
	was, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if now, err := w.in.Lstat(coreName); err != nil || !os.SameFile(was, now) {
		return 0, errors.Join(errors.New("somebody has put something else in its place"), err, w.in.RemoveAll(coreName))
	}
	if err := errors.Join(file.Chown(os.Geteuid(), os.Getegid()), file.Chmod(0o600)); err != nil {
		return 0, err
	}
	return held(coreName, was), nil
}

// findCore opens the newest file of a sealed folder that the kernel can have made.
func findCore(in *os.Root, uid int) (name string, file *os.File, err error) {
	names, err := someNames(in, coreLook)
	if err != nil {
		return "", nil, err
	}
	slices.Sort(names)
	why := fs.ErrNotExist
	var last fs.FileInfo
	for _, one := range names {
		found, at, err := openCore(in, one, uid)
		if err != nil {
			why = fmt.Errorf("%.60q: %w", one, err)
			continue
		}
		if last != nil && !at.ModTime().After(last.ModTime()) {
			_ = found.Close()
			continue
		}
		if file != nil {
			_ = file.Close()
		}
		name, file, last = one, found, at
	}
	if file == nil {
		return "", nil, why
	}
	return name, file, nil
}

var (
	errNoCore    = errors.New("it is no core")
	errManyNames = errors.New("it has other names elsewhere")
	errTooFar    = fmt.Errorf("it is longer than %s", coreFar)
	errOtherUser = errors.New("it isn't of its VMM's user")
)

func openCore(in *os.Root, name string, uid int) (*os.File, fs.FileInfo, error) {
	file, _, err := openPlain(in, name)
	if err != nil {
		return nil, nil, err
	}
	at, err := coreAt(file, uid)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, at, nil
}

// coreAt looks at an open file. It is ours already where an earlier try has had it.
func coreAt(file *os.File, uid int) (fs.FileInfo, error) {
	at, err := file.Stat()
	if err != nil {
		return nil, err
	}
	s, ok := at.Sys().(*syscall.Stat_t)
	switch {
	case !ok || int(s.Uid) != uid && int(s.Uid) != os.Geteuid():
		return nil, errOtherUser
	case s.Nlink != 1:
		return nil, errManyNames
	case vm.Bytes(at.Size()) > coreFar:
		return nil, errTooFar
	}
	head := make([]byte, 18)
	if _, err := file.ReadAt(head, 0); err != nil || string(head[:4]) != "\x7fELF" || binary.NativeEndian.Uint16(head[16:]) != 4 { // ET_CORE
		return nil, errNoCore
	}
	return at, nil
}

// leaveCore puts a core that a try has taken back where it was.
func (w *bundleWriter) leaveCore() error {
	return errors.Join(w.inFolder(func(place *os.Root) error {
		return place.Rename(path.Join(bundlesName, w.try, coreName), path.Join(filepath.Base(w.at.Core), coreName))
	}))
}

// dropCores removes the folders of this death's VMM, if it has ended, and of all
// before it: nobody else wants what is in them.
func (w *bundleWriter) dropCores() {
	of := w.death().incarnation
	_ = w.inFolder(func(place *os.Root) error {
		names, err := namesIn(place)
		for _, name := range names {
			if n, ok := incarnationOf(name); ok && (n < of || n == of && w.b.Crash.Failure.Exit != nil) {
				err = errors.Join(err, dropCore(place, name))
			}
		}
		return err
	})
}

// dropCore removes such a folder. A VMM may have nested others in it, deeper than
// this daemon may have files open: what is in one is lifted out of it first.
func dropCore(place *os.Root, name string) error {
	in, err := openBundle(place, name)
	if err != nil {
		return place.RemoveAll(name) // gone, or no folder
	}
	defer in.Close()
	for n := 0; ; {
		names, err := someNames(in, coreLook)
		if err != nil || len(names) == 0 {
			return errors.Join(err, place.Remove(name))
		}
		for _, one := range names {
			switch err := in.Remove(one); {
			case errors.Is(err, unix.ENOTEMPTY):
				if err := lift(in, one, &n); err != nil {
					return err
				}
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return err
			}
		}
	}
}

// lift moves what is in a folder out of it. A name that a VMM has taken is left
// for the next one.
func lift(in *os.Root, name string, n *int) error {
	from, err := openBundle(in, name)
	if err != nil {
		return err
	}
	defer from.Close()
	names, err := someNames(from, coreLook)
	for _, one := range names {
		*n++
		_ = in.Rename(path.Join(name, one), fmt.Sprintf("lifted-%d", *n))
	}
	return err
}

func (w *bundleWriter) inFolder(do func(place *os.Root) error) error {
	place, err := os.OpenRoot(w.at.Folder)
	if err != nil {
		return err
	}
	return errors.Join(do(place), place.Close())
}

// held is what a file of a bundle holds of the disk: most of a core are holes.
func held(name string, at fs.FileInfo) vm.Bytes {
	if s, ok := at.Sys().(*syscall.Stat_t); ok && name == coreName {
		return vm.Bytes(s.Blocks) * 512
	}
	return vm.Bytes(at.Size())
}
