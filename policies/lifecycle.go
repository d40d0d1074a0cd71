package policies

import (
	"slices"

	"github.com/blixard/blixard/vm"
)

// row answers some events in some phases. There are no guards: where the
// answer would depend on something, the event or the phase is split. Exactly
// one row answers each phase × event; docs/lifecycle.md shows them as a matrix.
type row struct {
	phases vm.Phase
	events []vm.Event
	do     action
}

type verb uint8

const (
	verbMove   verb = iota + 1 // go to another phase
	verbJudge                  // ask Supervise what follows, then go
	verbStay                   // same phase; what the event carries is kept
	verbIgnore                 // we say that we don't care
	verbRefuse                 // only for asks
)

type action struct {
	verb    verb
	to      vm.Phase
	effects []vm.Effect
	refusal vm.Refusal
	atOnce  *action // of a verbJudge: where it goes instead if supervision says now, and nothing is to be given up first
}

func move(to vm.Phase, e ...vm.Effect) action  { return action{verb: verbMove, to: to, effects: e} }
func judge(to vm.Phase, e ...vm.Effect) action { return action{verb: verbJudge, to: to, effects: e} }
func stay(e ...vm.Effect) action               { return action{verb: verbStay, effects: e} }

// again is the way of a judgement that says now: the next incarnation replaces
// what this one left, so that no release comes between (see Keeps).
func (a action) again(to vm.Phase, e ...vm.Effect) action {
	next := move(to, e...)
	a.atOnce = &next
	return a
}

func refuse(why, try string) action {
	return action{verb: verbRefuse, refusal: vm.Refusal{Code: vm.WrongPhase, Why: why, Try: try}}
}

var (
	ignore = action{verb: verbIgnore}

	beingDeleted  = refuse("is being deleted", "wait until it is gone: blixard vm list")
	givenUp       = refuse("was given up", "look why with `blixard vm explain {name}`, then `blixard vm reset {name}`")
	isPaused      = refuse("is paused", "blixard vm resume {name}")
	stillUp       = refuse("is not stopped", "blixard vm stop {name}, or delete it with --force")
	notPausable   = refuse("is not running, only a running VM can be paused", "blixard vm explain {name}")
	notPaused     = refuse("is not paused", "blixard vm show {name}")
	isSuspended   = refuse("is suspended", "blixard vm resume {name}; or give its memory up with `blixard vm stop --force {name}`")
	notSuspending = refuse("is not up, only a guest that runs can be suspended", "blixard vm explain {name}")
	beingAdopted  = refuse("is being adopted after a restart of the daemon", "try again in a second")
)

// on lists events for a row.
func on(e ...vm.Event) []vm.Event { return e }

const (
	// idle phases own nothing of the host (P7).
	idle = vm.AtRest
	// up phases have, or may have, a live VMM that is wanted.
	up = vm.Starting | vm.Running | vm.Paused
	// ending phases are on their way down.
	ending = vm.Stopping | vm.Killing | vm.Reaping
	rest   = vm.AllPhases
)

// lifecycle is the whole state machine. A phase is listed for an event once.
var lifecycle = slices.Concat(asks, facts, deafness, releases, ticks, boots, suspends)

