package actors_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/vm"
)

// A guest that lost its bridge is unwell by that cause, is not restarted for it,
// and is well again with its bridge; with checks and without.
func TestAGuestWithoutItsBridgeIsUnwellAndHeals(t *testing.T) {
	for name, checks := range map[string][]vm.Check{
		"checked":   {{Type: vm.CheckAgent, Interval: time.Second, Timeout: time.Second, Failures: 3, Successes: 1}},
		"unchecked": nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, boots(time.Second))
			s.create("web", func(spec *vm.Spec) {
				spec.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}}
				spec.Health = checks
			})
			s.after(5 * time.Second)
			s.want("web", vm.Running, 1)
			before := s.state("web").Health

			s.world.CutOff(s.id("web"), true)
			s.after(time.Second)
			if st := s.state("web"); st.Health != vm.Unhealthy || !strings.HasPrefix(st.HealthWhy, "link-lost: ") {
				t.Errorf("%s: without its bridge it is %s: %s", name, st.Health, st.HealthWhy)
			}
			s.after(time.Minute)
			s.want("web", vm.Running, 1)

			s.world.CutOff(s.id("web"), false)
			s.after(time.Second)
			if st := s.state("web"); st.Health != before || st.Crashes != 0 {
				t.Errorf("%s: with its bridge it is %s, it was %s; %d crashes", name, st.Health, before, st.Crashes)
			}
			s.end()
		})
	}
}
