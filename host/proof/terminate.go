package proof

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Terminate asks the VMM to end; see host.Launcher. It holds the seat only to
// find the process: the pidfd proves the rest.
func (l *Seats) Terminate(ctx context.Context, ref vm.Ref, hint *vm.Process) error {
	doing := "ask the VMM of " + called(ref) + " to end"
	if ref.BootID != l.who.BootID {
		return nil
	}
	s, err := l.enter(ctx, ref.VM)
	if err != nil {
		return err
	}
	v, err := l.find(ctx, s, ref, hint)
	l.leave(ref.VM, s)
	if err != nil {
		return host.Fail(host.Transient, doing, err)
	}
	if v == nil {
		return nil
	}
	var sent error
	err = v.conn.Control(func(fd uintptr) {
		sent = unix.PidfdSendSignal(int(fd), unix.SIGTERM, nil, 0) // P8: the pidfd was proved ours
	})
	switch err = errors.Join(err, sent); {
	case err == nil, !v.lives():
		return nil
	case errors.Is(err, unix.EPERM):
		return host.Fail(host.Denied, doing, err)
	}
	return host.Fail(host.Transient, doing, err)
}
