package actors_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// stuckStore is a disk that hangs: the fleet waits for it with a VM's creation in hand.
type stuckStore struct {
	*persistence.Memory
	stuck chan struct{} // nil: it writes
}

func (s *stuckStore) Commit(t persistence.Turn) (uint64, error) {
	if s.stuck != nil {
		<-s.stuck
	}
	return s.Memory.Commit(t)
}

func TestAnIdleNodeFeedsTheWatchdogAndAHangingFleetStarvesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 15 * time.Second
		var beats atomic.Int64
		store := &stuckStore{Memory: persistence.NewMemory()}
		world := fake.New(1, fake.Watch{Broken: func(p, why string) { t.Errorf("%s broken: %s", p, why) }}, nil, t.Logf)
		life := world.Daemon()
		node, err := actors.Start(actors.Config{
			Ports: life.Ports(), Store: store, Log: zaptest.NewLogger(t), Observer: deaf{},
			Fatal: func(why string) { t.Errorf("fatal: %s", why) },
			Alive: func() { beats.Add(1) }, AliveEvery: every,
		})
		if err != nil {
			t.Fatal(err)
		}
		beatsIn := func(d time.Duration) int64 {
			before := beats.Load()
			time.Sleep(d)
			synctest.Wait()
			return beats.Load() - before
		}
		synctest.Wait()
		if n := beats.Load(); n != 1 {
			t.Errorf("%d beats at the start, want the first at once", n)
		}
		if n := beatsIn(10 * every); n != 10 {
			t.Errorf("%d beats of an idle node in ten rounds", n)
		}

		store.stuck = make(chan struct{})
		go func() {
			_, _ = node.Create(t.Context(), messages.Create{Spec: vm.Spec{Name: "web"}.Filled()})
		}()
		synctest.Wait()
		if n := beatsIn(10 * every); n != 0 {
			t.Errorf("%d beats while the fleet hung", n)
		}
		close(store.stuck)
		if n := beatsIn(10 * every); n < 10 {
			t.Errorf("%d beats in ten rounds after the fleet went on", n)
		}

		if err := node.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := beatsIn(10 * every); n != 0 {
			t.Errorf("%d beats after the node's end", n)
		}
	})
}
