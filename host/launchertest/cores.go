package launchertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// faults is a VMM that crashes once the file is there.
func (w *World) faults(i int, most vm.Bytes, when string) host.Command {
	c := w.Sh(i, 1, `until [ -e "$1" ]; do sleep 0.02; done; kill -SEGV $$; sleep 1`, when)
	c.Dir = filepath.Join(w.Dir, fmt.Sprintf("core-%d", i))
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		w.T.Fatal(err)
	}
	if err := os.Chown(c.Dir, os.Geteuid(), c.GID); err != nil {
		w.T.Fatal(err)
	}
	if err := os.Chmod(c.Dir, 0o730); err != nil { //nolint:gosec // the VMM's group, which nobody else is in, puts its core there
		w.T.Fatal(err)
	}
	c.MaxCore, c.Needs.Writable = most, []string{c.Dir}
	return c
}

// aCoreIsLeftWhereItWasAskedFor also by a VMM whose daemon died. A process runs
// for a moment before it has its limits, so none crashes before it is launched.
func aCoreIsLeftWhereItWasAskedFor(w *World) {
	when := filepath.Join(w.Dir, "now")
	with, adopted, without := w.faults(1, vm.GiB, when), w.faults(2, vm.GiB, when), w.faults(3, 0, when)
	p := w.Launch(adopted)
	w.Restart()
	if found, err := w.L.List(w.T.Context()); err != nil || len(found) != 1 {
		w.T.Fatalf("listed %v, %v", found, err)
	}
	launched, unasked := w.Launch(with), w.Launch(without)
	if err := os.WriteFile(when, nil, 0o600); err != nil {
		w.T.Fatal(err)
	}
	if e := w.Exit(unasked); !e.Known || e.Signal != int(unix.SIGSEGV) || e.Core || len(w.inside(without.Dir)) != 0 {
		w.T.Errorf("nobody asked for the core of %+v, which left %q", e, w.inside(without.Dir))
	}
	for _, one := range []struct {
		story string
		exit  vm.Exit
		dir   string
	}{{"launched", w.Exit(launched), with.Dir}, {"adopted", w.Exit(p), adopted.Dir}} {
		if e := one.exit; e.Known && (!e.Core || e.Signal != int(unix.SIGSEGV)) {
			w.T.Errorf("%s: it ended with %+v", one.story, e)
		}
		if !coresAreFiles() {
			w.T.Log("not looked for: this machine's kernel puts cores elsewhere")
			continue
		}
		left := w.inside(one.dir)
		if len(left) != 1 {
			w.T.Errorf("%s: it left %q", one.story, left)
			continue
		}
		head := make([]byte, 4)
		file, err := os.Open(filepath.Join(one.dir, left[0]))
		if err != nil {
			w.T.Fatal(err)
		}
		if _, err := file.Read(head); err != nil || string(head) != "\x7fELF" {
			w.T.Errorf("%s: the core begins with %q, %v", one.story, head, err)
		}
		_ = file.Close()
	}
}

// coresAreFiles says whether the kernel writes cores into working directories.
func coresAreFiles() bool {
	b, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	pattern := strings.TrimSpace(string(b))
	return err == nil && pattern != "" && !strings.ContainsAny(pattern, "|@/")
}

func (w *World) inside(dir string) (names []string) {
	all, err := os.ReadDir(dir)
	if err != nil {
		w.T.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}
