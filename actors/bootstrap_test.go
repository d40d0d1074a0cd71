package actors_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// powerCut ends everything at once; the next daemon boots another node.
func (s *stage) powerCut() {
	s.t.Helper()
	s.life.Crash()
	s.world.PowerCut()
	s.store = s.store.Crash()
	s.end()
	s.boot()
}

// raise creates VMs and waits until all run.
func (s *stage) raise(names ...vm.Name) {
	s.t.Helper()
	for _, n := range names {
		s.create(n, nil)
	}
	s.after(5 * time.Minute)
	for _, n := range names {
		if st := s.state(n); st.Phase != vm.Running {
			s.t.Fatalf("%s is %s before the story begins: %s", n, st.Phase, st.Reason)
		}
	}
}

// arrivals tells from the journal who began to come up since it was made: the
// journal has the turns of all VMs in the order in which they became durable.
type arrivals struct {
	s     *stage
	after uint64
}

func (s *stage) arrivals() *arrivals { return &arrivals{s, s.store.LastEvent()} }

// turns are the entries of VMs, of one kind or, with an empty one, of all.
func (a *arrivals) turns(kind string) []vm.Entry {
	a.s.t.Helper()
	all, err := a.s.store.Events(a.after, 100_000)
	if err != nil {
		a.s.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e vm.Entry) bool { return e.To == 0 || kind != "" && e.Kind != kind })
}

// came is the order in which VMs began to come up.
func (a *arrivals) came() []vm.Name {
	var out []vm.Name
	for _, e := range a.turns("") {
		if e.To == vm.Preparing && e.From != vm.Preparing {
			out = append(out, e.Name)
		}
	}
	return out
}

// most is how many were on their way up at once.
func (a *arrivals) most() int {
	most, coming := 0, map[vm.Name]bool{}
	for _, e := range a.turns("") {
		if e.To&(vm.Preparing|vm.Starting) != 0 {
			coming[e.Name] = true
		} else if e.To != vm.Adopting {
			delete(coming, e.Name)
		}
		most = max(most, len(coming))
	}
	return most
}

// calls is how often a VM was called up.
func (a *arrivals) calls(name vm.Name) int {
	n := 0
	for _, e := range a.turns(vm.CalledUp.String()) {
		if e.Name == name {
			n++
		}
	}
	return n
}

func (a *arrivals) before(t *testing.T, first, then vm.Name) {
	t.Helper()
	order := a.came()
	if i, k := slices.Index(order, first), slices.Index(order, then); i < 0 || k < 0 || i > k {
		t.Errorf("%s comes before %s: %v", then, first, order)
	}
}

func (s *stage) report() gateway.Bootstrap { return s.node.Status().Bootstrap }

// told are the entries of a kind in the journal.
func (s *stage) told(kind string) []vm.Entry {
	s.t.Helper()
	all, err := s.store.Events(0, 100_000)
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e vm.Entry) bool { return e.Kind != kind })
}

func numbered(n int) []vm.Name {
	out := make([]vm.Name, n)
	for i := range out {
		out[i] = vm.Name(fmt.Sprintf("vm-%02d", i))
	}
	return out
}

func TestTwentyVMsComeBackAfterAPowerCutInOrderAndPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(3*time.Second))
		defer func() { s.end() }()
		names := numbered(20)
		s.raise(names...)
		seen := s.arrivals()
		s.powerCut()
		if r := s.report(); r.State != "running" || len(r.Waiting) == 0 {
			t.Errorf("the report in the midst of it: %+v", r)
		}
		s.after(5 * time.Minute)
		for _, n := range names {
			s.want(n, vm.Running, 2)
		}
		for i, n := range seen.came() {
			if at := slices.Index(names, n); at < i-1 || at > i+1 { // two that come at once may pass each other
				t.Errorf("%s came as number %d: %v", n, i, seen.came())
			}
		}
		if seen.most() > 2 { // the fake machine has two processors
			t.Errorf("%d were on their way at once", seen.most())
		}
		if r := s.report(); r.State != "done" || r.Ready != 20 || r.Failed != 0 || len(r.Waiting)+len(r.Starting) > 0 {
			t.Errorf("the report: %+v", r)
		}
		for _, n := range names {
			if st := s.state(n); st.Tries != 0 || len(st.Ledger) != 0 || st.LastExit.Failure.Cause != vm.CauseHostReboot {
				t.Errorf("%s is charged for the power cut: %+v", n, st)
			}
		}
	})
}

