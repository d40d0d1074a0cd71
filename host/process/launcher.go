// Package process launches VMMs without a service manager: each in a session
// of its own, so that it outlives us (P6), known by proof and not by number.
//
//	Make ─ sockets, fork, limits ─▶ proof.VMM ─ its end ─▶ reap
package process

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

// Name is the launcher's name in records.
const Name = "process"

// Config of a launcher.
type Config struct {
	Node   string // see proof.Identity
	BootID vm.BootID
	Lock   string    // file that keeps a second launcher of the node out; empty: none
	Proc   procfs.FS // zero: the kernel's
}

// Launcher is the host.Launcher of one node. Close it to let go of all VMMs.
type Launcher struct {
	*proof.Seats
	lock *os.File
}

var _ host.Launcher = (*Launcher)(nil)

// New makes a launcher. From then on SIGXFSZ is ignored in this process, since
// what is ignored here is ignored in the children: a VMM whose log is full gets
// EFBIG for a write instead of dying of it (P15).
func New(c Config) (*Launcher, error) {
	if c.Proc.Root == "" {
		c.Proc = procfs.Default
	}
	who := proof.Identity{Node: c.Node, BootID: c.BootID, Proc: c.Proc}
	seats, err := proof.NewSeats(who, maker{who})
	if err != nil {
		return nil, err
	}
	signal.Ignore(unix.SIGXFSZ)
	l := &Launcher{Seats: seats}
	if c.Lock == "" {
		return l, nil
	}
	if l.lock, err = proof.Lock(c.Lock); err != nil {
		return nil, err
	}
	return l, nil
}

// Name is "process".
func (l *Launcher) Name() string { return Name }

// Close lets go of every VMM; they live on. Watchers are not called any more.
func (l *Launcher) Close() error {
	l.Seats.Close()
	if l.lock != nil {
		return l.lock.Close()
	}
	return nil
}

// maker is what this launcher does with its own hands.
type maker struct{ who proof.Identity }

// End reaps.
func (m maker) End(v *proof.VMM) vm.Exit { return v.Reap(m.who.Proc) }

// Settle has nothing to wait for: the lock is ours, so nothing is between fork
// and exec.
func (m maker) Settle(context.Context) error { return nil }

// Clear has nothing to take back: a process leaves nothing.
func (m maker) Clear(context.Context, vm.Ref, string) error { return nil }

// Adopted limits a VMM whose daemon died before it could.
func (m maker) Adopted(v *proof.VMM) {
	uid, gid, err := ownerOf(v.Process.PID)
	if err == nil {
		_ = limit(v.Process.PID, uid, gid, v.MaxFile) // as it was: nothing else can be done
	}
}
