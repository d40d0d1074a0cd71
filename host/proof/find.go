package proof

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

var errNone = errors.New("no VMM of this incarnation lives")

// Find returns the live VMM of the incarnation: from our tables, else by the
// hint, else from what a scan of all processes found. That scan is made once,
// as nothing carries our tags but what we launch.
func (l *Seats) Find(ctx context.Context, ref vm.Ref, hint *vm.Process) (vm.Process, error) {
	doing := "find the VMM of " + called(ref)
	if ref.BootID != l.who.BootID {
		return vm.Process{}, host.Fail(host.Gone, doing, fmt.Errorf("%w: it was begun in another boot", errNone))
	}
	s, err := l.enter(ctx, ref.VM)
	if err != nil {
		return vm.Process{}, err
	}
	defer l.leave(ref.VM, s)
	v, err := l.find(ctx, s, ref, hint)
	if err != nil {
		return vm.Process{}, host.Fail(host.Transient, doing, err)
	}
	if v == nil {
		return vm.Process{}, host.Fail(host.Gone, doing, errNone)
	}
	return v.Process, nil
}

// find is nil where none lives; the seat is held.
func (l *Seats) find(ctx context.Context, s *seat, ref vm.Ref, hint *vm.Process) (*VMM, error) {
	if v := l.living(s); v != nil && v.Ref.Incarnation == ref.Incarnation {
		return v, nil
	}
	if v := l.hinted(ref, hint); v != nil {
		return v, nil
	}
	if err := l.scanOnce(ctx); err != nil {
		return nil, err
	}
	if v := l.living(s); v != nil && v.Ref.Incarnation == ref.Incarnation {
		return v, nil
	}
	return nil, nil //nolint:nilnil // none is an answer here, not a failure
}

// hinted follows what the record knows. A pid of another boot or another start
// time is another process.
func (l *Seats) hinted(ref vm.Ref, hint *vm.Process) *VMM {
	if hint == nil || hint.PID <= 1 || hint.BootID != l.who.BootID {
		return nil
	}
	v, err := l.who.Prove(hint.PID)
	if err != nil {
		return nil
	}
	if v.Process.StartTime != hint.StartTime || v.Ref.VM != ref.VM || v.Ref.Incarnation != ref.Incarnation {
		v.LetGo()
		return nil
	}
	return l.adopt(v)
}

