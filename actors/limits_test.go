package actors_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A VMM that leaks is killed at its own limit, again and again: each death names
// the limit, counts against the budget, and the last one is given up aloud (P4).
func TestAVMMThatLeaksIsGivenUpWithItsNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second, OutOfMemory: 3 * time.Second} })
		defer s.end()
		s.create("leaky", nil)
		s.after(10 * time.Minute)
		rec, _ := s.node.Get("leaky")
		last := rec.State.LastExit
		if rec.State.Phase != vm.Failed || last == nil || last.Failure.Cause != vm.CauseOOMCgroup || !last.Decision.Charged {
			t.Fatalf("it is %s, its last end %+v", rec.State.Phase, last)
		}
		limit := policies.LimitsFor(rec.Spec, rec.Reservation).Memory
		if o := last.Failure.Exit.OOM; o == nil || o.Limit != limit || !strings.Contains(last.Failure.Evidence, limit.String()) {
			t.Errorf("with the limit %v its end is %+v: %s", limit, o, last.Failure.Evidence)
		}
		limits, missing := s.node.Limits(rec)
		if limits.Memory != limit || missing != (vm.Holding{}) {
			t.Errorf("shown as %+v, without %+v", limits, missing)
		}
	})
}