func TestAShutdownAfterTheBootstrapStopsAllInReverseAndTheNextBootBringsThemBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.raise("db")
		s.create("web", dependsOn("db", vm.IsRunning))
		s.after(10 * time.Second)
		seen := s.arrivals()
		if err := s.shutdown(time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, n := range []vm.Name{"db", "web"} {
			if st := s.state(n); st.Phase != vm.Backoff || st.Intent != vm.WantRunning || len(s.world.Live(s.id(n))) > 0 {
				t.Errorf("%s is %s wanted %s after the shutdown: %s", n, st.Phase, st.Intent, st.Reason)
			}
		}
		if down := seen.turns(vm.NodeEnding.String()); len(down) != 2 || down[0].Name != "web" {
			t.Errorf("they were stopped as %+v", down)
		}
		s.powerCut()
		s.after(time.Minute)
		s.want("db", vm.Running, 2)
		s.want("web", vm.Running, 2)
	})
}

func (s *stage) shutdown(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*within)
	defer cancel()
	return s.node.Shutdown(ctx, within, messages.Caller{})
}

func (s *stage) id(name vm.Name) vm.ID {
	rec, _ := s.node.Get(name)
	return rec.ID
}

func dependsOn(name vm.Name, is string) func(*vm.Spec) {
	return func(s *vm.Spec) {
		s.Autostart.DependsOn = []vm.Dependency{{VM: name, Is: is, Timeout: time.Minute}}
	}
}

// slowest is a guest that takes so long, by its VM's name.
func slowest(by map[vm.Name]time.Duration) func(vm.Ref) fake.Guest {
	return func(r vm.Ref) fake.Guest {
		if after, ok := by[r.Name]; ok && r.Incarnation > 1 {
			return fake.Guest{Boot: after}
		}
		return fake.Guest{Boot: time.Second}
	}
}

func TestASlowStartHalvesThePaceAndHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, slowest(map[vm.Name]time.Duration{"vm-03": 10 * time.Minute}))
		defer func() { s.end() }()
		s.conduct = actors.Conduct{Parallel: 4, Slow: 20 * time.Second}
		names := numbered(12)
		for _, n := range names {
			s.create(n, func(sp *vm.Spec) { sp.Start.Timeout = 20 * time.Minute })
		}
		s.after(time.Minute)
		s.powerCut()
		s.after(40 * time.Second)
		for _, n := range names {
			if n != "vm-03" {
				s.want(n, vm.Running, 2)
			}
		}
		s.want("vm-03", vm.Starting, 2)
		if slowed := s.told("BootstrapSlowed"); len(slowed) != 1 || slowed[0].Name != "vm-03" {
			t.Errorf("what was told of the slow one: %+v", slowed)
		}
		if r := s.report(); r.State != "done" || r.Ready != 11 || r.Failed != 1 || r.Limit > 2 {
			t.Errorf("the report: %+v", r)
		}
		s.after(10 * time.Minute)
		s.want("vm-03", vm.Running, 2)
	})
}

func TestPressureHoldsTheNextButNeverTheLastOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(5*time.Second))
		defer func() { s.end() }()
		names := numbered(6)
		s.raise(names...)
		seen := s.arrivals()
		s.world.Strain(host.Pressure{Memory: 90})
		s.powerCut()
		s.after(2 * time.Minute)
		if seen.most() != 1 {
			t.Errorf("%d were on their way at once under pressure", seen.most())
		}
		for _, n := range names {
			s.want(n, vm.Running, 2)
		}
	})
}

func TestPressureThatEndsLetsTheNextBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, slowest(map[vm.Name]time.Duration{"vm-01": 30 * time.Second}))
		defer func() { s.end() }()
		s.raise(numbered(4)...)
		s.powerCut()
		s.after(1500 * time.Millisecond) // vm-00 came, and the pace allows two: vm-01 and vm-02
		s.want("vm-01", vm.Starting, 2)
		s.want("vm-02", vm.Starting, 2)
		s.world.Strain(host.Pressure{CPU: 100})
		s.after(10 * time.Second)
		s.want("vm-02", vm.Running, 2)
		s.want("vm-03", vm.Backoff, 1)
		if r := s.report(); r.Pressure == "" || r.Limit != 2 || !slices.Equal(r.Starting, []vm.Name{"vm-01"}) {
			t.Errorf("under pressure: %+v", r)
		}
		s.world.Strain(host.Pressure{})
		s.after(3 * time.Second)
		s.want("vm-03", vm.Running, 2)
	})
}

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

func TestAPersonsWordWinsOverTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(10*time.Second))
		defer func() { s.end() }()
		names := numbered(8)
		s.raise(names...)
		s.powerCut()
		s.after(time.Second)
		for name, e := range map[vm.Name]vm.Event{"vm-05": vm.StopAsked, "vm-06": vm.DeleteAsked, "vm-07": vm.StartAsked} {
			if err := s.ask(name, e); err != nil {
				t.Fatal(err)
			}
		}
		s.after(time.Second)
		s.want("vm-07", vm.Starting, 2)
		if r := s.report(); slices.Contains(r.Waiting, "vm-05") || slices.Contains(r.Waiting, "vm-06") || slices.Contains(r.Waiting, "vm-07") {
			t.Errorf("they still wait: %+v", r)
		}
		s.after(10 * time.Minute)
		s.want("vm-05", vm.Stopped, 1)
		if _, there := s.node.Get("vm-06"); there {
			t.Error("vm-06 was deleted, and is there")
		}
		for _, n := range []vm.Name{"vm-00", "vm-01", "vm-02", "vm-03", "vm-04", "vm-07"} {
			s.want(n, vm.Running, 2)
		}
	})
}

func TestTheNextDaemonGoesOnWithTheBootstrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(10*time.Second))
		defer func() { s.end() }()
		names := numbered(10)
		s.raise(names...)
		seen := s.arrivals()
		s.powerCut()
		for range 4 {
			s.after(7 * time.Second)
			s.kill()
		}
		s.after(5 * time.Minute)
		for _, n := range names {
			s.want(n, vm.Running, 2)
			if seen.calls(n) != 1 {
				t.Errorf("%s was called up %d times", n, seen.calls(n))
			}
		}
		if seen.most() > 2 {
			t.Errorf("%d were on their way at once", seen.most())
		}
	})
}

func TestOncePerBootAndTheReportStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.raise("db", "web")
		s.create("off", func(sp *vm.Spec) { sp.Autostart.Policy = vm.AutostartAlways })
		if err := s.ask("off", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		s.powerCut()
		s.after(time.Minute)
		before := s.report()
		if before.State != "done" || before.Ready != 2 {
			t.Fatalf("the report: %+v", before)
		}
		began := len(s.told("BootstrapBegan"))
		seen := s.arrivals()
		s.kill()
		s.after(time.Minute)
		s.want("off", vm.Stopped, 1)
		if len(seen.came()) > 0 || len(s.told("BootstrapBegan")) != began {
			t.Errorf("a restart of the daemon was taken for a boot: %v", seen.came())
		}
		after := s.report()
		if after.State != "done" || after.Ready != 2 || !after.EndedAt.Equal(before.EndedAt) {
			t.Errorf("the report became %+v", after)
		}
	})
}

