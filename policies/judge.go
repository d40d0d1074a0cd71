package policies

import (
	"fmt"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

// judged asks Supervise what follows the end of an incarnation and records the
// death. A VM that is not wanted up is never brought back by it (P5).
func judged(out *Outcome, t Turn) {
	s := &out.Record.State
	loseGood(s, t.Failure)
	f, vain := failureOf(*s, t), restoredInVain(*s)
	d := vm.Decision{Do: vm.StayDown, Rule: ruleUnwanted, Why: "it was asked down"}
	switch {
	case s.Intent == vm.WantSuspended:
		d.Why = "it was to be suspended, and ended before it was saved: its memory is lost"
		s.Intent, s.After, s.AskedDown = vm.WantStopped, vm.ThenStop, true
	case s.Intent != vm.WantRunning:
	case s.Saved != nil && f.Cause == vm.CauseSavedState:
		s.Saved, d = nil, vm.Decision{Do: vm.RestartNow, Rule: ruleUnloadable, Why: "it boots afresh, and its saved memory is lost"}
		follow(s, d)
	case s.Saved == nil && Loading(*s) && f.Cause == vm.CauseSavedState:
		s.Good, d = nil, vm.Decision{Do: vm.RestartNow, Rule: ruleUnloadable, Why: "it boots afresh, and its known-good state is given up"}
		follow(s, d)
	case t.Decision != nil:
		d = *t.Decision
		follow(s, d)
	default:
		d = Supervise(t.At, out.Record.Spec.Restart, *s, f, t.Spread)
		follow(s, d)
	}
	if vain && d.Charged {
		s.Good, s.GoodWhy = nil, "its guest did not answer when it was restored"
	}
	*s = Charge(t.At, out.Record.Spec.Restart, *s, d)
	if t.Rungs != nil {
		s.Rungs = t.Rungs
	}
	s.Crashes++
	c := vm.Crash{Number: s.Crashes, Failure: f, Uptime: uptime(*s, t.At), Decision: d}
	s.LastExit, out.Crash = &c, &c
	s.Reason = f.Error() + "; " + strings.TrimPrefix(d.Why, string(f.Cause)+": ")
	if t.Event == vm.Rebooted && s.Intent == vm.WantRunning || d.Rule == ruleByPerson {
		s.Reason = d.Why // it tells of the boot itself
	}
}

// follow turns a decision into what comes after the release. A reset in place
// releases nothing.
func follow(s *vm.State, d vm.Decision) {
	s.Restore = 0
	if d.Remedy == vm.RemedyRestore {
		s.Restore = s.Incarnation + 1
	}
	if d.Remedy == vm.RemedyReset {
		return
	}
	switch d.Do {
	case vm.RestartNow:
		s.After = vm.ThenRestart
		s.Restarts++
	case vm.BackOff:
		s.After = vm.ThenBackoff
		s.Restarts++
	case vm.Enqueue:
		s.After, s.Queued = vm.ThenBackoff, true
	case vm.GiveUp:
		s.After = vm.ThenHold
	case vm.StayDown:
		s.After, s.Intent = vm.ThenStop, vm.WantStopped
		if s.Saved != nil { // it was not loaded yet
			s.After, s.Intent = vm.ThenSuspend, vm.WantSuspended
		}
	}
}

// Keeps says whether the next incarnation follows this one so closely that it
// may find what this one left: its taps, of which each takes the kernel 15 ms
// to remove, and its sockets. Not after a new spec, which may want others.
func Keeps(s vm.State) bool { return s.After == vm.ThenRestart && !s.Pending }

// told says that the end of this incarnation was recorded already: what comes
// after the root cause is only another domino. One that was reset goes on, and
// has an end of its own.
func told(s vm.State) bool {
	return s.LastExit != nil && s.LastExit.Failure.Incarnation == s.Incarnation && !WasReset(s)
}

// WasReset says whether the last end that was recorded is one after which the
// incarnation goes on: its machine was reset in place, or is to be.
func WasReset(s vm.State) bool {
	return s.LastExit != nil && s.LastExit.Failure.Incarnation == s.Incarnation && s.LastExit.Decision.Remedy == vm.RemedyReset
}

// failureOf is the turn's failure, or the one that a passed deadline is.
func failureOf(s vm.State, t Turn) vm.Failure {
	f := vm.Failure{
		Cause: vm.CauseStartTransient, Confidence: vm.Likely,
		Evidence: fmt.Sprintf("still %s after %s", s.Phase, lasted(t.At.Sub(s.PhaseSince))),
	}
	if s.Phase == vm.Starting && s.HealthWhy != "" {
		f.Evidence += ": " + s.HealthWhy
	}
	switch {
	case t.Failure != nil:
		f = *t.Failure
	case t.Event == vm.KillConfirmed: // faster than the notice of the exit
		f.Cause, f.Confidence, f.Evidence = s.Killer, vm.Certain, "killed: "+s.Reason
	}
	if t.DiskFull != "" && s.ReadyAt.IsZero() && (f.Cause == vm.CauseStartTransient || f.Cause == vm.CauseHealthFailed) {
		// Its VMM can't write the console, so nobody could hear it answer (P16).
		f.Cause, f.Confidence, f.Evidence = vm.CauseIOError, vm.Likely, "the host's disk is full, so its console could not be heard: "+t.DiskFull
	}
	if s.Phase == vm.Stopping && f.Cause == vm.CauseGuestPoweroff {
		f.Evidence = "the guest powered off, as it was asked to"
	}
	if s.Phase == vm.Killing && f.Cause == vm.CauseVMMCrash {
		f.Cause, f.Confidence, f.Evidence = s.Killer, vm.Certain, "killed: "+s.Reason
	}
	if f.Confidence == "" {
		f.Confidence = Sure(f.Cause)
	}
	f.Incarnation, f.At, f.Ready = s.Incarnation, endedAt(s, f.Exit, t.At), !s.ReadyAt.IsZero()
	return f
}

// endedAt is when the kernel told of the end, where that can be believed: after
// the launch, and not after now.
func endedAt(s vm.State, x *vm.Exit, now time.Time) time.Time {
	if x == nil || !x.Known || x.At.Before(s.LaunchedAt) || x.At.After(now) {
		return now
	}
	return x.At
}
