package policies

import (
	"cmp"
	"fmt"
	"reflect"
	"time"

	"github.com/blixard/blixard/vm"
)

// How long a phase may wait where the spec doesn't say; then DeadlinePassed acts (P9).
const (
	prepareTimeout = 2 * time.Minute  // making disks on a slow, full or networked filesystem
	buildTimeout   = time.Hour        // a flake whose inputs have to be fetched and built
	adoptTimeout   = 10 * time.Second // a look at /proc or at the bus
	killTimeout    = 10 * time.Second // SIGKILL frees the guest's memory: 0.1 ms for each MiB
	reapTimeout    = 10 * time.Second // removing sockets and links
	removeTimeout  = 30 * time.Second // deleting disks
	saveTimeout    = 2 * time.Minute  // writing a guest to the disk, and a second for each saveRate of its memory
	saveRate       = 64 * vm.MiB      // a second, on a slow disk
	queueTimeout   = 30 * time.Minute // a VM whose turn in the bootstrap doesn't come starts without (P4)
)

// Next is one turn of a VM: what comes in meets the record, and what comes out
// is to be written, then done. It is the only place that makes a new record.
func Next(rec vm.Record, t Turn) Outcome {
	a, ok := cells[cell{rec.State.Phase, t.Event}]
	if !ok {
		panic(fmt.Sprintf("policies: no row for %s × %s", rec.State.Phase, t.Event))
	}
	if r := refused(rec, t, a); r != nil {
		return Outcome{Record: rec, Refusal: r}
	}
	if a.verb == verbIgnore || t.Event == vm.GuestLoaded && !Loading(rec.State) || idleGood(rec, t) {
		return Outcome{Record: rec}
	}
	out := Outcome{Record: rec, Effects: a.effects}
	carry(&out, t)
	mark(&out.Record.State, t)
	if a.verb == verbJudge {
		judged(&out, t)
		if a.atOnce != nil && out.Crash.Decision.Do == vm.RestartNow && Keeps(out.Record.State) {
			a = *a.atOnce
			out.Effects = a.effects
		}
	} else if wasSaved(rec.State) {
		// Its VMM is ended because its guest is safe on the disk: that is no death.
	} else if (t.Failure != nil || t.Event == vm.KillConfirmed && !rec.State.LaunchedAt.IsZero()) && !told(rec.State) {
		f := failureOf(rec.State, t)
		out.Record.State.LastExit = &vm.Crash{Number: rec.State.Crashes, Failure: f, Uptime: uptime(rec.State, t.At)}
	}
	if a.verb == verbMove || a.verb == verbJudge {
		out.Record.State.LastHealth = lastHealth(rec)
		enter(&out.Record, a.to, t)
	} else if t.Event == vm.DeadlinePassed {
		out.Record.State.Deadline = deadline(out.Record, t.At)
	}
	finish(&out, rec, t)
	return out
}

// refused answers asks that this phase, or a deletion under way, does not allow.
func refused(rec vm.Record, t Turn, a action) *vm.Refusal {
	if rec.State.Intent == vm.WantRemoved && t.Event.Asked() && t.Event != vm.DeleteAsked && t.Event != vm.ForceDeleteAsked {
		a = beingDeleted
	}
	if t.Event == vm.StopAsked && rec.State.Saved != nil && rec.State.Phase&(vm.Killing|vm.Reaping|vm.Backoff|vm.Failed) != 0 {
		a = isSuspended // its memory would be lost
	}
	if t.Event == vm.SpecAsked && a.verb != verbRefuse {
		if r := wouldLose(rec, t); r != nil {
			return r
		}
	}
	if t.Event == vm.SuspendAsked && a.verb == verbMove {
		if r := cantSuspend(rec, t); r != nil {
			return r
		}
	}
	if a.verb == verbMove && rec.State.Deaf != "" {
		if r := cantSay(rec, t.Event); r != nil {
			return r
		}
	}
	if a.verb != verbRefuse {
		return nil
	}
	return &vm.Refusal{
		Code: a.refusal.Code,
		Why:  fmt.Sprintf("%s %s (phase %s)", rec.Spec.Name, a.refusal.Why, rec.State.Phase),
		Try:  expandName(a.refusal.Try, rec.Spec.Name),
	}
}

