package actors_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

var agentCheck = vm.Check{Type: vm.CheckAgent}

// hangs is a guest that answers no more from then on, until it is restarted.
func hangs(after time.Duration) func(vm.Ref) fake.Guest {
	return func(r vm.Ref) fake.Guest {
		if r.Incarnation > 1 {
			return fake.Guest{Boot: time.Second}
		}
		return fake.Guest{Boot: time.Second, Hang: after}
	}
}

func TestADaemonThatWasStoppedForAMinuteRestartsNoVM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck, vm.Check{Type: vm.CheckVMM}, vm.Check{Type: vm.CheckProcess}))
		for range 20 {
			s.after(7700 * time.Millisecond)
			s.frozen.close()
			s.after(time.Minute)
			s.frozen.open()
			s.after(time.Millisecond)
			s.unharmed("web")
		}
		s.after(2 * time.Minute)
		if st := s.state("web"); st.Health != vm.Healthy {
			t.Errorf("it is %s: %s", st.Health, st.HealthWhy)
		}
	})
}

func TestAClockThatJumpsRestartsNoVM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck, vm.Check{Type: vm.CheckVMM}))
		for _, hours := range []int64{5, -5, 0, 1000, -1000, 0} {
			s.after(25 * time.Second)
			s.jumped.Store(hours * int64(time.Hour))
			s.after(time.Minute)
			s.unharmed("web")
		}
	})
}

// A guest that the host keeps waiting isn't killed for it; once the host has
// time for it again, a guest that hangs is noticed.
func TestAHostThatKeepsAVMWaitingExcusesItUntilThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, hangs(30*time.Second))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck))
		s.after(20 * time.Second)
		s.waits.Store(40)
		s.after(10 * time.Minute)
		s.unharmed("web")
		if st := s.state("web"); !strings.Contains(st.HealthWhy, "not judged: the host kept its VMM from a processor") {
			t.Errorf("nobody says why it isn't judged: %q", st.HealthWhy)
		}
		s.waits.Store(0)
		s.after(45 * time.Second)
		if st := s.state("web"); st.Crashes != 1 || st.LastExit.Failure.Cause != vm.CauseHealthFailed {
			t.Fatalf("a guest that hangs is still not noticed: %s, %s", st.Phase, st.HealthWhy)
		}
	})
}

func TestABusyNodeThatLetsAVMRunExcusesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, hangs(30*time.Second))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck))
		s.world.Strain(host.Pressure{CPU: 99, IO: 30})
		s.waits.Store(20)
		s.after(30*time.Second + 3*10*time.Second + 2*time.Second)
		if st := s.state("web"); st.Crashes != 1 {
			t.Fatalf("it is not noticed: %s, %s", st.Phase, st.HealthWhy)
		}
	})
}

// One guest that keeps the node's disk busy hides no other's hang; one that
// waits for that disk itself is not blamed.
func TestABusyDiskExcusesOnlyWhoWaitsForIt(t *testing.T) {
	for _, waits := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newProbed(t, hangs(30*time.Second))
			defer func() { s.end() }()
			s.create("web", checked(agentCheck))
			s.world.Strain(host.Pressure{IO: 90, Memory: 90})
			s.after(20 * time.Second)
			if waits {
				s.world.Glances("web", vm.Glance{State: vm.ProcessSleeping, Threads: 5, Blocked: 1})
			}
			s.after(10*time.Second + 3*10*time.Second + 2*time.Second)
			if waits {
				s.unharmed("web")
			} else if st := s.state("web"); st.Crashes != 1 {
				t.Errorf("it hangs, and is not noticed: %s, %s", st.Phase, st.HealthWhy)
			}
		})
	}
}

func TestABugInAProbeEndsThatProbeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, hangs(10*time.Minute))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck, vm.Check{Type: vm.CheckVMM}))
		for range 10 {
			s.after(30 * time.Second)
			s.buggy.Store(true)
		}
		s.after(time.Minute)
		s.unharmed("web")
		before := s.pings.Load()
		s.after(time.Minute)
		if n := s.pings.Load() - before; n < 6 {
			t.Errorf("%d pings in a minute after the bugs", n)
		}
		s.after(8 * time.Minute)
		if st := s.state("web"); st.Crashes != 1 {
			t.Errorf("nobody notices that it hangs: %s %s", st.Phase, st.HealthWhy)
		}
	})
}

