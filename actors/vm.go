package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// effectTimeout bounds one try of an effect; the phase's own deadline tries again.
const effectTimeout = 30 * time.Second

// vmActor is one VM: it owns the record, and supervises the run actor of the
// current incarnation. It never blocks but for the one sync of a turn, and is
// never suspended, so it answers in every phase.
type vmActor struct {
	env  *env
	rec  vm.Record
	self *actor.PID

	run       *actor.PID     // nil: no run actor
	prepare   chan struct{}  // closed when the last run actor's Prepare has returned, which may be after that actor's end
	begun     vm.Incarnation // the last one that got a run actor
	notes     *notes         // of that one
	cleaning  chan struct{}  // closed when what was left over is removed: no preparing begins before
	ending    bool           // run was asked to end; its Terminated is due
	sick      bool           // the one that ends failed by its guest, and not by a bug
	overtaken int            // failures by which a machine was reset, and that came before what had been told earlier
	releasing bool           // a release waits for that Terminated
	bugs      int            // of run actors in a row, for their own delay
	disarm    func()         // cancels the phase's timer

	ctx       context.Context //nolint:containedctx // ends with the actor: no effect of it acts after a successor's
	cancel    context.CancelFunc
	dropAgain bool            // saved guests are to be dropped once more, by the record as it is then
	busy      map[effort]bool // under way: a repeat that overtook it would let the slow one act on what came after
}

// asked is an ask with the channel that takes its one answer; the channel has
// room for it, so answering never blocks.
type asked struct {
	messages.Ask
	held  // with SpecAsked
	reply chan<- messages.Answer
}

// watchAgain: clock → vm/<name>, after a bug ended a run actor.
type watchAgain struct{ incarnation vm.Incarnation }

// Receive is the VM's mailbox.
func (v *vmActor) Receive(c actor.Context) {
	if v.ctx != nil && v.ctx.Err() != nil {
		v.refuse(c.Message())
		return
	}
	switch m := c.Message().(type) {
	case *actor.Started:
		v.self, v.disarm, v.busy = c.Self(), func() {}, map[effort]bool{}
		v.ctx, v.cancel = context.WithCancel(context.Background())
		v.wake(c)
	case asked:
		v.answer(c, m)
	case messages.Fact:
		if v.overtaken == 0 || !ofGuest(m) {
			v.hear(c, m)
		}
	case caughtUp:
		v.overtaken--
	case messages.DeadlinePassed:
		if m.Revision == v.rec.State.Revision { // P5: a late timer is of another visit
			v.turn(c, policies.Turn{Event: vm.DeadlinePassed})
			v.attachAnew()
		}
	case messages.CalledUp:
		if v.rec.State.Queued {
			v.turn(c, policies.Turn{Event: vm.CalledUp})
		}
	case messages.NodeEnding:
		v.turn(c, policies.Turn{Event: vm.NodeEnding})
	case exec, dump, memoryAsked:
		v.serve(m)
	case reclaimAsked:
		v.reclaim(c, m)
	case watchAgain:
		if m.incarnation == v.rec.State.Incarnation && v.rec.State.Phase&vm.Live != 0 {
			v.attach(c)
		}
	case *actor.Terminated:
		v.runEnded(c, m.Who)
	case effectEnded:
		if m.of == v { // else it is of the actor that a bug of ours ended: this one does it again
			delete(v.busy, m.effort)
			v.hear(c, m.fact)
		}
	case *actor.Stopping, *actor.Restarting:
		v.disarm()
		v.cancel()
	}
}

// serve meets what is asked of the guest itself, and changes no state.
func (v *vmActor) serve(m any) {
	switch m := m.(type) {
	case exec:
		v.exec(m)
	case dump:
		v.dump(m)
	case memoryAsked:
		v.askMemory(m)
	}
}

