package actors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// deafWhile are guests of which some ignore being asked to power off.
func deafWhile(names ...vm.Name) func(vm.Ref) fake.Guest {
	return func(r vm.Ref) fake.Guest {
		g := fake.Guest{Boot: time.Second}
		for _, n := range names {
			g.Deaf = g.Deaf || r.Name == n
		}
		return g
	}
}

func TestAShutdownHurriesWhenItsTimeRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, deafWhile("web"))
		defer func() { s.end() }()
		s.create("web", func(sp *vm.Spec) {
			dependsOn("db", vm.IsRunning)(sp)
			sp.Stop.Timeout = 10 * time.Minute
		})
		s.raise("db")
		began := time.Now()
		err := s.shutdown(time.Minute)
		if r, ok := errors.AsType[*vm.Refusal](err); !ok || r.Code != vm.TimedOut {
			t.Errorf("a shutdown that one VM holds up ends by %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %s", took)
		}
		s.want("db", vm.Backoff, 1) // two thirds over, it was stopped though web was up
		s.want("web", vm.Stopping, 1)
		for _, n := range []vm.Name{"db", "web"} {
			if st := s.state(n); st.Intent != vm.WantRunning {
				t.Errorf("%s is wanted %s", n, st.Intent)
			}
		}
		s.powerCut()
		s.after(time.Minute)
		s.want("db", vm.Running, 2)
		s.want("web", vm.Running, 2)
	})
}

func TestAShutdownThatTheDaemonsEndBreaksOffSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, deafWhile("web"))
		s.create("web", func(sp *vm.Spec) { sp.Stop.Timeout = 10 * time.Minute })
		s.after(5 * time.Second)
		told := make(chan error, 1)
		go func() { told <- s.shutdown(5 * time.Minute) }()
		s.after(time.Minute)
		began := time.Now()
		s.end()
		if r, ok := errors.AsType[*vm.Refusal](<-told); !ok || r.Code != vm.Unavailable || time.Since(began) > time.Minute {
			t.Errorf("its caller is told %v after %s", r, time.Since(began))
		}
	})
}

func TestAShutdownThatIsCalledOffBringsAllBackByTheirDeadline(t *testing.T) { // P4
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.raise("a", "b")
		if err := s.shutdown(time.Minute); err != nil {
			t.Fatal(err)
		}
		s.after(29 * time.Minute)
		s.want("a", vm.Backoff, 1)
		s.after(3 * time.Minute)
		s.want("a", vm.Running, 2)
		s.want("b", vm.Running, 2)
	})
}

func TestAShutdownEndsTheBootstrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(20*time.Second))
		defer func() { s.end() }()
		names := numbered(8)
		s.raise(names...)
		s.powerCut()
		s.after(25 * time.Second)
		seen := s.arrivals()
		if err := s.shutdown(5 * time.Minute); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if came := seen.came(); len(came) > 0 {
			t.Errorf("%v came up during the shutdown", came)
		}
		for _, n := range names {
			if st := s.state(n); st.Phase != vm.Backoff || !st.Queued || st.Intent != vm.WantRunning {
				t.Errorf("%s is %s wanted %s: %s", n, st.Phase, st.Intent, st.Reason)
			}
		}
		s.powerCut()
		s.after(10 * time.Minute)
		for _, n := range names {
			if st := s.state(n); st.Phase != vm.Running {
				t.Errorf("%s is %s after the next boot: %s", n, st.Phase, st.Reason)
			}
		}
	})
}

func TestWhoCrashesDuringAShutdownIsNotRestartedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(r vm.Ref) fake.Guest {
			g := fake.Guest{Boot: time.Second, Deaf: r.Name == "web"}
			if r.Name == "db" {
				g.Crash = 65 * time.Second // while web is being stopped
			}
			return g
		})
		defer func() { s.end() }()
		at := func(sp *vm.Spec) {
			sp.Stop.Timeout = 30 * time.Second
			sp.Restart.Delays = []time.Duration{0}
		}
		s.create("web", func(sp *vm.Spec) { at(sp); dependsOn("db", vm.IsRunning)(sp) })
		s.create("db", at)
		s.after(time.Minute)
		if err := s.shutdown(5 * time.Minute); err != nil {
			t.Fatal(err)
		}
		s.after(10 * time.Minute)
		for _, n := range []vm.Name{"db", "web"} {
			if st := s.state(n); st.Phase != vm.Backoff || !st.Queued || len(s.world.Live(s.id(n))) > 0 {
				t.Errorf("%s is %s: %s", n, st.Phase, st.Reason)
			}
		}
		if st := s.state("db"); len(st.Ledger) == 0 {
			t.Error("db's crash is forgotten")
		}
	})
}

func TestAShutdownOfAVMThatNobodyWantsUpChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.raise("off", "on")
		if err := s.ask("off", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if err := s.ask("on", vm.StopAsked); err != nil { // still on its way down when the node goes
			t.Fatal(err)
		}
		if err := s.shutdown(time.Minute); err != nil {
			t.Fatal(err)
		}
		s.powerCut()
		s.after(time.Hour)
		s.want("off", vm.Stopped, 1) // P5
		s.want("on", vm.Stopped, 1)
	})
}

