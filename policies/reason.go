package policies

import (
	"fmt"
	"strings"

	"github.com/blixard/blixard/vm"
)

// reason is the sentence that status shows beside the phase. It stays as it
// was until the phase changes: what led here matters more than what came last.
func reason(before, after vm.State, t Turn) string {
	if t.Reclaim && after.Phase != before.Phase {
		return fmt.Sprintf("%s by the node itself: %s", askWords[t.Event], t.Why)
	}
	if t.Event.Asked() && (after.Phase != before.Phase || after.Intent != before.Intent) {
		return fmt.Sprintf("%s by %s", askWords[t.Event], caller(t.By))
	}
	if t.Decision != nil && decidedByBoot(before, t) {
		return t.Decision.Why
	}
	if after.Phase == before.Phase && after.Incarnation == before.Incarnation {
		return before.Reason
	}
	switch t.Event {
	case vm.CalledUp:
		return "its turn after the node's boot has come"
	case vm.NodeEnding:
		return "the node goes down; it comes back at the next boot, or when the daemon starts again"
	case vm.GuestAnswered:
		return "the guest answered"
	case vm.GuestSaved:
		return "its guest is saved: " + before.Reason
	case vm.SaveFailed:
		return "it could not be suspended, and goes on: " + t.Why
	case vm.OutOfSpace:
		return "its disk can't grow: " + t.Why
	case vm.SpaceBack:
		return "its disk can grow again"
	case vm.Launched:
		return awaitsGuest
	case vm.FoundNone:
		return "the daemon ended before its VMM was launched, so it begins again"
	case vm.Woke:
		return "the daemon started and looks for its VMM"
	case vm.FoundReady, vm.FoundStarting:
		return "adopted: its VMM lived on while the daemon was away"
	case vm.GuestReset:
		return "the guest rebooted itself: " + t.Why
	case vm.DeadlinePassed:
		return late(before)
	}
	return before.Reason
}

const awaitsGuest = "waiting for the guest to answer"

// late is the sentence of a phase whose time is up.
func late(before vm.State) string {
	switch {
	case before.Phase == vm.Backoff && before.Queued:
		return "its turn after the node's boot did not come in time, so it starts without"
	case before.Phase == vm.Backoff:
		return "its delay after the last failure is over"
	case before.Phase == vm.Suspending:
		return "saving it took too long, so it goes on"
	}
	return fmt.Sprintf("%s took too long", before.Phase)
}

// decidedByBoot says whether a boot of the node decides what becomes of the VM,
// also where its phase stays: not where a person had decided, or a budget.
func decidedByBoot(before vm.State, t Turn) bool {
	switch t.Event {
	case vm.Enlisted, vm.HeldBack, vm.Dismissed, vm.Shelved:
		return true
	case vm.Rebooted:
		return before.Intent == vm.WantRunning && before.After != vm.ThenHold
	}
	return false
}

var askWords = map[vm.Event]string{
	vm.StartAsked: "started", vm.StopAsked: "stopped", vm.KillAsked: "stopped by force", vm.RestartAsked: "restarted",
	vm.PauseAsked: "paused", vm.ResumeAsked: "resumed", vm.ResetAsked: "reset", vm.DeleteAsked: "deleted",
	vm.ForceDeleteAsked: "deleted by force", vm.SpecAsked: "given a new spec", vm.SuspendAsked: "suspended",
}

func caller(by string) string {
	if by == "" {
		return "somebody"
	}
	return by
}

// expandName puts the VM's name into a remedy.
func expandName(try string, name vm.Name) string {
	return strings.ReplaceAll(try, "{name}", string(name))
}
