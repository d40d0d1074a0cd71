package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Start calls start in a way that what it forks is in the group before its first
// instruction. fd is for SysProcAttr.CgroupFD; below zero: not needed.
//
// In version 1 a thread may be in other groups than its process, and a child
// begins where the thread is that forks it. Memory is counted for the process
// that a page belongs to, so nothing of the daemon is counted there. The thread
// writes about itself, for which the kernel stops nobody else: it takes some
// microseconds, where moving a child that runs takes a lock on all forks of the
// machine and comes too late for what the child did meanwhile.
func (g *Group) Start(start func(fd int) error) error {
	if g == nil {
		return start(-1)
	}
	fd := -1
	if g.v2 != "" {
		var err error
		if fd, err = unix.Open(g.v2, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return &os.PathError{Op: "open", Path: g.v2, Err: err}
		}
		defer func() { _ = unix.Close(fd) }()
	}
	if len(g.v1) == 0 {
		return start(fd)
	}
	done := make(chan error, 1)
	go func() { done <- g.inside(func() error { return start(fd) }) }()
	return <-done
}

// inside is the caller's thread in the groups of version 1, and back.
func (g *Group) inside(do func() error) (err error) {
	runtime.LockOSThread() // new threads of the runtime are forked by another one meanwhile
	var back []string
	for _, dir := range g.v1 {
		if err = joins(dir); err != nil {
			break
		}
		back = append(back, filepath.Dir(filepath.Dir(filepath.Dir(dir))))
	}
	if err == nil {
		err = do()
	}
	stuck := false
	for _, dir := range back {
		stuck = joins(dir) != nil || stuck
	}
	if !stuck { // else the thread ends with this goroutine, and with it what it holds
		runtime.UnlockOSThread()
	}
	return err
}

// joins moves this thread. "0" is who writes it.
func joins(dir string) error { return write(dir, "tasks", "0") }

// Take moves a process that runs already into the group of version 2: for
// kernels and sandboxes that can't fork into one. What it did until then is not
// counted.
func (g *Group) Take(pid int) error {
	if g == nil || g.v2 == "" {
		return nil
	}
	return write(g.v2, "cgroup.procs", strconv.Itoa(pid))
}

// CantFork says that the kernel refused to fork into a group, and nothing else is wrong.
func CantFork(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.E2BIG)
}
