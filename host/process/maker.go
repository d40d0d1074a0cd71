package process

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/cgroup"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

// maker is what this launcher does with its own hands.
type maker struct {
	who  proof.Identity
	tree *cgroup.Tree

	mu     sync.Mutex
	groups map[life]*cgroup.Group // of the VMMs that live
}

// life is a process that is no other.
type life struct {
	pid       int
	startTime uint64
}

func lifeOf(v *proof.VMM) life { return life{v.Process.PID, v.Process.StartTime} }

func (m *maker) keep(v *proof.VMM, g *cgroup.Group) {
	if g == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups[lifeOf(v)] = g
}

// End reaps, and asks the cgroup how the VMM ended.
func (m *maker) End(v *proof.VMM) vm.Exit {
	m.mu.Lock()
	g := m.groups[lifeOf(v)]
	m.mu.Unlock()
	victim := m.called(v)
	e := v.Reap(m.who.Proc)
	counted := g.Memory()
	if e.MemoryPeak == 0 {
		e.MemoryPeak = counted.Peak
	}
	if !e.Known || e.Signal == int(unix.SIGKILL) { // any other end is its own, whatever became of a child of it
		e.OOM = g.OutOfMemory(counted, victim)
	}
	return e
}

// Clean removes the cgroup. Where a process is left in it, as of a runner that
// died before its helpers, Clear ends that.
func (m *maker) Clean(v *proof.VMM) {
	m.mu.Lock()
	g := m.groups[lifeOf(v)]
	delete(m.groups, lifeOf(v))
	m.mu.Unlock()
	_ = g.Remove() // what is left is swept
}

// called is a dead process as the kernel's log calls it, as long as nobody has
// reaped it.
func (m *maker) called(v *proof.VMM) string {
	if s, err := m.who.Proc.Stat(v.Process.PID); err == nil && s.StartTime == v.Process.StartTime {
		return fmt.Sprintf("%s, process %d", s.Comm, v.Process.PID)
	}
	return fmt.Sprintf("process %d", v.Process.PID)
}

// Settle has nothing to wait for: the lock is ours, so nothing is between fork
// and exec.
func (m *maker) Settle(context.Context) error { return nil }

// Clear ends what a dead VMM has left in its cgroup, and removes that.
func (m *maker) Clear(_ context.Context, ref vm.Ref, doing string) error {
	if err := m.tree.Clear(ref); err != nil {
		return host.Fail(host.Transient, doing, err)
	}
	return nil
}

// Adopted limits a VMM whose daemon died before it could, and finds its cgroup.
func (m *maker) Adopted(v *proof.VMM) {
	uid, gid, err := ownerOf(v.Process.PID)
	if err == nil {
		_ = limit(v.Process.PID, uid, gid, bounds{v.MaxFile, v.MaxCore}) // as it was: nothing else can be done
	}
	m.keep(v, m.tree.Of(v.Process.PID, v.Ref))
}

// Holding is what cgroups can hold here.
func (l *Launcher) Holding() vm.Holding { return l.hands.tree.Holding() }

// Verdict is what we saw ourselves or, of a VMM that the kernel killed for want
// of memory while no daemon looked, what its cgroup has kept.
func (l *Launcher) Verdict(ctx context.Context, ref vm.Ref, hint *vm.Process) (vm.Exit, error) {
	seen, err := l.Seats.Verdict(ctx, ref, hint)
	if err == nil && (seen.Known || seen.OOM != nil) {
		return seen, nil
	}
	if o := l.hands.tree.Starved(ref); o != nil {
		return vm.Exit{At: time.Now(), OOM: o}, nil
	}
	return seen, err
}

// List scans afresh, and removes the cgroups that a daemon left which died with
// its VMMs.
func (l *Launcher) List(ctx context.Context) ([]vm.FoundVMM, error) {
	found, err := l.Seats.List(ctx)
	if err != nil {
		return nil, err
	}
	l.hands.tree.Sweep()
	return found, nil
}
