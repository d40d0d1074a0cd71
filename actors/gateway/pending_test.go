package gateway

import (
	"slices"
	"testing"
	"time"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestWhatWaitsIsToldApartFromWhatRuns(t *testing.T) {
	spec := vm.Spec{Name: "web"}.Filled()
	rec := vm.Record{ID: "a", Spec: spec, State: vm.State{Phase: vm.Running}}
	spec.Memory, spec.Resources.CPUQuota, spec.Autostart.Priority = 256*vm.MiB, 50, 7
	spec.Health = []vm.Check{{Type: vm.CheckConsole, Send: "secret"}}
	spec.Remedies, spec.Dump.On = []vm.Rung{{Do: vm.RemedyKill}}, []vm.Cause{vm.CauseGuestPanic}
	spec.Reclaim.Steps = []vm.ReclaimStep{{Do: vm.ReclaimPause, After: time.Hour}}
	rec = policies.WithSpec(rec, spec.Filled(), rec.Reservation)
	out := messages.VMToProto(rec)
	pending(out, rec)
	if got := vm.Bytes(out.GetRuns().GetMemoryBytes()); got != 128*vm.MiB || !out.GetSpecPending() {
		t.Errorf("it runs with %s, pending %v", got, out.GetSpecPending())
	}
	if want := []string{"memory: 128MiB -> 256MiB", "resources.cpuQuota: 0% -> 50%"}; !slices.Equal(out.GetWaits(), want) {
		t.Errorf("what waits is %q, want %q", out.GetWaits(), want)
	}
}

func TestWhatCountsAtOnceIsToldApartFromWhatWaits(t *testing.T) {
	was := vm.Spec{Name: "web"}.Filled()
	is := was
	is.Memory, is.Dump.Core, is.Dump.On = 256*vm.MiB, true, []vm.Cause{vm.CauseGuestPanic}
	is.Health, is.Remedies = []vm.Check{{Type: vm.CheckVMM}}, []vm.Rung{{Do: vm.RemedyKill}}
	is = is.Filled()
	between := messages.SpecToProto(atOnce(was, is))
	now := fields(differences(messages.SpecToProto(was), between))
	later := fields(differences(between, messages.SpecToProto(is)))
	if !slices.Equal(now, []string{"dump.format", "dump.on", "dump.timeout", "health", "remedies"}) || !slices.Equal(later, []string{"dump.core", "memory"}) {
		t.Errorf("at once %q, later %q", now, later)
	}
}
