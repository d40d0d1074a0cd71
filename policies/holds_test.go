package policies

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

// TestAVMMIsCountedUntilItHasEnded: whatever is asked of a VM meanwhile, and in
// whichever order, it counts with no less than its VMM was launched with, and
// with its spec alone once that has ended (P12).
func TestAVMMIsCountedUntilItHasEnded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rec := record(vm.Stopped, vm.WantStopped)
		rec.Reservation = vm.ReservationFor(rec.Spec, 64*vm.MiB)
		launched, alive := vm.Reservation{}, false
		for range rapid.IntRange(1, 60).Draw(t, "turns") {
			event := rapid.SampledFrom(vm.Events()).Draw(t, "event")
			if rapid.IntRange(0, 2).Draw(t, "respec") == 0 {
				event = vm.SpecAsked
			}
			turn := Turn{Event: event, At: noon, BootID: "b1", Failure: &vm.Failure{Cause: vm.CauseVMMCrash}, Process: &vm.Process{PID: 7}, Saved: &vm.SavedState{}}
			turn.Decision = &vm.Decision{Do: vm.RestartNow}
			if event == vm.SpecAsked {
				spec := rec.Spec
				spec.CPUs, spec.Memory = rapid.IntRange(1, 4).Draw(t, "cpus"), vm.Bytes(rapid.IntRange(1, 4).Draw(t, "memory"))*128*vm.MiB
				turn.Spec, turn.Reservation = &spec, vm.ReservationFor(spec, vm.Bytes(rapid.IntRange(60, 68).Draw(t, "overhead"))*vm.MiB)
			}
			out := Next(rec, turn)
			began := out.Record.State.Incarnation != rec.State.Incarnation
			if rec = out.Record; out.Removed {
				return
			}
			switch {
			case began:
				launched, alive = rec.Reservation, true
			case rec.State.Phase&idle != 0:
				alive = false
			}
			want := rec.Reservation
			if alive {
				want = want.Max(launched)
			}
			if got := rec.Holds(); got != want {
				t.Fatalf("%s in %s: it counts with %+v, want %+v: launched with %+v (%v)", event, rec.State.Phase, got, want, launched, alive)
			}
		}
	})
}
