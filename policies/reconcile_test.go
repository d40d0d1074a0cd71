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
