package policies_test

import (
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// laddered is the VM that lived, with remedies of which some were used.
func laddered(r *vm.Record, used ...int) {
	r.Spec.Remedies = []vm.Rung{{Do: vm.RemedyReset, Times: 2}, {Do: vm.RemedyRestart, Times: 1}, {Do: vm.RemedyHold}}
	r.State.Rungs = used
}

// turns are taken as a VM's actor takes them, the last one two seconds ago.
func turns(r *vm.Record, all ...policies.Turn) {
	for i, t := range all {
		t.At, t.Spread = begin.Add(time.Duration(i-len(all)-1)*time.Second), 0.5
		*r = policies.Next(*r, policies.Remedied(*r, t)).Record
	}
}

func sick(cause vm.Cause, evidence string, silent bool) policies.Turn {
	return policies.Turn{Event: vm.GuestSick, Failure: &vm.Failure{
		Incarnation: 3, Cause: cause, Evidence: evidence, At: begin.Add(-2 * time.Second), Alive: true, Silent: silent, Ready: true, Confidence: vm.Certain,
	}}
}

func hung(silent bool) policies.Turn {
	return sick(vm.CauseHealthFailed, "guest-agent: 3 of 3 failures in a row: no answer within 1s", silent)
}

// remediesExplained are what a ladder of remedies brings about.
func remediesExplained() []explained {
	after := func(used []int, all ...policies.Turn) func(*vm.Record) {
		return func(r *vm.Record) {
			laddered(r, used...)
			turns(r, all...)
		}
	}
	return []explained{
		{name: "running, with remedies", change: after(nil)},
		{name: "running, a remedy was used", change: after([]int{1, 0, 0})},
		{name: "running, another remedy for a panic", change: func(r *vm.Record) {
			laddered(r, 1)
			r.Spec.Remedies[0].For = []vm.Cause{vm.CauseHealthFailed}
		}},
		{name: "running, its remedies are used up", change: func(r *vm.Record) {
			laddered(r, 2, 1)
			r.Spec.Remedies = r.Spec.Remedies[:2]
		}},
		{name: "running, its budget is spent", change: func(r *vm.Record) {
			laddered(r, 1)
			r.Spec.Restart.Budget.Attempts = 2
		}},
		{name: "starting, a reset in place is due", change: after(nil, hung(false))},
		{name: "starting, reset in place", change: after([]int{1}, hung(false), policies.Turn{Event: vm.GuestWasReset})},
		{name: "starting, reset in place, and no remedy is left but the last", change: after([]int{1, 1}, hung(false), policies.Turn{Event: vm.GuestWasReset})},
		{name: "stopping, as a remedy", change: after([]int{2}, hung(false))},
		{name: "killing, as its VMM is silent", change: after(nil, hung(true))},
		{name: "killing, as a panicked guest can't be asked to power off", change: after([]int{2}, sick(vm.CauseGuestPanic, "Kernel panic - not syncing: Attempted to kill init!", false))},
		{name: "killing, to be held", change: after([]int{2, 1}, hung(false))},
		{name: "failed, held by its remedies", change: after([]int{2, 1}, hung(false), policies.Turn{Event: vm.KillConfirmed}, policies.Turn{Event: vm.ReleasedToHold})},
	}
}