// refuse meets what comes while this actor ends: the library waits for the
// children that it knew when that began, so nothing may begin any more.
func (v *vmActor) refuse(m any) {
	why := letsGo(v.rec.Spec.Name)
	if v.rec.State.Intent == vm.WantRemoved {
		why = &vm.Refusal{Code: vm.NotFound, Why: string(v.rec.Spec.Name) + " was deleted", Try: "blixard vm list"}
	}
	switch m := m.(type) {
	case asked:
		v.settle(m, false)
		m.reply <- messages.Answer{Record: v.rec, Refusal: why}
	case exec:
		m.reply <- execAnswer{err: why}
	case dump:
		m.reply <- dumpAnswer{err: why}
	}
}

// wake meets the record that our own crash, or an orderly end, left behind.
func (v *vmActor) wake(c actor.Context) {
	v.publish()
	v.turn(c, policies.Woken(v.rec, policies.Waking{
		At: v.now(), BootID: v.env.ports.BootID, NewBoot: v.env.first && v.env.awake.waits(v.rec.Spec.Name), Policy: v.env.boot,
	}))
	v.env.awake.met(v.rec.Spec.Name)
	v.owed()
}

// answer carries out an ask and answers when it is durable.
func (v *vmActor) answer(c actor.Context, m asked) {
	refusal := v.carryOut(c, m)
	v.settle(m, refusal == nil)
	m.reply <- messages.Answer{Record: v.rec, Refusal: refusal}
}

// settle tells the tracker what became of what it holds for a new spec.
func (v *vmActor) settle(m asked, durable bool) {
	if m.held != (held{}) {
		m.reservation = v.rec.Holds()
		v.env.tell(v.env.tracker, settled{held: m.held, name: v.rec.Spec.Name, durable: durable})
	}
}

func (v *vmActor) carryOut(c actor.Context, m asked) *vm.Refusal {
	name := string(v.rec.Spec.Name)
	if v.env.safe != "" && !harmless(m.Event) {
		return v.env.holdsBack(name + " was left as it is")
	}
	if m.Event == vm.SpecAsked {
		if why := v.env.lowSpace(); why != "" {
			return full(name+" keeps its spec", why)
		}
		if r := v.env.cyclic(*m.Spec); r != nil {
			return r
		}
	}
	return v.try(c, policies.Turn{Event: m.Event, By: m.By.String(), Spec: m.Spec, Reservation: m.reservation})
}

// harmless are the asks that start and delete nothing.
func harmless(e vm.Event) bool {
	return e == vm.StopAsked || e == vm.KillAsked || e == vm.PauseAsked || e == vm.ResumeAsked
}

// hear turns a fact of this incarnation into a turn; facts of others are stale.
func (v *vmActor) hear(c actor.Context, f messages.Fact) {
	if f.Of() != v.rec.State.Incarnation {
		return
	}
	switch m := f.(type) {
	case messages.Launched:
		v.launched(c, m.Process)
	case messages.GuestAnswered:
		v.bugs = 0
		v.turn(c, policies.Turn{Event: vm.GuestAnswered, Health: m.Health, HealthWhy: m.Why, Probes: m.Probes})
	case messages.GuestReset:
		v.turn(c, policies.Turn{Event: vm.GuestReset, Why: m.Why})
	case messages.GuestWasReset:
		v.turn(c, policies.Turn{Event: vm.GuestWasReset})
	case messages.HealthJudged:
		v.turn(c, policies.Turn{Event: vm.HealthChanged, Health: m.Health, HealthWhy: m.Why, Why: m.Why, Probes: m.Probes})
	case messages.OutOfSpace, messages.WentDeaf, messages.HeardAgain:
		v.hearLimits(c, m)
	case messages.SpaceBack:
		if v.rec.State.Stalled != "" { // else a person paused it
			v.turn(c, policies.Turn{Event: vm.SpaceBack})
		}
	case messages.GuestSaved, messages.SaveFailed, messages.GuestLoaded, messages.GuestKept, messages.KeepFailed, messages.StatesDropped, messages.StatesLeft:
		v.hearSaved(c, m)
	case messages.Found:
		v.turn(c, policies.Adopted(v.rec, m.Process, m.Exit, v.env.ports.BootID, v.now()))
	case messages.Missed:
		if v.rec.State.Phase&(vm.Running|vm.Paused) != 0 {
			v.find(v.rec.Ref(), v.rec.State.Process)
		}
	case messages.Leftover:
		v.clean()
	case messages.KillConfirmed:
		v.turn(c, policies.Turn{Event: vm.KillConfirmed})
	case messages.Released:
		if m.Kept && v.rec.State.Phase == vm.Reaping && !policies.Keeps(v.rec.State) {
			v.release() // it was to restart as it was when that began, and is not any more (P7)
			return
		}
		v.turn(c, policies.Turn{Event: v.rec.State.After.Released()})
	case messages.Discarded:
		v.turn(c, policies.Turn{Event: vm.Discarded})
	case messages.EffectFailed:
		v.env.log.Warn("effect failed, the deadline tries again", zap.String("vm", string(v.rec.Spec.Name)),
			zap.Stringer("effect", m.Effect), zap.String("why", m.Why))
		go v.env.note("EffectFailed", v.rec, fmt.Sprintf("%s: %s; it is tried again by %s", m.Effect, m.Why, v.rec.State.Deadline.UTC().Format(time.TimeOnly)))
	}
}

