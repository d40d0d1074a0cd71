package actors_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

func quick(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} }

func TestUsageHasRatesFromTheSecondSampleOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, quick)
		s.create("web", func(spec *vm.Spec) { spec.Reclaim.Idle = vm.Idle{CPU: 2, Packets: 10, IO: 1000} })
		s.after(2 * time.Second)
		s.world.Load("web", fake.Load{CPU: 0.5, Memory: 100 * vm.MiB, IO: 5000, Packets: 20})
		s.world.Spend(vm.NodeUsage{Memory: vm.GiB})
		s.after(10 * time.Second)
		if u := s.node.Usage("web"); u.Memory != 100*vm.MiB {
			t.Errorf("after a sample: %+v", u)
		}
		s.after(10 * time.Second)
		if u := s.node.Usage("web"); u.CPUPercent < 49 || u.CPUPercent > 51 || u.WriteRate < 4900 || u.PacketRate < 19 || !u.IdleSince.IsZero() {
			t.Errorf("after two samples: %+v", u)
		}
		if r, err := s.node.Resources(context.Background(), false); err != nil || r.Usage.Memory != vm.GiB {
			t.Errorf("the node: %+v, %v", r.Usage, err)
		}
		s.world.Load("web", fake.Load{Memory: 100 * vm.MiB})
		s.after(30 * time.Second)
		if u := s.node.Usage("web"); u.IdleSince.IsZero() || u.CPUPercent != 0 {
			t.Errorf("idle: %+v", u)
		}
		again := time.Now()
		s.kill()
		if u := s.node.Usage("web"); u.Over != 0 || !u.IdleSince.IsZero() {
			t.Errorf("a new daemon has at most one sample: %+v", u)
		}
		s.after(12 * time.Second)
		if u := s.node.Usage("web"); u.Over == 0 || u.IdleSince.Before(again) {
			t.Errorf("after its second sample: %+v", u)
		}
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if u := s.node.Usage("web"); !u.At.IsZero() {
			t.Errorf("of a VM that is down: %+v", u)
		}
		if u := s.node.Usage("nobody"); !u.At.IsZero() {
			t.Errorf("of none: %+v", u)
		}
		s.end()
	})
}

// counting counts the looks at VMMs, and may hang or fail in them.
type counting struct {
	host.Meter
	reads atomic.Int64
	asked atomic.Pointer[[]vm.Metered]  // in the last look
	hangs atomic.Pointer[chan struct{}] // until it is closed
	fails atomic.Bool
}

func (c *counting) Read(ctx context.Context, of []vm.Metered) (map[vm.ID]vm.Counters, error) {
	c.reads.Add(1)
	c.asked.Store(&of)
	if until := c.hangs.Load(); until != nil {
		<-*until
	}
	if c.fails.Load() {
		return nil, errors.New("nothing can be read")
	}
	return c.Meter.Read(ctx, of)
}

func metered(s *stage, m *counting) {
	s.wrap = func(p host.Ports) host.Ports {
		m.Meter, p.Meter = p.Meter, m
		return p
	}
	s.kill()
	s.create("web", nil)
	s.after(2 * time.Second)
}

func TestFreshLooksAreBoundedAndOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t, quick), &counting{}
		metered(s, m)
		at := m.reads.Load()
		for range 100 {
			if _, err := s.node.Resources(context.Background(), true); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Millisecond)
		}
		if n := m.reads.Load() - at; n < 2 || n > 4 {
			t.Errorf("%d looks in 3 s, want one a second", n)
		}
		s.end()
	})
}

func TestHangingLookHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t, quick), &counting{}
		metered(s, m)
		until := make(chan struct{})
		m.hangs.Store(&until)
		s.after(time.Minute)
		at := m.reads.Load()
		s.after(time.Minute)
		if n := m.reads.Load(); n != at {
			t.Errorf("%d looks were begun while one hung", n-at)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.node.Resources(ctx, true); err == nil {
			t.Error("a fresh look came while one hung")
		}
		if _, err := s.node.Resources(ctx, false); err != nil {
			t.Errorf("what is known: %v", err)
		}
		s.create("more", nil) // admission goes on
		close(until)
		s.after(time.Minute)
		if n := m.reads.Load(); n == at {
			t.Error("no look came after the one that hung")
		}
		s.end()
	})
}

func TestFailedLookKeepsTheLastSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t, quick), &counting{}
		metered(s, m)
		s.world.Load("web", fake.Load{CPU: 1, Memory: vm.MiB})
		s.after(time.Minute)
		before := s.node.Usage("web")
		m.fails.Store(true)
		s.after(time.Minute)
		if u := s.node.Usage("web"); u != before || u.At.IsZero() {
			t.Errorf("%+v, before %+v", u, before)
		}
		m.fails.Store(false)
		s.after(20 * time.Second)
		if u := s.node.Usage("web"); u.CPUPercent < 99 || u.CPUPercent > 101 {
			t.Errorf("after a minute without looks: %+v", u)
		}
		s.end()
	})
}

func TestVMsAreMeasuredOnlyOnRequestWhereSoConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t, quick), &counting{}
		s.resources = actors.Resources{Sample: -1}
		metered(s, m)
		s.after(time.Hour)
		if n := m.reads.Load(); n != 0 {
			t.Errorf("%d looks at the VMs that nobody asked for", n)
		}
		r, err := s.node.Resources(context.Background(), true)
		if err != nil || m.reads.Load() != 1 || s.node.Usage("web").At.IsZero() {
			t.Errorf("asked for: %d looks, %v, %v", m.reads.Load(), s.node.Usage("web"), err)
		}
		if time.Since(r.Usage.At) > 20*time.Second {
			t.Errorf("the node was last looked at at %s", r.Usage.At)
		}
		s.end()
	})
}

func TestPeakOfMemoryIsThatOfTheLastSampleWhereTheEndTellsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, quick)
		s.create("web", func(spec *vm.Spec) { spec.Restart.Policy = vm.RestartNever })
		s.after(2 * time.Second)
		s.world.Load("web", fake.Load{Memory: 200 * vm.MiB})
		s.after(20 * time.Second)
		s.world.Load("web", fake.Load{Memory: 50 * vm.MiB})
		s.after(20 * time.Second)
		rec, _ := s.node.Get("web")
		s.world.Smite(rec.ID)
		s.after(5 * time.Second)
		last := s.state("web").LastExit
		if last == nil || last.Failure.Exit == nil || last.Failure.Exit.MemoryPeak != 200*vm.MiB {
			t.Errorf("the last end: %+v", last)
		}
		s.end()
	})
}

// runnerTaps has one tap that a built runner made.
type runnerTaps struct {
	host.Links
	of atomic.Pointer[vm.ID]
}

func (l *runnerTaps) List(ctx context.Context) ([]vm.FoundLink, error) {
	found, err := l.Links.List(ctx)
	if id := l.of.Load(); id != nil {
		found = append(found, vm.FoundLink{Name: "vm-built", VM: *id})
	}
	return found, err
}

func TestTapsOfEachKindAreMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, taps := newStage(t, quick), &counting{}, &runnerTaps{}
		s.wrap = func(p host.Ports) host.Ports {
			m.Meter, p.Meter = p.Meter, m
			taps.Links, p.Links = p.Links, taps
			return p
		}
		s.kill()
		s.create("bridged", func(spec *vm.Spec) { spec.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}} })
		s.create("built", func(spec *vm.Spec) { spec.Boot = vm.Boot{Runner: "/runner"} })
		rec, _ := s.node.Get("built")
		taps.of.Store(&rec.ID)
		s.after(20 * time.Second)
		links := map[vm.Name][]string{}
		for _, one := range *m.asked.Load() {
			links[one.Ref.Name] = one.Links
			if one.Folder == "" {
				t.Errorf("%s has no folder", one.Ref.Name)
			}
		}
		bridged, _ := s.node.Get("bridged")
		if got := links["bridged"]; len(got) != 1 || got[0] != host.LinkName(bridged.Slot, 0) {
			t.Errorf("taps of a bridged VM: %v", got)
		}
		if got := links["built"]; len(got) != 1 || got[0] != "vm-built" {
			t.Errorf("taps of a built runner: %v", got)
		}
		s.end()
	})
}
