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
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

const (
	loadedVMs   = 20
	loadBegins  = time.Minute
	loadedFor   = time.Hour
	calmAtLast  = 3 * time.Minute // in which everybody gets well
	loadedSeeds = 6               // some seconds on 2 cores
)

// TestLoad plays an hour of healthy VMs on a host that has no time for them, and
// nothing else that is wrong: none may be restarted (P16). BLIXARD_SEED replays
// one seed, BLIXARD_SEEDS says how many, BLIXARD_FIRST which one comes first.
func TestLoad(t *testing.T) {
	if seed, ok := number(t, "BLIXARD_SEED"); ok {
		underLoad(t, seed, 400)
		return
	}
	seeds, ok := number(t, "BLIXARD_SEEDS")
	if !ok {
		seeds = loadedSeeds
	}
	if underRace {
		seeds = min(seeds, 1)
	}
	first, _ := number(t, "BLIXARD_FIRST")
	for seed := max(first, 1) - 1; seed < seeds; seed++ {
		t.Run(fmt.Sprintf("seed-%d", seed+1), func(t *testing.T) {
			t.Parallel()
			underLoad(t, seed+1, 60)
		})
	}
}

func underLoad(t *testing.T, seed uint64, most int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, found := playLoad(seed, nil)
		if len(found) > 0 {
			t.Logf("the story of %q:\n%s", found[0].VM, h.story.about(string(found[0].VM), most))
		}
		for _, v := range found {
			t.Errorf("seed %d: %s: %s (replay: BLIXARD_SEED=%d go test ./test/sim -run TestLoad)", seed, v.VM, v.Why, seed)
		}
		if h.asked == 0 || h.unheard == 0 {
			t.Errorf("seed %d: of %d questions %d had no answer in time: that is no load", seed, h.asked, h.unheard)
		}
		t.Logf("%d questions, %d without an answer in time", h.asked, h.unheard)
	})
}

// loadPlants are what a node may not overlook of its host.
var loadPlants = []struct {
	name  string
	ports func(host.Ports) host.Ports
}{
	{"threads that wait for a processor are not seen", func(p host.Ports) host.Ports {
		p.Meter = deafMeter{p.Meter}
		return p
	}},
	{"pressure is not seen", func(p host.Ports) host.Ports {
		p.Machine = calmMachine{p.Machine}
		return p
	}},
	{"pressure is seen of ten seconds alone", func(p host.Ports) host.Ports {
		p.Machine = slowMachine{p.Machine}
		return p
	}},
}

// slowMachine tells of pressure that has lasted a while.
type slowMachine struct{ host.Machine }

func (m slowMachine) Pressure() (host.Pressure, error) {
	p, err := m.Machine.Pressure()
	p.MemoryStood, p.IOStood = 0, 0
	return p, err
}

// calmMachine tells of no pressure.
type calmMachine struct{ host.Machine }

func (calmMachine) Pressure() (host.Pressure, error) { return host.Pressure{}, nil }

func TestLoadWithPlantedBugs(t *testing.T) {
	if underRace {
		t.Skip("what the seeds find doesn't depend on the race detector")
	}
	for _, one := range loadPlants {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(loadedSeeds) {
				var found []Violation
				synctest.Test(t, func(*testing.T) { _, found = playLoad(seed+1, one.ports) })
				if len(found) > 0 {
					t.Logf("killed at seed %d: %s: %s", seed+1, found[0].VM, found[0].Why)
					return
				}
			}
			t.Errorf("%d seeds, and nobody noticed anything", loadedSeeds)
		})
	}
}

