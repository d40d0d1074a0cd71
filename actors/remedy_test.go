package actors_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

func allRemedies(s *vm.Spec) {
	s.Remedies = []vm.Rung{{Do: vm.RemedyReset, Times: 1}, {Do: vm.RemedyRestart, Times: 1}, {Do: vm.RemedyKill, Times: 1}, {Do: vm.RemedyHold}}
	s.Stop.Timeout = 5 * time.Second
}

// hang makes a VM's guest hang, and waits until that was charged.
func (s *stage) hang(name vm.Name, crash uint64) vm.State {
	s.t.Helper()
	rec, _ := s.node.Get(name)
	if !s.world.Hang(rec.ID) {
		s.t.Fatal("no guest to hang")
	}
	for range 600 {
		if st := s.state(name); st.Crashes >= crash {
			return st
		}
		s.after(time.Second)
	}
	s.t.Fatalf("no crash %d: %+v", crash, s.state(name))
	panic("unreachable")
}

func TestASickGuestIsHealedRungByRung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", allRemedies)
		s.after(5 * time.Second)
		s.want("web", vm.Running, 1)
		pid := s.state("web").Process.PID

		s.hang("web", 1)
		s.after(5 * time.Second)
		s.want("web", vm.Running, 1) // by a reset in place
		if st := s.state("web"); st.Process.PID != pid || st.Health != vm.Healthy || st.ResetDue || len(st.Ledger) != 1 || st.Restarts != 0 {
			t.Fatalf("after a reset: %+v", st)
		}
		if st := s.hang("web", 2); st.Phase != vm.Stopping || st.LastExit.Decision.Remedy != vm.RemedyRestart {
			t.Fatalf("the second time: %s, %+v", st.Phase, st.LastExit)
		}
		s.after(4 * time.Second) // it is hung, and yet it has the time that every stop has
		s.want("web", vm.Stopping, 1)
		s.after(20 * time.Second)
		s.want("web", vm.Running, 2)
		if st := s.hang("web", 3); st.LastExit.Decision.Remedy != vm.RemedyKill {
			t.Fatalf("the third time: %s, %+v", st.Phase, st.LastExit)
		}
		s.after(20 * time.Second)
		s.want("web", vm.Running, 3)
		s.hang("web", 4)
		s.after(20 * time.Second)
		s.want("web", vm.Failed, 3)
		if st := s.state("web"); st.Crashes != 4 || st.LastExit.Decision.Remedy != vm.RemedyHold {
			t.Fatalf("the fourth time: %+v", st)
		}
	})
}

// A guest that doesn't come back from a reset in its time is met by the next
// rung, also where that is another reset.
func TestAResetInVainIsFollowedByTheNextRung(t *testing.T) {
	for name, one := range map[string]struct {
		change      func(*vm.Spec)
		remedy      vm.Remedy
		phase       vm.Phase
		incarnation vm.Incarnation
	}{
		"a restart": {allRemedies, vm.RemedyRestart, vm.Running, 2},
		"a reset": {func(s *vm.Spec) {
			s.Remedies, s.Restart.Delays = []vm.Rung{{Do: vm.RemedyReset}}, []time.Duration{0}
		}, vm.RemedyReset, vm.Starting, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, func(r vm.Ref) fake.Guest {
					return fake.Guest{Boot: map[vm.Incarnation]time.Duration{1: 20 * time.Second, 2: time.Second}[r.Incarnation]}
				})
				defer s.end()
				s.create("web", one.change)
				s.after(25 * time.Second)
				s.newSpec("web", func(s *vm.Spec) { s.Start.Timeout = 10 * time.Second })
				s.hang("web", 1)
				s.after(5 * time.Second)
				s.want("web", vm.Starting, 1)
				s.after(6 * time.Second)
				st := s.state("web")
				if f := st.LastExit.Failure; f.Cause != vm.CauseHealthFailed || !strings.Contains(f.Evidence, "of its reset") || st.LastExit.Decision.Remedy != one.remedy {
					t.Fatalf("it came to %+v", st.LastExit)
				}
				s.after(8 * time.Second)
				s.want("web", one.phase, one.incarnation)
				if st := s.state("web"); st.Crashes != 2 || st.ResetDue {
					t.Errorf("then it has %d crashes, and a reset is due: %t", st.Crashes, st.ResetDue)
				}
			})
		})
	}
}

// What the console and the VMM said before a reset is no evidence of what comes after.
func TestAPanickedGuestIsResetOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second, Panic: 10 * time.Second} })
		defer s.end()
		s.create("web", allRemedies)
		s.after(time.Minute)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Crashes != 1 || st.LastExit.Failure.Cause != vm.CauseGuestPanic || st.Health != vm.Healthy {
			t.Fatalf("after a panic: %+v", st)
		}
	})
}

// P5: a stop that comes between the decision and the reset wins.
func TestAStopWinsOverAResetThatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", allRemedies)
		s.after(5 * time.Second)
		s.world.Break(fake.Faults{Attach: 1})
		if st := s.hang("web", 1); st.Phase != vm.Starting || !st.ResetDue {
			t.Fatalf("no reset is due: %+v", st)
		}
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.world.Break(fake.Faults{})
		s.after(time.Minute)
		s.want("web", vm.Stopped, 1)
	})
}

// A daemon that dies after the write and before the reset makes up for it.
func TestAResetThatIsDueIsDoneByTheNextDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		s.create("web", allRemedies)
		s.after(5 * time.Second)
		s.world.Break(fake.Faults{Attach: 1})
		pid := s.hang("web", 1).Process.PID
		s.world.Break(fake.Faults{})
		s.kill()
		s.after(10 * time.Second)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Process.PID != pid || st.Crashes != 1 || st.ResetDue {
			t.Fatalf("after the daemon's death: %+v", st)
		}
		s.end()
	})
}
