package sim

import (
	"slices"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A guest is restored from its newest known-good state, by a remedy and no other
// way, and never where it writes to a disk that doesn't go back with it.

// checkGoodTurn looks at what was decided, and at what a VMM was launched with.
func (s *stage) checkGoodTurn(before, after vm.Record, t persistence.Turn) {
	id, name, b, a := after.ID, after.Spec.Name, before.State, after.State
	if t.Entry.Kind == vm.GuestKept.String() {
		s.kept[id] = a.Incarnation
	}
	if c := t.Crash; c != nil && c.Decision.Remedy == vm.RemedyRestore {
		writes := slices.ContainsFunc(after.Spec.Disks, func(d vm.Disk) bool { return !d.ReadOnly })
		switch {
		case writes || !after.Spec.Restores():
			s.judge.broken("checkGood", name, "a guest that writes to disks, or whose spec doesn't ask for it, is restored")
		case b.Good == nil || b.Good.Incarnation != s.kept[id]:
			s.judge.broken("checkGood", name, "it is restored from %+v, and incarnation %d was kept last", b.Good, s.kept[id])
		}
	}
	if c := t.Crash; c != nil && b.Saved == nil && c.Failure.Cause == vm.CauseSavedState && !s.world.Spoilt(id) && len(s.world.Goods(id)) == 0 {
		s.judge.broken("checkGood", name, "its known-good state is gone: %s", c.Failure.Evidence)
	}
	if b.Revision == 0 || t.Entry.Kind != vm.Launched.String() && t.Entry.Kind != vm.GuestLoaded.String() {
		return
	}
	switch from := s.world.Restored(id, a.Incarnation); {
	case from == 0: // or gone by now
	case !policies.WasRestored(a):
		s.judge.broken("checkGood", name, "incarnation %d runs from what %d left, and nobody decided that", a.Incarnation, from)
	case b.Good == nil || b.Good.Incarnation != from:
		s.judge.broken("checkGood", name, "incarnation %d runs from what %d left, and its record names %+v", a.Incarnation, from, b.Good)
	}
}

// checkGoodRest: what is named is there, and nothing else.
func (s *stage) checkGoodRest(r vm.Record) {
	at, found := r.State, s.world.Goods(r.ID)
	for _, n := range found {
		if n < at.Incarnation && (at.Good == nil || at.Good.Incarnation != n) {
			s.judge.broken("checkGood", r.Spec.Name, "the known-good state of incarnation %d is left on the disk", n)
		}
	}
	if at.Good != nil && !s.world.Spoilt(r.ID) && !slices.Contains(found, at.Good.Incarnation) {
		s.judge.broken("checkGood", r.Spec.Name, "its known-good state is gone: %+v", at.Good)
	}
}