// playLoad plays one seed inside a synctest bubble and returns who was blamed.
// With a planted bug it ends as soon as somebody is.
func playLoad(seed uint64, plant func(host.Ports) host.Ports) (*loadedHost, []Violation) {
	h := newLoadedHost(seed)
	world := fake.New(seed, fake.Watch{}, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} }, h.story.tell)
	ports := h.bend(world.Daemon().Ports())
	if plant != nil {
		ports = plant(ports)
	}
	node, err := actors.Start(actors.Config{
		Ports: ports, Store: persistence.NewMemory(), Log: zap.NewNop(), Observer: h,
		Fatal:  func(why string) { h.story.tell("NODE the daemon ended itself: %s", why) },
		Status: func() gateway.Status { return gateway.Status{} },
	})
	if err != nil {
		return h, []Violation{{Why: err.Error()}}
	}
	for _, spec := range loadedSpecs() {
		if _, err := node.Create(context.Background(), messages.Create{Spec: spec, Start: true}); err != nil {
			return h, []Violation{{VM: spec.Name, Why: err.Error()}}
		}
	}
	time.Sleep(loadBegins)
	synctest.Wait()
	found := blamed(node)
	for at := time.Duration(0); at < loadedFor && (plant == nil || len(found) == 0); at += time.Minute {
		time.Sleep(time.Minute)
		synctest.Wait()
		found = blamed(node)
	}
	if plant == nil && len(found) == 0 {
		found = unwell(node)
	}
	if err := node.Stop(context.Background()); err != nil {
		found = append(found, Violation{Why: err.Error()})
	}
	world.PowerCut()
	time.Sleep(time.Minute)
	return h, found
}

// blamed are the VMs that were restarted.
func blamed(node *actors.Node) (out []Violation) {
	for _, r := range node.List() {
		if s := r.State; s.Phase != vm.Running || s.Incarnation != 1 || s.Crashes != 0 || s.Restarts != 0 {
			why := s.Reason
			if s.LastExit != nil {
				why = s.LastExit.Failure.Evidence
			}
			out = append(out, Violation{VM: r.Spec.Name, Why: fmt.Sprintf("%s in incarnation %d after %d crashes: %s", s.Phase, s.Incarnation, s.Crashes, why)})
		}
	}
	return out
}

// unwell are the VMs that nobody has judged healthy, although the load is over.
func unwell(node *actors.Node) (out []Violation) {
	for _, r := range node.List() {
		if s := r.State; s.Health != vm.Healthy {
			out = append(out, Violation{VM: r.Spec.Name, Why: fmt.Sprintf("the load is over, and it is %s: %s", s.Health, s.HealthWhy)})
		}
	}
	return out
}

// loadedSpecs are VMs with the default probes, and with some that leave little room.
func loadedSpecs() (out []vm.Spec) {
	every := func(c vm.Check, interval, timeout time.Duration, failures int) vm.Check {
		c.Interval, c.Timeout, c.Failures = interval, timeout, failures
		return c
	}
	agent, vmm, process := vm.Check{Type: vm.CheckAgent}, vm.Check{Type: vm.CheckVMM}, vm.Check{Type: vm.CheckProcess}
	for i := range loadedVMs {
		spec := vm.Spec{Name: vm.Name(fmt.Sprintf("vm-%02d", i))}.Filled()
		switch {
		case i == 19:
			spec.Health = []vm.Check{process, every(agent, time.Second, time.Second, 2), every(vmm, time.Second, time.Second, 2)}
		case i == 18:
			web := vm.Check{Type: vm.CheckHTTP, URL: fmt.Sprintf("http://10.0.0.%d/", i)}
			spec.Health = []vm.Check{every(agent, 2*time.Second, 500*time.Millisecond, 3), every(web, time.Second, time.Second, 3)}
		case i == 17:
			beat := vm.Check{Type: vm.CheckConsole, Healthy: "beat [0-9]+", Every: 3 * time.Second, Failures: 2}
			command := vm.Check{Type: vm.CheckExec, Command: []string{"true"}}
			spec.Health = []vm.Check{beat, every(command, 5*time.Second, time.Second, 2)}
		case i >= 10:
			spec.Health = []vm.Check{agent, vmm, process}
		}
		out = append(out, spec.Filled())
	}
	return out
}
