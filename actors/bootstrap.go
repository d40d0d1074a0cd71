package actors

import (
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// wakeLimit is how long VMs may take to meet their records before the
// bootstrap goes on with those that have; the others start by their own deadline.
const wakeLimit = time.Minute

// easeAgain is how long to wait before pressure is looked at again: PSI's
// shortest average is over ten seconds.
const easeAgain = time.Second

// settle is how long the order is waited for while VMs are still being released
// after the boot; then those that are ready go first.
const settle = time.Second

// bootstrap brings up what waits for its turn after a boot of the node: in
// order, paced, and once for each boot. Who waits is written in the records, so
// a daemon that restarts in the midst of it goes on where the last one was.
type bootstrap struct {
	env     *env
	conduct Conduct
	self    *actor.PID

	pace     policies.Pace
	waiting  []waiting
	starting map[vm.Name]time.Time // called up then
	report   gateway.Bootstrap
	disarm   func()
	gone     chan struct{} // closed at this actor's end
}

// waiting is a VM whose turn is to come.
type waiting struct {
	name  vm.Name
	deps  []vm.Dependency
	since time.Time
}

type (
	// allAwake: a goroutine → bootstrap. Comes once.
	allAwake struct{}
	// lookAgain: clock → bootstrap. May come late.
	lookAgain struct{}
	// slotOver: clock → bootstrap. May come late.
	slotOver struct {
		name vm.Name
		at   time.Time
	}
)

// Receive is the bootstrap's mailbox.
func (b *bootstrap) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		b.begin(c)
	case allAwake:
		b.enlist()
		b.step(c)
	case stood:
		b.stood(m.rec)
		b.step(c)
	case slotOver:
		b.slotOver(m)
		b.step(c)
	case lookAgain:
		b.step(c)
	case *actor.Stopping:
		b.env.turned.leave(b.self)
		close(b.gone)
		if b.disarm != nil {
			b.disarm()
		}
	}
}

func (b *bootstrap) begin(c actor.Context) {
	b.self, b.starting, b.gone = c.Self(), map[vm.Name]time.Time{}, make(chan struct{})
	b.pace = policies.NewPace(b.env.ports.Machine.Cores(), b.conduct.Parallel)
	b.env.turned.join(b.self)
	self, env, gone := b.self, b.env, b.gone
	late := make(chan struct{})
	cancel := env.ports.Clock.After(wakeLimit, func() { close(late) })
	go func() {
		select {
		case <-env.awake.done:
		case <-late:
		case <-gone:
		}
		cancel()
		env.tell(self, allAwake{})
	}()
}

// enlist reads from the views who waits, also who is still being released after
// the boot, and who is on its way up already. Only when that is known is the
// boot marked as met: a daemon that dies before does all of it again.
func (b *bootstrap) enlist() {
	now := b.env.ports.Clock.Now()
	byName, all, coming := map[vm.Name]vm.Record{}, []policies.Candidate{}, []vm.Name{}
	const ending = vm.Stopping | vm.Killing | vm.Reaping
	for _, v := range b.env.views.list() {
		s, name := v.rec.State, v.rec.Spec.Name
		switch {
		case s.Intent != vm.WantRunning:
		case s.Queued && s.Phase&(vm.Backoff|ending) != 0:
			byName[name] = v.rec
			all = append(all, policies.CandidateOf(now, v.rec))
		case s.Phase == vm.Failed || s.Phase&ending != 0 && s.After == vm.ThenHold:
			b.report.Held = append(b.report.Held, fmt.Sprintf("%s: %s", name, s.Reason))
		case s.Phase&(vm.Preparing|vm.Starting) != 0 || s.Phase == vm.Adopting && s.ReadyAt.IsZero():
			coming = append(coming, name)
		}
	}
	for _, name := range policies.Order(all) {
		b.waiting = append(b.waiting, waiting{name: name, deps: byName[name].Spec.Autostart.DependsOn, since: now})
	}
	b.report.BootID, b.report.Policy, b.report.StartedAt = b.env.ports.BootID, string(b.conduct.Policy), now
	if b.env.first {
		if err := b.env.store.SetMeta(metaBoot, []byte(b.env.ports.BootID)); err != nil {
			b.env.log.Warn("the boot was not marked as met; the next daemon meets it again, which changes nothing", zap.Error(err))
		}
	}
	if len(b.waiting) > 0 {
		for _, name := range coming {
			b.follow(name, now)
		}
		b.env.note("BootstrapBegan", vm.Record{}, fmt.Sprintf("%d VMs wait for their turn, %d at once", len(b.waiting), b.pace.Limit))
	}
}

