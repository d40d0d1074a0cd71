// Package process launches VMMs without a service manager: each in a session
// of its own, so that it outlives us (P6), known by proof and not by number.
//
//	Launch ─ sockets, fork, limits ─▶ vmm{pidfd, minder} ─ readable ─▶ reap, Exit, watchers
//	Find   ─ table, hint, one scan ─▶ vmm{pidfd, minder}     (adopted: not our child)
//
// A process is ours if its environment carries our tags and our node's id, it
// leads its own session, and its start time and the boot are the record's. A
// pidfd is opened before that is read and looked at after: while it isn't
// readable its pid can't have been given to another process.
//
// Every VMM has a minder, a goroutine that waits in the runtime's poller: a
// thousand of them cost no thread, and a child that nobody watches is reaped.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// Name is the launcher's name in records.
const Name = "process"

// Config of a launcher.
type Config struct {
	// Node names the state folder that the VMs belong to: two daemons on one
	// machine never touch each other's. Make it random and keep it from other
	// users, as a process that carries it passes for ours.
	Node   string
	BootID vm.BootID
	Lock   string    // file that keeps a second launcher of the node out; empty: none
	Proc   procfs.FS // zero: the kernel's
}

// Launcher is the host.Launcher of one node. Close it to let go of all VMMs.
type Launcher struct {
	config Config
	lock   *os.File

	mu    sync.Mutex
	vms   map[vm.ID]*seat
	byPID map[identity]*vmm
	ended []*vmm // oldest first; kept for those who ask late
	done  bool

	scanGate chan struct{} // holds one value while nobody scans
	scanned  bool          // what lived before us is in the tables; under scanGate
}

// identity is a process's name that is never used twice in one boot.
type identity struct {
	pid       int
	startTime uint64
}

// seat is the place for the one VMM that a VM may have (P1).
type seat struct {
	gate  chan struct{}  // holds one value while nobody launches, finds or kills
	users int            // who hold the gate or wait for it
	final vm.Incarnation // killed up to here: none of these is launched any more
	last  *vmm           // the one that lives, or the last one that did
}

// keptEnded bounds what is remembered of VMMs that are gone.
const keptEnded = 4096

// lockWait is how long a forked child of a daemon that was just killed may
// take to its exec, which is what lets go of the daemon's lock.
const lockWait = 5 * time.Second

var _ host.Launcher = (*Launcher)(nil)

// New makes a launcher. From then on SIGXFSZ is ignored in this process, since
// what is ignored here is ignored in the children: a VMM whose log is full gets
// EFBIG for a write instead of dying of it (P15).
func New(c Config) (*Launcher, error) {
	if c.Node == "" || c.BootID == "" {
		return nil, host.Fail(host.Broken, "make a launcher", errors.New("it needs the node's id and the boot id"))
	}
	if c.Proc.Root == "" {
		c.Proc = procfs.Default
	}
	fd, err := unix.PidfdOpen(os.Getpid(), unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, host.Fail(host.Broken, "open a pidfd (needs Linux 5.10)", err)
	}
	_ = unix.Close(fd)
	if err := mayRead(); err != nil {
		return nil, err
	}
	signal.Ignore(unix.SIGXFSZ)
	l := &Launcher{
		config: c, vms: map[vm.ID]*seat{}, byPID: map[identity]*vmm{}, scanGate: make(chan struct{}, 1),
	}
	l.scanGate <- struct{}{}
	if c.Lock != "" {
		if err := l.takeLock(c.Lock); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// mayRead refuses a root that could not read the tags of another user's VMM:
// after a restart it would take each of them for gone and launch a second (P1).
func mayRead() error {
	if os.Geteuid() != 0 {
		return nil
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&head, &sets[0]); err != nil {
		return host.Fail(host.Broken, "read our capabilities", err)
	}
	if sets[0].Effective&(1<<unix.CAP_SYS_PTRACE) == 0 {
		return host.Fail(host.Denied, "read the environment of VMMs", errors.New("root lacks CAP_SYS_PTRACE: add it, or run as another user"))
	}
	return nil
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
	l.mu.Lock()
	l.done = true
	var all []*vmm
	for _, v := range l.byPID {
		all = append(all, v)
	}
	l.mu.Unlock()
	for _, v := range all {
		v.letGo()
	}
	if l.lock != nil {
		return l.lock.Close()
	}
	return nil
}

// enter waits for the VM's seat, which is held by one caller at a time.
func (l *Launcher) enter(ctx context.Context, id vm.ID) (*seat, error) {
	l.mu.Lock()
	s := l.seat(id)
	s.users++
	l.mu.Unlock()
	select {
	case <-s.gate:
		return s, nil
	case <-ctx.Done():
		l.mu.Lock()
		s.users--
		l.mu.Unlock()
		return nil, host.Fail(host.Transient, "wait for another launch or kill of VM "+string(id), ctx.Err())
	}
}

func (l *Launcher) leave(id vm.ID, s *seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.gate <- struct{}{}
	s.users--
	if s.users == 0 && s.last == nil && s.final == 0 {
		delete(l.vms, id)
	}
}

// seat finds or makes the seat of a VM; l.mu is held.
func (l *Launcher) seat(id vm.ID) *seat {
	s := l.vms[id]
	if s == nil {
		s = &seat{gate: make(chan struct{}, 1)}
		s.gate <- struct{}{}
		l.vms[id] = s
	}
	return s
}

// living is the VMM that has the seat, if it isn't gone. The kernel is asked,
// as the minder may be a moment behind.
func (l *Launcher) living(s *seat) *vmm {
	l.mu.Lock()
	v := s.last
	l.mu.Unlock()
	if v == nil || !v.lives() {
		return nil
	}
	return v
}

// take puts a VMM in the tables. It is nil where the launcher was closed.
func (l *Launcher) take(v *vmm) *vmm {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		v.letGo()
		return nil
	}
	id := identity{v.process.PID, v.process.StartTime}
	if known := l.byPID[id]; known != nil {
		v.letGo()
		return known
	}
	l.byPID[id] = v
	s := l.seat(v.ref.VM)
	if s.last == nil || s.last.isGone() || v.ref.Incarnation >= s.last.ref.Incarnation {
		s.last = v
	}
	go v.mind(l.config.Proc, l.bury)
	return v
}

// bury forgets the oldest of the ended ones when there are too many.
func (l *Launcher) bury(v *vmm) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, v)
	if len(l.ended) <= keptEnded {
		return
	}
	old := l.ended[0]
	l.ended[0] = nil
	l.ended = l.ended[1:]
	delete(l.byPID, identity{old.process.PID, old.process.StartTime})
	if s := l.vms[old.ref.VM]; s != nil && s.last == old && s.users == 0 {
		delete(l.vms, old.ref.VM)
	}
}

func unitName(ref vm.Ref) string {
	return "blixard-" + string(ref.Name) + "-" + fmt.Sprint(ref.Incarnation)
}
