package actors_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// slowBundles take their time, and count who is at work.
type slowBundles struct {
	host.Bundles
	takes *time.Duration
	busy  *atomic.Int32
	most  *atomic.Int32
	held  *atomic.Uint64 // the last incarnation whose logs were
}

func (b slowBundles) Hold(ref vm.Ref) func() {
	b.held.Store(uint64(ref.Incarnation))
	return b.Bundles.Hold(ref)
}

func (b slowBundles) Keep(ctx context.Context, ref vm.Ref, one vm.Bundle) (vm.KeptBundle, error) {
	defer b.busy.Add(-1)
	if n := b.busy.Add(1); n > b.most.Load() {
		b.most.Store(n)
	}
	select {
	case <-time.After(*b.takes):
		return b.Bundles.Keep(ctx, ref, one)
	case <-ctx.Done():
		return vm.KeptBundle{}, host.Fail(host.Transient, "keep", ctx.Err())
	}
}

// slowed is a stage whose bundles take that long.
func slowed(t *testing.T, takes time.Duration, guests func(vm.Ref) fake.Guest) (*stage, slowBundles) {
	t.Helper()
	s := newStage(t, guests)
	s.end()
	b := slowBundles{takes: &takes, busy: &atomic.Int32{}, most: &atomic.Int32{}, held: &atomic.Uint64{}}
	s.wrap = func(p host.Ports) host.Ports {
		mine := b
		mine.Bundles = p.Bundles
		p.Bundles = mine
		return p
	}
	s.boot()
	return s, b
}

func (s *stage) kept(name vm.Name) []vm.Bundle {
	rec, _ := s.node.Get(name)
	return s.world.Kept(rec.ID)
}

func TestADeathLeavesABundleWithWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(r vm.Ref) fake.Guest {
			g := fake.Guest{Boot: time.Second}
			if r.Incarnation == 1 {
				g.Panic = 10 * time.Second
			}
			return g
		})
		defer s.end()
		s.create("web", nil)
		s.after(time.Minute)
		s.want("web", vm.Running, 2)
		all := s.kept("web")
		if len(all) != 1 {
			t.Fatalf("bundles: %+v", all)
		}
		b := all[0]
		if b.Crash.Number != 1 || b.Crash.Failure.Incarnation != 1 || b.Crash.Failure.Cause != vm.CauseGuestPanic || b.Spec.Name != "web" || b.Crash.Decision.Do == "" {
			t.Errorf("it tells of %+v", b)
		}
		n := b.Notes
		if n == nil || !slices.Equal(n.Argv, []string{"/fake/vmm"}) || len(n.Notices) == 0 || len(n.Rounds) == 0 || n.Dump != nil {
			t.Errorf("the notes are %+v", n)
		}
	})
}

// A start that takes too long ends by the deadline of vm/<name>, and what the
// guest was asked until then is told all the same.
func TestALateStartLeavesWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: -1} })
		defer s.end()
		s.create("web", checked(
			vm.Check{Type: vm.CheckAgent, Role: vm.RoleReadiness}, vm.Check{Type: vm.CheckTCP, Address: "10.0.0.2:22"},
			vm.Check{Type: vm.CheckTCP, Name: "later", Address: "10.0.0.2:23", Interval: 50 * time.Second},
		))
		for range 600 {
			if s.state("web").Crashes > 0 {
				break
			}
			s.after(time.Second)
		}
		s.after(time.Second)
		all := s.kept("web")
		if len(all) != 1 || all[0].Crash.Failure.Cause != vm.CauseStartTransient || !strings.Contains(all[0].Crash.Failure.Evidence, ": tcp: no answer") {
			t.Fatalf("bundles: %+v", all)
		}
		n, of := all[0].Notes, map[string]int{}
		if n == nil || !slices.Equal(n.Argv, []string{"/fake/vmm"}) {
			t.Fatalf("the notes are %+v", n)
		}
		for _, r := range n.Rounds {
			of[r.Check]++
		}
		if of["tcp"] == 0 || of["later"] == 0 || !slices.IsSortedFunc(n.Rounds, func(a, b vm.Round) int { return a.At.Compare(b.At) }) {
			t.Errorf("the rounds are %+v", n.Rounds)
		}
	})
}

func TestACrashLoopWaitsForNoBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := func(takes time.Duration) (died uint64, kept int, missed map[uint64]string) {
			s, b := slowed(t, takes, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Millisecond, Crash: 50 * time.Millisecond} })
			defer s.end()
			s.create("web", func(s *vm.Spec) {
				s.Restart.Delays, s.Restart.Budget = []time.Duration{0}, vm.Budget{Attempts: 100, Window: 3 * time.Second}
			})
			s.after(10 * time.Second)
			rec, _ := s.node.Get("web")
			if b.most.Load() > 1 {
				t.Errorf("%d bundles of one VM were written at once", b.most.Load())
			}
			return rec.State.Crashes, len(s.kept("web")), s.node.Missed(rec.ID)
		}
		quick, all, none := loop(0)
		if quick < 50 || all != int(min(quick, 20)) || len(none) != 0 {
			t.Errorf("%d deaths, %d bundles, missed %v", quick, all, none)
		}
		slow, some, missed := loop(time.Second)
		if slow != quick {
			t.Errorf("%d deaths where bundles take no time, %d where they take a second", quick, slow)
		}
		if some < 5 || len(missed) < 30 || !strings.Contains(missed[slow], "faster than its evidence is written") {
			t.Errorf("%d bundles, missed %v", some, missed)
		}
	})
}

func TestTheNextDaemonWritesTheBundleThatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := slowed(t, time.Hour, func(r vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} })
		s.create("web", nil)
		s.after(10 * time.Second)
		rec, _ := s.node.Get("web")
		s.world.Smite(rec.ID)
		s.after(10 * time.Second)
		if got := s.kept("web"); len(got) != 0 || s.state("web").Crashes != 1 {
			t.Fatalf("too early: %+v", got)
		}
		*b.takes = 0
		b.held.Store(0)
		s.kill()
		defer func() { s.end() }()
		s.after(5 * time.Second)
		if n := b.held.Load(); n != uint64(rec.State.Incarnation) {
			t.Errorf("the logs of incarnation %d are held, the one that died was %d", n, rec.State.Incarnation)
		}
		got := s.kept("web")
		if len(got) != 1 || got[0].Crash.Number != 1 || got[0].Crash.Failure.Cause == "" || got[0].Notes != nil || len(got[0].Lacks) != 1 {
			t.Fatalf("written by the next daemon: %+v", got)
		}
		if _, err := s.life.Ports().Bundles.Prune(t.Context(), rec.Ref(), func(vm.KeptBundle) bool { return true }); err != nil {
			t.Fatal(err)
		}
		s.kill()
		s.after(5 * time.Second)
		if got := s.kept("web"); len(got) != 0 {
			t.Errorf("what was pruned came back: %+v", got)
		}
	})
}

func TestAFullDiskCostsTheBundleAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", nil)
		s.after(10 * time.Second)
		rec, _ := s.node.Get("web")
		s.world.Fill(true)
		s.world.Smite(rec.ID)
		s.after(30 * time.Second)
		s.want("web", vm.Running, 2)
		if why := s.node.Missed(rec.ID); !strings.Contains(why[1], "no room") || len(s.kept("web")) != 0 {
			t.Errorf("missed %v, kept %v", why, s.kept("web"))
		}
		s.world.Fill(false)
		if err := s.ask("web", vm.ForceDeleteAsked); err != nil {
			t.Fatal(err)
		}
		s.after(10 * time.Second)
		if why := s.node.Missed(rec.ID); len(why) != 0 {
			t.Errorf("of a VM that is gone: %v", why)
		}
	})
}

// slowSessions dump as long as they are let.
type slowSessions struct {
	host.Driver
	takes time.Duration
	deaf  bool // and don't end when they are asked to
}

func (d slowSessions) Attach(ctx context.Context, s vm.Spec, f host.Paths, n func(host.Notice)) (host.Session, error) {
	one, err := d.Driver.Attach(ctx, s, f, n)
	return slowSession{one, d}, err
}

type slowSession struct {
	host.Session
	d slowSessions
}

func (s slowSession) Dump(ctx context.Context, format vm.DumpFormat, into io.Writer) error {
	if s.d.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-time.After(s.d.takes):
	case <-ctx.Done():
		return host.Fail(host.Transient, "dump", ctx.Err())
	}
	_, err := io.WriteString(into, "memory")
	return errors.Join(err, ctx.Err())
}

