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
	// None of it waits: see vm.Spec.Launches.
	runs.Restart, runs.Autostart, runs.Reclaim, runs.Health, runs.Remedies = r.Spec.Restart, r.Spec.Autostart, r.Spec.Reclaim, r.Spec.Health, r.Spec.Remedies
	core := runs.Dump.Core
	runs.Dump = r.Spec.Dump
	runs.Dump.Core = core
	out.Waits = differences(messages.SpecToProto(runs), messages.SpecToProto(r.Spec))
}
