package fake

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

type launcher struct{ d *Daemon }

var errNone = errors.New("no such VMM")

func (l launcher) Name() string { return "fake" }

// Launch may fail before, or, as a late failure, after the process exists.
func (l launcher) Launch(ctx context.Context, c host.Command) (vm.Process, error) {
	if err := l.d.call(ctx, "launch "+string(c.Ref.Name), l.d.faults().Launch); err != nil {
		return vm.Process{}, err
	}
	w := l.d.world
	if w.watch.Launching != nil && l.launches(c.Ref) {
		w.watch.Launching(c.Ref)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.d.dead() {
		return vm.Process{}, host.Fail(host.Transient, "launch", errDead)
	}
	if w.barred[c.Ref.VM] >= c.Ref.Incarnation {
		return vm.Process{}, host.Fail(host.Gone, "launch", errors.New("this incarnation was killed"))
	}
	for _, p := range w.named[c.Ref.Name] {
		if p.ref == c.Ref {
			return p.process, nil
		}
		if p.ref.VM == c.Ref.VM {
			w.promise("P1", "%s: incarnation %d launched while %d lives", c.Ref.Name, c.Ref.Incarnation, p.ref.Incarnation)
		}
	}
	if err := w.plugged(c); err != nil {
		return vm.Process{}, host.Fail(host.Transient, "launch", err)
	}
	if c.Limits.Memory <= 0 || c.Limits.Tasks <= 0 {
		w.promise("P12", "%s/%d is launched without a limit: %+v", c.Ref.Name, c.Ref.Incarnation, c.Limits)
	}
	delete(w.verdicts, c.Ref.VM)
	p := w.start(c.Ref, len(c.Files) > 0)
	p.limits, p.argv, p.cores = c.Limits, c.Argv, c.MaxCore > 0
	if err := w.loadInto(p, c); err != nil {
		p.end(vm.Exit{}, false)
		return vm.Process{}, host.Fail(host.Broken, "launch", err)
	}
	w.story("process %s/%d launched as %d", c.Ref.Name, c.Ref.Incarnation, p.process.PID)
	if w.chance("late launch "+string(c.Ref.Name), w.faults.LateLaunch) {
		return vm.Process{}, host.Fail(host.Transient, "launch", errors.New("failed after the process began"))
	}
	return p.process, nil
}

// launches says whether a launch would make a process. Who watches is told
// without the world's lock, for he looks at the world under a lock of his own.
func (l launcher) launches(ref vm.Ref) bool {
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	return !l.d.dead() && w.barred[ref.VM] < ref.Incarnation && w.find(ref) == nil
}

func (l launcher) Find(ctx context.Context, ref vm.Ref, _ *vm.Process) (vm.Process, error) {
	if err := l.d.call(ctx, "find "+string(ref.Name), l.d.faults().Find); err != nil {
		l.d.world.hinder(ref)
		return vm.Process{}, err
	}
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.find(ref); p != nil {
		return p.process, nil
	}
	return vm.Process{}, host.Fail(host.Gone, "find", errNone)
}

func (w *World) find(ref vm.Ref) *process {
	for _, p := range w.named[ref.Name] {
		if p.ref.VM == ref.VM && p.ref.Incarnation == ref.Incarnation {
			return p
		}
	}
	return nil
}

// Watch tells of the end of a live process, and at once of one that is gone.
func (l launcher) Watch(proc vm.Process, ended func(vm.Exit)) func() {
	l.d.bug("watch")
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	one := &watcher{daemon: l.d, ended: ended}
	p, ok := w.live[proc.PID]
	if !ok {
		go one.tell(vm.Exit{}, false)
		return func() {}
	}
	p.watchers[one] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(p.watchers, one)
	}
}

func (l launcher) Kill(ctx context.Context, ref vm.Ref, _ *vm.Process) error {
	if err := l.d.call(ctx, "kill "+string(ref.Name), l.d.faults().Kill); err != nil {
		return err
	}
	w := l.d.world
	w.mu.Lock()
	dead, alive := l.d.dead(), w.find(ref) != nil
	w.mu.Unlock()
	if w.watch.Killing != nil && !dead {
		w.watch.Killing(ref, alive)
	}
	if err := w.slay(l.d, ref); err != nil {
		return err
	}
	return w.clear(ctx, l.d, ref)
}

// slay ends the process, of which its watchers are told at once.
func (w *World) slay(d *Daemon, ref vm.Ref) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.dead() {
		return host.Fail(host.Transient, "kill", errDead)
	}
	w.barred[ref.VM] = max(w.barred[ref.VM], ref.Incarnation)
	delete(w.verdicts, ref.VM)
	if p := w.find(ref); p != nil {
		p.end(vm.Exit{Known: true, Signal: 9}, true)
	}
	return nil
}

// maxClear is how long the kernel may take for the cgroups of a VM: longer than a
// VM takes from its end to its deletion.
const maxClear = 50 * time.Millisecond

// clear removes the cgroups of an incarnation and of those before it.
func (w *World) clear(ctx context.Context, d *Daemon, ref vm.Ref) error {
	w.mu.Lock()
	takes := time.Duration(w.drawn("clear " + string(ref.Name)).Int64N(int64(maxClear)))
	w.mu.Unlock()
	if err := wait(ctx, takes); err != nil {
		return host.Fail(host.Transient, "clear", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.dead() {
		return host.Fail(host.Transient, "clear", errDead)
	}
	maps.DeleteFunc(w.groups[ref.VM], func(n vm.Incarnation, _ bool) bool { return n <= ref.Incarnation })
	return nil
}

func (l launcher) List(context.Context) ([]vm.FoundVMM, error) {
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.FoundVMM
	for _, p := range w.live {
		out = append(out, vm.FoundVMM{Ref: p.ref, Process: p.process})
	}
	return out, nil
}

// Holding: this machine holds everything; see Guest.OutOfMemory.
func (l launcher) Holding() vm.Holding { return vm.Holding{} }

// Verdict is what a service manager remembers; see World.Remember.
func (l launcher) Verdict(_ context.Context, ref vm.Ref, _ *vm.Process) (vm.Exit, error) {
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if v, ok := w.verdicts[ref.VM]; ok && v.incarnation == ref.Incarnation {
		return v.exit, nil
	}
	return vm.Exit{}, host.Fail(host.Gone, "verdict of "+string(ref.Name), errNone)
}