// hearLimits turns what a VMM can't do, and can again, into a turn.
func (v *vmActor) hearLimits(c actor.Context, f messages.Fact) {
	switch m := f.(type) {
	case messages.OutOfSpace:
		v.turn(c, policies.Turn{Event: vm.OutOfSpace, Why: m.Why})
	case messages.WentDeaf:
		v.turn(c, policies.Turn{Event: vm.WentDeaf, Why: m.Why})
	case messages.HeardAgain:
		v.turn(c, policies.Turn{Event: vm.HeardAgain})
	}
}

// turn is try for what nobody waits to be answered. What can't be made durable
// is a bug for the fleet: this actor starts again from its record (P3).
func (v *vmActor) turn(c actor.Context, t policies.Turn) {
	if r := v.try(c, t); r != nil {
		panic("actors: turn " + t.Event.String() + ": " + r.Error())
	}
}

// try is one turn: decide → write, synced → do → arm the phase's one timer.
func (v *vmActor) try(c actor.Context, t policies.Turn) *vm.Refusal {
	t.At, t.BootID, t.Spread = v.now(), v.env.ports.BootID, v.env.ports.Spread()
	if t.Event == vm.DeadlinePassed || t.Event == vm.GuestSick || t.Event == vm.SuspendAsked {
		t.DiskFull = v.env.lowSpace()
	}
	if v.env.safe != "" {
		t.Decision = policies.HeldInSafeMode()
	}
	t = policies.Remedied(v.rec, t)
	before, out := v.rec, policies.Next(v.rec, t)
	if out.Refusal != nil {
		return out.Refusal
	}
	if out.Write {
		if r := v.keep(out, t); r != nil {
			return r
		}
	} else if r := v.doubted(); r != nil && t.Event.Asked() {
		return r
	}
	v.arm()
	for _, e := range out.Effects {
		v.do(c, e)
	}
	if t.Event == vm.SpecAsked {
		v.tellRun(respecified{v.rec.Spec.Health, v.rec.Spec.Dump})
	}
	if out.Write { // behind the effects, so that they don't wait for it
		v.died(before, out.Crash, t.Failure)
		v.tell(out.Entry, t.Event)
	}
	return nil
}

// tell logs a turn.
func (v *vmActor) tell(e vm.Entry, event vm.Event) {
	s := v.rec.State
	v.env.log.Info("turn", zap.String("vm", string(v.rec.Spec.Name)), zap.Stringer("phase", e.From),
		zap.Stringer("event", event), zap.Stringer("to", s.Phase), zap.Uint64("incarnation", uint64(s.Incarnation)),
		zap.Uint64("revision", uint64(s.Revision)), zap.String("why", e.Why))
}