// carry keeps what the event brought, whatever the phase.
func carry(out *Outcome, t Turn) {
	carrySaved(&out.Record, t)
	carryGood(&out.Record, t)
	if t.Event.Asked() {
		carryAsk(out, t)
		return
	}
	s := &out.Record.State
	switch t.Event {
	case vm.Launched, vm.FoundReady, vm.FoundStarting, vm.FoundUnwanted:
		s.Process = t.Process
		if s.LaunchedAt.IsZero() {
			s.LaunchedAt = t.At
		}
	case vm.FoundNone:
		s.After = vm.ThenRestart
	case vm.GuestAnswered:
		s.ReadyAt = t.At
		if len(t.Probes) > 0 {
			carryHealth(s, t)
		}
	case vm.GuestReset:
		s.ReadyAt, s.Health, s.HealthSince, s.HealthWhy, s.Probes = time.Time{}, vm.HealthStarting, t.At, t.Why, nil
	case vm.GuestWasReset:
		s.ResetDue = false
	case vm.HealthChanged:
		carryHealth(s, t)
	case vm.WentDeaf, vm.HeardAgain:
		s.Deaf = t.Why
	case vm.Discarded:
		out.Removed = true
	case vm.Woke:
		believe(&out.Record, t.At)
	case vm.Enlisted:
		s.Intent, s.Queued = vm.WantRunning, true
	case vm.HeldBack, vm.Dismissed, vm.Shelved:
		follow(s, *t.Decision)
	case vm.Rebooted:
		// Its end was judged already, not what the boot makes of it; what was given up stays held.
		if s.Phase&ending != 0 && s.Intent == vm.WantRunning && s.After != vm.ThenHold {
			follow(s, *t.Decision)
		}
	case vm.NodeEnding:
		if s.Intent == vm.WantRunning {
			s.After, s.Queued = vm.ThenBackoff, true
		}
	}
}

func carryHealth(s *vm.State, t Turn) {
	if s.Health != t.Health {
		s.HealthSince = t.At
	}
	s.Health, s.HealthWhy, s.Probes = t.Health, t.HealthWhy, t.Probes
}

// carryAsk keeps what a person asked for.
func carryAsk(out *Outcome, t Turn) {
	s := &out.Record.State
	switch t.Event {
	case vm.StartAsked, vm.RestartAsked:
		s.Intent, s.After, s.AskedDown = vm.WantRunning, vm.ThenRestart, false
	case vm.StopAsked, vm.KillAsked:
		if s.Saved != nil && t.Event == vm.StopAsked {
			s.Intent, s.After, s.AskedDown = vm.WantSuspended, vm.ThenSuspend, true // what was not loaded yet is kept
			return
		}
		s.Intent, s.After, s.AskedDown = vm.WantStopped, vm.ThenStop, true
	case vm.DeleteAsked, vm.ForceDeleteAsked:
		s.Intent, s.After = vm.WantRemoved, vm.ThenRemove
	case vm.SpecAsked:
		respec(&out.Record, t)
		out.Whole = true // P12
		forgive(s)
	case vm.ResetAsked:
		forgive(s)
	}
}

// respec keeps a new spec. It waits for the next start where a launch would
// differ from what was launched; going back to that ends the wait.
func respec(r *vm.Record, t Turn) {
	s, runs, need := &r.State, r.Runs(), t.Reservation
	if !Loading(*s) && (!t.Spec.Launches(runs.Spec) || !t.Spec.Restores()) {
		s.Good, s.GoodWhy = nil, "" // it is of another VM than the next one
	}
	if s.Phase&(idle|vm.Removing) == 0 && (s.Runs != nil || !s.Pending) {
		s.Pending, s.Runs = !t.Spec.Launches(runs.Spec), nil
		if s.Pending {
			s.Runs = &runs
		} else {
			need = runs.Reservation // the same launch, whatever was learned of its kind since
		}
	}
	r.Spec, r.Reservation = *t.Spec, need
}

// believe shortens a wait that a clock which was set back has made longer than
// what was decided, or than the phase allows (P4, P9).
func believe(r *vm.Record, now time.Time) {
	latest := deadline(*r, now)
	if r.State.Phase == vm.Backoff && !r.State.Queued {
		latest = now.Add(r.State.LastExit.Decision.After)
	}
	if r.State.Deadline.After(latest) {
		r.State.Deadline = latest
	}
}

// forgive clears the crash history that the budget counts; a decision to wait
// or to hold that was taken from it becomes a restart.
func forgive(s *vm.State) {
	s.Ledger, s.Tries, s.Spared, s.Rungs = nil, 0, 0, nil
	if s.After == vm.ThenBackoff || s.After == vm.ThenHold {
		s.After = vm.ThenRestart
	}
}

