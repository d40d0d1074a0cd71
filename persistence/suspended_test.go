package persistence

import (
	"reflect"
	"testing"

	"github.com/blixard/blixard/vm"
)

// Every phase, intent and follow-up that the state machine knows is read again.
func TestNoStateIsForgottenByTheCodec(t *testing.T) {
	afters := []vm.After{vm.ThenStop, vm.ThenRestart, vm.ThenBackoff, vm.ThenHold, vm.ThenRemove, vm.ThenSuspend}
	intents := []vm.Intent{vm.WantStopped, vm.WantRunning, vm.WantRemoved, vm.WantSuspended}
	for i, phase := range vm.AllPhases.Each() {
		m, rec := NewMemory(), sampleRecord(i+1)
		rec.State.Phase, rec.State.After, rec.State.Intent = phase, afters[i%len(afters)], intents[i%len(intents)]
		rec.State.Reclaimed, rec.State.Stalled = true, "disk data"
		rec.State.Saved = &vm.SavedState{Incarnation: 4, At: sampleTime, Bytes: vm.MiB, Hardware: rec.Spec.Hardware()}
		rec.Spec.Reclaim = vm.Reclaim{Steps: []vm.ReclaimStep{{Do: vm.ReclaimPause, After: 1}}, Keep: 50, Idle: vm.Idle{CPU: 2, Packets: 10, IO: 1}}
		if _, err := m.Commit(Turn{Record: rec, Whole: true, Entry: &vm.Entry{At: sampleTime, VM: rec.ID}}); err != nil {
			t.Fatal(err)
		}
		records, broken, err := m.Load()
		if err != nil || len(broken) != 0 || len(records) != 1 || !reflect.DeepEqual(records[0], rec) {
			t.Errorf("%s, then %q: %v %v\ngot  %+v\nwant %+v", phase, rec.State.After, err, broken, records, rec)
		}
	}
}
