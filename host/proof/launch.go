package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/inherit"
	"github.com/blixard/blixard/vm"
)

// Launch starts the command, unless its incarnation lives already. Another
// incarnation of the VM that still lives is a refusal (P1).
func (l *Seats) Launch(ctx context.Context, c host.Command) (vm.Process, error) {
	doing := "launch " + called(c.Ref)
	if err := l.check(c); err != nil {
		return vm.Process{}, host.Fail(host.Broken, doing, err)
	}
	s, err := l.enter(ctx, c.Ref.VM)
	if err != nil {
		return vm.Process{}, err
	}
	defer l.leave(c.Ref.VM, s)
	if err := l.scanOnce(ctx); err != nil {
		return vm.Process{}, host.Fail(host.Transient, doing, err)
	}
	if l.isFinal(s, c.Ref) {
		return vm.Process{}, host.Fail(host.Gone, doing, errFinal)
	}
	if v := l.living(s); v != nil { // P1
		if v.Ref.Incarnation == c.Ref.Incarnation {
			return v.Process, nil
		}
		return vm.Process{}, host.Fail(host.Transient, doing,
			fmt.Errorf("incarnation %d lives as process %d", v.Ref.Incarnation, v.Process.PID))
	}
	if err := ctx.Err(); err != nil {
		return vm.Process{}, host.Fail(host.Transient, doing, err)
	}
	v, err := l.hands.Make(ctx, c, doing)
	if err != nil {
		return vm.Process{}, err
	}
	if v.isGone() {
		l.bury(v)
		return v.Process, nil
	}
	if v = l.take(v); v == nil {
		return vm.Process{}, host.Fail(host.Transient, doing, errors.New("the launcher was closed; the VMM lives"))
	}
	if l.isFinal(s, c.Ref) { // killed while it was being made
		if err := v.kill(ctx, doing); err != nil {
			return vm.Process{}, err
		}
		return vm.Process{}, host.Fail(host.Gone, doing, errFinal)
	}
	return v.Process, nil
}

var errFinal = errors.New("this incarnation was killed")

func (l *Seats) isFinal(s *seat, ref vm.Ref) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ref.Incarnation <= s.final
}

// check refuses what would make a VMM that can't be found again, or one with
// more rights than it needs.
func (l *Seats) check(c host.Command) error {
	switch {
	case c.Ref.BootID != l.who.BootID:
		return fmt.Errorf("it was begun in boot %q, this is %q", c.Ref.BootID, l.who.BootID)
	case c.Ref.VM == "" || c.Ref.Incarnation == 0:
		return errors.New("a launch needs a VM and an incarnation")
	case len(c.Argv) == 0 || !filepath.IsAbs(c.Argv[0]):
		return fmt.Errorf("%q names no program by an absolute path", c.Argv)
	case os.Geteuid() == 0 && (c.UID <= 0 || c.GID <= 0):
		return fmt.Errorf("it would run as %d:%d; a VMM gets an unprivileged user", c.UID, c.GID)
	}
	if err := inherit.Check(c); err != nil {
		return err
	}
	_, err := vm.ParseName(string(c.Ref.Name))
	return err
}
