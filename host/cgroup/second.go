package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// second is what version 2 offers.
type second struct {
	base string // the group below which ours are made
	has  map[string]bool
	why  string // why none is made there, although it is mounted
}

// ownLeaf is where the daemon goes to make room: a group of version 2 that
// gives its controllers on may hold no process itself.
const ownLeaf = "blixard-daemon"

// second makes version 2 ready for groups of ours, if it has controllers at all.
func (t *Tree) second(m hierarchies) second {
	out := second{base: m.v2, has: map[string]bool{}}
	if m.v2 == "" {
		return out
	}
	if filepath.Base(out.base) == ownLeaf { // a daemon before us has made room
		out.base = filepath.Dir(out.base)
	}
	offered := 0
	for _, c := range words(filepath.Join(out.base, "cgroup.controllers")) {
		out.has[c] = true
		for _, one := range controllers {
			if one.v2 == c {
				offered++
			}
		}
	}
	if offered == 0 {
		return out
	}
	if err := t.room(&out); err != nil {
		out.why = err.Error()
	}
	return out
}

// room gives the controllers on, down to the folder of this node.
func (t *Tree) room(s *second) error {
	if err := t.delegated(s.base); err != nil {
		return err
	}
	if err := t.vacate(s.base); err != nil {
		return err
	}
	for _, at := range []string{s.base, filepath.Join(s.base, top), filepath.Join(s.base, top, t.node)} {
		if err := t.folders(at); err != nil {
			return err
		}
		for _, c := range controllers {
			if !s.has[c.v2] {
				continue
			}
			if err := write(at, "cgroup.subtree_control", "+"+c.v2); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegated refuses a group that systemd has kept for itself: it may take back
// at any time what others change there.
func (t *Tree) delegated(base string) error {
	if _, err := os.Stat(filepath.Join(t.kernel.root, "/run/systemd/system")); err != nil {
		return nil //nolint:nilerr // no systemd, nobody else's tree
	}
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		mark := make([]byte, 8)
		if n, err := unix.Getxattr(base, name, mark); err == nil && string(mark[:n]) == "1" {
			return nil
		}
	}
	return fmt.Errorf("%s belongs to systemd: use the launcher systemd, or give the daemon's unit Delegate=yes and DelegateSubgroup=%s", base, ownLeaf)
}

// vacate moves the daemon out of the group whose controllers it gives on. The
// machine's own root may hold processes as well. Nobody else is moved.
func (t *Tree) vacate(base string) error {
	if _, err := os.Stat(filepath.Join(base, "cgroup.events")); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	inside := words(filepath.Join(base, "cgroup.procs"))
	if len(inside) == 0 {
		return nil
	}
	self := strconv.Itoa(os.Getpid())
	if len(inside) > 1 || inside[0] != self {
		return fmt.Errorf("%d processes share the daemon's cgroup %s: start it in one of its own", len(inside), base)
	}
	leaf := filepath.Join(base, ownLeaf)
	if err := t.folders(leaf); err != nil {
		return err
	}
	return write(leaf, "cgroup.procs", self)
}

// folders makes a group where there is none; those above it exist.
func (t *Tree) folders(path string) error {
	if unix.Access(path, unix.F_OK) == nil {
		return nil
	}
	if err := t.kernel.mkdir(path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// words of a small file; none where it can't be read.
func words(path string) []string { return strings.Fields(string(read(path))) }

// small is more than the files of a group have; longer lists of processes are
// cut, and asked for again.
const small = 16 << 10

// read is a small file of the kernel's, by itself: os.ReadFile asks for the size
// and the poller first. Empty where it can't be read.
func read(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	text := make([]byte, small)
	n, err := unix.Read(fd, text)
	if err != nil {
		return nil
	}
	return text[:n]
}

// write sets a file of a group, which exists: the kernel makes them.
func write(dir, file, value string) error {
	path := filepath.Join(dir, file)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	_, err = unix.Write(fd, []byte(value))
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}
