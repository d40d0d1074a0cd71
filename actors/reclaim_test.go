package actors_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

func calm(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} }

// climbing has a VM give back more and more.
func climbing(steps ...vm.ReclaimStep) func(*vm.Spec) {
	return func(s *vm.Spec) {
		s.Reclaim.Steps = steps
		*s = s.Filled()
	}
}

var whole = []vm.ReclaimStep{
	{Do: vm.ReclaimBalloon, After: time.Minute}, {Do: vm.ReclaimPause, After: 3 * time.Minute}, {Do: vm.ReclaimSuspend, After: 5 * time.Minute},
}

// journal is how often each kind of the node's own events of that VM was written.
func (s *stage) journal(name vm.Name, kinds ...string) (out []string) {
	s.t.Helper()
	all, err := s.store.Events(0, 10000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range all {
		if e.Name == name && slices.Contains(kinds, e.Kind) {
			out = append(out, e.Kind+" "+e.Why)
		}
	}
	return out
}

func TestAnIdleVMClimbsItsLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, calm)
		s.create("web", climbing(whole...))
		s.after(2 * time.Minute)
		s.want("web", vm.Running, 1)
		if left := s.world.Left("web"); left != 64*vm.MiB {
			t.Fatalf("after two idle minutes its balloon leaves %s", left)
		}
		s.after(2 * time.Minute)
		s.want("web", vm.Paused, 1)
		if st := s.state("web"); !st.Reclaimed || st.Intent != vm.WantRunning || !strings.Contains(st.Reason, "by the node itself: idle for 3m") {
			t.Fatalf("reclaimed %v, intent %s: %s", st.Reclaimed, st.Intent, st.Reason)
		}
		s.kill() // a new daemon knows that no person paused it
		s.after(6 * time.Minute)
		s.want("web", vm.Suspended, 1)
		s.kill()
		s.after(24 * time.Hour)
		s.want("web", vm.Suspended, 1)
		if err := s.ask("web", vm.ResumeAsked); err != nil {
			t.Fatal(err)
		}
		s.after(30 * time.Second)
		s.want("web", vm.Running, 2)
		got := s.journal("web", "Reclaimed", "GivenBack", "ReclaimFailed")
		if len(got) != 3 || !strings.HasPrefix(got[0], "Reclaimed balloon: idle for 1m") ||
			!strings.HasPrefix(got[1], "Reclaimed pause: ") || !strings.HasPrefix(got[2], "Reclaimed suspend: ") {
			t.Errorf("the journal says\n%s", strings.Join(got, "\n"))
		}
		s.end()
	})
}

func TestNothingIsTakenOfTheBusyAndTheUnwilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, calm)
		s.create("busy", climbing(whole...))
		s.create("chatty", climbing(whole...))
		s.create("writer", climbing(whole...))
		s.create("never", nil)
		s.create("asked", climbing(whole...))
		s.after(5 * time.Second)
		s.world.Load("busy", fake.Load{CPU: 0.5})
		s.world.Load("chatty", fake.Load{Packets: 50})
		s.world.Load("writer", fake.Load{IO: 1 << 20})
		if err := s.ask("asked", vm.PauseAsked); err != nil {
			t.Fatal(err)
		}
		s.world.Spend(vm.NodeUsage{Memory: 1 << 50}) // all want of memory of the world changes nothing
		s.after(2 * time.Hour)
		for _, name := range []vm.Name{"busy", "chatty", "writer", "never"} {
			s.want(name, vm.Running, 1)
			if left := s.world.Left(name); left != 0 {
				t.Errorf("%s was left %s", name, left)
			}
		}
		s.want("asked", vm.Paused, 1)
		s.end()
	})
}

func TestMemoryIsGivenAgainToWhoNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, calm)
		s.create("web", climbing(whole[0]))
		s.after(2 * time.Minute)
		if left := s.world.Left("web"); left != 64*vm.MiB {
			t.Fatalf("its balloon leaves %s", left)
		}
		s.kill() // the new daemon learns it from the VMM
		s.world.Load("web", fake.Load{CPU: 0.9})
		s.after(time.Minute)
		if left := s.world.Left("web"); left != 128*vm.MiB {
			t.Fatalf("it works, and its balloon leaves %s", left)
		}
		if got := s.journal("web", "GivenBack"); len(got) != 1 || got[0] != "GivenBack it is no longer idle" {
			t.Errorf("the journal says %q", got)
		}
		s.world.Load("web", fake.Load{})
		s.after(2 * time.Minute)
		if left := s.world.Left("web"); left != 64*vm.MiB {
			t.Fatalf("idle again, its balloon leaves %s", left)
		}
		s.end()
	})
}

