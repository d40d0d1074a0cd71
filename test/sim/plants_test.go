package sim

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// planted is a bug with the checker that has to notice it.
type planted struct {
	name, checker string
	plant         Plant
}

// plants are bugs, each with the checker that has to notice it: one that
// nobody notices is a missing checker.
var plants = []planted{
	{"an adoption that finds nothing begins anew", "checkP1", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Launcher = blindLauncher{p.Launcher}
		return p
	}}},
	{"a launch before its record is on disk", "checkP2", Plant{Store: func(_ *stage, st persistence.Store) persistence.Store {
		return lazyStore{st}
	}}},
	{"an answer before the sync", "checkP3", Plant{Cut: cutUnsynced}},
	{"an exit that nobody hears", "checkP4", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Launcher, p.Driver = deafLauncher{p.Launcher, &sync.Map{}}, deafDriver{p.Driver}
		return p
	}}},
	{"a stop that a daemon's restart forgets", "checkP5", Plant{Booted: startAll}},
	{"a session whose end ends the guest", "checkP6", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Driver = killingDriver{p.Driver}
		return p
	}}},
	{"a release that says done and does nothing", "checkP7", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Folders = keepingFolders{p.Folders}
		return p
	}}},
	{"a kill by name, a moment late", "checkP8", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Launcher = lateKiller{p.Launcher}
		return p
	}}},
	{"timers that never ring", "checkP9", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Clock = mutedClock{p.Clock}
		return p
	}}},
	{"a ledger that a daemon's restart forgets", "checkP10", Plant{Store: func(_ *stage, st persistence.Store) persistence.Store {
		return forgivingStore{st}
	}}},
	{"status that waits for the actors", "checkP11", Plant{Look: lookByAsking}},
	{"a machine that tells of twice what it has", "checkP12", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Machine = boastfulMachine{p.Machine}
		return p
	}}},
	{"a deleted socket that passes for a VMM that hangs", "checkDeaf", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Driver = hungDriver{p.Driver}
		return p
	}}},
	{"reservations that a daemon's restart forgets", "checkP12", loads(func(r *vm.Record) { r.Reservation = vm.Reservation{} })},
	{"a new spec that is written without what it holds", "checkP12", writes(func(t *persistence.Turn) {
		if t.Entry.Kind == vm.SpecAsked.String() {
			t.Record.Reservation.Memory /= 2
		}
	})},
	{"a smaller spec that forgets what runs", "checkP12", writes(func(t *persistence.Turn) { t.Record.State.Runs = nil })},
	{"room that is given back before the record is gone", "checkP12", Plant{Store: func(_ *stage, st persistence.Store) persistence.Store {
		return hastyStore{st}
	}}},
	{"one broken record keeps the daemon down", "checkP13", Plant{Store: func(_ *stage, st persistence.Store) persistence.Store {
		return strictStore{st}
	}}},
	{"a ladder for VMs that never asked for one", "checkReclaim", loads(func(r *vm.Record) { r.Spec.Reclaim = wholeLadder })},
	{"a person's pause that counts as the node's own", "checkReclaim", loads(func(r *vm.Record) { r.State.Reclaimed = r.State.Phase == vm.Paused })},
	{"a boot that forgets who was asked down", "checkP5", loads(func(r *vm.Record) { r.State.AskedDown = false })},
	{"a shutdown that is written as a person's stop", "checkP5", Plant{End: stopAll}},
	{"a shutdown that says done at once", "checkShutdown", Plant{End: func(s *stage) { s.checkShutdown(nil) }}},
	{"last health that a daemon's restart forgets", "checkP10", loads(func(r *vm.Record) { r.State.LastHealth = vm.HealthUnknown })},
	{"a queue that a daemon's restart loses", "checkBootstrap", loads(func(r *vm.Record) { r.State.Queued = false })},
	{"a bootstrap that ignores who depends on whom", "checkBootstrap", loads(func(r *vm.Record) { r.Spec.Autostart.DependsOn = nil })},
	{"a bootstrap without a pace", "checkBootstrap", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Machine = hugeMachine{p.Machine}
		return p
	}}},
	{"every start of the daemon is taken for a boot", "checkBootstrap", Plant{Store: func(_ *stage, st persistence.Store) persistence.Store {
		return bootlessStore{st}
	}}},
	{"a new spec that a daemon's restart forgets", "checkP7", Plant{Booted: renewAll, Store: loads(func(r *vm.Record) {
		r.State.Pending, r.Spec.Restart.Delays = false, []time.Duration{0} // seldom enough as it is
	}).Store}},
	{"an end that is told of the living", "checkP1", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Launcher = hastyLauncher{p.Launcher}
		return p
	}}},
	{"a guest that a full disk halted is forgotten", "checkP4", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Machine = fullMachine{p.Machine}
		return p
	}}},
	{"a saved guest that is remembered after it ran on", "checkP17", Plant{
		Store: func(_ *stage, st persistence.Store) persistence.Store {
			return longStore{st, &sync.Mutex{}, map[vm.ID]*vm.SavedState{}}
		},
		Ports: func(_ *stage, p host.Ports) host.Ports {
			p.Folders = hoardingFolders{p.Folders}
			return p
		},
	}},
	{"a saved guest that runs on before that is written", "checkP17", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Driver = hastyDriver{p.Driver}
		return p
	}}},
	{"a loaded guest that nobody lets go on", "checkP17", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Driver, p.Agent = stillDriver{p.Driver}, answeringAgent{p.Agent}
		return p
	}}},
	{"a saved guest that is removed with the others", "checkP17", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Folders = sweepingFolders{p.Folders}
		return p
	}}},
	{"a host whose stalls nobody sees", "checkP16", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Meter = deafMeter{p.Meter}
		return p
	}}},
	{"what checks have counted is forgotten by a daemon's restart", "checkP10", loads(func(r *vm.Record) { r.State.Probes = nil })},
	{"a check that counts backwards", "checkP10", writes(func(t *persistence.Turn) {
		for i, p := range t.Record.State.Probes {
			t.Record.State.Probes = slices.Clone(t.Record.State.Probes)
			t.Record.State.Probes[i].Streak = map[int]int{-1: -2, -2: -1}[p.Streak]
		}
	})},
	{"a tap that is left behind at rest", "checkP7", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Links = keptLinks{p.Links}
		return p
	}}},
}