// TestEachPolicyAfterAPowerCut tells of every autostart policy under every policy of the node.
func TestEachPolicyAfterAPowerCut(t *testing.T) {
	tests := []struct {
		node      policies.BootPolicy
		own       vm.AutostartPolicy
		well, off vm.Phase // what becomes of one that was up and well, and of one that powered itself off
	}{
		{policies.RestartAll, vm.AutostartInherit, vm.Running, vm.Stopped},
		{policies.RestartHealthy, vm.AutostartInherit, vm.Running, vm.Stopped},
		{policies.BootManual, vm.AutostartInherit, vm.Stopped, vm.Stopped},
		{policies.BootManual, vm.AutostartAlways, vm.Running, vm.Running},
		{policies.BootManual, vm.AutostartLastState, vm.Running, vm.Stopped},
		{policies.RestartAll, vm.AutostartNever, vm.Stopped, vm.Stopped},
	}
	for _, tt := range tests {
		t.Run(string(tt.node)+"/"+string(tt.own), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, func(r vm.Ref) fake.Guest {
					if r.Name == "off" && r.Incarnation == 1 {
						return fake.Guest{Boot: time.Second, PowerOff: 10 * time.Second}
					}
					return fake.Guest{Boot: time.Second}
				})
				defer func() { s.end() }()
				own := func(sp *vm.Spec) { sp.Autostart.Policy = tt.own }
				s.create("well", own)
				s.create("off", own)
				s.create("down", own)
				s.after(time.Minute)
				if err := s.ask("down", vm.StopAsked); err != nil {
					t.Fatal(err)
				}
				s.after(time.Minute)
				s.conduct.Policy = tt.node
				s.powerCut()
				s.after(5 * time.Minute)
				for name, want := range map[vm.Name]vm.Phase{"well": tt.well, "off": tt.off, "down": vm.Stopped} {
					if st := s.state(name); st.Phase != want || st.Reason == "" {
						t.Errorf("%s is %s, want %s: %s", name, st.Phase, want, st.Reason)
					}
				}
			})
		})
	}
}

func TestWhoWasNotWellIsHeldWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(r vm.Ref) fake.Guest {
			if r.Name == "sick" {
				return fake.Guest{Boot: -1} // it never answers
			}
			return fake.Guest{Boot: time.Second}
		})
		defer func() { s.end() }()
		s.conduct.Policy = policies.RestartHealthy
		s.create("sick", nil)
		s.create("new", nil)
		s.after(30 * time.Second)
		s.powerCut()
		s.after(time.Minute)
		s.want("new", vm.Running, 2)
		if st := s.state("sick"); st.Phase != vm.Failed || st.Intent != vm.WantRunning || st.LastExit == nil {
			t.Errorf("sick is %s: %s", st.Phase, st.Reason)
		}
		if r := s.report(); len(r.Held) != 1 {
			t.Errorf("held: %q", r.Held)
		}
	})
}

// faultyMachine fails by a bug of ours, in the bootstrap's own mailbox, so many times.
type faultyMachine struct {
	host.Machine
	left *int
}

func (m faultyMachine) Pressure() (host.Pressure, error) {
	if *m.left > 0 {
		*m.left--
		panic("a planted bug")
	}
	return m.Machine.Pressure()
}

func TestABugInTheBootstrapCostsNothingButItsRestart(t *testing.T) {
	for _, bugs := range []int{1, 4, 1000} {
		t.Run(fmt.Sprint(bugs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, boots(5*time.Second))
				defer func() { s.end() }()
				names := numbered(5)
				s.raise(names...)
				seen, left := s.arrivals(), bugs
				s.wrap = func(p host.Ports) host.Ports {
					p.Machine = faultyMachine{p.Machine, &left}
					return p
				}
				s.powerCut()
				within := 2 * time.Minute
				if bugs > 5 {
					within = time.Hour // the queue's own deadline brings them up without it (P4)
				}
				s.after(within)
				for _, n := range names {
					s.want(n, vm.Running, 2)
					if seen.calls(n) > 1 {
						t.Errorf("%s was called up %d times", n, seen.calls(n))
					}
				}
				if err := s.shutdown(time.Minute); err != nil {
					t.Errorf("a shutdown after the bootstrap's end: %v", err)
				}
			})
		})
	}
}
