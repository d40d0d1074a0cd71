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
			if at := slices.Index(names, n); at < i-3 || at > i+3 { // four that come at once may pass each other
				t.Errorf("%s came as number %d: %v", n, i, seen.came())
			}
		}
		if seen.most() > 4 { // the fake machine has two processors
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
		s.raise(numbered(5)...)
		s.powerCut()
		s.after(1500 * time.Millisecond) // vm-00 came, and the pace allows three: vm-01, vm-02 and vm-03
		s.want("vm-01", vm.Starting, 2)
		s.want("vm-02", vm.Starting, 2)
		s.world.Strain(host.Pressure{Memory: 90})
		s.after(10 * time.Second)
		s.want("vm-02", vm.Running, 2)
		s.want("vm-04", vm.Backoff, 1)
		if r := s.report(); r.Pressure == "" || r.Limit != 3 || !slices.Equal(r.Starting, []vm.Name{"vm-01"}) {
			t.Errorf("under pressure: %+v", r)
		}
		s.world.Strain(host.Pressure{})
		s.after(3 * time.Second)
		s.want("vm-04", vm.Running, 2)
	})
}