// loads plants a daemon that reads its records wrongly.
func loads(wrong func(*vm.Record)) Plant {
	return Plant{Store: func(_ *stage, st persistence.Store) persistence.Store { return wrongStore{st, wrong} }}
}

type wrongStore struct {
	persistence.Store
	wrong func(*vm.Record)
}

func (s wrongStore) Load() ([]vm.Record, []persistence.Broken, error) {
	records, broken, err := s.Store.Load()
	for i := range records {
		s.wrong(&records[i])
	}
	return records, broken, err
}

// stopAll stops each VM as a person would.
func stopAll(s *stage) {
	for _, r := range s.node.List() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, _ = s.node.Ask(ctx, r.Spec.Name, messages.Ask{Event: vm.StopAsked})
		cancel()
	}
}

// renewAll gives each VM another spec to be launched with, as apply would.
func renewAll(s *stage) {
	for _, r := range s.node.List() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		r.Spec.Stop.Timeout += time.Second
		_, _ = s.node.Ask(ctx, r.Spec.Name, messages.Ask{Event: vm.SpecAsked, Spec: &r.Spec})
		cancel()
	}
}

// hugeMachine has so many processors that everything may start at once.
type hugeMachine struct{ host.Machine }

func (hugeMachine) Cores() int { return 1000 }

// boastfulMachine has twice as much of everything.
type boastfulMachine struct{ host.Machine }

func (m boastfulMachine) Capacity() (has vm.Capacity, held vm.Bytes, err error) {
	has, held, err = m.Machine.Capacity()
	return vm.Capacity{CPUs: 2 * has.CPUs, Memory: 2 * has.Memory, Disk: 2 * has.Disk}, held, err
}

type alteredStore struct {
	persistence.Store
	alter func(*persistence.Turn)
}

func (s alteredStore) Commit(t persistence.Turn) (uint64, error) {
	s.alter(&t)
	return s.Store.Commit(t)
}

func writes(alter func(*persistence.Turn)) Plant {
	return Plant{Store: func(_ *stage, st persistence.Store) persistence.Store { return alteredStore{st, alter} }}
}

// hastyStore removes records a minute after it has said so.
type hastyStore struct{ persistence.Store }

func (s hastyStore) Commit(t persistence.Turn) (uint64, error) {
	if !t.Removed {
		return s.Store.Commit(t)
	}
	time.AfterFunc(time.Minute, func() { _, _ = s.Store.Commit(t) })
	return 1, nil
}

// bootlessStore forgets in which boot a daemon ran last.
type bootlessStore struct{ persistence.Store }

func (s bootlessStore) Meta(key string) ([]byte, error) {
	if key == "boot" {
		return nil, nil
	}
	return s.Store.Meta(key)
}

// keptLinks removes no tap, and hides them all from whoever compares.
type keptLinks struct{ host.Links }

func (keptLinks) Release(context.Context, vm.Ref, []vm.Network) error { return nil }

func (keptLinks) List(context.Context) ([]vm.FoundLink, error) { return nil, nil }

// patienceWithPlants is how many seeds a planted bug may survive.
const patienceWithPlants = 80

func TestPlantedBugs(t *testing.T) {
	for _, one := range slices.Concat(plants, goodPlants) {
		t.Run(one.checker+" "+one.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(patienceWithPlants) {
				var found []Violation
				synctest.Test(t, func(*testing.T) { found, _ = run(seed+1, one.plant, zap.NewNop()) })
				if slices.ContainsFunc(found, func(v Violation) bool { return v.Checker == one.checker }) {
					t.Logf("%s: killed by %s at seed %d", one.name, one.checker, seed+1)
					return
				}
			}
			t.Errorf("%s: %d seeds, and %s noticed nothing", one.name, patienceWithPlants, one.checker)
		})
	}
}

