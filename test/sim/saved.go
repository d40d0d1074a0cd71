package sim

import (
	"slices"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// P17 is that a guest which was suspended is loaded at most once, and lost by
// nothing but what spoils it. The fake world sees a second load after the guest
// ran on.

// checkP17turn: a saved guest is given up for a reason that was there.
func (s *stage) checkP17turn(before, after vm.Record, t persistence.Turn) {
	s.checkGoodTurn(before, after, t)
	c := t.Crash
	if c != nil && before.State.Saved != nil && c.Failure.Cause == vm.CauseSavedState && !s.world.Spoilt(after.ID) {
		s.judge.broken("checkP17", after.Spec.Name, "what was saved was whole, and was not loaded: %s", c.Failure.Evidence)
	}
	dropped := []string{
		vm.GuestLoaded.String(), vm.KillAsked.String(), vm.DeleteAsked.String(), vm.ForceDeleteAsked.String(), vm.ReleasedToRemove.String(),
		vm.ReleasedToStop.String(),
	}
	lost := before.State.Saved != nil && after.State.Saved == nil && !slices.Contains(dropped, t.Entry.Kind)
	same := before.State.Saved != nil && before.State.Saved.Hardware == after.Spec.Hardware()
	if lost && same && (c == nil || c.Failure.Cause != vm.CauseSavedState) {
		s.judge.broken("checkP17", after.Spec.Name, "%s gave up what was saved", t.Entry.Kind)
	}
}

// checkP17rest: what is suspended is there to be loaded.
func (s *stage) checkP17rest(r vm.Record) {
	at := r.State
	for _, n := range s.world.Images(r.ID) {
		if n < at.Incarnation && (at.Saved == nil || at.Saved.Incarnation != n) {
			s.judge.broken("checkP17", r.Spec.Name, "what incarnation %d saved is left on the disk", n)
		}
	}
	s.checkGoodRest(r)
	if at.Phase != vm.Suspended || s.world.Spoilt(r.ID) {
		return
	}
	if at.Saved == nil || !slices.Contains(s.world.Images(r.ID), at.Saved.Incarnation) {
		s.judge.broken("checkP17", r.Spec.Name, "it is suspended, and nothing is there to be loaded: %+v", at.Saved)
	}
}
