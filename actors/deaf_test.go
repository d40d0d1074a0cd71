package actors_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

const socketGone = "its control socket is gone"

// deafened runs a VM whose control socket somebody deletes, and the next daemon.
func deafened(t *testing.T, agent bool, change func(*vm.Spec)) *stage {
	t.Helper()
	s := newStage(t, boots(time.Second))
	s.create("web", change)
	s.after(5 * time.Second)
	s.want("web", vm.Running, 1)
	s.world.LoseSocket(s.id("web"), agent)
	s.after(10 * time.Second)
	if st := s.state("web"); st.Health == vm.Degraded || st.Deaf != "" {
		t.Errorf("who is connected goes on, and it is %s: %s", st.Health, st.HealthWhy)
	}
	s.kill()
	s.after(10 * time.Second)
	return s
}

// A VMM whose control socket was deleted keeps its guest: whatever looks at it
// without a session goes on, and what it can't be told is refused with a reason.
func TestAVMMWithoutItsSocketKeepsItsGuest(t *testing.T) {
	every := []vm.Check{
		{Type: vm.CheckVMM, Interval: time.Second, Timeout: time.Second, Failures: 2, Successes: 1},
		{Type: vm.CheckProcess, Interval: time.Second, Timeout: time.Second, Failures: 2, Successes: 1},
		{Type: vm.CheckAgent, Interval: time.Second, Timeout: time.Second, Failures: 2, Successes: 1},
	}
	for story, checks := range map[string][]vm.Check{"checked": every, "unchecked": nil} {
		synctest.Test(t, func(t *testing.T) {
			s := deafened(t, false, func(spec *vm.Spec) { spec.Health = checks })
			defer func() { s.end() }()
			s.want("web", vm.Running, 1)
			st := s.state("web")
			if st.Health != vm.Degraded || !strings.HasPrefix(st.HealthWhy, socketGone) || !strings.HasPrefix(st.Deaf, socketGone) || st.Crashes != 0 {
				t.Fatalf("%s: it is %s: %s (%s), %d crashes", story, st.Health, st.HealthWhy, st.Deaf, st.Crashes)
			}
			for _, e := range []vm.Event{vm.PauseAsked, vm.SuspendAsked} {
				if err := s.ask("web", e); err == nil || !strings.Contains(err.Error(), socketGone) || !strings.Contains(err.Error(), "blixard vm restart web") {
					t.Errorf("%s: %s: %v", story, e, err)
				}
			}
			if _, _, err := s.node.Dump(context.Background(), "web", vm.DumpKdump, messages.Caller{}); err == nil || !strings.Contains(err.Error(), socketGone) {
				t.Errorf("%s: a dump: %v", story, err)
			}
			s.after(5 * time.Minute)
			writes := s.state("web").Revision
			s.after(time.Hour)
			s.want("web", vm.Running, 1)
			if now := s.state("web"); now.Revision != writes || now.Crashes != 0 {
				t.Errorf("%s: in an hour %d turns were written, %d crashes", story, now.Revision-writes, now.Crashes)
			}
			s.kill() // what was known of it is known again
			s.after(time.Minute)
			if now := s.state("web"); now.Incarnation != 1 || now.Health != vm.Degraded || now.Deaf != st.Deaf {
				t.Errorf("%s: the daemon after that has incarnation %d, %s: %s", story, now.Incarnation, now.Health, now.HealthWhy)
			}
			if err := s.ask("web", vm.RestartAsked); err != nil {
				t.Fatal(err)
			}
			s.after(2 * time.Minute)
			s.want("web", vm.Running, 2)
			if now := s.state("web"); now.Deaf != "" || now.Health == vm.Degraded || now.Crashes != 0 {
				t.Errorf("%s: after the restart it is %s: %s, %d crashes", story, now.Health, now.HealthWhy, now.Crashes)
			}
		})
	}
}

// A VMM that nobody can speak to is asked down by its guest's agent; where there
// is none either, nothing is waited for.
func TestADeafVMMIsAskedDown(t *testing.T) {
	for _, one := range []struct {
		story  string
		agent  bool // its socket is gone as well
		method string
		within time.Duration
		says   string
	}{
		{"by its agent", false, "auto", 5 * time.Second, "SIGTERM"},
		{"without an agent", true, "auto", time.Second, "SIGTERM"},
		{"by the power button alone", false, "acpi", time.Second, "SIGTERM"},
		{"by force", false, "kill", time.Second, "stop method is kill"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := deafened(t, one.agent, func(spec *vm.Spec) { spec.Stop.Method, spec.Health = one.method, nil })
			defer func() { s.end() }()
			if err := s.ask("web", vm.StopAsked); err != nil {
				t.Fatal(err)
			}
			s.after(one.within)
			s.want("web", vm.Stopped, 1)
			st := s.state("web")
			if st.LastExit == nil || !strings.Contains(st.LastExit.Failure.Evidence, one.says) || st.Deaf != "" {
				t.Errorf("%s: its end: %+v, deaf %q", one.story, st.LastExit, st.Deaf)
			}
		})
	}
}

// What ends a deaf VMM is a death like any other, and says that nobody could listen.
func TestTheDeathOfADeafVMMSaysThatNobodyCouldListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := deafened(t, false, nil)
		defer func() { s.end() }()
		s.world.Smite(s.id("web"))
		s.after(time.Minute)
		s.want("web", vm.Running, 2)
		f := s.state("web").LastExit.Failure
		if f.Cause != vm.CauseVMMCrash || !strings.Contains(f.Evidence, "nobody could hear") {
			t.Errorf("its death: %s", f.Error())
		}
	})
}

// A guest that stands still because a person asked for it stays so, and is not
// taken for one that could run on.
func TestADeafVMMStaysPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", nil)
		s.after(5 * time.Second)
		if err := s.ask("web", vm.PauseAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Second)
		s.world.LoseSocket(s.id("web"), true)
		s.kill()
		s.after(time.Minute)
		s.want("web", vm.Paused, 1)
		if err := s.ask("web", vm.ResumeAsked); err == nil || !strings.Contains(err.Error(), socketGone) {
			t.Errorf("resumed: %v", err)
		}
		if err := s.ask("web", vm.RestartAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		s.want("web", vm.Running, 2)
	})
}

// A VMM that is stopped as well, or that had not answered, is judged as one that
// doesn't answer.
func TestADeafVMMThatIsNotWellIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", nil)
		s.after(5 * time.Second)
		s.world.LoseSocket(s.id("web"), false)
		s.world.Glances("web", vm.Glance{State: vm.ProcessStopped})
		s.kill()
		s.after(time.Minute)
		s.want("web", vm.Running, 2)
		if f := s.state("web").LastExit.Failure; !strings.HasPrefix(f.Evidence, "its VMM did not answer 5 times") {
			t.Errorf("its death: %s", f.Error())
		}
	})
}

// While nobody can say whether its process stands, such as while the bus is away,
// that its socket is gone proves nothing.
func TestAVMMThatNobodyCanFindIsNotBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", nil)
		s.after(5 * time.Second)
		s.world.LoseSocket(s.id("web"), false)
		s.kill()
		s.after(500 * time.Millisecond)
		s.world.Break(fake.Faults{Find: 1})
		s.after(time.Minute)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Deaf != "" || st.LastExit != nil {
			t.Errorf("nobody could find it: deaf %q, %+v", st.Deaf, st.LastExit)
		}
		s.world.Break(fake.Faults{})
		s.after(10 * time.Second)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Deaf == "" {
			t.Error("found, and not known to be deaf")
		}
	})
}