func (l *Seats) scanOnce(ctx context.Context) error {
	select {
	case <-l.scanGate:
		defer func() { l.scanGate <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.scanned {
		return nil
	}
	err := l.scan(ctx)
	l.scanned = err == nil
	return err
}

// scan takes every VMM of ours into the tables. A process that can't be read
// has ended or is another user's; those whose environment isn't there yet are
// waited for, all together.
func (l *Seats) scan(ctx context.Context) error {
	if err := l.hands.Settle(ctx); err != nil {
		return err
	}
	pids, err := l.who.Proc.PIDs()
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	began := time.Now()
	for len(pids) > 0 {
		elapsed := time.Since(began) // before the reading: each is read once after its patience has passed
		if pids, err = l.sift(ctx, pids, elapsed); err != nil {
			return err
		}
		if len(pids) > 0 {
			<-time.After(reread)
		}
	}
	return nil
}

// sift takes the VMMs among the processes and returns those to look at again.
func (l *Seats) sift(ctx context.Context, pids []int, elapsed time.Duration) (again []int, err error) {
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, patience, err := l.who.glance(pid) // cheap, and nearly all end here
		if err != nil && patience > elapsed {
			again = append(again, pid)
		}
		if err != nil {
			continue
		}
		if v, err := l.who.Prove(pid); err == nil {
			l.adopt(v)
		}
	}
	return again, nil
}

// List scans afresh: the relist is the truth, notices only come sooner.
func (l *Seats) List(ctx context.Context) ([]vm.FoundVMM, error) {
	select {
	case <-l.scanGate:
	case <-ctx.Done():
		return nil, host.Fail(host.Transient, "list VMMs", ctx.Err())
	}
	err := l.scan(ctx)
	l.scanned = l.scanned || err == nil
	l.scanGate <- struct{}{}
	if err != nil {
		return nil, host.Fail(host.Transient, "list VMMs", err)
	}
	l.mu.Lock()
	var all []*VMM
	for _, v := range l.byPID {
		all = append(all, v)
	}
	l.mu.Unlock()
	var out []vm.FoundVMM
	for _, v := range all {
		if v.lives() {
			out = append(out, vm.FoundVMM{Ref: v.Ref, Process: v.Process})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Process.PID < out[j].Process.PID })
	return out, nil
}

// Watch calls ended when the process is gone. Whose exit status the kernel
// doesn't tell is gone with Known false.
func (l *Seats) Watch(p vm.Process, ended func(vm.Exit)) (cancel func()) {
	v := l.known(p)
	if v == nil {
		w := &watcher{ended: ended}
		go w.tell(vm.Exit{At: time.Now()})
		return func() { (&VMM{}).forget(w) }
	}
	w := v.watch(ended)
	return func() { v.forget(w) }
}

// known is the VMM with that proof, living or ended; nil where it is neither
// remembered nor alive.
func (l *Seats) known(p vm.Process) *VMM {
	if p.BootID != l.who.BootID {
		return nil
	}
	l.mu.Lock()
	v := l.byPID[identity{p.PID, p.StartTime}]
	l.mu.Unlock()
	if v != nil {
		return v
	}
	v, err := l.who.Prove(p.PID)
	if err != nil {
		return nil
	}
	if v.Process.StartTime != p.StartTime {
		v.LetGo()
		return nil
	}
	return l.adopt(v)
}

// Kill ends the VMM and waits until it is proved gone: its memory is free and
// its files are closed. Nothing alive is success, so repeating it is safe.
func (l *Seats) Kill(ctx context.Context, ref vm.Ref, hint *vm.Process) error {
	doing := "kill the VMM of " + called(ref)
	if ref.BootID != l.who.BootID {
		return nil
	}
	s, err := l.finish(ctx, ref)
	if err != nil {
		return err
	}
	v, err := l.find(ctx, s, ref, hint)
	l.leave(ref.VM, s)
	if err != nil {
		return host.Fail(host.Transient, doing, err)
	}
	if v != nil {
		if err := v.kill(ctx, doing); err != nil {
			return err
		}
	}
	if s, err = l.enter(ctx, ref.VM); err != nil {
		return err
	}
	defer l.leave(ref.VM, s)
	return l.hands.Clear(ctx, ref, doing)
}

// finish forbids the incarnation before it waits for the seat, so that a launch
// that is under way sees it.
func (l *Seats) finish(ctx context.Context, ref vm.Ref) (*seat, error) {
	l.mu.Lock()
	s := l.seat(ref.VM)
	s.final = max(s.final, ref.Incarnation)
	l.mu.Unlock()
	return l.enter(ctx, ref.VM)
}

func (v *VMM) kill(ctx context.Context, doing string) error {
	var sent error
	if err := v.conn.Control(func(fd uintptr) {
		sent = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) // P8: the pidfd was proved ours
	}); err != nil && v.isGone() {
		return nil
	}
	if errors.Is(sent, unix.EPERM) {
		return host.Fail(host.Denied, doing, sent)
	}
	select {
	case <-v.gone:
		return nil
	case <-ctx.Done():
		return host.Fail(host.Transient, doing, fmt.Errorf("process %d has SIGKILL and still lives: %w", v.Process.PID, ctx.Err()))
	}
}

// Verdict is the wait status of a VMM whose end we saw, or that nobody has
// reaped yet; the kernel remembers no other.
func (l *Seats) Verdict(_ context.Context, ref vm.Ref, _ *vm.Process) (vm.Exit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.ended) - 1; i >= 0; i-- {
		if v := l.ended[i]; v.Ref.VM == ref.VM && v.Ref.Incarnation == ref.Incarnation {
			return v.exit, nil
		}
	}
	return vm.Exit{}, host.Fail(host.Gone, "read the verdict of "+called(ref), errNone)
}