// keep makes the turn durable before anything is done (P2, P3).
func (v *vmActor) keep(out policies.Outcome, t policies.Turn) *vm.Refusal {
	began := v.now()
	last, _ := v.env.views.get(v.rec.Spec.Name)
	_, err := v.env.store.Commit(persistence.Turn{ // after a doubt the disk may hold a spec that was refused
		Record: out.Record, Whole: out.Whole || last.doubt, Removed: out.Removed, Entry: &out.Entry, Crash: out.Crash,
	})
	if doubt := err != nil; doubt != last.doubt { // else every turn would copy the view twice and wake who waits for nothing
		v.env.views.mark(v.rec.Spec.Name, func(o *view) { o.doubt = doubt })
	}
	if err != nil {
		return unwritten(v.rec.Spec.Name, "changed", err)
	}
	before := v.rec
	v.rec = out.Record
	v.publish()
	if h := v.rec.Holds(); h != before.Holds() && t.Event != vm.SpecAsked {
		v.env.tell(v.env.tracker, holds{id: v.rec.ID, reservation: h})
	}
	v.env.turned.pass(v.env, v.rec)
	v.env.watch.Turned(Turned{Before: before, After: v.rec, Event: t.Event, Crash: out.Crash, Stored: v.now().Sub(began)})
	return nil
}

// doubted refuses to call done what needs no write, after a write that failed:
// the disk may hold that turn, and the next daemon would follow it (P5).
func (v *vmActor) doubted() *vm.Refusal {
	if seen, _ := v.env.views.get(v.rec.Spec.Name); !seen.doubt {
		return nil
	}
	return &vm.Refusal{
		Code: vm.Unavailable, Why: fmt.Sprintf("nobody knows what the disk holds of %s: the store failed to write its last turn", v.rec.Spec.Name),
		Try: "look at the disk's space and health: blixard node doctor",
	}
}

// arm sets the phase's one timer; it says whose visit armed it.
func (v *vmActor) arm() {
	v.disarm()
	v.disarm = func() {}
	if v.rec.State.Deadline.IsZero() {
		return
	}
	self, revision := v.self, v.rec.State.Revision
	v.disarm = v.env.ports.Clock.After(v.rec.State.Deadline.Sub(v.now()), func() {
		v.env.tell(self, messages.DeadlinePassed{Revision: revision})
	})
}

func (v *vmActor) now() time.Time { return v.env.ports.Clock.Now() }

// publish copies the record to the views, from where status is answered.
func (v *vmActor) publish() {
	rec, pid := v.rec, v.self
	v.env.views.update(rec.Spec.Name, func(o *view) { o.rec, o.pid, o.parked = rec, pid, "" })
}

// effectEnded: a goroutine of vm/<name> → itself. Comes once for each effect
// that was begun.
type effectEnded struct {
	of *vmActor // which of those that this name had begun it: a pid says only the name
	effort
	fact messages.Fact
}

// effort is one effect for one incarnation.
type effort struct {
	effect      vm.Effect
	incarnation vm.Incarnation
}

// background runs an effect that may take time, one of its kind at once, and
// brings its fact back.
func (v *vmActor) background(e vm.Effect, work func(ctx context.Context) (messages.Fact, error)) {
	self, env, parent, n := v.self, v.env, v.ctx, v.rec.State.Incarnation
	one := effort{e, n}
	if v.busy[one] {
		return // its end is heard, or its own time runs out; the phase's deadline tries again
	}
	v.busy[one] = true
	go func() {
		ctx, cancel := context.WithTimeout(parent, effectTimeout)
		defer cancel()
		fact, err := work(ctx)
		if err != nil {
			fact = messages.EffectFailed{Incarnation: n, Effect: e, Why: err.Error()}
		}
		env.tell(self, effectEnded{v, one, fact})
	}()
}
