package actors

import (
	"context"
	"regexp"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// What a probe and its run actor say to each other.
type (
	// mayAsk: probe → run-<n>: a round is due. Answered by goAhead, rest, or a Stop.
	mayAsk struct {
		visit, index int
		from         *actor.PID
	}
	// goAhead: run-<n> → probe: with what the round is asked.
	goAhead struct {
		session host.Session
		process *vm.Process
		ready   bool // the guest has answered
		deaf    bool // and nobody can speak to its VMM, though that lives
	}
	// rest: run-<n> → probe: the guest proves nothing now.
	rest struct{}
	// probed: probe → run-<n>: one result. May come late.
	probed struct {
		visit, index int
		round        vm.Round
		certain      bool // it leaves no doubt
	}
	// consoleSpoke: console → run-<n> → probe: there is something in its spoken.
	consoleSpoke struct{}
)

// What the goroutines and timers of a probe bring back to it.
type (
	roundDue   struct{}
	roundEnded struct {
		probed
		glance     vm.Glance
		processors processors
	}
	probeBug struct{ what any }
)

// probeActor keeps the schedule of one check, asks, and publishes what it saw.
type probeActor struct {
	env          *env
	check        vm.Check
	visit, index int
	paths        host.Paths
	start        time.Duration // how long a start may take
	notBefore    time.Time
	agent        func(ctx context.Context) (host.AgentConn, error)
	drop         func(host.AgentConn)

	self, parent *actor.PID
	ctx          context.Context //nolint:containedctx // ends with the actor: its rounds work for it alone
	cancel       context.CancelFunc

	healthy, unhealthy *regexp.Regexp
	due, began         time.Time
	disarm             func()
	rounds             int
	ready              bool       // the guest had answered when the last round began
	glance             vm.Glance  // of the last round of a process check
	processors         processors // of the last round of a vmm check
	hears              consoleEar
	said               *spoken
}

// Receive is the probe's mailbox.
func (p *probeActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		p.self, p.parent = c.Self(), c.Parent()
		p.ctx, p.cancel = context.WithCancel(context.Background())
		p.healthy, p.unhealthy = pattern(p.check.Healthy), pattern(p.check.Unhealthy)
		p.disarm = func() {}
		p.begin()
	case roundDue:
		p.env.tell(p.parent, mayAsk{p.visit, p.index, p.self})
	case rest:
		p.rest()
	case goAhead:
		p.goAhead(m)
	case beatJudged:
		p.beatJudged(m)
	case roundEnded:
		p.ended(m)
	case consoleSpoke:
		p.consoleSpoke()
	case probeBug:
		panic(m.what) // of its goroutine: supervision is to hear of it
	case *actor.Stopping, *actor.Restarting:
		p.cancel()
		p.disarm()
	}
}

func (p *probeActor) begin() {
	switch {
	case !p.listens():
		p.arm(max(0, p.notBefore.Sub(p.now())))
	case p.check.Every > 0:
		p.rest()
	}
}

func (p *probeActor) rest() {
	p.glance, p.processors = vm.Glance{}, processors{} // what stood still meanwhile was to
	if !p.listens() {
		p.arm(p.check.Interval)
		return
	}
	p.hears.from, p.hears.seen, p.hears.look = p.now(), p.now(), glanced{} // the beat's time begins anew
	p.arm(p.check.Every)
}

func (p *probeActor) goAhead(m goAhead) {
	if p.listens() {
		p.beat(m)
	} else {
		p.round(m)
	}
}

func (p *probeActor) now() time.Time { return p.env.ports.Clock.Now() }

// arm rings for the next round.
func (p *probeActor) arm(d time.Duration) {
	p.due = p.now().Add(d)
	if d <= 0 {
		p.env.tell(p.self, roundDue{})
		return
	}
	env, self := p.env, p.self
	p.disarm = env.ports.Clock.After(d, func() { env.tell(self, roundDue{}) })
}

