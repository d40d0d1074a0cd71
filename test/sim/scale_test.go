package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// mostTurns are the turns from a VM's creation until it is healthy: created,
// asked to start, prepared, launched, two judgements and the guest's answer,
// with one to spare. A tenth VM's share of work is the same as the first's.
const mostTurns = 8

// TestTenThousandVMsComeUp is bounded in work, not in time: test/bench has the
// ratio of times beside that of 1,000.
func TestTenThousandVMsComeUp(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand VMs take seconds")
	}
	if underRace {
		t.Skip("ten thousand VMs have more goroutines than the race detector can follow")
	}
	for _, count := range []int{1000, 10_000} {
		began := time.Now()
		var turns int
		synctest.Test(t, func(t *testing.T) { turns = raise(t, count) })
		took := time.Since(began)
		t.Logf("%6d VMs: created to running in %s, %s for each, %d turns", count, took.Round(time.Millisecond),
			(took / time.Duration(count)).Round(time.Microsecond), turns)
		if turns > mostTurns*count {
			t.Errorf("%d VMs took %d turns, at most %d for each were expected", count, turns, mostTurns)
		}
	}
}

// raise creates and starts VMs and returns how many turns it took until all run.
func raise(t *testing.T, count int) int {
	store := persistence.NewMemory()
	world := fake.New(1, fake.Watch{}, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} }, func(string, ...any) {})
	node, err := actors.Start(actors.Config{
		Ports: world.Daemon().Ports(), Store: store, Log: zap.NewNop(), Observer: unwatched{},
		Fatal: func(why string) { t.Error(why) }, Status: func() gateway.Status { return gateway.Status{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		spec := vm.Spec{Name: vm.Name(fmt.Sprintf("vm-%d", i))}.Filled()
		if _, err := node.Create(context.Background(), messages.Create{Spec: spec, Start: true}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(5 * time.Second)
	synctest.Wait()
	turns := int(store.LastEvent())
	for _, r := range node.List() {
		if r.State.Phase != vm.Running {
			t.Errorf("%s is %s", r.Spec.Name, r.State.Phase)
			break
		}
	}
	if err := node.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	world.PowerCut()
	time.Sleep(time.Minute)
	return turns
}

type unwatched struct{}

func (unwatched) Turned(actors.Turned) {}
