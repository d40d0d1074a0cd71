package actors_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

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
		if seen.most() > 4 { // twice the processors of the fake machine
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
