package policies

import (
	"fmt"

	"github.com/blixard/blixard/vm"
)

const ruleUnloadable = "saved-state" // a saved state that doesn't load is nobody's crash

// cantSuspend refuses what only the spec or the disk speak against.
func cantSuspend(rec vm.Record, t Turn) *vm.Refusal {
	name := rec.Spec.Name
	if rec.Spec.Boot.Built() {
		return &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("%s is a runner's VM: only a VMM that Blixard made itself can save its guest", name),
			Try: fmt.Sprintf("blixard vm pause %s, or blixard vm stop %s", name, name),
		}
	}
	if t.DiskFull != "" {
		return &vm.Refusal{
			Code: vm.NoRoom, Why: fmt.Sprintf("%s was not suspended, its memory has no room on the disk: %s", name, t.DiskFull),
			Try: "free space on the disk of the state folder: blixard node resources",
		}
	}
	return nil
}

// goOn: what could not be saved runs on, as it did before.
func goOn(s *vm.State) { s.Intent, s.After = vm.WantRunning, vm.ThenStop }

// wasSaved says that the VMM is being ended because its guest is whole on the disk.
func wasSaved(s vm.State) bool {
	return s.Saved != nil && s.Saved.Incarnation == s.Incarnation && s.Phase == vm.Killing
}