// step calls up whoever may come now, and arms the timer for what it waits for.
func (b *bootstrap) step(c actor.Context) {
	if b.report.StartedAt.IsZero() || !b.report.EndedAt.IsZero() {
		return // nothing is known yet, or all is over
	}
	now := b.env.ports.Clock.Now()
	b.report.Pressure = ""
	var wake time.Time
	for len(b.waiting) > 0 && len(b.starting) < b.pace.Limit {
		if why := b.strained(); why != "" && len(b.starting) > 0 { // one may always come, or none ever would
			b.report.Pressure, wake = why, now.Add(easeAgain)
			break
		}
		i, until := b.whoMay(now)
		if i < 0 {
			wake = until
			break
		}
		b.callUp(now, i)
	}
	b.arm(wake)
	if len(b.waiting) == 0 && len(b.starting) == 0 {
		b.finish(c, now)
	}
	b.publish(now)
}

// whoMay is the first in order whose dependencies are met, or -1 and when that
// may change without anybody telling.
func (b *bootstrap) whoMay(now time.Time) (int, time.Time) {
	var wake time.Time
	for i, w := range b.waiting {
		why, until := policies.Unmet(now, w.since, w.deps, b.standing)
		if v, ok := b.env.views.get(w.name); ok && v.parked == "" && v.rec.State.Phase != vm.Backoff {
			// It is still being released: its turns tell when that is over, but for a bug.
			if settled := b.report.StartedAt.Add(settle); now.Before(settled) {
				return -1, settled
			}
			why, until = "being released", now.Add(easeAgain)
		}
		if why == "" {
			return i, time.Time{}
		}
		if wake.IsZero() || until.Before(wake) {
			wake = until
		}
	}
	return -1, wake
}

func (b *bootstrap) standing(name vm.Name) (policies.Standing, bool) {
	v, ok := b.env.views.get(name)
	s := v.rec.State
	return policies.Standing{
		Running: s.Phase == vm.Running,
		Healthy: s.Phase == vm.Running && (s.Health == vm.Healthy || len(v.rec.Spec.Health) == 0),
		Coming:  s.Intent == vm.WantRunning && s.Phase != vm.Failed && v.parked == "",
	}, ok
}

func (b *bootstrap) callUp(now time.Time, i int) {
	w := b.waiting[i]
	b.waiting = slices.Delete(b.waiting, i, i+1)
	v, ok := b.env.views.get(w.name)
	if !ok || !v.rec.State.Queued || v.parked != "" {
		return // a person was quicker, or it has no actor to be called
	}
	for _, d := range w.deps {
		if s, _ := b.standing(d.VM); !s.Running || d.Is == vm.IsHealthy && !s.Healthy {
			b.env.note("DependencyNotAwaited", v.rec, fmt.Sprintf("%s starts though %s is not %s", w.name, d.VM, d.Is))
		}
	}
	b.follow(w.name, now)
	b.startClocks(now, w.name, map[vm.Name]bool{})
	b.env.tell(v.pid, messages.CalledUp{})
}

// follow counts a VM as one that is on its way up, for as long as a start may take.
func (b *bootstrap) follow(name vm.Name, now time.Time) {
	b.starting[name] = now
	self, env, m := b.self, b.env, slotOver{name, now}
	env.ports.Clock.After(b.conduct.Slow, func() { env.tell(self, m) })
}

// startClocks lets the timeouts of those that depend on a VM run from when that
// VM was called up: the time in which it waited for its own turn is not its fault.
func (b *bootstrap) startClocks(now time.Time, of vm.Name, seen map[vm.Name]bool) {
	if seen[of] {
		return
	}
	seen[of] = true
	for i, w := range b.waiting {
		if slices.ContainsFunc(w.deps, func(d vm.Dependency) bool { return d.VM == of }) {
			b.waiting[i].since = now
			b.startClocks(now, w.name, seen)
		}
	}
}

