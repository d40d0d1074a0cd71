package actors

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// The probes of one incarnation:
//
//	run-<n>                     judges by policies, keeps the last rounds, tells vm/<name> of changes
//	 ├─ probe-<k>  one check    keeps its schedule: mayAsk ─▶ goAhead or rest, one round, probed
//	 └─ probe-<k>  …            hears of the console: consoleSpoke
//
// A probe never kills. A bug in one replaces that one alone.

// probing is what run-<n> knows of its probes.
type probing struct {
	within     actor.Context // whose children they are
	checks     []vm.Check
	probes     []checked
	visit      int             // counts renewals of the probes: rounds of an earlier one are stale
	seats      map[string]seat // of the probes that have not ended
	spawned    int
	listening  *atomic.Bool // a check listens to the console
	said       *spoken
	launchedAt time.Time
	told       messages.HealthJudged
}

func begunProbing(within actor.Context, rec vm.Record) probing {
	return probing{
		within: within, checks: rec.Spec.Health, launchedAt: rec.State.LaunchedAt, seats: map[string]seat{}, listening: new(atomic.Bool), said: new(spoken),
	}
}

// checked is one check as run-<n> knows it.
type checked struct {
	policies.Probe
	said    *spoken
	pid     *actor.PID // nil: nobody asks, as it is held off, over, or failed by a bug
	resting bool       // after a bug
	bugs    int        // in a row
}

// seat is what a child of run-<n> works on.
type seat struct {
	visit, index int
	ending       bool
}

// respecified: vm/<name> → run-<n>: there is a new spec, and this of it counts at
// once. May come twice.
type respecified struct {
	checks []vm.Check
	dump   vm.Dump
}

// probeAgain: clock → run-<n>, after a bug ended a probe. Late ones are of an older visit.
type probeAgain struct{ visit, index int }

// startProbes begins all checks; where none is set, a VMM that answers is ready.
func (r *runActor) startProbes() {
	if r.visit > 0 {
		r.renewProbes(policies.ProbeAgain)
		return
	}
	r.renewProbes(func(c vm.Check, _ []policies.Probe, answered bool, at time.Time) policies.Probe {
		return policies.FirstProbe(c, r.rec.State, answered, at)
	})
}

// renewProbes puts other probes in the place of those that there are.
func (r *runActor) renewProbes(begin func(c vm.Check, before []policies.Probe, answered bool, at time.Time) policies.Probe) {
	r.visit++
	r.endProbes()
	before, now := r.allProbes(), r.env.ports.Clock.Now()
	probes := make([]checked, len(r.checks))
	listening := false
	for i, c := range r.checks {
		probes[i].Probe = begin(c, before, r.ready, now)
		listening = listening || c.Type == vm.CheckConsole
	}
	r.probes = probes
	r.listening.Store(listening)
	if r.launchedAt.IsZero() {
		r.launchedAt = now
	}
	r.judge()
	r.openProbes()
}

// respecify takes other checks for the running guest; one that is as it was goes on.
func (r *runActor) respecify(m respecified) {
	r.dumps = m.dump
	if reflect.DeepEqual(r.checks, m.checks) {
		return
	}
	r.checks = m.checks
	if r.visit == 0 {
		return // its guest isn't looked at yet
	}
	r.renewProbes(policies.RespecifiedProbe)
}

// openProbes begins the rounds of the checks that are on, and ends those of one
// that is over.
func (r *runActor) openProbes() {
	all := r.allProbes()
	for i := range r.probes {
		w := &r.probes[i]
		switch {
		case w.Over() && w.pid != nil:
			r.endProbe(w.pid)
			w.pid = nil
		case w.pid == nil && !w.resting && policies.On(w.Probe, all, r.ready):
			r.openProbe(i)
		}
	}
}

func (r *runActor) openProbe(index int) {
	r.spawned++
	w := &r.probes[index]
	owner, before := r.ctx, r.rec.Spec.Start.Timeout
	w.said = new(spoken)
	p := &probeActor{
		env: r.env, check: w.Check, visit: r.visit, index: index, paths: r.paths, start: before, said: w.said,
		notBefore: r.launchedAt.Add(w.Check.StartPeriod),
		agent:     func(ctx context.Context) (host.AgentConn, error) { return r.agentConn(ctx, owner) },
		drop:      r.agent.drop,
	}
	w.pid = spawn(r.within, r.env.log, fmt.Sprintf("probe-%d", r.spawned), func() actor.Actor { return p })
	r.seats[w.pid.Id] = seat{visit: r.visit, index: index}
}

func (r *runActor) endProbes() {
	for i := range r.probes {
		r.endProbe(r.probes[i].pid)
	}
}

// endProbe asks a probe to end, once.
func (r *runActor) endProbe(pid *actor.PID) {
	if pid == nil || r.seats[pid.Id].ending {
		return
	}
	s := r.seats[pid.Id]
	s.ending = true
	r.seats[pid.Id] = s
	r.env.stop(pid)
}

