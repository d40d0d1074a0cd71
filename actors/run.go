package actors

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

const (
	// exitGrace is how long the notice of a VMM's end may come after its socket
	// broke: the pidfd tells within milliseconds, a loaded host takes longer.
	exitGrace = 2 * time.Second
	// quitGrace is how long a VMM whose guest is off may take to flush and end.
	quitGrace = 5 * time.Second
	// attachAttempts is how often a lost session is opened again before the VMM
	// counts as sick; the tries are a second apart.
	attachAttempts = 5
)

// What vm/<name> tells its run actor.
type (
	doPrepare struct{}
	doAttach  struct{}
	powerDown struct{}
	pause     struct{}
	resume    struct{}
)

// What the run actor's own goroutines and timers bring back to it.
type (
	unprepared struct{ err error }
	uncomputed struct{ err error }
	launched   struct {
		process vm.Process
		err     error
		argv    []string // of what was launched, or found
	}
	attached struct {
		session host.Session
		err     error
	}
	attachAgain struct{}
	exited      struct{ exit vm.Exit }
	noticed     struct{ host.Notice }
	exitOverdue struct{ failure vm.Failure }
)

// runActor is one incarnation: it owns the session with the VMM, the watch on
// its process and its probes. Its end lets go of them; the guest lives on (P6).
// The incarnation's own end is a panic with a vm.Failure.
type runActor struct {
	env   *env
	rec   vm.Record // as it was when this actor began
	ref   vm.Ref
	paths host.Paths
	first any // what to begin with

	behind  []<-chan struct{} // preparing waits until each is closed; nil ones are none
	prepare chan<- struct{}   // closed when Prepare has returned, or never will be called

	self   *actor.PID
	parent *actor.PID
	ctx    context.Context //nolint:containedctx // ends with the actor: its goroutines work for it alone
	cancel context.CancelFunc

	process  *vm.Process
	session  host.Session
	attempts int
	off      bool // powering down was asked for
	paused   bool
	suspend  suspension
	good     keeping
	heard    *atomic.Int64 // bytes of the console since the machine was reset by us; nil: it was not
	ready    bool
	evidence policies.Evidence // what was noticed of the guest before its VMM ended
	agent    agentLine
	probing
	cutOff  map[string]string // taps by which the guest reaches nobody now, and why
	notes   *notes
	dumps   vm.Dump  // on which deaths, as the newest spec has it
	dumping *dumping // a death that waits for the guest's memory; nil: none does

	deaf     string    // why nobody can speak to the VMM, though it lives; empty: somebody can, or tries to
	sentTerm bool      // a deaf VMM was asked to end by SIGTERM
	downAt   time.Time // a deaf one's guest was asked down

	dumpAsked, owed bool // a person's dump is under way; and holds up what was asked meanwhile
}

// Receive is the run actor's mailbox.
func (r *runActor) Receive(c actor.Context) {
	if r.ctx != nil && r.ctx.Err() != nil {
		return // it ends, and waits for its children: another one would be told by nobody to end
	}
	defer r.dumpFirst()
	if r.dumping != nil && r.whileDumping(c.Message()) {
		return
	}
	switch m := c.Message().(type) {
	case *actor.Started:
		r.begin(c)
	case powerDown:
		r.powerDown()
	case pause:
		r.pause()
	case resume:
		r.resume()
	case save:
		r.save()
	case exec:
		r.exec(m)
	case dump:
		r.dump(m)
	case balloon:
		r.balloon(m)
	case memoryAsked:
		r.askMemory()
	case *actor.Terminated:
		delete(r.seats, m.Who.Id)
	case *actor.Stopping, *actor.Restarting:
		r.letGo()
	default:
		r.hear(m)
	}
}