var asks = []row{
	{vm.Stopped | vm.Backoff, on(vm.StartAsked, vm.RestartAsked), move(vm.Preparing, vm.Prepare)},
	{vm.Preparing, on(vm.StartAsked, vm.RestartAsked), stay()},
	{vm.Starting | vm.Running | vm.Adopting, on(vm.StartAsked), stay()},
	{vm.Paused, on(vm.StartAsked), isPaused},
	{vm.Failed, on(vm.StartAsked, vm.RestartAsked), givenUp},
	{ending, on(vm.StartAsked, vm.RestartAsked), stay()}, // After says that it comes up again
	{vm.Starting | vm.Running, on(vm.RestartAsked), move(vm.Stopping, vm.PowerDown)},
	{vm.Paused, on(vm.RestartAsked), move(vm.Stopping, vm.Resume, vm.PowerDown)},
	{vm.Adopting, on(vm.RestartAsked), beingAdopted},

	{vm.Stopped, on(vm.StopAsked, vm.KillAsked), stay()},
	{vm.Backoff | vm.Failed, on(vm.StopAsked, vm.KillAsked), move(vm.Stopped, vm.DropSaved)},
	{vm.Starting | vm.Running, on(vm.StopAsked), move(vm.Stopping, vm.PowerDown)},
	{vm.Paused, on(vm.StopAsked), move(vm.Stopping, vm.Resume, vm.PowerDown)},
	{ending | vm.Adopting, on(vm.StopAsked), stay()},
	{vm.Preparing, on(vm.StopAsked), move(vm.Killing, vm.Kill)}, // its VMM may be on the way
	{vm.Preparing | up | vm.Suspending | vm.Stopping | vm.Adopting, on(vm.KillAsked, vm.ForceDeleteAsked), move(vm.Killing, vm.Kill)},
	{vm.Killing | vm.Reaping, on(vm.KillAsked, vm.ForceDeleteAsked), stay()},

	{vm.Running, on(vm.PauseAsked), move(vm.Paused, vm.Pause)},
	{vm.Paused, on(vm.PauseAsked), stay()},
	{rest &^ (vm.Running | vm.Paused | vm.Removing), on(vm.PauseAsked), notPausable},
	{vm.Paused, on(vm.ResumeAsked), move(vm.Running, vm.Resume)},
	{vm.Running, on(vm.ResumeAsked), stay()},
	{rest &^ (vm.Running | vm.Paused | vm.Suspending | vm.Suspended | vm.Removing), on(vm.ResumeAsked), notPaused},

	{vm.Backoff | vm.Failed, on(vm.ResetAsked, vm.SpecAsked), move(vm.Preparing, vm.Prepare)},
	{rest &^ (vm.Backoff | vm.Failed | vm.Removing), on(vm.ResetAsked, vm.SpecAsked), stay()},

	{idle, on(vm.DeleteAsked, vm.ForceDeleteAsked), move(vm.Removing, vm.Discard)},
	{rest &^ (idle | vm.Removing), on(vm.DeleteAsked), stillUp},
	{vm.Removing, on(vm.DeleteAsked, vm.ForceDeleteAsked), stay()},
	{vm.Removing, on(vm.StartAsked, vm.StopAsked, vm.KillAsked, vm.RestartAsked, vm.PauseAsked, vm.ResumeAsked,
		vm.ResetAsked, vm.SpecAsked, vm.SuspendAsked), beingDeleted},
}

var facts = []row{
	{vm.Preparing, on(vm.Launched), move(vm.Starting)},
	{vm.Starting | vm.Stopping | vm.Killing, on(vm.Launched), stay()}, // a stop may overtake the launch
	{rest &^ (vm.Preparing | vm.Starting | vm.Stopping | vm.Killing), on(vm.Launched), ignore},
	{vm.Starting, on(vm.GuestAnswered), move(vm.Running)},
	{rest &^ vm.Starting, on(vm.GuestAnswered), ignore},
	{vm.Running, on(vm.GuestReset), move(vm.Starting)},
	{rest &^ vm.Running, on(vm.GuestReset), ignore},
	{vm.Starting | vm.Running, on(vm.HealthChanged), stay()},
	{rest &^ (vm.Starting | vm.Running), on(vm.HealthChanged), ignore},

	{vm.Preparing | up | vm.Suspending | vm.Adopting, on(vm.VMMGone), judge(vm.Reaping, vm.Release).again(vm.Preparing, vm.Prepare)},
	{vm.Stopping | vm.Killing, on(vm.VMMGone), move(vm.Reaping, vm.Release)},
	{idle | vm.Reaping | vm.Removing, on(vm.VMMGone), ignore},
	{vm.Preparing | up | vm.Suspending | vm.Adopting, on(vm.GuestSick), judge(vm.Killing, vm.Kill)},
	{vm.Stopping, on(vm.GuestSick), move(vm.Killing, vm.Kill)},
	{vm.Starting | vm.Running, on(vm.GuestToReset), judge(vm.Starting, vm.Reset)},
	{vm.Starting | vm.Running, on(vm.GuestToRestart), judge(vm.Stopping, vm.Attach, vm.PowerDown)},
	{rest &^ (vm.Starting | vm.Running), on(vm.GuestToReset, vm.GuestToRestart), ignore}, // Remedied splits them in these two alone
	{vm.Starting, on(vm.GuestWasReset), stay()},
	{rest &^ vm.Starting, on(vm.GuestWasReset), ignore},
	{vm.Killing | vm.Reaping | idle | vm.Removing, on(vm.GuestSick), ignore},

	{vm.Adopting, on(vm.FoundReady), move(vm.Running, vm.Attach)},
	{vm.Adopting, on(vm.FoundStarting), move(vm.Starting, vm.Attach)},
	{vm.Adopting, on(vm.FoundUnwanted), move(vm.Stopping, vm.Attach, vm.PowerDown)},
	{vm.Adopting, on(vm.FoundNone), move(vm.Killing, vm.Kill)}, // only a kill bars a launch that is under way (P1)
	{rest &^ vm.Adopting, on(vm.FoundReady, vm.FoundStarting, vm.FoundUnwanted, vm.FoundNone), ignore},
}

