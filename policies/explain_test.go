package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// death is the n-th crash record of the explained VM, with the real decision.
func death(n uint64, at time.Time, cause vm.Cause, evidence string, s vm.State) vm.Crash {
	f := vm.Failure{Incarnation: vm.Incarnation(n), Cause: cause, Evidence: evidence, At: at, Ready: true}
	d := policies.Supervise(at, vm.Spec{}.Filled().Restart, s, f, 0.5)
	return vm.Crash{Number: n, Failure: f, Uptime: 3200 * time.Millisecond, Decision: d}
}

type explained struct {
	name   string
	change func(r *vm.Record)
}

// lived is a VM that crashed twice and is up again.
func lived(now time.Time) (vm.Record, []vm.Crash) {
	r := vm.Record{Spec: vm.Spec{Name: "web"}.Filled()}
	r.State = vm.State{
		Intent: vm.WantRunning, Phase: vm.Running, PhaseSince: now.Add(-4 * time.Minute), Incarnation: 3,
		LaunchedAt: now.Add(-4*time.Minute - time.Second), ReadyAt: now.Add(-4 * time.Minute),
		Health: vm.Healthy, HealthSince: now.Add(-4 * time.Minute), HealthWhy: "guest-agent: answers",
		Reason: "the guest answered", Restarts: 2, Crashes: 2,
		Ledger: []time.Time{now.Add(-6 * time.Minute), now.Add(-5 * time.Minute)},
	}
	first := death(1, now.Add(-6*time.Minute), vm.CauseGuestPanic, "the guest panicked", vm.State{})
	second := death(2, now.Add(-5*time.Minute), vm.CauseVMMCrash, "the VMM was killed by signal 9 (KILL)",
		vm.State{Ledger: r.State.Ledger[:1], Tries: 1})
	r.State.LastExit = &second
	return r, []vm.Crash{second, first}
}

func enter(phase vm.Phase, lasts time.Duration, reason string) func(*vm.Record) {
	return func(r *vm.Record) {
		r.State.Phase, r.State.PhaseSince, r.State.Reason = phase, begin.Add(-2*time.Second), reason
		r.State.Deadline = time.Time{}
		if lasts > 0 {
			r.State.Deadline = r.State.PhaseSince.Add(lasts)
		}
	}
}

func ended(after vm.After, phase vm.Phase, lasts time.Duration) func(*vm.Record) {
	return func(r *vm.Record) {
		c := r.State.LastExit
		enter(phase, lasts, c.Failure.Error()+"; "+strings.TrimPrefix(c.Decision.Why, string(c.Failure.Cause)+": "))(r)
		r.State.After, r.State.Incarnation = after, r.State.LastExit.Failure.Incarnation
		r.State.Health = vm.HealthUnknown
	}
}

func reclaimed(then func(*vm.Record)) func(*vm.Record) {
	return func(r *vm.Record) {
		then(r)
		r.State.Reclaimed = true
		r.Spec.Reclaim.Steps = []vm.ReclaimStep{{Do: vm.ReclaimPause, After: 10 * time.Minute}, {Do: vm.ReclaimSuspend, After: time.Hour}}
		r.Reservation = vm.Reservation{CPUs: 1, Memory: 574 * vm.MiB, Disk: vm.GiB}
	}
}

