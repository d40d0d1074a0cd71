package policies_test

import (
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A folder of a VM that nobody knows is moved aside by itself, but not from
// under a process that uses it.
func TestFolderOfAnUnknownVMThatLivesWaitsForAPerson(t *testing.T) {
	found := policies.Inventory{Folders: []vm.FoundFolder{{Name: "web", ID: "0123456789abcdef", Folder: true}}}
	gate := func() policies.Gate {
		t.Helper()
		for _, d := range policies.Compare(found, policies.Records{}) {
			if d.Mend == policies.MendQuarantine {
				return d.Gate
			}
		}
		t.Fatal("the folder is not told of")
		return ""
	}
	if got := gate(); got != policies.GateAged {
		t.Errorf("without a process: gate %s", got)
	}
	found.VMMs = []vm.FoundVMM{{Ref: vm.Ref{VM: "0123456789abcdef", Name: "web", Incarnation: 1}}}
	if got := gate(); got != policies.GatePerson {
		t.Errorf("with a process: gate %s", got)
	}
}

// A uid in two manifests is one VM, the one that lives; the other folder is told of and left alone.
func TestAUidInTwoManifestsIsOneVM(t *testing.T) {
	id := vm.ID("0123456789abcdef")
	folder := func(name vm.Name) vm.FoundFolder {
		return vm.FoundFolder{Name: name, ID: id, Folder: true, Spec: &vm.Spec{Name: name}}
	}
	found := policies.Inventory{Folders: []vm.FoundFolder{folder("a"), folder("b"), folder("c")}}
	for _, lives := range []vm.Name{"", "a", "b", "c"} {
		want := vm.Name("a")
		if found.VMMs = nil; lives != "" {
			want, found.VMMs = lives, []vm.FoundVMM{{Ref: vm.Ref{VM: id, Name: lives, Incarnation: 1}}}
		}
		records := policies.Rebuild(found, "b1", time.Unix(0, 0))
		if len(records) != 1 || records[0].Spec.Name != want {
			t.Fatalf("%q lives: rebuilt %+v, want %s alone", lives, records, want)
		}
		told := 0
		for _, d := range policies.Compare(found, policies.Records{All: records}) {
			if d.Folder != nil && d.Folder.Name != want && d.Mend == policies.MendNothing {
				told++
			}
		}
		if told != 2 {
			t.Errorf("%q lives: %d of the two other folders are told of", lives, told)
		}
	}
}

// blindly is a node on which everything is wrong: nothing is known of two
// folders, two links and a run folder, and a running VM has no process.
func blindly() (policies.Inventory, policies.Records) {
	const up, down, unknown = vm.ID("0000000000000001"), vm.ID("0000000000000002"), vm.ID("0000000000000003")
	record := func(id vm.ID, name vm.Name, phase vm.Phase) vm.Record {
		return vm.Record{ID: id, Spec: vm.Spec{Name: name}, State: vm.State{Phase: phase, Incarnation: 1}}
	}
	found := policies.Inventory{
		Links:   []vm.FoundLink{{Name: "blx2n0", VM: down, Number: 1}, {Name: "blx3n0", VM: unknown, Number: 1}},
		Folders: []vm.FoundFolder{{Name: "old", ID: unknown, Folder: true}, {Name: "down", ID: down, Folder: true, Run: true, Tenant: 7}, {Name: "gone", Run: true, Tenant: 7}},
	}
	return found, policies.Records{All: []vm.Record{record(up, "up", vm.Running), record(down, "down", vm.Stopped)}}
}

// Where nobody knows which VMMs live, nothing that one might use is touched, and
// no VM is believed dead; what is wrong for certain is told all the same.
func TestABlindLookTouchesNothing(t *testing.T) {
	found, known := blindly()
	mends := func() (done, told int) {
		for _, d := range policies.Compare(found, known) {
			if d.Mend == policies.MendNothing && d.Gate == policies.GateNever {
				told++
			} else {
				done++
			}
		}
		return done, told
	}
	if done, told := mends(); done != 6 || told != 1 {
		t.Errorf("seeing all: %d mends, %d told: %+v", done, told, policies.Compare(found, known))
	}
	found.Blind = "systemd doesn't answer just now"
	if done, told := mends(); done != 0 || told != 3 {
		t.Errorf("P1, blind: %d mends, %d told: %+v", done, told, policies.Compare(found, known))
	}
}

// A link of a VM that nobody knows isn't taken away under its guest.
func TestLinkOfAnUnknownVMThatLivesWaitsForAPerson(t *testing.T) {
	const id = vm.ID("0123456789abcdef")
	found := policies.Inventory{Links: []vm.FoundLink{{Name: "blx1n0", VM: id, Number: 1}}}
	if all := policies.Compare(found, policies.Records{}); len(all) != 1 || all[0].Gate != policies.GateAged {
		t.Errorf("without a process: %+v", all)
	}
	found.VMMs = []vm.FoundVMM{{Ref: vm.Ref{VM: id, Name: "web", Incarnation: 1}}}
	for _, d := range policies.Compare(found, policies.Records{}) {
		if d.Link != nil && d.Gate != policies.GatePerson {
			t.Errorf("P6: with a process: %+v", d)
		}
	}
}
