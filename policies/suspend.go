package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

const ruleUnloadable = "saved-state" // a saved state that doesn't load is nobody's crash

// unloadable is what QEMU writes before it ends because of what it loads.
// Any other end of a VMM that loads says nothing of the saved guest, which is kept.
const unloadable = "load of migration failed"

// WhileLoading is the failure of a VMM that ended before its saved guest was
// whole in it; stderr is what it wrote.
func WhileLoading(f vm.Failure, stderr string) vm.Failure {
	if f.Cause == vm.CauseVMMCrash && (crashed(f.Exit) || strings.Contains(stderr, unloadable)) {
		f.Cause, f.Confidence = vm.CauseSavedState, vm.Likely
		f.Evidence = oneLine("its VMM can't load it: " + f.Evidence)
	}
	return f
}

// Loading says whether the incarnation begins with a saved guest that is not
// known to be whole in its VMM yet.
func Loading(s vm.State) bool { return ToLoad(s) != nil }

// SaveTime is how long saving a guest may take.
func SaveTime(s vm.Spec) time.Duration {
	return saveTimeout + time.Duration(s.Memory/saveRate)*time.Second
}

// StartTime is how long a start may take. A saved guest has to be read before it
// answers, and that takes as long as its memory wants.
func StartTime(r vm.Record) time.Duration {
	if Loading(r.State) {
		return r.Spec.Start.Timeout + SaveTime(r.Spec)
	}
	return r.Spec.Start.Timeout
}

// SavedAtMost is how much a saved guest may take on the disk: its memory, eight
// bytes for each page, and the state of its devices.
func SavedAtMost(memory vm.Bytes) vm.Bytes { return memory + memory/64 + 64*vm.MiB }

// EnoughRoom is what a filesystem must have before a guest that it halted goes
// on: less would halt it again within a moment.
const EnoughRoom = 64 * vm.MiB

// outgrown says why a saved guest is given up at the start of an incarnation;
// empty: it is loaded.
func outgrown(r vm.Record) string {
	if s := r.State.Saved; s == nil || s.Hardware == r.Spec.Hardware() {
		return ""
	}
	return "its hardware was changed since it was suspended, so it boots afresh and its saved memory is lost"
}

// carrySaved keeps what an event brings of a guest's way to the disk and back,
// and of its halt while a disk is full.
func carrySaved(r *vm.Record, t Turn) {
	s := &r.State
	switch t.Event { //nolint:exhaustive // the others carry nothing of it
	case vm.ResumeAsked:
		s.Stalled = ""
		if s.Phase&(vm.Suspending|vm.Suspended) != 0 {
			s.Intent, s.After, s.AskedDown = vm.WantRunning, vm.ThenRestart, false
		}
	case vm.PauseAsked:
		s.Stalled = ""
	case vm.SuspendAsked:
		s.Intent, s.After = vm.WantSuspended, vm.ThenSuspend
	case vm.GuestSaved:
		s.Saved = savedAs(*r, *t.Saved)
	case vm.SaveFailed:
		goOn(s)
	case vm.GuestLoaded:
		s.Saved = nil // before it runs on: a second load would destroy its disks
	case vm.OutOfSpace:
		s.Stalled = t.Why
	case vm.SpaceBack:
		s.Stalled = ""
	case vm.DeadlinePassed:
		if s.Phase == vm.Suspending {
			goOn(s)
		}
	}
}

// lostBy says why the turn from one record to the other gave a saved guest up, if
// it did so because nothing can load it any more.
func lostBy(before, after vm.Record) string {
	if after.State.Phase != vm.Preparing || after.State.Saved != nil {
		return ""
	}
	before.Spec = after.Spec
	if why := unfit(before); why != "" && before.State.Restore == after.State.Incarnation {
		return why + ", so it boots afresh"
	}
	return outgrown(before)
}

// savedAs completes what the host knows of a saved guest. Its hardware is what
// its incarnation was begun with: a spec that waits may want another.
func savedAs(r vm.Record, saved vm.SavedState) *vm.SavedState {
	saved.Incarnation, saved.Hardware = r.State.Incarnation, cmp.Or(r.State.Hardware, r.Spec.Hardware())
	return &saved
}

// wouldLose refuses a spec into whose hardware a saved guest doesn't load: what
// a person wants of a VM is not worth its memory until he says so.
func wouldLose(rec vm.Record, t Turn) *vm.Refusal {
	s, name := rec.State, rec.Spec.Name
	saved := cmp.Or(s.Hardware, rec.Spec.Hardware())
	switch {
	case s.Saved != nil:
		saved = s.Saved.Hardware
	case s.Phase != vm.Suspending:
		return nil
	}
	if saved == t.Spec.Hardware() && besides(*t.Spec) == besides(rec.Spec) {
		return nil
	}
	return &vm.Refusal{
		Code: vm.WrongPhase, Why: fmt.Sprintf("%s is %s, and its saved guest would be lost: it loads into the hardware alone that it ran on", name, s.Phase),
		Try: fmt.Sprintf("blixard vm resume %s, apply it then, and restart; or give its memory up before: blixard vm stop --force %s", name, name),
	}
}

// device is what a machine has beside what Spec.Hardware names.
type device struct{ seed, agent bool }

// besides are the devices that a guest finds by other parts of its spec: a seed
// is a disk more, and a kernel alone whose agent nobody asks has no port for it.
func besides(s vm.Spec) device {
	asked := s.Boot.Kernel != "" && slices.ContainsFunc(s.Health, func(c vm.Check) bool { return c.Type == vm.CheckAgent })
	return device{seed: !s.Seed.None(), agent: asked}
}

// cantSuspend refuses what only the spec or the disk speak against.
func cantSuspend(rec vm.Record, t Turn) *vm.Refusal {
	name := rec.Spec.Name
	if rec.Spec.Boot.Built() {
		return &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("%s is a runner's VM: only a VMM that Blixard made itself can save its guest", name),
			Try: fmt.Sprintf("blixard vm pause %s, or blixard vm stop %s", name, name),
		}
	}
	other := besides(rec.Runs().Spec) != besides(rec.Spec)
	if s := rec.State; other || s.Hardware != "" && s.Hardware != rec.Spec.Hardware() {
		return &vm.Refusal{
			Code: vm.WrongPhase, Why: fmt.Sprintf("%s has a new spec that waits for its next start, with other hardware than it runs on: a saved guest would not load into it", name),
			Try: fmt.Sprintf("blixard vm restart %s first, or apply the hardware that it runs on", name),
		}
	}
	if t.DiskFull != "" {
		return &vm.Refusal{
			Code: vm.NoRoom, Why: fmt.Sprintf("%s was not suspended, its memory has no room on the disk: %s", name, t.DiskFull),
			Try: "free space on the disk of the state folder: blixard node resources",
		}
	}
	return nil
}

// goOn: what could not be saved runs on, as it did before.
func goOn(s *vm.State) { s.Intent, s.After = vm.WantRunning, vm.ThenStop }

// wasSaved says that the VMM is being ended because its guest is whole on the disk.
func wasSaved(s vm.State) bool {
	return s.Saved != nil && s.Saved.Incarnation == s.Incarnation && s.Phase == vm.Killing
}
