package actors

import (
	"slices"
	"strings"
	"testing"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// What a command is refused with must be a command that the VM takes then.
func TestTheRemedyOfACommandWorks(t *testing.T) {
	for _, p := range vm.AllPhases.Each() {
		rec := vm.Record{Spec: vm.Spec{Name: "web"}.Filled(), State: vm.State{Phase: p, Intent: vm.WantRunning}}
		verb := strings.Fields(comesUp(p))[2]
		if verb == "wait" || verb == "explain" { // they always can
			continue
		}
		can := policies.Explain(rec.State.PhaseSince, rec, nil).Can
		if !slices.ContainsFunc(can, func(one string) bool { return strings.HasPrefix(one, "blixard vm "+verb+" ") }) {
			t.Errorf("%s: vm %s is told to help, and what can be done is %q", p, verb, can)
		}
	}
}
