package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// Sweep removes the groups of this node that no live VMM needs: those that a
// daemon left which died before its VMM, or with it. They are ours by their
// place and name; one that isn't empty is kept, the kernel sees to that (P8).
// The first time, those are kept that tell of a kill: whoever makes up for that
// end still asks for it.
func (t *Tree) Sweep() {
	if t == nil || t.held == nil {
		return
	}
	t.mu.Lock()
	first := !t.swept
	t.swept = true
	t.mu.Unlock()
	t.each(func(name string) bool { return !t.holds(name) }, func(name string, dirs []string) {
		if first && t.kills(dirs) {
			return
		}
		t.mu.Lock() // nobody makes a group while its folders go
		defer t.mu.Unlock()
		for _, dir := range dirs {
			if !t.held[name] {
				_ = t.kernel.rmdir(dir) // the next one does what is left
			}
		}
	})
}

func (t *Tree) kills(dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return Read(dir).Kills > 0 })
}

// Starved says whether the kernel killed the VMM of an incarnation while nobody
// looked, by the group that was left.
func (t *Tree) Starved(ref vm.Ref) *vm.OutOfMemory {
	called, err := name(ref)
	if err != nil || t == nil || t.held == nil || t.homes[memory].own == "" {
		return nil
	}
	m := Read(filepath.Join(t.folder(t.homes[memory]), called))
	if m.Kills == 0 {
		return nil
	}
	return OutOfMemory(m, filepath.Join("/", top, t.node, called), "its VMM")
}

// Close removes the folders of this node, unless a VMM lives in one.
func (t *Tree) Close() {
	if t == nil || t.held == nil {
		return
	}
	for _, h := range t.homes {
		if h.own != "" {
			_ = t.remove(t.folder(h)) // not empty: VMMs live on
			_ = t.remove(filepath.Dir(t.folder(h)))
		}
	}
}

// Clear ends what a dead VMM of the incarnation, or of one before it, has left
// behind in its group, and removes that. Repeating it is safe.
func (t *Tree) Clear(ref vm.Ref) error {
	var failed error
	t.each(func(name string) bool { return strings.Contains(name, "."+string(ref.VM)+".") }, func(name string, dirs []string) {
		if of, _ := parse(name); of.VM != ref.VM || of.Incarnation > ref.Incarnation {
			return
		}
		for _, dir := range dirs {
			failed = errors.Join(failed, t.end(dir))
		}
		for _, dir := range dirs {
			failed = errors.Join(failed, t.remove(dir))
		}
		t.hold(name, false)
	})
	return failed
}

// each calls do for every group of this node that is wanted and that its name
// proves ours. There may be thousands of others: want is asked first.
func (t *Tree) each(want func(name string) bool, do func(name string, dirs []string)) {
	if t == nil || t.held == nil {
		return
	}
	found := map[string][]string{}
	seen := map[string]bool{}
	for _, h := range slices.Backward(t.homes[:]) { // tasks first: see end
		at := t.folder(h)
		if h.own == "" || seen[at] {
			continue
		}
		seen[at] = true
		for _, name := range namesIn(at) {
			if !want(name) {
				continue
			}
			if _, ours := parse(name); ours {
				found[name] = append(found[name], filepath.Join(at, name))
			}
		}
	}
	for name, dirs := range found {
		do(name, dirs)
	}
}

// namesIn a folder, in no order; none where it isn't there.
func namesIn(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1) // what was read until then is enough for now
	return names
}

// endsWithin bounds the wait for one killed process: its memory may be large.
const endsWithin = 2 * time.Second

// end kills who is in a group. A pidfd is opened before the group is looked at
// again: who is in it then is who gets the signal (P8). First, nobody there may
// fork any more.
func (t *Tree) end(dir string) error {
	pids := words(filepath.Join(dir, "cgroup.procs"))
	if len(pids) == 0 {
		return nil
	}
	_ = write(dir, "pids.max", "0") // where it is that hierarchy's; the others come empty or are asked again
	var failed error
	for _, word := range pids {
		if pid, err := strconv.Atoi(word); err == nil && pid > 1 {
			failed = errors.Join(failed, t.kill(pid, dir))
		}
	}
	return failed
}

func (t *Tree) kill(pid int, dir string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	if !t.inside(pid, dir) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return err
	}
	for deadline := time.Now().Add(endsWithin); ; {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, time.Until(deadline).Milliseconds())))
		if !errors.Is(err, unix.EINTR) { // else by a signal of the runtime's
			return err
		}
	}
}

func (t *Tree) inside(pid int, dir string) bool {
	in, err := t.kernel.groups(strconv.Itoa(pid))
	if err != nil {
		return false
	}
	for _, path := range in {
		if strings.HasSuffix(path, filepath.Join("/", top, t.node, filepath.Base(dir))) {
			return true
		}
	}
	return false
}

// remove removes one folder. Repeating it is safe.
func (t *Tree) remove(dir string) error {
	if err := t.kernel.rmdir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
