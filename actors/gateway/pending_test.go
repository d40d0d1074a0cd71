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
