package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// somewhere is a real group of version 2, made for the test.
func somewhere(t *testing.T) string {
	t.Helper()
	m, err := live.mounted()
	if err != nil {
		t.Fatal(err)
	}
	at := m.v2
	if at == "" {
		t.Skip("version 2 of cgroups isn't mounted here")
	}
	dir := filepath.Join(at, fmt.Sprintf("blixard-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no cgroup can be made here: " + err.Error())
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// begins runs a program in the group, which tells where it began.
func begins(t *testing.T, g *Group) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var pid int
	err = g.Start(func(fd int) error {
		pid, _, err = syscall.StartProcess("/bin/cat", []string{"cat", "/proc/self/cgroup"}, &syscall.ProcAttr{
			Files: []uintptr{0, w.Fd(), w.Fd()}, Sys: &syscall.SysProcAttr{UseCgroupFD: fd >= 0, CgroupFD: fd},
		})
		return err
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 8192)
	n, _ := r.Read(text) // nothing fails the test
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
	return string(text[:n])
}

// Version 2, whatever controllers it has here: the kernel forks into it.
func TestAProcessBeginsInAGroupOfV2(t *testing.T) {
	dir := somewhere(t)
	if told := begins(t, &Group{v2: dir}); !strings.Contains(told, "0::") || !strings.Contains(told, "/"+filepath.Base(dir)+"\n") {
		t.Errorf("it began in %q, not in %s", told, dir)
	}
}

// Where the kernel, or a sandbox around us, can't fork into a group.
func TestAProcessIsTakenIntoAGroupOfV2(t *testing.T) {
	dir := somewhere(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pid, _, err := syscall.StartProcess("/bin/cat", []string{"cat"}, &syscall.ProcAttr{Files: []uintptr{r.Fd(), 2, 2}})
	if err != nil {
		t.Fatal(err)
	}
	g := &Group{v2: dir}
	if err := g.Take(pid); err != nil {
		t.Error(err)
	}
	if in := words(filepath.Join(dir, "cgroup.procs")); len(in) != 1 || in[0] != fmt.Sprint(pid) {
		t.Errorf("it has %v, want %d", in, pid)
	}
	w.Close()
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
	if CantFork(nil) || CantFork(unix.EPERM) || !CantFork(&os.SyscallError{Err: unix.ENOSYS}) {
		t.Error("the errors of a kernel that can't are mistaken")
	}
}

// Whatever this machine has: the process is in all of its groups, and no thread
// of ours stays there.
func TestAProcessBeginsInItsGroup(t *testing.T) {
	tree := Open(fmt.Sprintf("test%d", os.Getpid()))
	defer tree.Close()
	if why := tree.Holding().Tasks; why != "" {
		t.Skip("no cgroup can be made here: " + why)
	}
	for range 5 {
		g, err := tree.Make(ref, limits)
		if err != nil {
			t.Fatal(err)
		}
		told := begins(t, g)
		if n := strings.Count(told, filepath.Join("/", top, tree.node, g.name)+"\n"); n < len(g.dirs()) {
			t.Errorf("it began in %q, not in %q", told, g.dirs())
		}
		for _, dir := range g.dirs() {
			if in := words(filepath.Join(dir, "tasks")); len(in) > 0 {
				t.Errorf("threads %v stayed in %s", in, dir)
			}
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhereTheGroupIsGoneNothingStarts(t *testing.T) {
	started := false
	start := func(int) error { started = true; return nil }
	for _, g := range []*Group{{v2: "/sys/fs/cgroup/none"}, {v1: []string{"/sys/fs/cgroup/none/of/these"}}} {
		if err := g.Start(start); !errors.Is(err, os.ErrNotExist) || started {
			t.Errorf("%+v: %v, started %v", g, err, started)
		}
	}
	var none *Group
	if err := errors.Join(none.Start(start), none.Remove(), none.Take(1)); err != nil || !started {
		t.Errorf("in no group: %v, started %v", err, started)
	}
}
