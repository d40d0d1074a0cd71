// Package proof knows which process is which VMM, and keeps one seat for each
// VM. Launchers differ only in how they make a VMM and how they learn of its end.
//
//	Launch ─ hands.Make ─▶ VMM{pidfd, minder} ─ readable ─▶ hands.End, watchers
//	Find   ─ table, hint, one scan ─▶ VMM{pidfd, minder}   (adopted: not our child)
//
// A process is ours if its environment carries our tags and our node's id, it
// leads its own session, and its start time and the boot are the record's. A
// pidfd is opened before that is read and looked at after: while it isn't
// readable its pid can't have been given to another process.
//
// Every VMM has a minder, a goroutine that waits in the runtime's poller: a
// thousand of them cost no thread, and a child that nobody watches is reaped.
package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// Hands are what differs between launchers.
type Hands interface {
	// Make makes the VMM of a checked command, whose VM has none; the seat is
	// held. What it began and can't finish it takes back.
	Make(ctx context.Context, c host.Command, doing string) (*VMM, error)
	// End tells how it ended. It is called once, from the minder.
	End(v *VMM) vm.Exit
	// Clean takes back what a dead VMM held, once its end was told: nobody waits
	// for it. It is called once, from the minder.
	Clean(v *VMM)
	// Adopted is told of each VMM that another life of the daemon made.
	Adopted(v *VMM)
	// Clear takes back what the dead VMM of an incarnation, or of one before it,
	// left; the seat is held. Repeating it is safe: nothing there is success.
	Clear(ctx context.Context, ref vm.Ref, doing string) error
	// Settle waits until a scan can see what another life of the daemon began.
	Settle(ctx context.Context) error
}

// Seats is the part of a launcher that knows who lives. Close it to let go of
// all VMMs.
type Seats struct {
	who   Identity
	hands Hands

	mu    sync.Mutex
	vms   map[vm.ID]*seat
	byPID map[identity]*VMM
	ended []*VMM // oldest first; kept for those who ask late
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
	last  *VMM           // the one that lives, or the last one that did
}

// keptEnded bounds what is remembered of VMMs that are gone.
const keptEnded = 4096

// NewSeats makes empty seats.
func NewSeats(who Identity, hands Hands) (*Seats, error) {
	if who.Node == "" || who.BootID == "" {
		return nil, host.Fail(host.Broken, "make a launcher", errors.New("it needs the node's id and the boot id"))
	}
	if who.Proc.Root == "" {
		who.Proc = procfs.Default
	}
	fd, err := unix.PidfdOpen(os.Getpid(), unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, host.Fail(host.Broken, "open a pidfd (needs Linux 5.10)", err)
	}
	_ = unix.Close(fd)
	if err := mayRead(); err != nil {
		return nil, err
	}
	l := &Seats{who: who, hands: hands, vms: map[vm.ID]*seat{}, byPID: map[identity]*VMM{}, scanGate: make(chan struct{}, 1)}
	l.scanGate <- struct{}{}
	return l, nil
}

// Identity is whose VMMs these are.
func (l *Seats) Identity() Identity { return l.who }

// Remember keeps the end of a VMM that nobody watched.
func (l *Seats) Remember(ref vm.Ref, e vm.Exit) {
	l.bury(Gone(ref, vm.Process{}, e))
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

// Close lets go of every VMM; they live on. Watchers are not called any more.
func (l *Seats) Close() {
	l.mu.Lock()
	l.done = true
	var all []*VMM
	for _, v := range l.byPID {
		all = append(all, v)
	}
	l.mu.Unlock()
	for _, v := range all {
		v.LetGo()
	}
}

// enter waits for the VM's seat, which is held by one caller at a time.
func (l *Seats) enter(ctx context.Context, id vm.ID) (*seat, error) {
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

// Hold calls do while nobody launches, finds or kills the VM.
func (l *Seats) Hold(ctx context.Context, id vm.ID, do func() error) error {
	s, err := l.enter(ctx, id)
	if err != nil {
		return err
	}
	defer l.leave(id, s)
	return do()
}

func (l *Seats) leave(id vm.ID, s *seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.gate <- struct{}{}
	s.users--
	if s.users == 0 && s.last == nil && s.final == 0 {
		delete(l.vms, id)
	}
}

// seat finds or makes the seat of a VM; l.mu is held.
func (l *Seats) seat(id vm.ID) *seat {
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
func (l *Seats) living(s *seat) *VMM {
	l.mu.Lock()
	v := s.last
	l.mu.Unlock()
	if v == nil || !v.lives() {
		return nil
	}
	return v
}

// adopt takes a VMM that we have not launched.
func (l *Seats) adopt(v *VMM) *VMM {
	l.mu.Lock()
	known := l.byPID[identity{v.Process.PID, v.Process.StartTime}]
	l.mu.Unlock()
	if known == nil {
		l.hands.Adopted(v)
	}
	return l.take(v)
}

// take puts a VMM in the tables. It is nil where the launcher was closed.
func (l *Seats) take(v *VMM) *VMM {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		v.LetGo()
		return nil
	}
	id := identity{v.Process.PID, v.Process.StartTime}
	if known := l.byPID[id]; known != nil {
		v.LetGo()
		return known
	}
	l.byPID[id] = v
	s := l.seat(v.Ref.VM)
	if s.last == nil || s.last.isGone() || v.Ref.Incarnation >= s.last.Ref.Incarnation {
		s.last = v
	}
	go func() {
		if v.mind(l.hands.End, l.bury) {
			l.hands.Clean(v)
		}
	}()
	return v
}

// bury forgets the oldest of the ended ones when there are too many.
func (l *Seats) bury(v *VMM) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, v)
	if v.Process.PID != 0 {
		l.byPID[identity{v.Process.PID, v.Process.StartTime}] = v
	}
	if len(l.ended) <= keptEnded {
		return
	}
	old := l.ended[0]
	l.ended[0] = nil
	l.ended = l.ended[1:]
	delete(l.byPID, identity{old.Process.PID, old.Process.StartTime})
	if s := l.vms[old.Ref.VM]; s != nil && s.last == old && s.users == 0 {
		delete(l.vms, old.Ref.VM)
	}
}

func called(ref vm.Ref) string {
	return "blixard-" + string(ref.Name) + "-" + fmt.Sprint(ref.Incarnation)
}
