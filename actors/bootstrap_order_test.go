package actors_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

func TestADependencyIsAwaitedUntilItIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, slowest(map[vm.Name]time.Duration{"db": 40 * time.Second}))
		defer func() { s.end() }()
		s.create("app", func(sp *vm.Spec) {
			sp.Autostart.Priority = 100 // handed down to db
			dependsOn("db", vm.IsHealthy)(sp)
		})
		s.raise("db", "other")
		seen := s.arrivals()
		s.powerCut()
		s.after(20 * time.Second)
		s.want("app", vm.Backoff, 1)
		s.after(time.Minute)
		seen.before(t, "db", "app")
		for _, n := range []vm.Name{"db", "app", "other"} {
			s.want(n, vm.Running, 2)
		}
		if told := s.told("DependencyNotAwaited"); len(told) > 0 {
			t.Errorf("it was awaited: %+v", told)
		}
	})
}

func TestADependencyThatTakesTooLongIsNotAwaitedAnyLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, slowest(map[vm.Name]time.Duration{"db": time.Hour}))
		defer func() { s.end() }()
		s.create("web", dependsOn("db", vm.IsRunning))
		s.raise("db")
		s.powerCut()
		s.after(50 * time.Second)
		s.want("web", vm.Backoff, 1)
		s.after(15 * time.Second)
		s.want("web", vm.Running, 2)
		if told := s.told("DependencyNotAwaited"); len(told) != 1 || told[0].Name != "web" {
			t.Errorf("it was said: %+v", told)
		}
	})
}

func TestWhoWaitsForItsTurnHasNoTimeoutCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One at a time: db's turn comes two minutes after the boot, web waits one minute for it.
		by := map[vm.Name]time.Duration{"db": 30 * time.Second}
		for _, n := range numbered(12) {
			by[n] = 10 * time.Second
		}
		s := newStage(t, slowest(by))
		defer func() { s.end() }()
		s.conduct = actors.Conduct{Parallel: 1}
		urgent := func(sp *vm.Spec) { sp.Autostart.Priority = 10 }
		for _, n := range numbered(12) {
			s.create(n, urgent)
		}
		s.create("web", dependsOn("db", vm.IsRunning))
		s.raise("db")
		s.powerCut()
		s.after(10 * time.Minute)
		s.want("web", vm.Running, 2)
		if told := s.told("DependencyNotAwaited"); len(told) > 0 {
			t.Errorf("its dependency was waiting for its own turn: %+v", told)
		}
	})
}

func TestADependencyThatDoesNotComeIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("a", dependsOn("nobody", vm.IsRunning))
		s.create("b", dependsOn("db", vm.IsHealthy))
		s.raise("db")
		if err := s.ask("db", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		s.powerCut()
		s.after(5 * time.Second)
		s.want("a", vm.Running, 2)
		s.want("b", vm.Running, 2)
		s.want("db", vm.Stopped, 1) // P5
	})
}

func TestACycleOfDependenciesComesUpAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("a", dependsOn("b", vm.IsRunning))
		s.raise("b", "c")
		s.life.Crash()
		s.end()
		rec, _ := s.node.Get("b") // two applies at once may write what one alone is refused
		dependsOn("a", vm.IsRunning)(&rec.Spec)
		if _, err := s.store.Commit(persistence.Turn{Record: rec, Whole: true}); err != nil {
			t.Fatal(err)
		}
		s.boot()
		s.powerCut()
		s.after(10 * time.Second)
		s.want("c", vm.Running, 2) // whom the cycle doesn't hold
		s.after(2 * time.Minute)
		s.want("a", vm.Running, 2)
		s.want("b", vm.Running, 2)
	})
}
