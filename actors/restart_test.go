package actors_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// countedFolders takes a second to prepare, counts releases and notices
// preparing that overlaps.
type countedFolders struct {
	host.Folders
	preparing, overlaps, releases *atomic.Int32
}

func (f countedFolders) Prepare(ctx context.Context, r vm.Record) error {
	if f.preparing.Add(1) > 1 {
		f.overlaps.Add(1)
	}
	defer f.preparing.Add(-1)
	time.Sleep(time.Second)
	return f.Folders.Prepare(ctx, r)
}

func (f countedFolders) Release(ctx context.Context, ref vm.Ref) error {
	f.releases.Add(1)
	return f.Folders.Release(ctx, ref)
}

// impatient runs web, which has a tap and is restarted without delay, and
// kills its VMM; then the next incarnation is being prepared.
func impatient(s *stage, before func()) countedFolders {
	s.t.Helper()
	f := countedFolders{preparing: &atomic.Int32{}, overlaps: &atomic.Int32{}, releases: &atomic.Int32{}}
	s.wrap = func(p host.Ports) host.Ports {
		f.Folders = p.Folders
		p.Folders = f
		return p
	}
	s.kill()
	s.create("web", func(sp *vm.Spec) {
		sp.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}}
		sp.Restart.Delays = []time.Duration{0}
	})
	s.after(5 * time.Second)
	s.want("web", vm.Running, 1)
	if before != nil {
		before()
	}
	s.world.Smite(s.id("web"))
	s.after(500 * time.Millisecond)
	return f
}

func TestARestartAtOnceReleasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		f := impatient(s, nil)
		s.want("web", vm.Preparing, 2)
		s.after(5 * time.Second)
		s.want("web", vm.Running, 2)
		if n := f.releases.Load(); n > 0 {
			t.Errorf("%d releases before the restart", n)
		}
		if f.overlaps.Load() > 0 {
			t.Error("two incarnations prepared at once")
		}
		if live := s.world.Live(s.id("web")); len(live) != 1 {
			t.Errorf("alive: %v", live)
		}
	})
}

func TestAStopOfARestartAtOnceKeepsNothing(t *testing.T) { // P5, P7
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		impatient(s, nil)
		s.want("web", vm.Preparing, 2)
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(5 * time.Second)
		s.want("web", vm.Stopped, 2)
		if s.world.Held("web") || len(s.world.Live(s.id("web"))) > 0 {
			t.Error("a stopped VM holds something")
		}
	})
}

func TestADaemonThatDiesInARestartAtOnceBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		impatient(s, nil)
		s.want("web", vm.Preparing, 2)
		s.kill()
		s.after(5 * time.Second)
		s.want("web", vm.Running, 3)
	})
}

// What the old spec wanted is given up before the next start, also if another
// daemon heard of the new one.
func TestANewSpecIsRememberedUntilTheNextStart(t *testing.T) { // P7
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		f := impatient(s, func() {
			rec, _ := s.node.Get("web")
			spec := rec.Spec
			spec.Networks = nil
			if _, err := s.node.Ask(context.Background(), "web", messages.Ask{Event: vm.SpecAsked, Spec: &spec}); err != nil {
				t.Fatal(err)
			}
			s.kill()
			s.after(time.Second)
			s.want("web", vm.Running, 1)
			if !s.state("web").Pending {
				t.Error("nothing says that the new spec waits")
			}
		})
		s.after(5 * time.Second)
		s.want("web", vm.Running, 2)
		if s.state("web").Pending || f.releases.Load() != 1 {
			t.Errorf("pending %v after %d releases", s.state("web").Pending, f.releases.Load())
		}
	})
}
