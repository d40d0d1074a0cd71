package chaos

import (
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// From its first answer on, a daemon tells what is, and not what its records
// say of the boot before (P11): whoever waits for a VM would be told that it is up.
func TestStatusAfterABootIsOfThatBoot(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	s.crew("vm", 12)
	s.systemctl("disable", "blixard.service") // so that the first call starts it, and has its first answer
	s.systemctl("enable", "blixard.socket")
	s.must(s.PowerCut())
	s.must(s.Machine.Boot(s.ctx))
	vms, err := s.List(s.ctx)
	s.must(err)
	for _, vm := range vms {
		if vm.GetPid() == 0 {
			continue
		}
		if _, err := s.VMM(int(vm.GetPid())); err != nil {
			t.Errorf("%s is told to be %s as pid %d, incarnation %d, which is of the boot before: %v",
				vm.GetName(), vm.GetPhase(), vm.GetPid(), vm.GetIncarnation(), err)
		}
	}
	for _, vm := range vms {
		s.next(&v1.VM{Name: vm.GetName(), Incarnation: 1})
	}
}

// A VM that waits for its next try waits on after a power cut: a reboot
// forgives nothing (P10).
func TestNextTryOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	was := s.inAnHour(s.PVH("later"))
	s.must(s.PowerCut())
	s.must(s.Boot(s.ctx))
	calm := s.crew("calm", 1) // whatever the boot brings up is up by now
	is, err := s.Get(s.ctx, "later")
	s.must(err)
	before, after := was.GetRestarts().GetNextRetryAt().AsTime(), is.GetRestarts().GetNextRetryAt().AsTime()
	if is.GetPhase() != "backoff" || !before.Equal(after) {
		t.Errorf("its next try was at %v; now it is %s (%s), and its next try at %v", before, is.GetPhase(), is.GetReason(), after)
	}
	s.only(pids(calm)...)
}

// inAnHour is a VM whose next try is an hour away.
func (s *site) inAnHour(spec *v1.VMSpec) *v1.VM {
	s.t.Helper()
	spec.Restart = node.Patient(time.Hour)
	s.strike(s.up(spec))
	return s.reaches(spec.GetName(), "backoff", soon)
}
