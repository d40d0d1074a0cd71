// Package process launches VMMs without a service manager: each in a session
// of its own, so that it outlives us (P6), known by proof and not by number.
//
//	Make ─ sockets, cgroup, fork, limits ─▶ proof.VMM ─ its end ─▶ reap, remove the cgroup
package process

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/cgroup"
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
	hands *maker
	lock  *os.File
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
	hands := &maker{who: who, tree: cgroup.Open(who.Public()[:nodeWord]), groups: map[life]*cgroup.Group{}}
	seats, err := proof.NewSeats(who, hands)
	if err != nil {
		return nil, err
	}
	signal.Ignore(unix.SIGXFSZ)
	l := &Launcher{Seats: seats, hands: hands}
	if c.Lock == "" {
		return l, nil
	}
	if l.lock, err = proof.Lock(c.Lock); err != nil {
		return nil, err
	}
	return l, nil
}

// nodeWord is how much of the node's public name stands in the paths of cgroups:
// enough that two nodes of a machine never meet.
const nodeWord = 12

// Name is "process".
func (l *Launcher) Name() string { return Name }

// Close lets go of every VMM; they live on. Watchers are not called any more.
func (l *Launcher) Close() error {
	l.Seats.Close()
	l.hands.tree.Close()
	if l.lock != nil {
		return l.lock.Close()
	}
	return nil
}
