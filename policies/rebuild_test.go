package policies

import (
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func folder(name vm.Name, id vm.ID, slot uint32) vm.FoundFolder {
	spec := vm.Spec{Name: name}.Filled()
	return vm.FoundFolder{Name: name, ID: id, Slot: slot, Spec: &spec, Folder: true, Last: 3}
}

func TestRebuildGivesNoTwoVMsOneSlotAndBelievesNoSpecThatNobodyCouldCreate(t *testing.T) {
	bad := folder("bad", "bad", 9)
	bad.Spec.CPUs = -5
	live := vm.FoundVMM{Ref: vm.Ref{VM: "c", Name: "c", Slot: 1, Incarnation: 7}, Process: vm.Process{PID: 4}}
	got := Rebuild(Inventory{
		VMMs: []vm.FoundVMM{live}, Folders: []vm.FoundFolder{folder("a", "a", 1), folder("b", "b", 1), bad, folder("c", "c", 5), folder("d", "d", 0)},
	}, "boot", time.Time{})
	slots := map[uint32]vm.Name{}
	for _, r := range got {
		if other, twice := slots[r.Slot]; twice || r.Slot == 0 {
			t.Errorf("%s and %s share slot %d", other, r.Spec.Name, r.Slot)
		}
		slots[r.Slot] = r.Spec.Name
		if r.Spec.Name == "bad" {
			t.Errorf("a VM of %d processors was rebuilt", r.Spec.CPUs)
		}
		if up := r.Spec.Name == "c"; up != (r.State.Intent == vm.WantRunning) || up && (r.Slot != 1 || r.State.Incarnation != 7) {
			t.Errorf("%s: slot %d, %+v", r.Spec.Name, r.Slot, r.State)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d VMs were rebuilt, want 4", len(got))
	}
}

func TestAFullDiskIsNotChargedToAGuestThatNobodyCouldHear(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rec := vm.Record{Spec: vm.Spec{Name: "a"}.Filled(), State: vm.State{
		Phase: vm.Starting, Intent: vm.WantRunning, Incarnation: 1, LaunchedAt: now.Add(-time.Minute), Deadline: now,
	}}
	for full, want := range map[string]vm.Cause{"": vm.CauseStartTransient, "3 MiB are left": vm.CauseIOError} {
		out := Next(rec, Turn{Event: vm.DeadlinePassed, At: now, DiskFull: full})
		if out.Crash == nil || out.Crash.Failure.Cause != want || out.Crash.Decision.Charged != (full == "") {
			t.Errorf("disk %q: %+v, want cause %s", full, out.Crash, want)
		}
	}
}

func TestWhatSaysNoIncarnationIsNotRemovedAsOurs(t *testing.T) {
	for tenant, want := range map[vm.Incarnation]Mend{0: MendNothing, 3: MendRemoveRun} {
		got := Compare(Inventory{Folders: []vm.FoundFolder{{Name: "mine", Run: true, Tenant: tenant}}}, Records{})
		if len(got) != 1 || got[0].Mend != want {
			t.Errorf("P8: a run folder of incarnation %d: %+v, want %s", tenant, got, want)
		}
	}
}