func phasesExplained() []explained {
	wanted := func(i vm.Intent, then func(*vm.Record)) func(*vm.Record) {
		return func(r *vm.Record) { then(r); r.State.Intent = i }
	}
	return []explained{
		{name: "never started", change: func(r *vm.Record) {
			*r = vm.Record{Spec: r.Spec, State: vm.State{Phase: vm.Stopped, PhaseSince: begin, Reason: "created by cli"}}
		}},
		{name: "stopped by a person", change: wanted(vm.WantStopped, enter(vm.Stopped, 0, "stopped by uid=0 cli"))},
		{name: "powered itself off", change: wanted(vm.WantStopped, func(r *vm.Record) {
			c := death(3, begin.Add(-2*time.Second), vm.CauseGuestPoweroff, "the guest powered itself off", vm.State{})
			r.State.LastExit = &c
			ended(vm.ThenStop, vm.Stopped, 0)(r)
		})},
		{name: "preparing", change: enter(vm.Preparing, 2*time.Minute, "started by uid=0 cli")},
		{name: "starting", change: enter(vm.Starting, 2*time.Minute, "waiting for the guest to answer")},
		{name: "running", change: func(*vm.Record) {}},
		{name: "running, degraded", change: func(r *vm.Record) {
			r.State.Health, r.State.HealthSince = vm.Degraded, begin.Add(-20*time.Second)
			r.State.HealthWhy = "guest-agent: 2 of 3 failures in a row: no answer in 1s"
		}},
		{name: "paused", change: enter(vm.Paused, 0, "paused by uid=0 cli")},
		{name: "paused by a full disk", change: func(r *vm.Record) {
			enter(vm.Paused, 0, "its disk can't grow: data")(r)
			r.State.Stalled = "data"
		}},
		{name: "paused by the node", change: reclaimed(enter(vm.Paused, 0, "paused by the node itself: idle for 10m"))},
		{name: "suspending by the node", change: wanted(vm.WantSuspended, reclaimed(enter(vm.Suspending, 2*time.Minute, "suspended by the node itself: idle for 1h")))},
		{name: "suspended by the node", change: wanted(vm.WantSuspended, reclaimed(enter(vm.Suspended, 0, "its guest is saved: suspended by the node itself: idle for 1h")))},
		{name: "suspending", change: wanted(vm.WantSuspended, enter(vm.Suspending, 2*time.Minute, "suspended by uid=0 cli"))},
		{name: "suspended", change: wanted(vm.WantSuspended, enter(vm.Suspended, 0, "its guest is saved: suspended by uid=0 cli"))},
		{name: "stopping", change: wanted(vm.WantStopped, enter(vm.Stopping, 30*time.Second, "stopped by uid=0 cli"))},
		{name: "stopping to restart", change: func(r *vm.Record) {
			enter(vm.Stopping, 30*time.Second, "restarted by uid=0 cli")(r)
			r.State.After = vm.ThenRestart
		}},
		{name: "killing a sick guest", change: ended(vm.ThenBackoff, vm.Killing, 10*time.Second)},
		{name: "reaping", change: ended(vm.ThenBackoff, vm.Reaping, 10*time.Second)},
		{name: "reaping to be removed", change: wanted(vm.WantRemoved, ended(vm.ThenRemove, vm.Reaping, 10*time.Second))},
		{name: "backoff", change: ended(vm.ThenBackoff, vm.Backoff, 4*time.Second)},
		{name: "failed", change: func(r *vm.Record) {
			ledger := []time.Time{}
			for i := range 6 {
				ledger = append(ledger, begin.Add(-time.Duration(60-10*i)*time.Second))
			}
			c := death(8, begin.Add(-2*time.Second), vm.CauseVMMCrash, "the VMM was killed by signal 9 (KILL)", vm.State{Ledger: ledger[:5], Tries: 5})
			r.State.LastExit, r.State.Ledger = &c, ledger
			ended(vm.ThenHold, vm.Failed, 0)(r)
		}},
		{name: "queued after a boot of the node", change: func(r *vm.Record) {
			enter(vm.Backoff, 30*time.Minute, "the node booted anew, and it waits for its turn")(r)
			r.State.Queued, r.State.Health = true, vm.HealthUnknown
		}},
		{name: "starting, a check has failed", change: func(r *vm.Record) {
			enter(vm.Starting, 2*time.Minute, "waiting for the guest to answer")(r)
			p := policies.NewProbe(r.Spec.Health[0], begin.Add(-time.Minute)).Took(false, begin.Add(-time.Second), "no answer within 10s")
			j := policies.Judge([]policies.Probe{p})
			r.State.Health, r.State.HealthSince, r.State.HealthWhy = j.Health, begin.Add(-2*time.Second), j.Why
			r.State.LaunchedAt, r.State.ReadyAt = begin.Add(-2*time.Second), time.Time{}
		}},
		{name: "adopting", change: enter(vm.Adopting, 10*time.Second, "the daemon started and looks for its VMM")},
		{name: "adopting what is not wanted", change: wanted(vm.WantStopped, enter(vm.Adopting, 10*time.Second, "the daemon started and looks for its VMM"))},
		{name: "removing", change: wanted(vm.WantRemoved, enter(vm.Removing, 30*time.Second, "deleted by uid=0 cli"))},
		{name: "clock set back", change: func(r *vm.Record) {
			r.State.LaunchedAt, r.State.ReadyAt, r.State.HealthSince = begin.Add(time.Hour), begin.Add(time.Hour), begin.Add(time.Hour)
			r.State.LastExit.Failure.At = begin.Add(30 * time.Minute)
		}},
	}
}

// TestExplainEveryPhase writes testdata/explain.txt: what a person reads.
func TestExplainEveryPhase(t *testing.T) {
	var out strings.Builder
	told := map[vm.Phase]bool{}
	for _, e := range append(phasesExplained(), remediesExplained()...) {
		r, crashes := lived(begin)
		e.change(&r)
		if c := r.State.LastExit; c != nil && c.Number > crashes[0].Number {
			crashes = append([]vm.Crash{*c}, crashes...)
		}
		if r.State.Crashes == 0 {
			crashes = nil
		}
		told[r.State.Phase] = true
		x := policies.Explain(begin, r, crashes)
		fmt.Fprintf(&out, "## %s\nstate  %s\nsince  %s\n", e.name, x.State, x.Since.Format(time.TimeOnly))
		fmt.Fprintf(&out, "seen   %s\ntried  %s\nnext   %s\n", x.Seen, x.Tried, x.Next)
		if !x.NextAt.IsZero() {
			fmt.Fprintf(&out, "by     %s\n", x.NextAt.Format(time.TimeOnly))
		}
		fmt.Fprintf(&out, "rule   %s\ncan    %s\n\n", x.Rule, strings.Join(x.Can, "\n       "))
	}
	for _, p := range vm.AllPhases.Each() {
		if !told[p] {
			t.Errorf("phase %s is not explained", p)
		}
	}
	golden(t, "testdata/explain.txt", strings.ReplaceAll(out.String(), "  \n", "\n"))
}

// P11: a record that makes no sense is explained all the same.
func TestExplainAnswersForAnyRecord(t *testing.T) {
	for _, p := range append(vm.AllPhases.Each(), 0, vm.Running|vm.Stopped) {
		for _, a := range []vm.After{vm.ThenStop, vm.ThenHold, "nonsense"} {
			policies.Explain(time.Time{}, vm.Record{State: vm.State{Phase: p, After: a}}, make([]vm.Crash, 20))
		}
	}
}
