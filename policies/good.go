package policies

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

// The known-good state of a guest, where the VM's spec has the remedy restore:
//
//	its guest becomes healthy ─▶ run-<n> writes it, and it runs on ─▶ GuestKept: the record names it (State.Good)
//	it is sick                ─▶ the rung restore: killed            ─▶ the next incarnation begins with it (State.Restore)
//	… healthy again           ─▶ it stays, for the next time
//	… no answer, no load      ─▶ it is given up: what doesn't come back isn't good

// ToLoad is the saved guest that the incarnation begins with and that isn't
// known to be whole in its VMM yet; nil: there is none.
func ToLoad(s vm.State) *vm.SavedState {
	of := s.Saved
	if of == nil && s.Restore != 0 && s.Restore == s.Incarnation {
		of = s.Good
	}
	if of == nil || of.Incarnation >= s.Incarnation || s.Phase&(vm.Preparing|vm.Starting|vm.Adopting|vm.Stopping) == 0 {
		return nil
	}
	return of
}

// WantsGood says whether the guest of a record's incarnation is to be kept once
// it is healthy. One that was loaded is none that booted well.
func WantsGood(r vm.Record) bool {
	s := r.State
	return r.Spec.Restores() && !s.Pending && s.Loaded != s.Incarnation && (s.Good == nil || s.Good.Incarnation != s.Incarnation)
}

// goodLost is what a known-good state is found to be in the end.
const goodLost = "its file is gone from the disk, or cut short"

// loseGood gives up a known-good state that a failure tells is not on the disk:
// whoever would begin with it would only find that out.
func loseGood(s *vm.State, f *vm.Failure) {
	if f != nil && losesGood(*s, f.LostGood) {
		s.Good, s.GoodWhy = nil, goodLost
	}
}

// losesGood says whether it is the one of that incarnation that is named. Who
// is just loading it finds out himself.
func losesGood(s vm.State, of vm.Incarnation) bool {
	return s.Good != nil && s.Good.Incarnation == of && !Loading(s)
}

// idleGood says that an event tells nothing of the known-good state that counts now.
func idleGood(r vm.Record, t Turn) bool {
	return t.Event == vm.GuestKept && !WantsGood(r) || t.Event == vm.KeepFailed && t.LostGood != 0 && !losesGood(r.State, t.LostGood)
}

// carryGood keeps what an event brings of the known-good state.
func carryGood(r *vm.Record, t Turn) {
	s := &r.State
	switch t.Event { //nolint:exhaustive // the others carry nothing of it
	case vm.GuestKept:
		good := *t.Saved
		good.Incarnation, good.Hardware, good.Good = s.Incarnation, cmp.Or(s.Hardware, r.Spec.Hardware()), true
		s.Good, s.GoodWhy = &good, ""
	case vm.KeepFailed:
		if s.GoodWhy = t.Why; t.LostGood != 0 {
			s.Good, s.GoodWhy = nil, goodLost
		}
	case vm.GuestLoaded:
		s.Restore = 0
	case vm.FoundNone: // nothing was launched: the next one is what this was to be
		if s.Restore == s.Incarnation && s.Restore != 0 {
			s.Restore++
		}
	case vm.StopAsked, vm.KillAsked, vm.RestartAsked, vm.DeleteAsked, vm.ForceDeleteAsked:
		if s.Restore > s.Incarnation {
			s.Restore = 0 // what a person starts anew boots
		}
	}
}

// enterGood forgets at the begin of a phase what nothing will load any more; at
// the begin of an incarnation it follows the decision to restore.
func enterGood(r *vm.Record, to vm.Phase) {
	s := &r.State
	if to&(vm.Stopped|vm.Removing) != 0 || to == vm.Preparing && unfit(*r) != "" {
		s.Good, s.GoodWhy = nil, ""
	}
	if to&(vm.Stopped|vm.Failed|vm.Suspended|vm.Removing) != 0 || s.Good == nil {
		s.Restore = 0
	}
	if to != vm.Preparing {
		return
	}
	s.GoodWhy = ""
	if s.Saved != nil || s.Restore == s.Incarnation+1 {
		s.Loaded = s.Incarnation + 1
	}
}

// unfit says why a known-good state loads into no incarnation any more; empty: it does.
func unfit(r vm.Record) string {
	switch g := r.State.Good; {
	case g == nil:
	case g.Hardware != r.Spec.Hardware():
		return "its hardware was changed since its known-good state was saved"
	case !r.Spec.Restores():
		return "its spec asks for no known-good state any more"
	}
	return ""
}

// WasRestored says whether the incarnation began with the known-good state, as a
// remedy of the end before.
func WasRestored(s vm.State) bool {
	return s.LastExit != nil && s.LastExit.Decision.Remedy == vm.RemedyRestore && s.Loaded == s.Incarnation &&
		s.LastExit.Failure.Incarnation < s.Incarnation
}

// restoredInVain says that it did, and that nothing was heard of its guest.
func restoredInVain(s vm.State) bool { return WasRestored(s) && s.ReadyAt.IsZero() }

// goodOf tells of a known-good state, for a sentence.
func goodOf(now time.Time, g vm.SavedState) string {
	return fmt.Sprintf("the known-good state of %s ago", age(now, g.At))
}

// noGood is why there is nothing to restore, or empty.
func noGood(r vm.Record) string {
	switch s := r.State; {
	case s.Good != nil:
		return unfit(r)
	case s.GoodWhy != "":
		return "there is no known-good state: " + s.GoodWhy
	}
	return "there is no known-good state yet"
}

// seenGood tells of a known-good state to a person; empty: there is nothing to tell.
func seenGood(now time.Time, s vm.State) string {
	switch {
	case s.Good != nil:
		return fmt.Sprintf("its known-good state is %s old and takes %s of the disk", age(now, s.Good.At), showBytes(float64(s.Good.Bytes)))
	case s.GoodWhy != "":
		return "it has no known-good state: " + s.GoodWhy
	}
	return ""
}

// toldRestored tells of a guest on its way back, and what comes when the time is up.
func toldRestored(e *Explanation, now time.Time, r vm.Record, late string) string {
	s := r.State
	is := "its known-good state was restored, the guest has not answered yet"
	if good := ToLoad(s); good != nil {
		is = goodOf(now, *good) + " is being restored"
	} else if sick := ifSick(now, r); sick != "" {
		late = "the guest counts as sick: " + strings.TrimPrefix(sick, "if it gets sick, ")
	}
	e.State = fmt.Sprintf("%s: %s; wanted %s, health %s", s.Phase, is, s.Intent, s.Health)
	return late
}
