package actors_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// faultyConsole fails every run actor that attaches, by a bug of ours.
type faultyConsole struct{ host.Console }

func (faultyConsole) Follow(host.Paths, int64, func([]byte)) (func(), error) { panic("a planted bug") }

// countedFinds counts the looks for a VMM.
type countedFinds struct {
	host.Launcher
	n *atomic.Int64
}

func (l countedFinds) Find(ctx context.Context, ref vm.Ref, hint *vm.Process) (vm.Process, error) {
	l.n.Add(1)
	return l.Launcher.Find(ctx, ref, hint)
}

func TestAWatchThatComesBackLateFindsAStoppedVMAtRest(t *testing.T) { // P7
	synctest.Test(t, func(t *testing.T) {
		var finds atomic.Int64
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.end()
		s.wrap = func(p host.Ports) host.Ports {
			p.Console, p.Launcher = faultyConsole{p.Console}, countedFinds{p.Launcher, &finds}
			return p
		}
		s.boot()
		s.create("web", nil)
		s.after(12 * time.Second) // the watch comes back ever later: after 10, then after 20 seconds
		s.want("web", vm.Starting, 1)
		if finds.Load() == 0 {
			t.Fatal("no run actor came back: the planted bug was not met")
		}
		if err := s.ask("web", vm.KillAsked); err != nil {
			t.Fatal(err)
		}
		s.after(5 * time.Second)
		s.want("web", vm.Stopped, 1)
		before := finds.Load()
		s.after(2 * time.Minute)
		if finds.Load() != before {
			t.Fatalf("a stopped VM was watched again %d times", finds.Load()-before)
		}
	})
}

// faultyWatch fails each run actor that has launched, by a bug of ours, the first time.
type faultyWatch struct {
	host.Launcher
	met *sync.Map
}

func (l faultyWatch) Watch(p vm.Process, ended func(vm.Exit)) func() {
	if _, again := l.met.LoadOrStore(p.PID, true); !again {
		panic("a planted bug")
	}
	return l.Launcher.Watch(p, ended)
}

// A bug right behind a launch may be heard of before the launch is.
func TestABugThatOvertakesALaunchLeavesNobodyUnwatched(t *testing.T) { // P6
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.end()
		s.wrap = func(p host.Ports) host.Ports {
			p.Launcher = faultyWatch{p.Launcher, new(sync.Map)}
			return p
		}
		s.boot()
		for i := range 40 {
			s.create(vm.Name(fmt.Sprintf("vm-%d", i)), nil)
		}
		s.after(20 * time.Second)
		for i := range 40 {
			s.want(vm.Name(fmt.Sprintf("vm-%d", i)), vm.Running, 1)
		}
	})
}
