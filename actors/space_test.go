package actors_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// A full disk halts a guest and ends none: not by the probes, which get no
// answer meanwhile, and not by a restart of the daemon.
func TestAFullDiskPausesAGuestAndEndsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second, Writes: true} })
		s.create("web", func(spec *vm.Spec) {
			spec.Health = []vm.Check{{Type: vm.CheckAgent, Interval: time.Second, Timeout: time.Second, Failures: 3, Successes: 1}}
		})
		if err := s.ask("web", vm.StartAsked); err != nil {
			t.Fatal(err)
		}
		s.after(5 * time.Second)
		s.want("web", vm.Running, 1)
		s.world.Fill(true)
		s.after(time.Minute)
		s.stalled(vm.Paused, 1)
		s.kill()
		s.after(time.Minute)
		s.stalled(vm.Paused, 1)

		if err := s.ask("web", vm.ResumeAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		s.stalled(vm.Paused, 1) // there is no room yet, so it is halted again

		s.world.Fill(false)
		s.after(20 * time.Second) // the next sample finds room
		rec, _ := s.node.Get("web")
		if rec.State.Phase != vm.Running || rec.State.Stalled != "" || rec.State.Crashes != 0 || rec.State.Incarnation != 1 {
			t.Errorf("with room again: %s, stalled %q, %d crashes, incarnation %d", rec.State.Phase, rec.State.Stalled, rec.State.Crashes, rec.State.Incarnation)
		}
		s.end()
	})
}

// What a person paused stays paused when there is room.
func TestRoomDoesNotResumeWhatAPersonPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} })
		s.create("web", nil)
		for _, e := range []vm.Event{vm.StartAsked, vm.PauseAsked} {
			if err := s.ask("web", e); err != nil {
				t.Fatal(err)
			}
			s.after(5 * time.Second)
		}
		s.after(time.Minute)
		if rec, _ := s.node.Get("web"); rec.State.Phase != vm.Paused {
			t.Errorf("it is %s", rec.State.Phase)
		}
		s.end()
	})
}

func (s *stage) stalled(want vm.Phase, incarnation vm.Incarnation) {
	s.t.Helper()
	rec, _ := s.node.Get("web")
	if rec.State.Phase != want || rec.State.Stalled == "" || rec.State.Incarnation != incarnation {
		s.t.Fatalf("%s, stalled %q, incarnation %d: %s", rec.State.Phase, rec.State.Stalled, rec.State.Incarnation, rec.State.Reason)
	}
}
