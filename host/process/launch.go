package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/inherit"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

// Make makes files, process and limits; what it began it takes back.
func (m maker) Make(_ context.Context, c host.Command, doing string) (*proof.VMM, error) {
	set, err := inherit.Open(c, doing)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	pidfd := -1
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if os.Geteuid() == 0 {
		sys.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
		for _, g := range c.Groups { // and no other group
			sys.Credential.Groups = append(sys.Credential.Groups, uint32(g))
		}
	}
	pid, _, err := syscall.StartProcess(c.Argv[0], set.Argv, &syscall.ProcAttr{
		Dir: c.Dir, Env: m.who.Tagged(m.who.Node, c), Files: set.Files(), Sys: sys,
	})
	if err != nil {
		return nil, host.Fail(inherit.KindOf(err), doing, fmt.Errorf("start %s in %s: %w", c.Argv[0], c.Dir, err))
	}
	stat, err := m.who.Proc.Stat(pid) // a child that has ended stays readable until we reap it
	if err == nil {
		err = limit(pid, c.UID, c.GID, c.MaxFile)
	}
	v, made := proof.NewVMM(c.Ref, m.who.Process(c.Ref, pid, stat.StartTime), pidfd)
	if err == nil && made == nil {
		v.Floor, err = ownPeak()
	}
	if err = errors.Join(err, made); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL) // ours until it is reaped
		_, _ = unix.Wait4(pid, nil, 0, nil)
		if v != nil {
			v.LetGo()
		}
		return nil, host.Fail(host.Transient, doing, err)
	}
	return v, nil
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
