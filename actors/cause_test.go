package actors_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// kernelLog says the same of every process.
type kernelLog struct {
	says  string
	asked *int
}

func (l kernelLog) Killed(_ context.Context, pid int, since time.Time) (string, error) {
	if *l.asked++; pid <= 0 || since.IsZero() {
		return "", host.Fail(host.Broken, "ask the log", context.Canceled)
	}
	return l.says, nil
}

// TestWhatTheVMMSaysOfItsGuestIsTheCause: each halts the guest, whose VMM stands
// until supervision has decided.
func TestWhatTheVMMSaysOfItsGuestIsTheCause(t *testing.T) {
	for _, tt := range []struct {
		state host.GuestState
		kind  host.NoticeKind
		cause vm.Cause
		why   string
	}{
		{host.GuestHung, host.NoticeWatchdog, vm.CauseHealthFailed, "the guest's watchdog fired: it hung"},
		{host.GuestBroken, host.NoticeBroken, vm.CauseVMMCrash, "the VMM can't run the guest on and halted it"},
		{host.GuestPanicked, host.NoticePanic, vm.CauseGuestPanic, "the guest panicked: befell it"},
		{host.GuestIOError, host.NoticeIOError, vm.CauseIOError, "a disk of the host failed and the guest was halted: befell it"},
	} {
		for _, late := range []bool{false, true} { // while no daemon listens
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, boots(time.Second))
				defer s.end()
				s.create("web", nil)
				id := s.id("web")
				s.after(5 * time.Second)
				s.want("web", vm.Running, 1)
				if late {
					s.life.Crash()
				}
				if !s.world.Befall(id, tt.state, tt.kind) {
					t.Fatal("no VMM lives")
				}
				if late {
					s.end()
					s.boot()
				}
				s.after(20 * time.Second)
				s.want("web", vm.Running, 2)
				f := s.state("web").LastExit.Failure
				why := tt.why
				if late && tt.kind != host.NoticeWatchdog && tt.kind != host.NoticeBroken {
					why = why[:len(why)-len("befell it")] + "found standing"
				}
				if f.Cause != tt.cause || f.Confidence != vm.Certain || f.Evidence != why {
					t.Errorf("%s, late %v: got %s (%s): %s", tt.kind, late, f.Cause, f.Confidence, f.Evidence)
				}
			})
		}
	}
}

// TestAGuestWhoseCrashKernelResetsHasPanicked: nobody disturbs it until then,
// unless it takes for ever.
func TestAGuestWhoseCrashKernelResetsHasPanicked(t *testing.T) {
	for _, ends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, boots(time.Second))
			defer s.end()
			s.create("web", nil)
			s.after(5 * time.Second)
			id := s.id("web")
			s.world.Befall(id, host.GuestRuns, host.NoticeCrashed)
			s.world.Hang(id) // of the agent that is asked, nothing is left
			s.after(4 * time.Minute)
			s.want("web", vm.Running, 1)
			if st := s.state("web"); st.Health != vm.Unhealthy || st.Crashes != 0 {
				t.Errorf("in its crash kernel: %s, %d crashes", st.Health, st.Crashes)
			}
			if ends {
				s.world.Befall(id, host.GuestRuns, host.NoticeReset)
			} else {
				s.after(time.Minute)
			}
			s.after(20 * time.Second)
			s.want("web", vm.Running, 2)
			if st := s.state("web"); st.Crashes != 1 || st.LastExit.Failure.Cause != vm.CauseGuestPanic || st.LastExit.Failure.Confidence != vm.Certain {
				t.Errorf("%d crashes, the last %+v", st.Crashes, st.LastExit)
			}
		})
	}
}

// TestTheKernelsLogExplainsAKill: it is asked where a VMM was killed and nobody knows by whom.
func TestTheKernelsLogExplainsAKill(t *testing.T) {
	const line = "Out of memory: Killed process 1 (vmm) total-vm:1kB"
	for _, tt := range []struct {
		says  string
		cause vm.Cause
		sure  vm.Confidence
	}{{line, vm.CauseOOMHost, vm.Likely}, {"", vm.CauseVMMCrash, vm.Guessed}} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			s := newStage(t, boots(time.Second))
			s.wrap = func(p host.Ports) host.Ports { p.Log = kernelLog{tt.says, &asked}; return p }
			s.kill()
			defer s.end()
			s.create("web", nil)
			id := s.id("web")
			s.after(5 * time.Second)
			if !s.world.Smite(id) {
				t.Fatal("no VMM lives")
			}
			s.after(20 * time.Second)
			s.want("web", vm.Running, 2)
			if f := s.state("web").LastExit.Failure; f.Cause != tt.cause || f.Confidence != tt.sure || asked != 1 {
				t.Errorf("asked %d times, got %s (%s): %s", asked, f.Cause, f.Confidence, f.Evidence)
			}
		})
	}
}

// TestTheKernelsLogIsNotAskedForNothing: a VMM that ended otherwise.
func TestTheKernelsLogIsNotAskedForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := newStage(t, func(ref vm.Ref) fake.Guest {
			if ref.Incarnation == 1 {
				return fake.Guest{Boot: time.Second, Crash: 3 * time.Second}
			}
			return fake.Guest{Boot: time.Second, OutOfMemory: 3 * time.Second}
		})
		s.wrap = func(p host.Ports) host.Ports { p.Log = kernelLog{"Out of memory", &asked}; return p }
		s.kill()
		defer s.end()
		s.create("web", nil)
		s.after(10 * time.Second)
		if st := s.state("web"); asked != 0 || st.Crashes < 2 {
			t.Errorf("asked %d times in %d deaths", asked, st.Crashes)
		}
	})
}
