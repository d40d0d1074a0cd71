package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/cgroup"
	"github.com/blixard/blixard/host/inherit"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

// Make makes files, cgroup, process and limits; what it began it takes back.
func (m *maker) Make(_ context.Context, c host.Command, doing string) (*proof.VMM, error) {
	set, err := inherit.Open(c, doing)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	group, err := m.tree.Make(c.Ref, c.Limits)
	if err != nil {
		return nil, host.Fail(host.Transient, doing, err)
	}
	pid, pidfd, err := m.fork(c, set, group)
	if err != nil {
		_ = group.Remove() // what is left is swept
		return nil, host.Fail(inherit.KindOf(err), doing, fmt.Errorf("start %s in %s: %w", c.Argv[0], c.Dir, err))
	}
	v, err := m.begun(c, pid, pidfd)
	if err != nil {
		destroy(pid)
		if v != nil {
			v.LetGo()
		}
		_ = group.Remove()
		return nil, host.Fail(host.Transient, doing, err)
	}
	m.keep(v, group)
	return v, nil
}

// fork starts the process in its cgroup.
func (m *maker) fork(c host.Command, set *inherit.Set, group *cgroup.Group) (pid, pidfd int, err error) {
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if os.Geteuid() == 0 {
		sys.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
		for _, g := range c.Groups { // and no other group
			sys.Credential.Groups = append(sys.Credential.Groups, uint32(g))
		}
	}
	attr := &syscall.ProcAttr{Dir: c.Dir, Env: m.who.Tagged(m.who.Node, c), Files: set.Files(), Sys: sys}
	err = group.Start(func(fd int) error {
		sys.UseCgroupFD, sys.CgroupFD = fd >= 0, fd
		pidfd = -1
		pid, _, err = syscall.StartProcess(c.Argv[0], set.Argv, attr)
		if fd < 0 || !cgroup.CantFork(err) {
			return err
		}
		sys.UseCgroupFD, pidfd = false, -1
		if pid, _, err = syscall.StartProcess(c.Argv[0], set.Argv, attr); err != nil {
			return err
		}
		if err := group.Take(pid); err != nil {
			destroy(pid)
			return err
		}
		return nil
	})
	return pid, pidfd, err
}

// destroy ends a child of ours that nobody has reaped.
func destroy(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	_, _ = unix.Wait4(pid, nil, 0, nil)
}

// begun proves and limits a process that was just made.
func (m *maker) begun(c host.Command, pid, pidfd int) (*proof.VMM, error) {
	stat, err := m.who.Proc.Stat(pid) // a child that has ended stays readable until we reap it
	if err == nil {
		err = limit(pid, c.UID, c.GID, bounds{c.MaxFile, c.MaxCore})
	}
	v, made := proof.NewVMM(c.Ref, m.who.Process(c.Ref, pid, stat.StartTime), pidfd)
	if err == nil && made == nil {
		v.Floor, err = ownPeak()
	}
	return v, errors.Join(err, made)
}

// ownPeak is the most memory that this process ever had, which is in the peak
// of each of its children; see proof.VMM.Reap.
func ownPeak() (vm.Bytes, error) {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return 0, err
	}
	return vm.Bytes(used.Maxrss) * vm.KiB, nil
}