// hear is what the host tells, and what this actor's own goroutines and timers bring back.
func (r *runActor) hear(m any) {
	switch m := m.(type) {
	case unprepared:
		r.fail(startFailure("prepare", m.err), false)
	case uncomputed:
		r.computeFailed(m.err)
	case launched:
		r.launched(m)
	case attached:
		r.attached(m)
	case exited:
		r.ended(&m.exit)
	case noticed:
		r.notice(m.Notice)
	case exitOverdue:
		r.fail(m.failure, true)
	case attachAgain:
		r.attach()
	case linkNoticed:
		r.linkNoticed(m.LinkNotice)
	case sessionFailed:
		r.sessionFailed(m)
	case saveEnded:
		r.saveEnded(m)
	case guestLoaded:
		r.guestLoaded(m)
	case resumed:
		r.resumed(m)
	case wasReset:
		r.wasReset(m)
	case standsStill, runsOn, goesOn, keepEnded:
		r.hearStill(m)
	case askedDumpEnded:
		r.askedDumpEnded()
	case deafLooked, askedDeaf, lookDown, endDeaf:
		r.hearDeaf(m)
	default:
		r.hearProbes(m)
	}
}

// hearProbes is what the checks of the guest say.
func (r *runActor) hearProbes(m any) {
	switch m := m.(type) {
	case mayAsk:
		r.mayAsk(m)
	case probed:
		r.probed(m)
	case probeAgain:
		r.probeAgain(m)
	case respecified:
		r.respecify(m)
	case consoleSpoke:
		r.consoleSpoke()
	}
}

func (r *runActor) begin(c actor.Context) {
	r.self, r.parent = c.Self(), c.Parent()
	r.probing, r.dumps = begunProbing(c, r.rec), r.rec.Spec.Dump
	r.notes.deafen()
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.ready = !r.rec.State.ReadyAt.IsZero()
	r.paused = r.rec.State.Phase&(vm.Paused|vm.Suspending) != 0
	r.suspend.wanted = r.rec.State.Phase == vm.Suspending
	r.suspend.loading = policies.Loading(r.rec.State)
	r.suspend.late = r.suspend.loading
	r.off = r.rec.State.Phase == vm.Stopping
	switch r.first.(type) {
	case doPrepare:
		r.background(policies.PrepareTime(r.rec), r.bringUp)
	case doAttach:
		close(r.prepare)
		r.background(effectTimeout, r.find)
	}
}

// find proves again which process is ours before anything is attached to it.
func (r *runActor) find(ctx context.Context) any {
	p, err := r.env.ports.Launcher.Find(ctx, r.ref, r.rec.State.Process)
	return launched{process: p, err: err, argv: r.env.argvOf(p)}
}

// bringUp prepares and launches in one go: the record names this incarnation
// since before it began (P2).
func (r *runActor) bringUp(ctx context.Context) any {
	if err := r.prepareAll(ctx); err != nil {
		return unprepared{err}
	}
	c, err := r.compute(ctx)
	if err != nil {
		return uncomputed{err}
	}
	c.Limits = policies.LimitsFor(r.rec.Spec, r.rec.Reservation)
	ctx, cancel := context.WithTimeout(ctx, effectTimeout)
	defer cancel()
	p, err := r.env.ports.Launcher.Launch(ctx, c)
	return launched{process: p, err: err, argv: c.Argv}
}

// prepareAll waits for the end of what came before.
func (r *runActor) prepareAll(ctx context.Context) error {
	defer close(r.prepare)
	for _, before := range r.behind {
		if before == nil {
			continue
		}
		select {
		case <-before:
		case <-ctx.Done():
			return host.Fail(host.Transient, "wait for the end of what came before", ctx.Err())
		}
	}
	return r.env.prepareAll(ctx, r.rec)
}

func (r *runActor) launched(m launched) {
	if m.err != nil {
		// A launch that failed late may have left a process: let it be killed.
		f := startFailure("launch", m.err)
		if _, adopting := r.first.(doAttach); adopting && host.KindOf(m.err) == host.Gone {
			f = vm.Failure{Cause: vm.CauseUnknown, Evidence: "its VMM ended while nobody looked"}
		}
		if good := policies.ToLoad(r.rec.State); good != nil && good.Good && f.Cause == vm.CauseStartPermanent {
			f.Cause = vm.CauseSavedState // booted afresh, it shows whether anything else is wrong
		}
		r.fail(f, true)
	}
	r.process, r.paths.VMM = &m.process, m.process
	r.notes.launched(m.argv)
	if _, fresh := r.first.(doPrepare); fresh && len(r.checks) > 0 { // which is in the launch's own turn
		r.told = messages.HealthJudged{
			Incarnation: r.ref.Incarnation, Health: vm.HealthStarting, Why: policies.BegunHealth(r.checks, r.env.ports.Clock.Now()).Why,
		}
	}
	r.env.tell(r.parent, messages.Launched{Incarnation: r.ref.Incarnation, Process: m.process})
	self, env := r.self, r.env
	context.AfterFunc(r.ctx, env.ports.Launcher.Watch(m.process, func(e vm.Exit) { env.tell(self, exited{e}) }))
	r.watchLinks()
	r.attach()
}

