package sim

import (
	"strings"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// deafen deletes the control socket of somebody's VMM, in some seeds; half of
// the times the daemon ends as well, and the next one finds nobody who listens.
func (s *stage) deafen() {
	if s.seed%4 != 2 || s.losses.IntN(6) > 0 {
		return
	}
	name := pick(s.losses, append([]vm.Name{canary}, s.plan.names...)...)
	agent := s.losses.IntN(2) == 0
	for id, r := range s.judge.records() {
		if r.Spec.Name == name {
			s.world.LoseSocket(id, agent)
		}
	}
	if s.losses.IntN(2) == 0 && !s.dead() {
		s.killDaemon()
	}
}

// checkDeaf: no guest is ended because somebody deleted the socket by which its
// VMM is spoken to. A VMM that hangs is another matter.
func (j *judge) checkDeaf(before, after vm.Record, t persistence.Turn) {
	if t.Crash == nil || before.State.Phase != vm.Running || !strings.HasPrefix(t.Crash.Failure.Evidence, "its VMM did not answer") {
		return
	}
	if f := t.Crash.Failure; f.Ready && j.deaf(after.ID, f.Incarnation) {
		j.broken("checkDeaf", after.Spec.Name, "incarnation %d is ended, and nothing is wrong but that its control socket is gone: %s", f.Incarnation, f.Evidence)
	}
}