// What was counted before the daemon's end is counted on, and the first round
// after the adoption comes at once (P10).
func TestARestartedDaemonGoesOnCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, hangs(30*time.Second))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck, vm.Check{Type: vm.CheckProcess, Role: vm.RoleReadiness}))
		s.after(2 * time.Second)
		for s.state("web").Probes[0].Streak > -2 {
			s.after(time.Second)
			s.unharmed("web")
		}
		before := s.state("web")
		s.life.Crash()
		s.end()
		s.boot()
		s.after(time.Millisecond)
		after := s.state("web")
		if after.Health != before.Health || after.HealthWhy != before.HealthWhy || after.Probes[0].Streak != -2 || !after.Probes[0].Since.Equal(before.Probes[0].Since) {
			t.Errorf("it was %s (%s, %+v), and is %s (%s, %+v)", before.Health, before.HealthWhy, before.Probes, after.Health, after.HealthWhy, after.Probes)
		}
		s.after(1100 * time.Millisecond)
		if st := s.state("web"); st.Crashes != 1 || !strings.Contains(st.LastExit.Failure.Evidence, "3 of 3") {
			t.Errorf("the third failure was not counted: %s, %s", st.Phase, st.HealthWhy)
		}
	})
}

func TestOtherChecksTakeEffectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.world.Serve("10.0.0.2:80", fake.Service{Of: "web", Dead: true})
		s.create("web", checked(agentCheck))
		s.after(25 * time.Second)
		web := vm.Check{Type: vm.CheckTCP, Name: "serves", Role: vm.RoleReadiness, Address: "10.0.0.2:80"}
		s.newSpec("web", checked(agentCheck, web))
		s.after(31 * time.Second)
		st := s.state("web")
		if st.Pending || st.Health != vm.Degraded || !strings.HasPrefix(st.HealthWhy, "serves: 3 of 3") || len(st.Probes) != 2 {
			t.Errorf("pending %v, %s: %s, %+v", st.Pending, st.Health, st.HealthWhy, st.Probes)
		}
		if since := st.Probes[0].Since; time.Since(since) < 50*time.Second {
			t.Errorf("the check that stayed began anew %s ago", time.Since(since))
		}
		s.world.Serve("10.0.0.2:80", fake.Service{Of: "web"})
		s.after(10 * time.Second)
		if st := s.state("web"); st.Health != vm.Healthy {
			t.Errorf("it serves, and is %s: %s", st.Health, st.HealthWhy)
		}
		s.newSpec("web", func(sp *vm.Spec) { sp.Health = nil })
		s.after(time.Second)
		if st := s.state("web"); st.Health != vm.HealthUnknown || len(st.Probes) != 0 {
			t.Errorf("without checks it is %s: %s", st.Health, st.HealthWhy)
		}
		s.unharmed("web")
	})
}

func TestTheStateOfTheVMMIsSeen(t *testing.T) {
	for _, tt := range []struct {
		state string
		after time.Duration // 0: never
		why   string
	}{
		{vm.ProcessStopped, 30 * time.Second, "its VMM is stopped (SIGSTOP)"},
		{vm.ProcessZombie, 10 * time.Second, "its VMM is a zombie"},
		{vm.ProcessUninterruptible, 40 * time.Second, "stuck in the kernel"},
		{vm.ProcessRunning, 0, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newProbed(t, boots(time.Second))
			defer func() { s.end() }()
			s.create("web", checked(vm.Check{Type: vm.CheckProcess}))
			s.after(15 * time.Second)
			s.world.Strain(host.Pressure{IO: 99})
			s.world.Glances("web", vm.Glance{State: tt.state})
			s.after(tt.after)
			st := s.state("web")
			if tt.after == 0 {
				s.after(time.Minute)
				s.unharmed("web")
			} else if st.Crashes != 1 || !strings.Contains(st.LastExit.Failure.Evidence, tt.why) {
				t.Errorf("%s: %s, %s", tt.state, st.Phase, st.HealthWhy)
			}
		})
	}
}

// Who doesn't answer in time is said to, and why where it was seen.
func TestAnAgentThatDoesntAnswer(t *testing.T) {
	for _, tt := range []struct {
		state string
		cpu   float64
		why   string
	}{
		{vm.ProcessSleeping, 0, "its processors stand still"},
		{vm.ProcessSleeping, 0.02, "its processors are nearly idle: 2 %"},
		{vm.ProcessSleeping, 0.98, "its processors are busy: 98 %"},
		{vm.ProcessStopped, 0, "its VMM is stopped (SIGSTOP)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, boots(time.Second))
			defer s.end()
			s.create("web", checked(vm.Check{Type: vm.CheckAgent, Timeout: time.Second}))
			s.after(15 * time.Second)
			s.world.Load("web", fake.Load{CPU: tt.cpu})
			s.world.Glances("web", vm.Glance{State: tt.state})
			want := "guest-agent: 3 of 3 failures in a row: no answer within 1s, " + tt.why
			if st := s.hang("web", 1); st.LastExit.Failure.Evidence != want {
				t.Errorf("got %q, want %q", st.LastExit.Failure.Evidence, want)
			}
		})
	}
}

