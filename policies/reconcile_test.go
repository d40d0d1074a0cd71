package policies_test

import (
	"testing"

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
