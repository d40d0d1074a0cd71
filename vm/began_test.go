package vm_test

import (
	"testing"

	"github.com/blixard/blixard/vm"
)

// What a VMM is launched with waits for the next launch; the rest of dump is read anew each time.
func TestACoreWaitsForTheNextLaunch(t *testing.T) {
	was := vm.Spec{Name: "web"}
	for _, one := range []struct {
		dump vm.Dump
		same bool
	}{
		{vm.Dump{}, true},
		{vm.Dump{On: []vm.Cause{vm.CauseGuestPanic}}, true},
		{vm.Dump{Core: true}, false},
	} {
		now := was
		now.Dump = one.dump
		if was.Launches(now) != one.same {
			t.Errorf("%+v: launches the same is %v", one.dump, !one.same)
		}
	}
}
