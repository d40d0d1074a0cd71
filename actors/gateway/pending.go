package gateway

import (
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// pending tells what runs, and what waits, where a newer spec does.
func pending(out *blixardv1.VM, r vm.Record) {
	if r.State.Runs == nil {
		return
	}
	runs := r.State.Runs.Spec
	out.Runs = messages.SpecToProto(runs)
	out.Waits = differences(messages.SpecToProto(atOnce(runs, r.Spec)), messages.SpecToProto(r.Spec))
}

// atOnce is what runs with all of a newer spec that doesn't wait for the next
// start: see vm.Spec.Launches.
func atOnce(runs, newer vm.Spec) vm.Spec {
	core := runs.Dump.Core
	runs.Restart, runs.Autostart, runs.Reclaim, runs.Health, runs.Remedies, runs.Dump = newer.Restart, newer.Autostart, newer.Reclaim, newer.Health, newer.Remedies, newer.Dump
	runs.Dump.Core = core
	return runs
}