// HandleFailure is the supervision of the probes: a bug in one of them ends it,
// and another one takes its place. The guest notices nothing (P6).
func (r *runActor) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	s, ok := r.seats[child.Id]
	if !ok || s.ending || r.ctx.Err() != nil {
		return // it was asked to end already; the Stop is in its queue
	}
	r.endProbe(child)
	r.env.views.mark(r.ref.Name, func(o *view) { o.bugs++ })
	if s.visit != r.visit {
		return
	}
	w := &r.probes[s.index]
	w.pid, w.resting = nil, true
	w.bugs++
	r.after(min(firstBugDelay<<min(w.bugs, 20), lastBugDelay), probeAgain{s.visit, s.index})
}

func (r *runActor) probeAgain(m probeAgain) {
	if m.visit == r.visit {
		r.probes[m.index].resting = false
		r.openProbes()
	}
}

// mayAsk lets a probe begin a round, unless the guest stands still or is going,
// and so proves nothing.
func (r *runActor) mayAsk(m mayAsk) {
	switch {
	case m.visit != r.visit: // it is asked to end
	case r.paused || r.off || r.dumpAsked || r.good.cut != nil:
		r.env.tell(m.from, rest{})
	default:
		r.env.tell(m.from, goAhead{session: r.session, process: r.process, ready: r.ready, deaf: r.deaf != ""})
		if w := &r.probes[m.index]; w.Why != w.Asked().Why {
			w.Probe = w.Asked()
			r.judge()
		}
	}
}

// probed takes in one result; those of an earlier visit are stale.
func (r *runActor) probed(m probed) {
	r.notes.asked(m.round, len(r.checks))
	r.env.rounds.count(m.round)
	if m.visit != r.visit || r.off || r.paused || r.dumpAsked || r.good.cut != nil {
		return
	}
	w := &r.probes[m.index]
	w.bugs = 0
	before, now := w.Probed(), r.env.ports.Clock.Now()
	switch {
	case m.round.OK:
		w.Probe = w.Took(true, now, "")
		r.good.passed(w.Check)
	case m.certain:
		w.Probe = w.Condemned(now, m.round.Detail)
	case m.round.Dropped != "":
		w.Probe = w.Dropped(now, m.round.Dropped)
	case policies.HeldOff(w.Check, r.allProbes()): // a console that is heard all the same
	default:
		w.Probe = w.Took(false, now, m.round.Detail)
	}
	if w.Probed() != before {
		r.judge()
		r.openProbes()
	}
	r.keep()
}

func (r *runActor) allProbes() []policies.Probe {
	all := make([]policies.Probe, len(r.probes))
	for i := range r.probes {
		all[i] = r.probes[i].Probe
	}
	return all
}

// standings is what each check has counted, but for those that have said nothing
// yet. What a HealthJudged leaves out is forgotten (P10).
func (r *runActor) standings() (all []vm.Probed) {
	for i := range r.probes {
		if p := r.probes[i].Probed(); !p.At.IsZero() {
			all = append(all, p)
		}
	}
	return all
}

// judge folds the probes into one health and acts on it: ready at the first
// time that all critical ones have passed, and an end of the incarnation when
// one of them fails.
func (r *runActor) judge() {
	j := policies.Judge(r.allProbes())
	answered := !r.ready && j.Ready
	r.ready = r.ready || j.Ready
	health, why := j.Health, j.Why
	if r.deaf != "" {
		health, why = policies.DeafHealth(health, why, r.deaf)
	}
	if r.ready && len(r.cutOff) > 0 {
		health, why = vm.Unhealthy, cutOffWhy(r.cutOff)
	}
	now := messages.HealthJudged{Incarnation: r.ref.Incarnation, Health: health, Why: why, Probes: r.standings()}
	news := now.Health != r.told.Health || now.Why != r.told.Why ||
		r.ready && !slices.Equal(now.Probes, r.told.Probes) // a guest that boots is asked anew by the next daemon
	known := len(r.probes) > 0 || len(r.cutOff) > 0 || r.deaf != "" || r.told.Incarnation != 0
	if news && known {
		r.told = now
	}
	switch {
	case answered: // in one turn with what its checks have said: the next daemon asks no guest again for a mark that it writes once
		r.env.tell(r.parent, messages.GuestAnswered{HealthJudged: now})
		r.setClock()
	case news && known:
		r.env.tell(r.parent, now)
	}
	if j.Condemn && !r.off { // one that was asked to power off has until its deadline
		r.evidence.Unhealthy = j.Why
		r.ended(nil)
	}
	r.keep()
}

// cutOffWhy names the cause: no probe of the guest decides this.
func cutOffWhy(links map[string]string) string {
	var all []string
	for _, why := range links {
		all = append(all, why)
	}
	slices.Sort(all)
	return string(vm.CauseLinkLost) + ": " + strings.Join(all, "; ")
}
