package actors_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// stage is one node on a fake machine, inside a synctest bubble.
type stage struct {
	t     *testing.T
	world *fake.World
	life  *fake.Daemon
	store *persistence.Memory
	node  *actors.Node
	wrap  func(host.Ports) host.Ports               // nil: the ports as they are
	keep  func(persistence.Store) persistence.Store // nil: the store as it is

	conduct   actors.Conduct
	resources actors.Resources
}

type deaf struct{}

func (deaf) Turned(actors.Turned) {}

func newStage(t *testing.T, guests func(vm.Ref) fake.Guest) *stage {
	s := &stage{t: t, store: persistence.NewMemory()}
	s.world = fake.New(1, fake.Watch{Broken: func(p, why string) { t.Errorf("%s broken: %s", p, why) }}, guests, t.Logf)
	s.boot()
	return s
}

// boot starts a daemon on the machine as it stands.
func (s *stage) boot() {
	s.t.Helper()
	s.life = s.world.Daemon()
	ports := s.life.Ports()
	if s.wrap != nil {
		ports = s.wrap(ports)
	}
	var store persistence.Store = s.store
	if s.keep != nil {
		store = s.keep(store)
	}
	node, err := actors.Start(actors.Config{
		Ports: ports, Store: store, Log: zaptest.NewLogger(s.t), Observer: deaf{}, Conduct: s.conduct, Resources: s.resources,
		Fatal:  func(why string) { s.t.Errorf("fatal: %s", why) },
		Status: func() gateway.Status { return gateway.Status{} },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.node = node
	synctest.Wait()
}

// kill is SIGKILL for the daemon, then a new one.
func (s *stage) kill() {
	s.life.Crash()
	s.end()
	s.boot()
}

// end lets the tree go and waits out the library's dead letter throttle.
func (s *stage) end() {
	if err := s.node.Stop(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
}

func (s *stage) create(name vm.Name, change func(*vm.Spec)) {
	s.t.Helper()
	spec := vm.Spec{Name: name}.Filled()
	if change != nil {
		change(&spec)
	}
	if _, err := s.node.Create(context.Background(), messages.Create{Spec: spec, Start: true}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) ask(name vm.Name, e vm.Event) error {
	_, err := s.node.Ask(context.Background(), name, messages.Ask{Event: e})
	return err
}

func (s *stage) state(name vm.Name) vm.State {
	rec, _ := s.node.Get(name)
	return rec.State
}

// after lets virtual time pass and everything come to rest.
func (s *stage) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *stage) want(name vm.Name, p vm.Phase, n vm.Incarnation) {
	s.t.Helper()
	if st := s.state(name); st.Phase != p || st.Incarnation != n {
		s.t.Fatalf("%s is %s in incarnation %d (%s), want %s in %d", name, st.Phase, st.Incarnation, st.Reason, p, n)
	}
}

func boots(after time.Duration) func(vm.Ref) fake.Guest {
	return func(vm.Ref) fake.Guest { return fake.Guest{Boot: after} }
}

func TestAKilledVMMComesBackAndIsCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", nil)
		s.after(3 * time.Second)
		s.want("web", vm.Running, 1)
		rec, _ := s.node.Get("web")
		if rec.State.Health != vm.Healthy {
			t.Fatalf("health %s", rec.State.Health)
		}
		s.world.Smite(rec.ID)
		synctest.Wait()
		if st := s.state("web"); st.Phase != vm.Backoff || len(st.Ledger) != 1 {
			t.Fatalf("after SIGKILL: %s, ledger %v, %s", st.Phase, st.Ledger, st.Reason)
		}
		s.after(5 * time.Second)
		s.want("web", vm.Running, 2)
	})
}

func TestACrashLoopIsGivenUpAndResetForgives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(r vm.Ref) fake.Guest {
			if r.Incarnation > 20 {
				return fake.Guest{Boot: time.Second}
			}
			return fake.Guest{Boot: time.Second, Crash: 2 * time.Second}
		})
		defer s.end()
		s.create("web", nil)
		s.after(20 * time.Minute)
		if st := s.state("web"); st.Phase != vm.Failed || st.Intent != vm.WantRunning {
			t.Fatalf("%s %s: %s", st.Phase, st.Intent, st.Reason)
		}
		if err := s.ask("web", vm.StartAsked); err == nil {
			t.Fatal("a given-up VM was started without a reset")
		}
		before := s.state("web").Incarnation
		if err := s.ask("web", vm.ResetAsked); err != nil {
			t.Fatal(err)
		}
		s.after(1500 * time.Millisecond)
		s.want("web", vm.Running, before+1)
	})
}

func TestADeadDaemonChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", nil)
		s.after(3 * time.Second)
		rec, _ := s.node.Get("web")
		pid := s.world.Live(rec.ID)
		s.kill()
		s.after(time.Second)
		s.want("web", vm.Running, 1)
		if now := s.world.Live(rec.ID); len(now) != 1 || now[0] != pid[0] {
			t.Fatalf("process %v became %v", pid, now)
		}
		if st := s.state("web"); st.Health != vm.Healthy {
			t.Fatalf("health %s after adoption", st.Health)
		}
	})
}

func TestStopWhileStartingNeverReachesRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(10*time.Second))
		defer s.end()
		s.create("web", nil)
		s.after(time.Second)
		s.want("web", vm.Starting, 1)
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Hour)
		s.want("web", vm.Stopped, 1)
		if rec, _ := s.node.Get("web"); s.world.Held("web") || len(s.world.Live(rec.ID)) > 0 {
			t.Fatal("a stopped VM holds something")
		}
	})
}

func TestDeleteDuringBackoffLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second, Crash: 2 * time.Second} })
		defer s.end()
		s.create("web", func(sp *vm.Spec) { sp.Restart.Delay.Initial = time.Minute })
		s.after(10 * time.Second)
		s.want("web", vm.Backoff, 1)
		if err := s.ask("web", vm.DeleteAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Hour)
		if _, there := s.node.Get("web"); there || s.world.Folder("web") {
			t.Fatal("a deleted VM is still there")
		}
		s.create("web", nil)
		s.after(500 * time.Millisecond)
		s.want("web", vm.Starting, 1)
	})
}
