package actors_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// The agent's socket takes one client: a command that is asked for at the moment
// of an adoption must not take it from the probes, which kill whoever is silent.
func TestACommandDuringAnAdoptionLeavesTheProbesTheirAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} })
		s.create("web", nil)
		s.after(30 * time.Second)
		s.want("web", vm.Running, 1)
		for range 5 {
			s.life.Crash()
			s.end()
			s.boot()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, _ = s.node.Exec(ctx, "web", []string{"true"}) // the fake guest has no programs
			cancel()
			s.after(2 * time.Minute)
			if st := s.state("web"); st.Crashes != 0 || st.Incarnation != 1 || st.Health != vm.Healthy {
				t.Fatalf("%d crashes, incarnation %d, %s: %s", st.Crashes, st.Incarnation, st.Health, st.HealthWhy)
			}
		}
		s.end()
	})
}