// Under want of memory the VM that has idled the longest takes its step at once,
// and the next one waits until the effect shows.
func TestTheIdlestGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, calm)
		long := vm.ReclaimStep{Do: vm.ReclaimSuspend, After: 24 * time.Hour}
		for _, name := range []vm.Name{"old", "mid", "new"} {
			s.create(name, climbing(long))
			s.after(5 * time.Minute)
		}
		s.world.Spend(vm.NodeUsage{Memory: 1 << 50})
		s.after(11 * time.Second)
		s.want("old", vm.Suspended, 1)
		s.want("mid", vm.Running, 1)
		s.after(15 * time.Second)
		s.want("mid", vm.Running, 1)
		s.after(20 * time.Second)
		s.want("mid", vm.Suspended, 1)
		s.want("new", vm.Running, 1)
		s.world.Spend(vm.NodeUsage{})
		s.after(10 * time.Minute)
		s.want("new", vm.Running, 1)
		s.end()
	})
}

// What a person does to a VM that was suspended for being idle counts from then on.
func TestAResumedVMIsLeftAloneForItsWholeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, calm)
		s.create("web", climbing(whole[1]))
		s.after(4 * time.Minute)
		s.want("web", vm.Paused, 1)
		if err := s.ask("web", vm.ResumeAsked); err != nil {
			t.Fatal(err)
		}
		s.after(2*time.Minute + 30*time.Second)
		s.want("web", vm.Running, 1)
		s.after(time.Minute)
		s.want("web", vm.Paused, 1)
		if err := s.ask("web", vm.PauseAsked); err != nil { // now it is a person's
			t.Fatal(err)
		}
		if s.state("web").Reclaimed {
			t.Error("a person paused it, and the record says that the node did")
		}
		s.end()
	})
}

func TestAlertsAreToldAndComeBackAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, calm)
		full := vm.NodeUsage{DiskUsed: 95 * vm.GiB, DiskFree: 5 * vm.GiB}
		s.world.Spend(vm.NodeUsage{DiskUsed: 50 * vm.GiB, DiskFree: 50 * vm.GiB})
		s.after(time.Minute)
		s.alerts()
		s.world.Spend(full)
		s.after(time.Minute)
		s.alerts(vm.AlertDisk)
		s.kill()
		s.after(time.Millisecond)
		s.alerts(vm.AlertDisk)
		s.after(11 * time.Second)
		s.alerts(vm.AlertDisk)
		s.kill()
		s.alerts(vm.AlertDisk)
		s.world.Spend(vm.NodeUsage{DiskUsed: 50 * vm.GiB, DiskFree: 50 * vm.GiB})
		s.after(time.Minute)
		s.alerts()
		got := s.journal("", "AlertRaised", "AlertCleared")
		want := []string{"AlertRaised disk: 95GiB", "AlertCleared disk is over: 50GiB"} // by the daemon after the next
		if !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("the journal says\n%s", strings.Join(got, "\n"))
		}
		s.end()
	})
}

func TestAVMWithoutSpaceHasAnAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second, Writes: true} })
		s.create("web", nil)
		s.after(5 * time.Second)
		s.world.Fill(true)
		s.after(time.Minute)
		if got := s.alerts(vm.AlertOutOfSpace); got[0].VM != "web" || got[0].Why == "" || got[0].Try == "" {
			t.Errorf("the alert is %+v", got[0])
		}
		s.world.Fill(false)
		s.after(time.Minute)
		s.alerts()
		s.end()
	})
}

func (s *stage) alerts(want ...vm.AlertKind) []vm.Alert {
	s.t.Helper()
	got := s.node.Status().Alerts
	kinds := make([]vm.AlertKind, len(got))
	for i, a := range got {
		kinds[i] = a.Kind
	}
	if !slices.Equal(kinds, want) {
		s.t.Fatalf("these alerts hold: %+v, want %v", got, want)
	}
	return got
}