// attach opens the control session; it comes back when the VMM has answered.
func (r *runActor) attach() {
	r.attempts++
	self, env, owner := r.self, r.env, r.ctx
	r.background(policies.StartTime(r.rec), func(ctx context.Context) any {
		s, err := env.ports.Driver.Attach(ctx, r.rec.Spec, r.paths, func(n host.Notice) { env.tell(self, noticed{n}) })
		if err == nil {
			context.AfterFunc(owner, s.Close)
		}
		return attached{s, err}
	})
}

func (r *runActor) attached(m attached) {
	if m.err != nil {
		r.retryAttach(m.err)
		return
	}
	r.session, r.attempts = m.session, 0
	r.heardAgain()
	if _, adopted := r.first.(doAttach); adopted {
		r.findBalloon()
	}
	if r.resetBefore() && !r.resetDue() {
		r.hearAnew()
	}
	if r.off {
		r.powerDown()
	}
	if r.resetDue() {
		r.pressReset()
		return
	}
	r.meet()
}

// standing turns the state of a VMM whose guest ended while nobody listened into
// the notice that was missed, and tells whether the guest runs where it lives.
func (r *runActor) standing(ctx context.Context, s host.Session) error {
	state, err := s.State(ctx)
	if err != nil {
		return err
	}
	if state == host.GuestPaused || state == host.GuestSaved {
		r.env.tell(r.self, standsStill{saved: state == host.GuestSaved})
	}
	if state == host.GuestRuns {
		r.env.tell(r.self, runsOn{})
	}
	kinds := map[host.GuestState]host.NoticeKind{
		host.GuestOff: host.NoticePowerOff, host.GuestPanicked: host.NoticePanic, host.GuestIOError: host.NoticeIOError,
		host.GuestNoSpace: host.NoticeNoSpace, host.GuestHung: host.NoticeWatchdog, host.GuestBroken: host.NoticeBroken,
	}
	if kind, ok := kinds[state]; ok {
		r.env.tell(r.self, noticed{host.Notice{Kind: kind, Detail: "found standing", At: r.env.ports.Clock.Now()}})
	}
	return nil
}

// retryAttach waits a second between tries: if the VMM is dying, its exit comes
// first and is the root cause; the broken socket is only the next domino.
func (r *runActor) retryAttach(err error) {
	if r.attempts >= deafAttempts && r.maybeDeaf(err) {
		r.lookWhetherDeaf(err)
		return
	}
	r.tryAgain(err)
}

func (r *runActor) tryAgain(err error) {
	if r.attempts >= attachAttempts {
		r.fail(vm.Failure{Cause: vm.CauseHealthFailed, Evidence: fmt.Sprintf("its VMM did not answer %d times: %v", r.attempts, err), Silent: true}, true)
	}
	r.after(time.Second, attachAgain{})
}

// background works off the mailbox and sends itself the one typed result. After
// this actor's end nobody is told: by then its name may be that of the next one,
// whose machine was reset in place.
func (r *runActor) background(limit time.Duration, work func(ctx context.Context) any) {
	parent, self, env := r.ctx, r.self, r.env
	go func() {
		ctx, cancel := context.WithTimeout(parent, limit)
		defer cancel()
		if m := work(ctx); parent.Err() == nil {
			env.tell(self, m)
		}
	}()
}

// after rings this actor, unless it has ended by then.
func (r *runActor) after(d time.Duration, m any) {
	self, env := r.self, r.env
	ring := make(chan func() bool, 1)
	cancel := env.ports.Clock.After(d, func() {
		(<-ring)() // a timer that rang needs no cancelling at the actor's end
		env.tell(self, m)
	})
	ring <- context.AfterFunc(r.ctx, cancel)
}

// letGo ends what belongs to this actor, and nothing of the guest (P6).
func (r *runActor) letGo() {
	r.letRun()
	r.cancel() // whatever was opened is closed by it, also what is still being opened
}