// enter moves to a phase and sets what every visit of it begins with.
func enter(r *vm.Record, to vm.Phase, t Turn) {
	s := &r.State
	if to&(vm.Preparing|up|vm.Stopped|vm.Failed|vm.Suspended|vm.Removing) != 0 {
		s.Queued = false
	}
	if to&(vm.Preparing|idle) != 0 {
		s.Pending, s.Runs = false, nil
	}
	if to&(vm.Preparing|idle|vm.Removing) != 0 {
		s.Deaf = ""
	}
	if to != vm.Paused {
		s.Stalled = ""
	}
	if to&(vm.Stopped|vm.Removing) != 0 || to == vm.Preparing && outgrown(*r) != "" {
		s.Saved = nil
	}
	enterGood(r, to)
	if to == vm.Preparing {
		s.Incarnation++
		s.Hardware = r.Spec.Hardware()
		s.BootID, s.Process, s.After, s.Killer = t.BootID, nil, vm.ThenStop, ""
		s.LaunchedAt, s.ReadyAt = time.Time{}, time.Time{}
		s.Health, s.HealthSince, s.HealthWhy, s.Probes = vm.HealthUnknown, t.At, "", nil
	}
	if to == vm.Killing {
		s.Killer = vm.CauseUs
		if t.Event == vm.KillAsked || t.Event == vm.ForceDeleteAsked {
			s.Killer = vm.CauseOperator
		}
	}
	if t.Event == vm.GuestToReset {
		s.ResetDue, s.ReadyAt, s.Probes = true, time.Time{}, nil
		s.Health, s.HealthSince, s.HealthWhy = vm.HealthUnknown, t.At, ""
	} else if to&(vm.Starting|vm.Adopting) == 0 {
		s.ResetDue = false
	}
	if to == vm.Starting && len(r.Spec.Health) > 0 {
		s.Health, s.HealthSince, s.HealthWhy = vm.HealthStarting, t.At, BegunHealth(r.Spec.Health, t.At).Why
	}
	if to&(idle|vm.Removing) != 0 {
		s.Process, s.Health, s.HealthSince, s.HealthWhy, s.Probes = nil, vm.HealthUnknown, t.At, "", nil
	}
	switch {
	case s.Phase == vm.Adopting && to == vm.Running && !s.ReadyAt.IsZero():
		s.PhaseSince = s.ReadyAt // it ran all along: a restarted daemon doubts nothing that it had proved (P10)
	case to != s.Phase || to == vm.Preparing || t.Event == vm.GuestToReset:
		s.PhaseSince = t.At
	}
	s.Phase = to
	s.Deadline = deadline(*r, t.At)
}

// deadline is when the record's phase has waited long enough; zero where it doesn't wait.
func deadline(r vm.Record, now time.Time) time.Time {
	switch r.State.Phase {
	case vm.Preparing:
		return now.Add(PrepareTime(r))
	case vm.Starting:
		return now.Add(StartTime(r))
	case vm.Stopping:
		return now.Add(r.Spec.Stop.Timeout)
	case vm.Suspending:
		return now.Add(SaveTime(r.Spec))
	case vm.Killing:
		return now.Add(killTimeout)
	case vm.Reaping:
		return now.Add(reapTimeout)
	case vm.Adopting:
		return now.Add(adoptTimeout)
	case vm.Removing:
		return now.Add(removeTimeout)
	case vm.Backoff:
		if r.State.Queued {
			return now.Add(queueTimeout)
		}
		// The delay runs from the death, not from the end of the release.
		return r.State.LastExit.Failure.At.Add(r.State.LastExit.Decision.After)
	}
	return time.Time{}
}

// finish decides whether there is something to write, and makes its journal entry.
func finish(out *Outcome, before vm.Record, t Turn) {
	s := &out.Record.State
	lost := lostBy(before, out.Record)
	if out.Crash == nil {
		s.Reason = cmp.Or(lost, reason(before.State, *s, t))
	}
	out.Write = out.Removed || out.Whole || !reflect.DeepEqual(before.State, *s)
	if !out.Write {
		return
	}
	s.Revision++
	out.Entry = vm.Entry{
		At: t.At, VM: before.ID, Name: before.Spec.Name, Kind: t.Event.String(), From: before.State.Phase, To: s.Phase,
		Incarnation: s.Incarnation, Revision: s.Revision, Why: s.Reason, By: t.By,
	}
	if t.Why != "" {
		out.Entry.Why = t.Why
	} else if word, ok := askWords[t.Event]; ok {
		out.Entry.Why = word // By says who
	}
	if c := out.Crash; c != nil {
		out.Entry.Incarnation = c.Failure.Incarnation // the next one may begin in this very turn
		out.Entry.Cause, out.Entry.Decision, out.Entry.Delay = c.Failure.Cause, c.Decision.Do, c.Decision.After
		out.Entry.Why = s.Reason
	}
	out.Entry.Why = cmp.Or(lost, out.Entry.Why)
}

func uptime(s vm.State, now time.Time) time.Duration {
	if s.LaunchedAt.IsZero() || now.Before(s.LaunchedAt) {
		return 0
	}
	return now.Sub(s.LaunchedAt)
}
