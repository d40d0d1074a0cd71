package policies

import (
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func TestExplainTellsOfADump(t *testing.T) {
	sickOf := vm.Failure{Cause: vm.CauseHealthFailed, Evidence: "guest-agent: 3 of 3 failures in a row"}
	for _, one := range []struct {
		ladder []vm.Rung
		want   string
	}{
		{nil, "its memory is being written (at most 30s), then its end is met by the restart policy"},
		{[]vm.Rung{{Do: vm.RemedyReset, Times: 2}}, "its memory is being written (at most 30s), then it is reset in place, time 1 of 2"},
	} {
		r := good(one.ladder...)
		before := Explain(r.State.PhaseSince, r, nil).Next
		r.State.Health, r.State.HealthWhy = vm.Unhealthy, DumpedFirst(sickOf, 30*time.Second)
		if got := Explain(r.State.PhaseSince, r, nil).Next; got != one.want || before == one.want {
			t.Errorf("next: %q, want %q; before %q", got, one.want, before)
		}
	}
}
