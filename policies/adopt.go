package policies

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// Adopted is the turn that follows a look for the VMM of a record's
// incarnation: p is the live one, or nil, and then exit, if not nil, is how the
// last one ended. boot is the node's boot id now.
func Adopted(rec vm.Record, p *vm.Process, exit *vm.Exit, boot vm.BootID, now time.Time) Turn {
	s := rec.State
	t := Turn{At: now, BootID: boot, Process: p}
	switch {
	case p != nil && s.Intent != vm.WantRunning:
		t.Event = vm.FoundUnwanted
	case p != nil && s.ReadyAt.IsZero():
		t.Event = vm.FoundStarting
	case p != nil:
		t.Event = vm.FoundReady
	case s.LaunchedAt.IsZero() && s.Intent == vm.WantRunning:
		t.Event = vm.FoundNone
	case s.LaunchedAt.IsZero():
		// A launch may still be under way: only a kill bars it for good (P1).
		t.Event = vm.GuestSick
		t.Failure = &vm.Failure{Cause: vm.CauseOperator, Evidence: "it was asked down before its VMM was launched"}
	default:
		t.Event = vm.VMMGone
		f := Classify(Evidence{
			Incarnation: s.Incarnation, At: now, Ready: !s.ReadyAt.IsZero(), Launched: true, Exit: exit, Unseen: true, Runner: rec.Spec.Boot.Built(),
		})
		if Loading(s) {
			f = WhileLoading(f, "")
		}
		t.Failure = &f
	}
	return t
}
