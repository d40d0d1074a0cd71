package actors

import (
	"context"
	"errors"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A guest's way to the disk, and back in another incarnation:
//
//	vm/<name>  save ─▶ run  Session.Save ─▶ StateFile ─▶ Keep ─▶ GuestSaved, or SaveFailed
//	vm/<name>  ◀─ GuestLoaded  run  ◀─ Session.Loaded
//	vm/<name>  forgets the file, then: resume ─▶ run  Session.Resume, probes, the guest's clock

// save: vm/<name> → run-<n>. May come twice.
type save struct{}

// What the goroutines of saving and loading bring back to their run actor.
type (
	saveEnded struct {
		state vm.SavedState
		err   error
	}
	guestLoaded struct{ err error }
	resumed     struct{ err error }
	standsStill struct{ saved bool }
	runsOn      struct{}
)

// suspension is what a run actor knows of a guest on its way.
type suspension struct {
	wanted  bool               // it is to be saved
	cut     context.CancelFunc // gives up the saving that is under way; nil: none is
	givenUp bool               // the one under way
	loading bool               // a saved guest that doesn't run yet
	late    bool               // its clock stood still with it
}

// clockBound is how long a guest's agent may take to hear of the time.
const clockBound = 5 * time.Second

// save begins as soon as there is a session. The guest proves nothing until it runs on.
func (r *runActor) save() {
	if r.deaf != "" {
		r.env.tell(r.parent, messages.SaveFailed{Incarnation: r.ref.Incarnation, Why: r.deaf})
		return
	}
	r.suspend.wanted, r.paused = true, true
	if r.dumpHolds() || r.keepYields() {
		return
	}
	if r.session != nil && r.suspend.cut == nil {
		r.beginSave()
	}
}

func (r *runActor) beginSave() {
	ctx, cancel := context.WithTimeout(r.ctx, policies.SaveTime(r.rec.Spec))
	r.suspend.cut, r.suspend.givenUp = cancel, false
	env, self, session, ref, memory := r.env, r.self, r.session, r.ref, r.rec.Spec.Memory
	go func() {
		defer cancel()
		state, err := env.saveGuest(ctx, session, ref, memory)
		env.tell(self, saveEnded{state, err})
	}()
}

// saveGuest writes the guest of a session, and returns when a power cut would
// find it whole.
func (e *env) saveGuest(ctx context.Context, s host.Session, ref vm.Ref, memory vm.Bytes) (vm.SavedState, error) {
	by, err := s.Kind(ctx)
	if err != nil {
		return vm.SavedState{}, err
	}
	state, err := e.savedGuest(ctx, s, ref)
	if err != nil {
		state, err = e.writeGuest(ctx, s, ref, memory)
	}
	state.By = by
	return state, err
}

// savedGuest is the file of a guest that stands still since it was saved. To let
// it run for another saving would leave the disks ahead of a file that a record
// may name already, where the store failed to say so.
func (e *env) savedGuest(ctx context.Context, s host.Session, ref vm.Ref) (vm.SavedState, error) {
	state, err := s.State(ctx)
	if err != nil {
		return vm.SavedState{}, err
	}
	if state != host.GuestSaved {
		return vm.SavedState{}, host.Fail(host.Gone, "look for a saved guest", errors.New("it has run on"))
	}
	return e.ports.Folders.Kept(ctx, ref)
}

func (e *env) writeGuest(ctx context.Context, s host.Session, ref vm.Ref, memory vm.Bytes) (vm.SavedState, error) {
	file, err := e.ports.Folders.NewState(ctx, ref, false, policies.SavedAtMost(memory))
	if err != nil {
		return vm.SavedState{}, err
	}
	defer file.Drop()
	if err := s.Save(ctx, file); err != nil {
		return vm.SavedState{}, err
	}
	return file.Keep(ctx)
}

func (r *runActor) saveEnded(m saveEnded) {
	givenUp := r.suspend.givenUp
	r.suspend.cut, r.suspend.givenUp = nil, false
	switch {
	case !r.suspend.wanted: // it was asked to run on meanwhile
		r.goOn()
	case givenUp: // … and then to be saved after all
		r.save()
	case m.err != nil:
		r.suspend.wanted = false
		r.env.tell(r.parent, messages.SaveFailed{Incarnation: r.ref.Incarnation, Why: m.err.Error()})
	default:
		r.env.tell(r.parent, messages.GuestSaved{Incarnation: r.ref.Incarnation, Saved: m.state})
	}
}

// resume lets the guest run on, whatever halted it: a person, a saving that is
// over or is given up by this, or a load.
func (r *runActor) resume() {
	r.suspend.wanted, r.paused, r.rec.State.Stalled = false, false, ""
	if r.suspend.cut != nil {
		r.suspend.givenUp = true
		r.suspend.cut() // its end goes on
		return
	}
	if !r.dumpHolds() && r.good.cut == nil {
		r.goOn()
	}
}

// pause halts the guest as a person asked.
func (r *runActor) pause() {
	r.paused = true
	if !r.dumpHolds() && r.good.cut == nil {
		r.ask("pause", host.Session.Pause)
	}
}

func (r *runActor) goOn() {
	r.suspend.loading = false
	session := r.session
	if session == nil {
		return // the next session finds it standing still
	}
	r.background(effectTimeout, func(ctx context.Context) any { return resumed{session.Resume(ctx)} })
}

// resumed: what a guest did while it stood still says nothing, so its probes begin anew.
func (r *runActor) resumed(m resumed) {
	if m.err != nil {
		r.sessionFailed(sessionFailed{"resume", m.err})
		return
	}
	r.good.halts = false
	if r.off || r.suspend.wanted || r.dumpAsked {
		return
	}
	if r.paused { // meanwhile
		if !r.evidence.Crashed {
			r.pause()
		}
		return
	}
	r.watchGuest()
	if r.ready {
		r.setClock()
	}
}

// watchGuest listens to a guest that runs.
func (r *runActor) watchGuest() {
	if r.visit == 0 {
		r.followConsole()
	}
	r.startProbes()
}

// meet decides what is to be done with a guest whose VMM has answered.
func (r *runActor) meet() {
	switch {
	case r.suspend.wanted:
		if !r.dumpHolds() && !r.keepYields() {
			r.beginSave()
		}
	case r.suspend.loading:
		session := r.session
		r.background(policies.StartTime(r.rec), func(ctx context.Context) any { return guestLoaded{session.Loaded(ctx)} })
	default:
		r.ask("state", func(s host.Session, ctx context.Context) error { return r.standing(ctx, s) })
	}
	if r.visit == 0 && !r.suspend.loading && !r.suspend.wanted {
		r.watchGuest()
	}
}

// guestLoaded: it runs on only after the record has forgotten the file.
func (r *runActor) guestLoaded(m guestLoaded) {
	if m.err != nil {
		r.sessionFailed(sessionFailed{"load", m.err}) // its VMM's end, or the deadline, says more
		return
	}
	r.findBalloon()
	if r.suspend.loading && !r.off {
		r.env.tell(r.parent, messages.GuestLoaded{Incarnation: r.ref.Incarnation})
	}
}

// standsStill: an earlier daemon was to let the guest run, and didn't come to it.
// One that is paused, and was being kept, is as it was when it was paused only
// after it went on: a suspension must not take it for one that was suspended.
func (r *runActor) standsStill(m standsStill) {
	if r.suspend.loading || r.suspend.wanted || r.good.cut != nil || r.paused && !m.saved || r.dumpHolds() {
		return
	}
	r.suspend.late = true
	r.goOn()
}

// runsOn: an earlier daemon was to halt the guest, and didn't come to it.
func (r *runActor) runsOn() {
	if r.paused && !r.off && !r.suspend.loading && !r.suspend.wanted {
		r.pause()
	}
}

// unloadable is why a saved guest can't be loaded.
type unloadable struct{ error }

// compute makes the command line; a saved guest is looked at before a VMM is launched for it.
func (r *runActor) compute(ctx context.Context) (host.Command, error) {
	if saved := policies.ToLoad(r.rec.State); r.suspend.loading && saved != nil {
		err := r.env.ports.Driver.Loads(r.rec.Spec, *saved)
		if err == nil {
			err = r.env.ports.Folders.CheckState(ctx, r.ref, *saved)
		}
		if err != nil && (saved.Good || host.KindOf(err) == host.Broken) { // a guest boots rather than wait for its known-good state
			err = unloadable{err}
		}
		if err != nil {
			return host.Command{}, err
		}
	}
	return r.env.ports.Driver.Command(r.ref, r.rec.Spec, r.paths)
}

// computeFailed tells a saved guest that is to blame from all else.
func (r *runActor) computeFailed(err error) {
	if why, is := errors.AsType[unloadable](err); is {
		r.fail(vm.Failure{Cause: vm.CauseSavedState, Evidence: why.Error()}, true)
	}
	r.launched(launched{err: err})
}

// setClock tells a guest that was loaded, or kept, how late it is: it stood still,
// and so did its clock. Without an agent it finds out by itself, or never.
func (r *runActor) setClock() {
	if !r.suspend.late {
		return
	}
	r.suspend.late = false
	owner, now := r.ctx, r.env.ports.Clock.Now
	r.background(clockBound, func(ctx context.Context) any {
		conn, err := r.agentConn(ctx, owner)
		if err == nil {
			err = conn.SetTime(ctx, now)
		}
		return sessionFailed{"set the guest's clock", err}
	})
}
