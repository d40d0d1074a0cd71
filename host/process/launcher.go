// Package process launches VMMs without a service manager: each in a session
// of its own, so that it outlives us (P6), known by proof and not by number.
//
//	Make ─ sockets, fork, limits ─▶ proof.VMM ─ its end ─▶ reap
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

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

// lockWait is how long a forked child of a daemon that was just killed may
// take to its exec, which is what lets go of the daemon's lock.
const lockWait = 5 * time.Second

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
	if err := l.takeLock(c.Lock); err != nil {
		return nil, err
	}
	return l, nil
}

// takeLock keeps a second launcher out. A child that a killed daemon had forked
// but that has not come to its exec carries no tags yet, so no scan could see
// it; it does hold this lock, which its exec closes.
func (l *Launcher) takeLock(path string) error {
	doing := "lock " + path
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return host.Fail(host.Broken, doing, err)
	}
	deadline := time.Now().Add(lockWait)
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			l.lock = file
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			_ = file.Close()
			return host.Fail(host.Broken, doing, fmt.Errorf("another daemon of this node lives: %w", err))
		}
		<-time.After(5 * time.Millisecond)
	}
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