func TestAnAdoptionDuringAShutdownThatIsCalledOffLeavesNoMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.raise("web")
		s.world.Break(fake.Faults{Find: 1}) // the adoption takes until this is mended
		s.kill()
		s.want("web", vm.Adopting, 1)
		if err := s.shutdown(time.Second); err == nil {
			t.Fatal("a VM that can't be looked for is not down")
		}
		s.world.Break(fake.Faults{})
		s.after(time.Minute)
		s.want("web", vm.Running, 1)
		rec, _ := s.node.Get("web")
		s.world.Smite(rec.ID)
		s.after(time.Minute)
		s.want("web", vm.Running, 2) // and not after the half hour of one that waits for a boot
	})
}

func TestAReleaseThatTheBootMeetsKeepsWhatWasGivenUpHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(r vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second, Crash: 2 * time.Second} })
		defer func() { s.end() }()
		s.world.Break(fake.Faults{Release: 1})
		s.create("web", func(sp *vm.Spec) { sp.Restart.Policy = vm.RestartNever })
		s.after(5 * time.Second)
		if st := s.state("web"); st.Phase != vm.Reaping || st.After != vm.ThenHold {
			t.Fatalf("web is %s, then %s", st.Phase, st.After)
		}
		s.world.Break(fake.Faults{})
		s.powerCut()
		s.after(time.Hour)
		s.want("web", vm.Failed, 1)
	})
}

func TestAShutdownThatMeetsTheDaemonsEndIsRefused(t *testing.T) {
	for range 50 { // whichever comes first
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, boots(time.Second))
			s.raise("web")
			ended := make(chan error, 1)
			go func() { ended <- s.shutdown(time.Minute) }()
			s.end()
			<-ended // it stopped the VM, was refused, or nobody was left to answer
			if st := s.state("web"); st.Intent != vm.WantRunning {
				t.Errorf("web is wanted %s", st.Intent)
			}
		})
	}
}

func TestAVMThatIsCreatedAfterTheBootMeetsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		spec := vm.Spec{Name: "web"}.Filled()
		spec.Autostart.Policy = vm.AutostartAlways
		if _, err := s.node.Create(t.Context(), messages.Create{Spec: spec}); err != nil {
			t.Fatal(err)
		}
		s.after(2 * time.Hour)
		s.want("web", vm.Stopped, 0)
		s.powerCut()
		s.after(time.Minute)
		s.want("web", vm.Running, 1) // its policy, and nobody asked it down
	})
}

// What a service manager remembers tells the cause of a death that no daemon saw.
func TestADeathWhileNoDaemonLookedIsToldByItsVerdict(t *testing.T) {
	for remembers, cause := range map[float64]vm.Cause{0: vm.CauseUnknown, 1: vm.CauseVMMCrash} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, boots(time.Second))
			defer func() { s.end() }()
			s.world.Remember(remembers)
			s.raise("web")
			s.life.Crash()
			s.world.Smite(s.id("web"))
			s.end()
			s.boot()
			s.after(time.Minute)
			s.want("web", vm.Running, 2)
			if got := s.state("web").LastExit.Failure.Cause; got != cause {
				t.Errorf("with a memory of %v: %s, want %s", remembers, got, cause)
			}
		})
	}
}

// leisurelyFolders takes its time to release.
type leisurelyFolders struct{ host.Folders }

func (f leisurelyFolders) Release(ctx context.Context, ref vm.Ref) error {
	time.Sleep(2 * time.Second)
	return f.Folders.Release(ctx, ref)
}

// What is kept for a restart is held by nobody when a stop takes the restart's place.
func TestAStopInTheMidstOfARestartKeepsNothing(t *testing.T) { // P7
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.wrap = func(p host.Ports) host.Ports {
			p.Folders = leisurelyFolders{p.Folders}
			return p
		}
		s.kill()
		s.create("web", func(sp *vm.Spec) {
			sp.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}}
		})
		s.after(5 * time.Second)
		if err := s.ask("web", vm.RestartAsked); err != nil {
			t.Fatal(err)
		}
		for s.state("web").Phase == vm.Stopping {
			s.after(100 * time.Millisecond)
		}
		s.want("web", vm.Reaping, 1)
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(5 * time.Second) // the reconciler has not looked again
		s.want("web", vm.Stopped, 1)
		if s.world.Held("web") {
			t.Error("a stopped VM holds its tap")
		}
	})
}

func TestALostTapIsItsOwnCauseAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", func(sp *vm.Spec) { sp.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}} })
		s.after(5 * time.Second)
		if !s.world.Unplug(s.id("web")) {
			t.Fatal("web has no tap")
		}
		s.after(5 * time.Second)
		s.want("web", vm.Running, 2)
		st := s.state("web")
		if st.LastExit.Failure.Cause != vm.CauseLinkLost || len(st.Ledger) > 0 {
			t.Errorf("%s, charged %d times", st.LastExit.Failure, len(st.Ledger))
		}
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if s.world.Held("web") {
			t.Error("a stopped VM holds its tap") // P7
		}
	})
}