// round asks once, off the mailbox.
func (p *probeActor) round(m goAhead) {
	a := policies.Attempt{Timeout: policies.RoundTime(p.check, m.ready, p.start), Began: p.now(), Local: p.check.Type == vm.CheckProcess}
	a.Late = a.Began.Sub(p.due)
	p.began, p.ready = a.Began, m.ready
	p.rounds++
	ask := p.asking(m)
	env, parent := p.env, p.ctx
	out := roundEnded{probed: probed{visit: p.visit, index: p.index, round: vm.Round{Check: policies.Title(p.check), At: a.Began}}}
	p.guarded(func() any {
		ctx, cancel := context.WithTimeout(parent, a.Timeout)
		defer cancel()
		look := p.lookSoon(ctx, m, a.Timeout)
		s := ask(ctx)
		a.Ended, a.Local = env.ports.Clock.Now(), a.Local || s.told
		out.glance, out.processors, out.certain = s.glance, s.processors, s.certain
		seen := look()
		if s.late {
			if s.aside == "" {
				s.aside = env.unanswering(m.process, seen.processors)
			}
			s.detail = unanswered(a, p.check, seen.glance, s.aside)
		}
		out.round.Took, out.round.OK, out.round.Detail, out.round.Dropped = a.Ended.Sub(a.Began), s.ok, s.detail, s.dropped
		if !s.ok && !s.certain && s.dropped == "" && m.ready {
			a.After = s.glance
			seen.since(s.since)
			out.round.Dropped = env.stalled(a, m.process, seen)
		}
		return out
	})
}

// unanswered tells of a question that nobody answered in its time, and why, where
// a look at the VMM's process meanwhile has shown it; else what was seen aside.
func unanswered(a policies.Attempt, c vm.Check, seen vm.Glance, aside string) string {
	within := a.Timeout
	if a.Ended.Sub(a.Began) < within {
		within = c.Timeout // the agent of a guest that boots had answered before
	}
	why, _ := policies.AtWork(seen, vm.Glance{})
	if why == "" {
		why = aside
	}
	if why != "" {
		why = ", " + why
	}
	return "no answer within " + vm.Span(within) + why
}

// guarded works off the mailbox and sends the one result; a bug in it is this actor's.
func (p *probeActor) guarded(work func() any) {
	env, self := p.env, p.self
	go func() {
		defer func() {
			if bug := recover(); bug != nil {
				env.log.Error("a probe's round panicked", zap.String("actor", self.Id), zap.Any("panic", bug), zap.ByteString("stack", debug.Stack()))
				env.tell(self, probeBug{bug})
			}
		}()
		env.tell(self, work())
	}()
}

func (p *probeActor) ended(m roundEnded) {
	p.hears.answered, p.glance, p.processors = nil, m.glance, m.processors
	p.env.tell(p.parent, m.probed)
	next := policies.NextRound(p.check, p.rounds, p.ready || m.round.OK, p.env.ports.Spread())
	p.arm(min(next, max(0, p.began.Add(next).Sub(p.now())))) // no clock that is set back keeps a round away
}

// glanced is a look at the VMM's process and at the node, and when it was.
type glanced struct {
	glance     vm.Glance
	pressure   *host.Pressure // nil: the kernel doesn't tell
	at         time.Time      // zero: there was no look
	missed     bool           // it was to come, and our timer has not rung
	blocked    bool           // a later look saw the VMM wait in the kernel
	stuck      bool           // what fails was seen stuck in it, then and now
	overslept  time.Duration  // by which our timers rang late
	processors processors
}

// since has a round that fails at once, before it has looked at anything itself,
// lose what the host took since the look of the round before: what was seen stuck
// then, and is now, could do nothing all that time.
func (seen *glanced) since(earlier *glanced) {
	if earlier != nil && !earlier.at.IsZero() {
		seen.glance, seen.pressure, seen.at, seen.blocked = earlier.glance, earlier.pressure, earlier.at, earlier.blocked
		seen.stuck = true
	}
}

