package actors_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

func TestATreeEndsThatIsToldToWhileAnActorFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		var full atomic.Bool
		s.store.BeforeCommit = func(persistence.Turn) error {
			if !full.CompareAndSwap(true, false) {
				return nil
			}
			time.Sleep(time.Second)
			return errors.New("no space left on device")
		}
		s.create("web", nil)
		s.after(3 * time.Second)
		full.Store(true)
		rec, _ := s.node.Get("web")
		s.world.Smite(rec.ID)
		s.after(100 * time.Millisecond) // the death is being written, and will be refused
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.node.Stop(ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
	})
}

// slowFolders take so long for the first release that its repeat overtakes it.
type slowFolders struct {
	host.Folders
	calls *atomic.Int32
}

func (f slowFolders) Release(ctx context.Context, ref vm.Ref) error {
	if f.calls.Add(1) == 1 {
		select {
		case <-time.After(25 * time.Second):
		case <-ctx.Done():
			return host.Fail(host.Transient, "release", ctx.Err())
		}
	}
	return f.Folders.Release(ctx, ref)
}

// The fake world reports P7 when a release meets a live VMM.
func TestASlowReleaseNeverMeetsTheNextIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.end()
		calls := &atomic.Int32{}
		s.wrap = func(p host.Ports) host.Ports {
			p.Folders = slowFolders{p.Folders, calls}
			return p
		}
		s.boot()
		s.create("web", func(sp *vm.Spec) { sp.Restart.Delays = []time.Duration{0} })
		s.after(3 * time.Second)
		rec, _ := s.node.Get("web")
		s.world.Smite(rec.ID)
		s.after(time.Minute)
		s.want("web", vm.Running, 2)
		if !s.world.Held("web") {
			t.Fatal("the run folder of a running VM is gone")
		}
	})
}

// stubbornFolders go on preparing for a moment after they are told not to.
type stubbornFolders struct{ host.Folders }

func (f stubbornFolders) Prepare(_ context.Context, r vm.Record) error {
	time.Sleep(5 * time.Second)
	return f.Folders.Prepare(context.Background(), r) //nolint:contextcheck // that is what makes it stubborn
}

func TestAPrepareThatEndsLateMakesNothingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.end()
		s.wrap = func(p host.Ports) host.Ports {
			p.Folders = stubbornFolders{p.Folders}
			return p
		}
		s.boot()
		s.create("web", nil)
		s.after(time.Second)
		s.want("web", vm.Preparing, 1)
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Hour)
		s.want("web", vm.Stopped, 1)
		if s.world.Held("web") {
			t.Fatal("a stopped VM holds its run folder")
		}
	})
}

func TestABrokenRecordKeepsItsNameAndItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", nil)
		s.after(3 * time.Second)
		web, _ := s.node.Get("web")
		s.life.Crash()
		s.end()
		s.store.Damage(web.ID)
		s.boot()
		_, err := s.node.Create(context.Background(), messages.Create{Spec: vm.Spec{Name: "web"}.Filled()})
		r, ok := errors.AsType[*vm.Refusal](err)
		if !ok || r.Code != vm.Exists {
			t.Errorf("a second web: %v", err)
		}
		s.create("db", nil)
		if db, _ := s.node.Get("db"); db.Slot == web.Slot {
			t.Errorf("db has slot %d, and with it the user of web, whose VMM lives", db.Slot)
		}
	})
}

func TestAStopIsNotCalledDoneOnARecordInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", nil)
		s.after(3 * time.Second)
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		s.store.AfterCommit = func(persistence.Turn) error { return errors.New("sync: input/output error") }
		if err := s.ask("web", vm.StartAsked); err == nil {
			t.Fatal("a start was called done that the disk refused")
		}
		if err := s.ask("web", vm.StopAsked); err == nil {
			t.Error("a stop was called done, and the disk says preparing")
		}
	})
}