var wholeLadder = vm.Spec{Reclaim: vm.Reclaim{Steps: []vm.ReclaimStep{
	{Do: vm.ReclaimBalloon, After: time.Minute}, {Do: vm.ReclaimPause, After: time.Minute}, {Do: vm.ReclaimSuspend, After: 2 * time.Minute},
}}}.Filled().Reclaim

type blindLauncher struct{ host.Launcher }

func (blindLauncher) Find(context.Context, vm.Ref, *vm.Process) (vm.Process, error) {
	return vm.Process{}, host.Fail(host.Gone, "find", errors.New("planted"))
}

// lazyStore answers at once and writes a second later.
type lazyStore struct{ persistence.Store }

func (l lazyStore) Commit(t persistence.Turn) (uint64, error) {
	time.AfterFunc(time.Second, func() { _, _ = l.Store.Commit(t) })
	return 1, nil
}

// cutUnsynced takes the newest crash history of every VM from what a power cut
// leaves: its last turn was answered and never synced.
func cutUnsynced(s *stage, m *persistence.Memory) *persistence.Memory {
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	for id, r := range s.judge.turns {
		if _, there := s.judge.durable[id]; there && r.ID == id {
			_, _ = m.Commit(persistence.Turn{Record: r})
		}
	}
	return m
}

// deafLauncher hears of no end, and lists the dead among the living.
type deafLauncher struct {
	host.Launcher
	ever *sync.Map
}

func (l deafLauncher) Launch(ctx context.Context, c host.Command) (vm.Process, error) {
	p, err := l.Launcher.Launch(ctx, c)
	l.ever.Store(c.Ref, p)
	return p, err
}

func (l deafLauncher) List(context.Context) ([]vm.FoundVMM, error) {
	var out []vm.FoundVMM
	l.ever.Range(func(ref, p any) bool {
		out = append(out, vm.FoundVMM{Ref: ref.(vm.Ref), Process: p.(vm.Process)})
		return true
	})
	return out, nil
}

func (deafLauncher) Watch(vm.Process, func(vm.Exit)) func() { return func() {} }

// hastyLauncher tells after a minute that a VMM ended, whatever it does.
type hastyLauncher struct{ host.Launcher }

func (l hastyLauncher) Watch(p vm.Process, ended func(vm.Exit)) func() {
	cancel := l.Launcher.Watch(p, ended)
	hasty := time.AfterFunc(time.Minute, func() { ended(vm.Exit{Known: true, Signal: 9}) })
	return func() {
		hasty.Stop()
		cancel()
	}
}

type deafDriver struct{ host.Driver }

func (d deafDriver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, _ func(host.Notice)) (host.Session, error) {
	return d.Driver.Attach(ctx, spec, f, func(host.Notice) {})
}

// startAll is autostart at each start of the daemon, whatever was asked before.
func startAll(s *stage) {
	for _, r := range s.node.List() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, _ = s.node.Ask(ctx, r.Spec.Name, messages.Ask{Event: vm.StartAsked})
		cancel()
	}
}

type killingDriver struct{ host.Driver }

func (d killingDriver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	s, err := d.Driver.Attach(ctx, spec, f, notice)
	return killingSession{s}, err
}

type killingSession struct{ host.Session }

func (s killingSession) Close() {
	_ = s.Quit(context.Background())
	s.Session.Close()
}

type keepingFolders struct{ host.Folders }

func (keepingFolders) Release(context.Context, vm.Ref) error { return nil }

// lateKiller kills whatever the VM runs, ten seconds after it was asked to.
type lateKiller struct{ host.Launcher }

func (l lateKiller) Kill(ctx context.Context, ref vm.Ref, hint *vm.Process) error {
	late := context.WithoutCancel(ctx)
	time.AfterFunc(10*time.Second, func() {
		found, _ := l.List(late)
		for _, f := range found {
			if f.Ref.VM == ref.VM && f.Ref.Incarnation != ref.Incarnation {
				_ = l.Launcher.Kill(late, f.Ref, nil)
			}
		}
	})
	return l.Launcher.Kill(ctx, ref, hint)
}

// mutedClock forgets every timer of a second or more.
type mutedClock struct{ host.Clock }

func (c mutedClock) After(d time.Duration, f func()) func() {
	if d < time.Second {
		return c.Clock.After(d, f)
	}
	return func() {}
}

type forgivingStore struct{ persistence.Store }

func (s forgivingStore) Load() ([]vm.Record, []persistence.Broken, error) {
	records, broken, err := s.Store.Load()
	for i := range records {
		records[i].State.Ledger, records[i].State.Tries = nil, 0
	}
	return records, broken, err
}