// deafness is a VMM that lives and that nobody can speak to.
var deafness = []row{
	{vm.Running | vm.Paused | vm.Stopping, on(vm.WentDeaf), stay()},
	{rest &^ (vm.Running | vm.Paused | vm.Stopping), on(vm.WentDeaf), ignore},
	{up | vm.Stopping, on(vm.HeardAgain), stay()},
	{rest &^ (up | vm.Stopping), on(vm.HeardAgain), ignore},
}

var releases = []row{
	{vm.Killing, on(vm.KillConfirmed), move(vm.Reaping, vm.Release)},
	{rest &^ vm.Killing, on(vm.KillConfirmed), ignore},
	{vm.Reaping, on(vm.ReleasedToStop), move(vm.Stopped, vm.DropSaved)},
	{vm.Reaping, on(vm.ReleasedToSuspend), move(vm.Suspended, vm.DropSaved)},
	{vm.Reaping, on(vm.ReleasedToRestart), move(vm.Preparing, vm.Prepare)},
	{vm.Reaping, on(vm.ReleasedToBackoff), move(vm.Backoff)},
	{vm.Reaping, on(vm.ReleasedToHold), move(vm.Failed)},
	{vm.Reaping, on(vm.ReleasedToRemove), move(vm.Removing, vm.Discard)},
	{rest &^ vm.Reaping, on(vm.ReleasedToStop, vm.ReleasedToRestart, vm.ReleasedToBackoff, vm.ReleasedToHold,
		vm.ReleasedToRemove, vm.ReleasedToSuspend), ignore},
	{vm.Removing, on(vm.Discarded), stay(vm.Forget)},
	{rest &^ vm.Removing, on(vm.Discarded), ignore},
}

var ticks = []row{
	{vm.Preparing | vm.Starting, on(vm.DeadlinePassed), judge(vm.Killing, vm.Kill)},
	{vm.Stopping, on(vm.DeadlinePassed), move(vm.Killing, vm.Kill)},
	{vm.Killing, on(vm.DeadlinePassed), stay(vm.Kill)},
	{vm.Reaping, on(vm.DeadlinePassed), stay(vm.Release)},
	{vm.Backoff, on(vm.DeadlinePassed), move(vm.Preparing, vm.Prepare)},
	{vm.Adopting, on(vm.DeadlinePassed), stay(vm.Find)},
	{vm.Removing, on(vm.DeadlinePassed), stay(vm.Discard)},
	{vm.Stopped | vm.Failed | vm.Suspended | vm.Running | vm.Paused, on(vm.DeadlinePassed), ignore},

	{vm.Preparing | vm.Starting | vm.Running, on(vm.Woke), move(vm.Adopting, vm.Find)},
	{vm.Adopting, on(vm.Woke), stay(vm.Find)},
	{vm.Paused, on(vm.Woke), stay(vm.Attach)},
	{vm.Stopping, on(vm.Woke), stay(vm.Attach, vm.PowerDown)},
	{vm.Suspending, on(vm.Woke), stay(vm.Attach, vm.Save)},
	{vm.Killing, on(vm.Woke), stay(vm.Kill)},
	{vm.Reaping, on(vm.Woke), stay(vm.Release)},
	{vm.Removing, on(vm.Woke), stay(vm.Discard)},
	{idle, on(vm.Woke), stay()},
}

