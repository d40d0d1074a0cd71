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

func TestAVMWhoseRecordAloneIsMissingIsTakenInAndKeepsItsRunFolder(t *testing.T) {
	live := vm.FoundVMM{Ref: vm.Ref{VM: "w", Name: "web", Slot: 2, Incarnation: 4}, Process: vm.Process{PID: 4}}
	known := folder("web", "w", 2)
	known.Run, known.Tenant = true, 4
	got := Compare(Inventory{VMMs: []vm.FoundVMM{live}, Folders: []vm.FoundFolder{known}}, Records{})
	for _, d := range got {
		if d.VMM != nil && (d.Mend != MendAdopt || d.Gate != GateTwice) || d.Mend == MendRemoveRun || d.Mend == MendQuarantine && d.Gate != GatePerson {
			t.Errorf("P6: %+v", d)
		}
	}
	other := vm.Record{ID: "x", Spec: vm.Spec{Name: "web"}.Filled(), State: vm.State{Phase: vm.Stopped}}
	for _, d := range Compare(Inventory{VMMs: []vm.FoundVMM{live}, Folders: []vm.FoundFolder{known}}, Records{All: []vm.Record{other}}) {
		if d.VMM != nil && d.Gate != GatePerson || d.Mend == MendRemoveRun {
			t.Errorf("another VM has its name by now: %+v", d)
		}
	}
}

func TestWhatSafeModeHeldComesBackAfterIt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rec := vm.Record{Spec: vm.Spec{Name: "a"}.Filled(), State: vm.State{
		Phase: vm.Running, Intent: vm.WantRunning, Incarnation: 1, BootID: "b", LaunchedAt: now, ReadyAt: now,
	}}
	died := Next(rec, Turn{Event: vm.VMMGone, At: now, Failure: &vm.Failure{Cause: vm.CauseVMMCrash}, Decision: HeldInSafeMode()}).Record
	held := Next(died, Turn{Event: died.State.After.Released(), At: now}).Record
	if held.State.Phase != vm.Failed {
		t.Fatalf("it is %s in safe mode, want failed", held.State.Phase)
	}
	after := AfterSafeMode([]vm.Record{held}, now)[0]
	woken := Next(after, Woken(after, Waking{At: now, BootID: "b"})).Record
	up := Next(woken, Turn{Event: vm.DeadlinePassed, At: now, BootID: "b"}).Record
	if after.State.Phase != vm.Backoff || up.State.Phase != vm.Preparing {
		t.Errorf("P4: afterwards it is %s, then %s", after.State.Phase, up.State.Phase)
	}
}
