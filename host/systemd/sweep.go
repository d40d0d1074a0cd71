package systemd

import (
	"context"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

// keepDead is how long systemd keeps a verdict that nobody frees: the units of
// VMs that were stopped, held or removed would else stay until the next boot. A
// daemon that starts asks for its verdicts within moments; afterwards they are
// in our memory.
const keepDead = 10 * time.Minute

// List scans afresh, and frees the units of VMMs that ended long ago.
func (l *Launcher) List(ctx context.Context) ([]vm.FoundVMM, error) {
	found, err := l.Seats.List(ctx)
	if err != nil {
		return nil, err
	}
	_ = l.sweep(ctx, time.Now()) // the next one does what is left
	return found, nil
}

// sweep looks at dead units once they can be old enough.
func (l *Launcher) sweep(ctx context.Context, now time.Time) error {
	conn, err := l.bus.get()
	if err != nil {
		return err
	}
	dead, err := conn.ListUnitsByPatternsContext(ctx, []string{"failed", "exited"}, []string{proof.UnitName("*")})
	if err != nil {
		return err
	}
	next := map[string]time.Time{}
	for _, d := range dead {
		l.mu.Lock()
		due, known := l.due[d.Name]
		l.mu.Unlock()
		if !known || !due.After(now) {
			if due, err = l.bury(ctx, conn, d.Name, now); err != nil {
				return err
			}
		}
		next[d.Name] = due
	}
	l.mu.Lock()
	l.due = next
	l.mu.Unlock()
	return nil
}

// bury frees a unit of ours that has been dead for long, and says when to look again.
func (l *Launcher) bury(ctx context.Context, conn *sd.Conn, name string, now time.Time) (due time.Time, err error) {
	u, err := look(ctx, conn, name)
	if err != nil {
		return now, err
	}
	of, foreign := l.Identity().Parse(u.env)
	e, ended := u.exit()
	if due = e.At.Add(l.keep); foreign != nil || !ended { // P8
		due = now.Add(l.keep)
	}
	if due.After(now) {
		return due, nil
	}
	return now, l.Hold(ctx, of.VM, func() error {
		again, err := look(ctx, conn, name)
		if err != nil || again.mainPID != u.mainPID || !again.dead() {
			return err
		}
		l.Remember(of, e)
		return l.hands.free(ctx, conn, again, "free "+name)
	})
}
