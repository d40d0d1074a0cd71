package policies

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// Adopted is the turn that follows a look for the VMM of a record's
// incarnation: p is the live one, or nil. boot is the node's boot id now.
func Adopted(rec vm.Record, p *vm.Process, boot vm.BootID, now time.Time) Turn {
	s := rec.State
	t := Turn{At: now, BootID: boot, Process: p}
	switch {
	case p != nil && s.Intent != vm.WantRunning:
		t.Event = vm.FoundUnwanted
	case p != nil && s.ReadyAt.IsZero():
		t.Event = vm.FoundStarting
	case p != nil:
		t.Event = vm.FoundReady
	case s.BootID != boot:
		t.Event = vm.VMMGone
		t.Failure = &vm.Failure{Cause: vm.CauseHostReboot, Evidence: "the node booted anew"}
	case s.LaunchedAt.IsZero() && s.Intent == vm.WantRunning:
		t.Event = vm.FoundNone
	case s.LaunchedAt.IsZero():
		// A launch may still be under way: only a kill bars it for good (P1).
		t.Event = vm.GuestSick
		t.Failure = &vm.Failure{Cause: vm.CauseOperator, Evidence: "it was asked down before its VMM was launched"}
	default:
		t.Event = vm.VMMGone
		t.Failure = &vm.Failure{Cause: vm.CauseUnknown, Evidence: "its VMM ended while no daemon looked"}
	}
	return t
}
