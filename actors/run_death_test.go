package actors_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// Neither a dump nor a power-down is waited for where the VMM's process stands still.
func TestAStoppedVMMIsNotWaitedFor(t *testing.T) {
	for name, check := range map[string]vm.Check{"by its process": {Type: vm.CheckProcess}, "by its agent alone": agentCheck} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, boots(time.Second))
				defer s.end()
				s.create("web", func(sp *vm.Spec) {
					checked(check)(sp)
					sp.Remedies = []vm.Rung{{Do: vm.RemedyRestart}}
					sp.Dump = vm.Dump{On: []vm.Cause{vm.CauseHealthFailed}, Format: vm.DumpELF, Timeout: 20 * time.Minute}
				})
				s.after(15 * time.Second)
				s.want("web", vm.Running, 1)
				s.world.Dumps(10 * time.Minute)
				s.world.Glances("web", vm.Glance{State: vm.ProcessStopped})
				st := s.hang("web", 1)
				if c := st.LastExit; c.Failure.Cause != vm.CauseHealthFailed || c.Decision.Remedy != vm.RemedyKill || !strings.Contains(c.Decision.Why, "its VMM does not answer") {
					t.Errorf("it came to %+v", c)
				}
				s.after(time.Minute)
				s.want("web", vm.Running, 2)
				all := s.kept("web")
				if len(all) != 1 || all[0].Notes == nil || all[0].Notes.Dump == nil {
					t.Fatalf("bundles: %+v", all)
				}
				if d := all[0].Notes.Dump; d.Took != 0 || d.Why != "its VMM is stopped (SIGSTOP) and can't write it" {
					t.Errorf("of its dump it says %+v", d)
				}
			})
		})
	}
}

// That it is gone is found out before a start is spent on it.
func TestAStateThatIsGoneIsNotToBeRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", restoreThenHold)
		s.good("web", 1)
		s.world.Spoil(s.id("web"), true)
		c := s.hang("web", 1).LastExit
		if c.Decision.Remedy != vm.RemedyKill || !strings.Contains(c.Decision.Why, "gone from the disk") || !strings.Contains(c.Decision.Why, "not counted") {
			t.Errorf("it came to %+v", c)
		}
		s.good("web", 2) // by the very next start
		s.want("web", vm.Running, 2)
		if st := s.state("web"); st.Crashes != 1 || slices.Max(st.Rungs) != 0 {
			t.Errorf("crashes %d, remedies used %v", st.Crashes, st.Rungs)
		}
		if c := s.hang("web", 2).LastExit; c.Decision.Remedy != vm.RemedyRestore {
			t.Errorf("and then: %+v", c)
		}
	})
}

// Nobody is told of one for long that is gone while its guest is well.
func TestALostStateIsForgottenWhileItsGuestRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", restoreThenHold)
		s.good("web", 1)
		s.world.Spoil(s.id("web"), true)
		s.after(2 * time.Minute)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Good != nil || !strings.Contains(st.GoodWhy, "gone from the disk") || st.Crashes != 0 {
			t.Errorf("its known-good state is %+v (%s), %d crashes", st.Good, st.GoodWhy, st.Crashes)
		}
		if c := s.hang("web", 1).LastExit; c.Decision.Remedy != vm.RemedyKill || !strings.Contains(c.Decision.Why, "not counted") {
			t.Errorf("it came to %+v", c)
		}
		s.good("web", 2)
	})
}

// blindSalvage finds folders, and no known-good state in them.
type blindSalvage struct{ host.Salvage }

func (b blindSalvage) List(ctx context.Context) ([]vm.FoundFolder, error) {
	all, err := b.Salvage.List(ctx)
	for i := range all {
		all[i].Good = nil
	}
	return all, err
}

// A list of a folder that was cut short forgets nothing: the file itself is looked for.
func TestAStateThatIsThereIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", restoreThenHold)
		s.good("web", 1)
		s.wrap = func(p host.Ports) host.Ports { p.Salvage = blindSalvage{p.Salvage}; return p }
		s.kill()
		s.after(2 * time.Minute)
		s.want("web", vm.Running, 1)
		s.good("web", 1)
		if told := s.told("Discrepancy"); len(told) != 1 || !strings.Contains(told[0].Why, "known-good state of web/1") {
			t.Errorf("the scenario needs a look that misses it: %+v", told)
		}
		if told := s.told("Reconciled"); len(told) != 0 {
			t.Errorf("it is told as done: %+v", told)
		}
	})
}

// What was said before a reset is in the evidence of the death before it.
func TestTheEvidenceOfADeathBeginsBehindTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second, Panic: 10 * time.Second} })
		defer s.end()
		s.create("web", func(sp *vm.Spec) {
			checked(agentCheck)(sp)
			allRemedies(sp)
		})
		s.after(time.Minute)
		s.hang("web", 2)
		s.after(10 * time.Second)
		all := s.kept("web")
		if len(all) != 2 || all[0].Notes == nil || all[1].Notes == nil {
			t.Fatalf("bundles: %+v", all)
		}
		slices.SortFunc(all, func(a, b vm.Bundle) int { return int(a.Crash.Number) - int(b.Crash.Number) })
		if n := all[0].Notes; len(n.Notices) == 0 || len(n.Console) != 0 {
			t.Errorf("of its panic: %v, %q", n.Notices, n.Console)
		}
		if n := all[1].Notes; len(n.Notices) != 0 || !bytes.HasPrefix(n.Console, []byte("--- its machine was reset here ---\n")) || bytes.Contains(n.Console, []byte("Kernel panic")) {
			t.Errorf("of its hang after the reset: %v, %q", n.Notices, n.Console)
		}
	})
}
