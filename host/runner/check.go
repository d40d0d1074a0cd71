package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/blixard/blixard/host"
)

// scripts of a runner that we call; only the first must be there.
var scripts = []string{"bin/microvm-run", "bin/microvm-shutdown", "bin/tap-up", "bin/tap-down"}

// unsupported parts of a runner, and what to do without them. Each needs
// processes or devices of root beside the VMM, which nothing supervises yet.
var unsupported = []struct{ path, why string }{
	{"bin/virtiofsd-run", "shares by virtiofsd aren't served: build it with 9p shares, or with the store on a disk"},
	{"share/microvm/virtiofs", "shares by virtiofsd aren't served: build it with 9p shares, or with the store on a disk"},
	{"bin/macvtap-up", "macvtap links aren't made: build it with tap interfaces"},
	{"share/microvm/macvtap-interfaces", "macvtap links aren't made: build it with tap interfaces"},
	{"bin/pci-setup", "PCI devices aren't passed through: build it without them"},
	{"share/microvm/pci-devices", "PCI devices aren't passed through: build it without them"},
}

// Check says whether a folder is a runner that may be run, and where it really
// is. Whoever can change its scripts rules the VM, and by bin/tap-up the
// machine: so each must belong to root (or to us), and so must every link and
// folder on the way there. All that is wrong is told at once, as Broken.
func Check(dir string) (built string, err error) {
	doing := "check the runner " + dir
	if !filepath.IsAbs(dir) {
		return "", host.Fail(host.Broken, doing, errors.New("its path isn't absolute"))
	}
	built, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fail(doing, err)
	}
	if at, err := os.Stat(built); err != nil || !at.IsDir() {
		return "", host.Fail(host.Broken, doing, errors.New("it is no folder"))
	}
	var wrong []string
	for i, name := range scripts {
		why := judge(filepath.Join(built, name))
		if why != "" && (i == 0 || why != missing) {
			wrong = append(wrong, name+" "+why)
		}
	}
	for _, u := range unsupported {
		if _, err := os.Stat(filepath.Join(built, u.path)); err == nil {
			wrong = append(wrong, "it has "+u.path+", but "+u.why)
		}
	}
	if len(wrong) > 0 {
		return "", host.Fail(host.Broken, doing, errors.New(strings.Join(wrong, "; ")))
	}
	return built, nil
}

const missing = "is missing"

// judge says in a few words what is wrong with a script, following links.
func judge(path string) string {
	parts, err := way(path)
	if errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	if err != nil {
		return fmt.Sprintf("can't be followed: %v", err)
	}
	at, err := os.Stat(parts[len(parts)-1])
	switch {
	case err != nil:
		return fmt.Sprintf("can't be read: %v", err)
	case !at.Mode().IsRegular():
		return "is no file"
	case at.Mode().Perm()&0o005 != 0o005:
		return fmt.Sprintf("may not be read and run by a VM's user (mode %04o)", at.Mode().Perm())
	}
	for _, part := range slices.Backward(parts) {
		if why := exposed(part); why != "" {
			return "isn't safe: " + why
		}
	}
	return ""
}

// maxLinks is how many links of a way are followed, as many as the kernel does.
const maxLinks = 40

// way is every folder and link that a path leads through, and at last the file
// that it leads to: whoever can change one of them decides what the path means,
// also where the file itself is root's.
func way(path string) ([]string, error) {
	at, left := "/", strings.Split(path, "/")
	out := []string{at}
	for links := 0; len(left) > 0; {
		next := filepath.Join(at, left[0])
		left = left[1:]
		if next == at {
			continue
		}
		out = append(out, next)
		to, err := os.Readlink(next)
		if errors.Is(err, syscall.EINVAL) { // it is no link
			at = next
			continue
		}
		if err != nil {
			return nil, err
		}
		if links++; links > maxLinks {
			return nil, &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		left = append(strings.Split(to, "/"), left...)
	}
	return append(out, at), nil
}

// exposed says how somebody else than root and us could change a file, link or
// folder, or why a VM's user can't pass it. In a sticky folder, as /nix/store
// or /tmp, nobody replaces what is another's. A link's own mode means nothing.
func exposed(path string) string {
	at, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	s, ok := at.Sys().(*syscall.Stat_t)
	mode := at.Mode()
	switch {
	case !ok:
		return "the owner of " + path + " isn't known"
	case s.Uid != 0 && int(s.Uid) != os.Geteuid():
		return fmt.Sprintf("%s belongs to user %d, not to root", path, s.Uid)
	case mode.Perm()&0o022 != 0 && mode&(os.ModeSticky|os.ModeSymlink) == 0:
		return fmt.Sprintf("others may write to %s (mode %04o)", path, mode.Perm())
	case mode.IsDir() && os.Geteuid() == 0 && mode.Perm()&0o001 == 0:
		return fmt.Sprintf("a VM's user can't pass %s (mode %04o)", path, mode.Perm())
	}
	return ""
}
