package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// site is a daemon as a service of a machine with a systemd of its own.
type site struct {
	*node.Service
	ward
	foreign []string // links that somebody else made
}

// allScenarios says whether the long scenarios run too (make chaos), or only those that CI has time for.
func allScenarios() bool { return os.Getenv("BLIXARD_CHAOS") == "all" }

// underLaunchers plays a scenario with VMMs that systemd launches; in make chaos
// also with those that a daemon under systemd launches by itself.
func underLaunchers(t *testing.T, play func(t *testing.T, o node.Options)) {
	t.Helper()
	launchers := []string{"systemd"}
	if allScenarios() {
		launchers = append(launchers, "process")
	}
	for _, launcher := range launchers {
		t.Run(launcher, func(t *testing.T) {
			t.Parallel()
			play(t, node.Options{Launcher: launcher})
		})
	}
}

// settle switches a machine on; at the scenario's end every VM is deleted,
// nothing may be left inside, and then the machine goes.
func settle(t *testing.T, o node.Options) *site {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("QEMU is not installed: make setup")
	}
	n, err := node.NewService(o)
	if errors.Is(err, node.ErrNoBinary) || errors.Is(err, node.ErrNoMachine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	s := &site{Service: n, ward: ward{node: n.Client, t: t, ctx: ctx}}
	t.Cleanup(func() {
		cancel()
		if err := n.Close(); err != nil {
			t.Errorf("ending the machine: %v", err)
		}
	})
	t.Cleanup(s.leave)
	s.must(n.Boot(ctx))
	return s
}

// leave deletes every VM and looks for what is left; after a failure it tells the story instead.
func (s *site) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if s.t.Failed() || !s.On() {
		s.tell(ctx)
		return
	}
	vms, err := s.List(ctx)
	s.must(err)
	for _, vm := range vms {
		_, err := s.DeleteOf(ctx, vm.GetName())
		s.must(err)
	}
	for _, vm := range vms {
		s.must(s.Removed(ctx, vm.GetName(), soon))
	}
	for _, leak := range s.Leaks(ctx, s.foreign...) {
		s.t.Errorf("left behind: %s", leak)
	}
	s.shrinks(ctx)
	if s.t.Failed() {
		s.tell(ctx)
	}
}

// tell shows what a person would look at.
func (s *site) tell(ctx context.Context) {
	if s.On() {
		short, cancel := context.WithTimeout(ctx, 10*time.Second) // the daemon may not answer
		s.t.Logf("the story:\n%s", s.Story(short))
		cancel()
	}
	s.t.Logf("the journal:\n%s", s.Journal(ctx, "blixard*"))
}

// spare is how many goroutines and descriptors a daemon without VMs may hold
// more than when it had never had one: what it made at a first use.
const spare = 12

// shrinks fails unless the daemon lets go of what it held for its VMs.
func (s *site) shrinks(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(soon)
	for {
		goroutines, fds, err := s.Growth(ctx)
		s.must(err)
		if goroutines <= spare && fds <= spare {
			s.t.Logf("at the end: %+d goroutines, %+d descriptors", goroutines, fds)
			return
		}
		select {
		case <-deadline:
			s.t.Errorf("without a VM, the daemon holds %d goroutines and %d descriptors more than at first", goroutines, fds)
			return
		case <-tick.C:
		}
	}
}

// strike kills the VMM with SIGKILL, as the machine might.
func (s *site) strike(vm *v1.VM) {
	s.t.Helper()
	p, err := s.VMM(int(vm.GetPid()))
	s.must(err)
	s.must(p.Kill())
}

// only fails unless exactly these pids are VMMs of the node (P1, P6).
func (s *site) only(pids ...int32) {
	s.t.Helper()
	var got []int32
	for _, p := range s.VMMs() {
		got = append(got, int32(p.Inside))
	}
	slices.Sort(got)
	slices.Sort(pids)
	if !slices.Equal(got, pids) {
		s.t.Errorf("want the VMMs %v to live, found %v", pids, got)
	}
}

// crew makes VMs of the small kernel and waits until all are up.
func (s *site) crew(prefix string, count int) []*v1.VM {
	s.t.Helper()
	var out []*v1.VM
	for i := range count {
		spec := s.PVH(fmt.Sprintf("%s-%d", prefix, i))
		spec.Restart = node.Impatient(90)
		out = append(out, s.up(spec))
	}
	return out
}

// undisturbed fails unless the VMs run on as they were: same process, same incarnation, wanted up.
func (s *site) undisturbed(what string, before ...*v1.VM) {
	s.t.Helper()
	for _, was := range before {
		is := s.healthy(was.GetName(), 0)
		if is.GetPid() != was.GetPid() || is.GetIncarnation() != was.GetIncarnation() || is.GetIntent() != "running" {
			s.t.Errorf("%s: %s was pid %d, incarnation %d and is pid %d, incarnation %d, intent %s", what, was.GetName(),
				was.GetPid(), was.GetIncarnation(), is.GetPid(), is.GetIncarnation(), is.GetIntent())
		}
	}
}

// heals kills the VMM, and returns the next incarnation once it is up and well.
func (s *site) heals(name string) *v1.VM {
	s.t.Helper()
	was, err := s.Get(s.ctx, name)
	s.must(err)
	s.strike(was)
	return s.next(was)
}

// step is a part of a scenario, whose failure ends the scenario.
func (s *site) step(what string, do func(s *site)) {
	s.t.Helper()
	if !s.t.Run(what, func(t *testing.T) {
		part := *s
		part.t = t
		do(&part)
		s.foreign = part.foreign
	}) {
		s.t.FailNow()
	}
}