// stood follows a VM that was called up, and lets go of one that a person
// started, stopped or deleted before its turn.
func (b *bootstrap) stood(rec vm.Record) {
	name, s := rec.Spec.Name, rec.State
	if i := slices.IndexFunc(b.waiting, func(w waiting) bool { return w.name == name }); i >= 0 && !s.Queued {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		if s.Phase == vm.Preparing {
			b.follow(name, b.env.ports.Clock.Now()) // by a person; it takes its share of the machine all the same
		}
		return
	}
	if _, called := b.starting[name]; !called || s.Queued {
		return
	}
	switch s.Phase {
	case vm.Running:
		b.report.Ready++
		b.pace = b.pace.Came(b.strained() == "")
	case vm.Backoff, vm.Failed:
		b.report.Failed++
	case vm.Stopped, vm.Removing, vm.Stopping, vm.Suspending, vm.Suspended:
	default:
		return
	}
	delete(b.starting, name)
}

// slotOver lets the next one begin: the slow one goes on, and isn't waited for.
func (b *bootstrap) slotOver(m slotOver) {
	if at, ok := b.starting[m.name]; !ok || !at.Equal(m.at) {
		return
	}
	delete(b.starting, m.name)
	v, ok := b.env.views.get(m.name)
	if ok && v.rec.State.Queued {
		// It never heard the call: its actor failed by a bug just then.
		b.waiting = append(b.waiting, waiting{name: m.name, deps: v.rec.Spec.Autostart.DependsOn, since: m.at})
		return
	}
	b.report.Failed++
	b.pace = b.pace.TookTooLong()
	b.env.note("BootstrapSlowed", v.rec, fmt.Sprintf("%s is not up after %s; from now on %d at once", m.name, b.conduct.Slow, b.pace.Limit))
}

// strained says why nothing more should start; a kernel that doesn't tell has nothing against it.
func (b *bootstrap) strained() string {
	p, err := b.env.ports.Machine.Pressure()
	if err != nil {
		return ""
	}
	return b.conduct.Strain.Strained(p.CPU, p.Memory, p.IO)
}

func (b *bootstrap) arm(at time.Time) {
	if b.disarm != nil {
		b.disarm()
		b.disarm = nil
	}
	if at.IsZero() {
		return
	}
	self, env := b.self, b.env
	b.disarm = env.ports.Clock.After(max(0, at.Sub(env.ports.Clock.Now())), func() { env.tell(self, lookAgain{}) })
}

func (b *bootstrap) finish(c actor.Context, now time.Time) {
	b.report.EndedAt = now
	done := b.report.Ready + b.report.Failed
	if done > 0 {
		b.env.note("BootstrapEnded", vm.Record{}, fmt.Sprintf("in %s: %d up, %d not up in time, %d held",
			now.Sub(b.report.StartedAt).Round(time.Millisecond), b.report.Ready, b.report.Failed, len(b.report.Held)))
	}
	if done > 0 || b.env.first {
		b.publish(now)
		b.env.keepReport(b.env.booted.get())
	}
	b.env.turned.leave(b.self)
	c.Stop(c.Self())
}

func (b *bootstrap) publish(now time.Time) {
	r := b.report
	r.State, r.Limit, r.Waiting, r.Starting = "running", b.pace.Limit, nil, nil
	for _, w := range b.waiting {
		r.Waiting = append(r.Waiting, w.name)
	}
	for name := range b.starting {
		r.Starting = append(r.Starting, name)
	}
	slices.Sort(r.Starting)
	r.Held = slices.Clone(r.Held)
	left := len(r.Waiting) + len(r.Starting)
	switch {
	case !r.EndedAt.IsZero():
		r.State = "done"
		if r.Ready+r.Failed == 0 && !b.env.first {
			return // the daemon restarted, and no VM waited: the report of the boot stays
		}
	case r.Ready > 0:
		r.EndsAbout = now.Add(now.Sub(r.StartedAt) / time.Duration(r.Ready) * time.Duration(left))
	}
	b.env.booted.set(r)
}