// glanceAt looks once; a process that nobody can look at is a zero glanced.
func (e *env) glanceAt(process vm.Process) (seen glanced) {
	g, err := e.ports.Meter.Look(process)
	if err != nil {
		return seen
	}
	seen.glance, seen.at = g, e.ports.Clock.Now()
	if p, err := e.ports.Machine.Pressure(); err == nil {
		seen.pressure = &p
	}
	return seen
}

// lookSoon looks at the VMM's process, and at its guest's processors, if the
// answer takes longer than it mostly does: only then can it be asked later
// whether the host kept it waiting. It looks again until a look sees the VMM
// wait in the kernel, as two looks easily miss what comes and goes. What it
// returns ends that, and tells what was seen.
func (p *probeActor) lookSoon(ctx context.Context, m goAhead, timeout time.Duration) func() glanced {
	env := p.env
	if env.ports.Meter == nil || m.process == nil || p.check.Type == vm.CheckProcess {
		return func() glanced { return glanced{} }
	}
	l := &lookout{env: env, process: *m.process, seen: glanced{missed: true}}
	l.arm(timeout/10, func(now glanced) {
		l.add(func(seen *glanced) { now.overslept, *seen = seen.overslept, now })
		l.again(timeout / 5)
		if now.at.IsZero() || p.check.Type == vm.CheckVMM || m.session == nil { // a vmm check looks at them itself
			return
		}
		if found, err := named(ctx, m.session); err == nil {
			found = env.lookAt(m.process, found)
			l.add(func(seen *glanced) { seen.processors = found })
		}
	})
	return l.end
}

// lookout looks at a VMM's process now and then while a round lasts.
type lookout struct {
	env     *env
	process vm.Process
	mu      sync.Mutex
	seen    glanced
	over    bool
	cancel  func()
}

// arm looks once, after so long.
func (l *lookout) arm(d time.Duration, then func(glanced)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	due := l.env.ports.Clock.Now().Add(d)
	l.cancel = l.env.ports.Clock.After(d, func() {
		late := l.env.ports.Clock.Now().Sub(due)
		l.add(func(seen *glanced) { seen.overslept += max(0, late) })
		then(l.env.glanceAt(l.process))
	})
}

// again looks until it sees the VMM wait in the kernel.
func (l *lookout) again(d time.Duration) {
	l.arm(d, func(now glanced) {
		blocked := policies.Blocked(now.glance)
		l.add(func(seen *glanced) { seen.blocked = seen.blocked || blocked })
		if !blocked {
			l.again(d)
		}
	})
}

// add changes what was seen, unless that is told already.
func (l *lookout) add(change func(*glanced)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		change(&l.seen)
	}
}

func (l *lookout) end() glanced {
	l.mu.Lock()
	l.over = true
	cancel, seen := l.cancel, l.seen
	l.mu.Unlock()
	cancel()
	return seen
}

// stalled says why a failed round doesn't count; empty: it does.
func (e *env) stalled(a policies.Attempt, process *vm.Process, before glanced) string {
	a.Unseen, a.Blocked, a.Stuck, a.Overslept = before.missed, before.blocked, before.stuck, before.overslept
	if p, err := e.ports.Machine.Pressure(); err == nil {
		a.MemoryWait, a.IOWait = p.Memory, p.IO
	}
	if !before.at.IsZero() && process != nil {
		if now := e.glanceAt(*process); !now.at.IsZero() {
			a.Before, a.After, a.Between = before.glance, now.glance, now.at.Sub(before.at)
			if before.pressure != nil && now.pressure != nil {
				a.MemoryStood, a.IOStood = now.pressure.MemoryStood-before.pressure.MemoryStood, now.pressure.IOStood-before.pressure.IOStood
			}
		}
	}
	return policies.Excused(a)
}
