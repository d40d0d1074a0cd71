package actors

import (
	"context"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A guest's known-good state, which the remedy restore loads:
//
//	healthy for the first time ─▶ keep ─▶ Session.Save ─▶ Session.Resume ─▶ goesOn: probes begin anew
//	                                                           StateFile.Keep ─▶ GuestKept, or KeepFailed
//
// The guest stands still for as long as it is written, and not while the disk
// syncs it. A stop and a suspension that come meanwhile give the writing up: there
// is another chance when the next incarnation is healthy.

// What the goroutine of keeping brings back to its run actor.
type (
	goesOn struct{ err error } // the guest was let run again
	// keepEnded comes after it.
	keepEnded struct {
		good vm.SavedState
		err  error
	}
)

// hearStill is what is told of a guest that stands still, or did.
func (r *runActor) hearStill(m any) {
	switch m := m.(type) {
	case standsStill:
		r.standsStill(m)
	case runsOn:
		r.runsOn()
	case goesOn:
		r.goesOn(m)
	case keepEnded:
		r.keepEnded(m)
	}
}

// keeping is what a run actor knows of the known-good state that it has written.
type keeping struct {
	tried  bool
	cut    context.CancelFunc // gives the writing up; nil: the guest doesn't stand still for it
	runs   chan struct{}      // closed when it was let run again
	halts  bool               // the guest was halted for it, and is not known to run again
	spoilt string             // why what was written is no known-good state; empty: it is one
	proved map[string]bool    // checks that have passed since this actor began
}

// passed: what an earlier daemon had seen is no proof that its guest is well now.
func (k *keeping) passed(c vm.Check) {
	if !k.tried {
		if k.proved == nil {
			k.proved = map[string]bool{}
		}
		k.proved[policies.Title(c)] = true
	}
}

// spoil says that a guest which is just being written was not well any more.
func (k *keeping) spoil(why string) {
	if k.cut != nil && k.spoilt == "" {
		k.spoilt = why
	}
}

// keep begins when the guest is healthy for the first time, where a remedy will
// want that, once.
func (r *runActor) keep() {
	still := r.paused || r.off || r.dumpAsked || r.dumping != nil || r.suspend.wanted || r.suspend.cut != nil || r.suspend.loading
	if r.good.tried || !r.ready || still || r.session == nil || r.resetDue() || !policies.WantsGood(r.rec) || !r.well() {
		return
	}
	r.good.tried = true
	if why := r.env.lowSpace(); why != "" {
		r.env.tell(r.parent, messages.KeepFailed{Incarnation: r.ref.Incarnation, Why: why})
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, policies.SaveTime(r.rec.Spec))
	runs := make(chan struct{})
	r.good.cut, r.good.halts, r.good.runs = cancel, true, runs
	env, self, session, ref, memory, owner := r.env, r.self, r.session, r.ref, r.rec.Spec.Memory, r.ctx
	tell := func(m any) {
		if owner.Err() == nil { // see background
			env.tell(self, m)
		}
	}
	go func() {
		defer cancel()
		good, err := env.keepGuest(ctx, session, ref, memory, func(err error) {
			close(runs)
			tell(goesOn{err})
		})
		tell(keepEnded{good, err})
	}()
}

// well says whether every check has passed, all of it seen by this actor.
func (r *runActor) well() bool {
	all := r.allProbes()
	for _, p := range all {
		if !p.Over() && !r.good.proved[policies.Title(p.Check)] {
			return false
		}
	}
	return len(r.cutOff) == 0 && (len(all) == 0 || policies.Judge(all).Health == vm.Healthy)
}

// keepGuest writes the guest of a session and lets it run on, whatever becomes
// of the file. on is called once, when it does.
func (e *env) keepGuest(ctx context.Context, s host.Session, ref vm.Ref, memory vm.Bytes, on func(error)) (vm.SavedState, error) {
	by, err := s.Kind(ctx)
	if err != nil {
		on(nil)
		return vm.SavedState{}, err
	}
	file, err := e.ports.Folders.NewState(ctx, ref, true, policies.SavedAtMost(memory))
	if err != nil {
		on(nil)
		return vm.SavedState{}, err
	}
	defer file.Drop()
	err = s.Save(ctx, file)
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), effectTimeout)
	on(s.Resume(again))
	cancel()
	if err != nil {
		return vm.SavedState{}, err
	}
	good, err := file.Keep(ctx)
	good.By = by
	return good, err
}

// keepYields gives up the writing that is under way, and says whether one is:
// what is asked of the guest then is done when it has ended.
func (r *runActor) keepYields() bool {
	if r.good.cut == nil {
		return false
	}
	r.good.spoil("it was given up for what was asked of the VM meanwhile")
	r.good.cut()
	return true
}

// runAgain is how long an ending actor waits for its guest to be let run.
const runAgain = time.Second

// letRun has a guest that stands still to be written run on before this actor
// ends: the next daemon may come much later.
func (r *runActor) letRun() {
	if r.good.cut == nil {
		return
	}
	r.good.cut()
	late := make(chan struct{})
	defer r.env.ports.Clock.After(runAgain, func() { close(late) })()
	select {
	case <-r.good.runs:
	case <-late:
	}
}

// goesOn: what was asked of the guest meanwhile is done now. Its probes begin
// anew: that it said nothing while it stood still is no news. Its clock stood
// still, too.
func (r *runActor) goesOn(m goesOn) {
	r.good.cut, r.good.halts = nil, m.err != nil
	switch {
	case r.suspend.wanted:
		r.save()
	case r.paused && r.evidence.Crashed:
	case r.paused && m.err == nil:
		r.pause()
	case r.paused:
	case m.err != nil:
		r.sessionFailed(sessionFailed{"resume", m.err})
		r.goOn()
	case !r.off:
		r.suspend.late = true
		r.setClock()
		r.startProbes()
	}
}

// keepEnded tells what has become of it.
func (r *runActor) keepEnded(m keepEnded) {
	why := r.good.spoilt
	if m.err != nil && why == "" {
		why = m.err.Error()
	}
	if why != "" {
		r.env.tell(r.parent, messages.KeepFailed{Incarnation: r.ref.Incarnation, Why: why})
		return
	}
	r.env.tell(r.parent, messages.GuestKept{Incarnation: r.ref.Incarnation, Good: m.good})
}