// panics is a stage whose first guest panics after ten seconds, and dumps for that long.
func panics(t *testing.T, d slowSessions) *stage {
	t.Helper()
	s := newStage(t, func(r vm.Ref) fake.Guest {
		g := fake.Guest{Boot: time.Second}
		if r.Incarnation == 1 {
			g.Panic = 10 * time.Second
		}
		return g
	})
	s.end()
	s.wrap = func(p host.Ports) host.Ports {
		mine := d
		mine.Driver = p.Driver
		p.Driver = mine
		return p
	}
	s.boot()
	s.create("web", func(s *vm.Spec) {
		s.Dump = vm.Dump{On: []vm.Cause{vm.CauseGuestPanic}, Format: vm.DumpELF, Timeout: 20 * time.Second}
	})
	return s
}

func TestTheMemoryIsWrittenBeforeTheKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := panics(t, slowSessions{takes: 5 * time.Second})
		defer s.end()
		s.after(12 * time.Second)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Health != vm.Unhealthy || !strings.Contains(st.HealthWhy, "memory is written down before anything is done about it") { // P11
			t.Errorf("meanwhile it says %s: %s", st.Health, st.HealthWhy)
		}
		s.after(time.Minute)
		s.want("web", vm.Running, 2)
		all := s.kept("web")
		if len(all) != 1 || all[0].Notes == nil || all[0].Notes.Dump == nil {
			t.Fatalf("kept %+v", all)
		}
		if d := all[0].Notes.Dump; d.Format != vm.DumpELF || d.Bytes != 6 || d.Why != "" || d.Took != 5*time.Second {
			t.Errorf("the dump: %+v", d)
		}
		rec, _ := s.node.Get("web")
		if of, err := s.life.Ports().Bundles.List(t.Context(), rec.Ref()); err != nil || len(of) != 1 || !of[0].Dump {
			t.Errorf("the bundle that is to take the dump over: %+v, %v", of, err)
		}
		if all[0].Crash.Failure.Cause != vm.CauseGuestPanic {
			t.Errorf("the death: %+v", all[0].Crash)
		}
	})
}

func TestADumpThatANewSpecAsksForIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := panics(t, slowSessions{takes: 5 * time.Second})
		defer s.end()
		s.after(2 * time.Second)
		s.newSpec("web", func(s *vm.Spec) { s.Dump.Format = vm.DumpKdump })
		s.after(time.Minute)
		s.want("web", vm.Running, 2)
		if all := s.kept("web"); len(all) != 1 || all[0].Notes == nil || all[0].Notes.Dump == nil || all[0].Notes.Dump.Format != vm.DumpKdump {
			t.Errorf("kept %+v", all)
		}
	})
}

func TestADumpNeverKeepsAVMFromItsRestart(t *testing.T) { // P4, P9
	for story, d := range map[string]slowSessions{"slow": {takes: time.Hour}, "deaf": {takes: time.Hour, deaf: true}} {
		t.Run(story, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := panics(t, d)
				defer func() {
					s.end()
					s.after(2 * time.Hour) // a deaf one ends by itself
				}()
				s.after(29 * time.Second)
				s.want("web", vm.Running, 1)
				s.after(30 * time.Second)
				s.want("web", vm.Running, 2)
				all := s.kept("web")
				if len(all) != 1 || all[0].Notes == nil || all[0].Notes.Dump == nil || all[0].Notes.Dump.Why == "" {
					t.Errorf("kept %+v", all)
				}
			})
		})
	}
}

func TestAPersonsStopWinsOverADump(t *testing.T) { // P5
	for _, e := range []vm.Event{vm.StopAsked, vm.KillAsked} {
		t.Run(e.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := panics(t, slowSessions{takes: time.Hour})
				defer s.end()
				s.after(15 * time.Second)
				if err := s.ask("web", e); err != nil {
					t.Fatal(err)
				}
				s.after(time.Second)
				s.want("web", vm.Stopped, 1)
			})
		})
	}
}

func TestAnAskedDumpLeavesTheGuestWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", nil)
		if _, _, err := s.node.Dump(t.Context(), "web", vm.DumpKdump, messages.Caller{}); err == nil {
			t.Error("a guest that doesn't run was dumped")
		}
		s.after(10 * time.Second)
		path, _, err := s.node.Dump(t.Context(), "web", vm.DumpKdump, messages.Caller{})
		if err != nil || path == "" {
			t.Errorf("dumped to %q: %v", path, err)
		}
		s.after(time.Minute)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Health != vm.Healthy {
			t.Errorf("then it is %s: %s", st.Health, st.HealthWhy)
		}
	})
}