// Each kind of check is asked in its own way; a readiness check never ends a guest.
func TestChecksInsideTheGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(20*time.Second))
		defer func() { s.end() }()
		var workers atomic.Int64
		workers.Store(3)
		s.answer = func(argv []string) (host.ExecResult, error) {
			switch strings.Join(argv, " ") {
			case "pgrep -c -x worker":
				n := workers.Load()
				return host.ExecResult{Stdout: fmt.Appendln(nil, n), Code: map[int64]int{0: 1}[n]}, nil
			case "fsck -n":
				return host.ExecResult{Code: 4, Stderr: []byte("clean\n")}, nil
			}
			return host.ExecResult{}, host.Fail(host.Broken, "exec", nil)
		}
		s.world.Serve("10.0.0.2:80", fake.Service{Of: "web", Body: "ok"})
		s.create("web", checked(
			vm.Check{Type: vm.CheckAgent, Role: vm.RoleStartup},
			vm.Check{Type: vm.CheckExec, Command: []string{"fsck", "-n"}, Exit: 4},
			vm.Check{Type: vm.CheckHTTP, URL: "http://10.0.0.2/", Status: "200-399", Body: "ok"},
			vm.Check{Type: vm.CheckGuestProcess, Process: "worker", AtLeast: 2, Role: vm.RoleReadiness},
		))
		s.after(15 * time.Second)
		if st := s.state("web"); st.Phase != vm.Starting || s.pings.Load() != 1 {
			t.Errorf("%s after %d pings: what waits in the socket needs no polling", st.Phase, s.pings.Load())
		}
		s.after(8 * time.Second)
		if st := s.state("web"); st.Health != vm.Healthy || len(st.Probes) != 4 {
			t.Errorf("it is %s: %s, %+v", st.Health, st.HealthWhy, st.Probes)
		}
		pings := s.pings.Load()
		workers.Store(0)
		s.world.Strain(host.Pressure{Memory: 99}) // which makes no count up
		s.after(5 * time.Minute)
		s.world.Strain(host.Pressure{})
		if st := s.state("web"); st.Health != vm.Degraded || !strings.Contains(st.HealthWhy, "worker: 0 run, at least 2 wanted") {
			t.Errorf("it is %s: %s", st.Health, st.HealthWhy)
		}
		if n := s.pings.Load(); n != pings {
			t.Errorf("a startup check that has passed was asked %d times more", n-pings)
		}
		s.unharmed("web")
		s.world.Serve("10.0.0.2:80", fake.Service{Of: "web", Status: 500})
		s.after(35 * time.Second)
		if st := s.state("web"); st.Crashes != 1 || !strings.Contains(st.LastExit.Failure.Evidence, "http: 3 of 3") {
			t.Errorf("it is %s: %s", st.Health, st.HealthWhy)
		}
	})
}

func TestAConsoleThatHasToBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", checked(vm.Check{Type: vm.CheckConsole, Healthy: "beat [0-9]+", Unhealthy: "Oops", Every: 20 * time.Second}))
		s.after(time.Second)
		s.console.says("beat 1\n")
		for range 10 {
			s.after(19 * time.Second)
			s.console.says("beat 22\n")
		}
		if st := s.state("web"); st.Health != vm.Healthy || st.Phase != vm.Running {
			t.Fatalf("it is %s: %s", st.Health, st.HealthWhy)
		}
		s.after(21 * time.Second)
		if st := s.state("web"); st.Health != vm.Degraded {
			t.Errorf("after a beat that didn't come it is %s: %s", st.Health, st.HealthWhy)
		}
		s.after(41 * time.Second)
		if st := s.state("web"); st.Crashes != 1 || !strings.Contains(st.LastExit.Failure.Evidence, "was not seen for 20s") {
			t.Errorf("after three it is %s: %s", st.Health, st.HealthWhy)
		}
	})
}

func TestAConsoleThatIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.console.reply = "status\nall well\n"
		s.create("web", checked(vm.Check{Type: vm.CheckConsole, Send: "status", Healthy: "all well"}))
		s.after(time.Minute)
		s.console.mu.Lock()
		if st := s.state("web"); st.Health != vm.Healthy || len(s.console.typed) < 6 || s.console.typed[0] != "status\n" {
			t.Errorf("it is %s: %s; typed was %q", st.Health, st.HealthWhy, s.console.typed)
		}
		s.console.taken = true
		s.console.mu.Unlock()
		s.after(5 * time.Minute)
		if st := s.state("web"); !strings.Contains(st.HealthWhy, "not judged: a person is at the console") {
			t.Errorf("with a person at it, it is %s: %s", st.Health, st.HealthWhy)
		}
		s.unharmed("web")
		s.console.mu.Lock()
		s.console.taken, s.console.reply = false, ""
		s.console.mu.Unlock()
		s.after(45 * time.Second)
		if st := s.state("web"); st.Crashes != 1 {
			t.Errorf("a console that says nothing more is %s: %s", st.Health, st.HealthWhy)
		}
	})
}