// boots are the node's own boots and ends. In a new boot nothing of an old
// incarnation is left but what Release removes.
var boots = []row{
	{vm.Preparing | up | vm.Suspending | vm.Adopting, on(vm.Rebooted), judge(vm.Reaping, vm.Release)},
	{vm.Stopping | vm.Killing, on(vm.Rebooted), move(vm.Reaping, vm.Release)},
	{vm.Reaping, on(vm.Rebooted), stay(vm.Release)},
	{idle | vm.Removing, on(vm.Rebooted), ignore},
	{vm.Stopped | vm.Backoff, on(vm.Enlisted), move(vm.Backoff)},
	{rest &^ (vm.Stopped | vm.Backoff), on(vm.Enlisted), ignore},
	{vm.Backoff, on(vm.HeldBack), move(vm.Failed)},
	{vm.Backoff, on(vm.Dismissed), move(vm.Stopped)},
	{vm.Backoff, on(vm.Shelved), move(vm.Suspended)},
	{rest &^ vm.Backoff, on(vm.HeldBack, vm.Dismissed, vm.Shelved), ignore},
	{vm.Backoff, on(vm.CalledUp), move(vm.Preparing, vm.Prepare)},
	{rest &^ vm.Backoff, on(vm.CalledUp), ignore},

	{vm.Starting | vm.Running, on(vm.NodeEnding), move(vm.Stopping, vm.PowerDown)},
	{vm.Paused, on(vm.NodeEnding), move(vm.Stopping, vm.Resume, vm.PowerDown)},
	{vm.Preparing, on(vm.NodeEnding), move(vm.Killing, vm.Kill)},
	{vm.Backoff, on(vm.NodeEnding), move(vm.Backoff)},
	{ending | vm.Suspending | vm.Adopting, on(vm.NodeEnding), stay()},
	{vm.Stopped | vm.Failed | vm.Suspended | vm.Removing, on(vm.NodeEnding), ignore},
}

// suspends are a guest's way to the disk and back, its known-good state, and its
// halt while a disk is full. A suspended guest is loaded once: GuestLoaded forgets
// it before it runs on.
var suspends = []row{
	{vm.Running | vm.Paused, on(vm.SuspendAsked), move(vm.Suspending, vm.Save)},
	{vm.Suspending | vm.Suspended, on(vm.SuspendAsked), stay()},
	{vm.Adopting, on(vm.SuspendAsked), beingAdopted},
	{rest &^ (vm.Running | vm.Paused | vm.Suspending | vm.Suspended | vm.Adopting | vm.Removing), on(vm.SuspendAsked), notSuspending},
	{vm.Suspended, on(vm.StartAsked, vm.ResumeAsked), move(vm.Preparing, vm.Prepare)},
	{vm.Suspending, on(vm.StartAsked, vm.ResumeAsked), stay()}, // After says that it comes up again
	{vm.Suspending | vm.Suspended, on(vm.StopAsked, vm.RestartAsked), isSuspended},
	{vm.Suspended, on(vm.KillAsked), move(vm.Stopped, vm.DropSaved)},

	{vm.Suspending, on(vm.GuestSaved), move(vm.Killing, vm.Kill)},
	{rest &^ vm.Suspending, on(vm.GuestSaved), ignore},
	{vm.Suspending, on(vm.SaveFailed, vm.DeadlinePassed), move(vm.Running, vm.Resume)},
	{rest &^ vm.Suspending, on(vm.SaveFailed), ignore},
	{vm.Starting, on(vm.GuestLoaded), stay(vm.Resume, vm.DropSaved)},
	{rest &^ vm.Starting, on(vm.GuestLoaded), ignore},

	{vm.Starting | vm.Running | vm.Paused | vm.Suspending | vm.Stopping, on(vm.GuestKept), stay(vm.DropSaved)},
	{vm.Starting | vm.Running | vm.Paused | vm.Suspending | vm.Stopping, on(vm.KeepFailed), stay()},
	{rest &^ (vm.Starting | vm.Running | vm.Paused | vm.Suspending | vm.Stopping), on(vm.GuestKept, vm.KeepFailed), ignore},

	{vm.Running, on(vm.OutOfSpace), move(vm.Paused)},
	{rest &^ vm.Running, on(vm.OutOfSpace), ignore},
	{vm.Paused, on(vm.SpaceBack), move(vm.Running, vm.Resume)},
	{rest &^ vm.Paused, on(vm.SpaceBack), ignore},
}

// cells is the table, one action for each phase and event.
var cells = index(lifecycle)

type cell struct {
	phase vm.Phase
	event vm.Event
}

func index(rows []row) map[cell]action {
	m := make(map[cell]action, len(vm.Events())*len(vm.AllPhases.Each()))
	for _, r := range rows {
		for _, p := range r.phases.Each() {
			for _, e := range r.events {
				if _, twice := m[cell{p, e}]; twice {
					panic("policies: two rows for " + p.String() + " × " + e.String())
				}
				m[cell{p, e}] = r.do
			}
		}
	}
	return m
}
