package chaos

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// Boots under TCG share two cores with other scenarios: bounds are generous,
// and nothing waits for them when all goes well.
const (
	boot = 90 * time.Second
	soon = time.Minute
)

// world is one node under test, with the scenario's context.
type world struct {
	*node.Node
	ward
}

// empty makes a node that nobody started yet.
func empty(t *testing.T, o node.Options) *world {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("QEMU is not installed: make setup")
	}
	n, err := node.New(o)
	if errors.Is(err, node.ErrNoBinary) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	w := &world{Node: n, ward: ward{node: n.Client, t: t, ctx: ctx}}
	t.Cleanup(func() {
		cancel()
		if err := n.Close(); err != nil {
			t.Errorf("ending the node: %v", err)
		}
	})
	return w
}

// begin starts a node; at the scenario's end everything is deleted, and nothing may be left.
func begin(t *testing.T, o node.Options) *world {
	t.Helper()
	w := empty(t, o)
	w.start()
	t.Cleanup(w.leave)
	return w
}

func (w *world) start() {
	w.t.Helper()
	if err := w.Start(w.ctx); err != nil {
		w.t.Fatalf("starting the daemon: %v", err)
	}
}

// leave deletes every VM and looks for what is left; after a failure, also of
// its own, it tells the story.
func (w *world) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the story:\n%s\nthe daemon wrote:\n%s", w.Story(ctx), w.LogTail(4000))
		}
	}()
	if w.t.Failed() || w.PID() == 0 {
		return
	}
	vms, err := w.List(ctx)
	w.must(err)
	for _, vm := range vms {
		_, err := w.DeleteOf(ctx, vm.GetName())
		w.must(err)
	}
	for _, vm := range vms {
		w.must(w.Removed(ctx, vm.GetName(), soon))
	}
	for _, leak := range w.Leaks() {
		w.t.Errorf("left behind: %s", leak)
	}
	code, err := w.Terminate(soon)
	if err != nil || code != 0 {
		w.t.Errorf("SIGTERM: exit code %d, %v; want 0", code, err)
	}
}

func (w *world) pvh(name string) *v1.VMSpec {
	w.t.Helper()
	spec, err := w.PVH(name)
	w.must(err)
	return spec
}

// strike kills the VMM with SIGKILL, as the machine might.
func (w *world) strike(vm *v1.VM) {
	w.t.Helper()
	p, err := w.VMM(int(vm.GetPid()))
	w.must(err)
	w.must(p.Kill())
}

// same fails unless it is the very guest, with no death more, and healthy: at
// the latest in its next rounds, as one of a busy machine may have come late.
func (w *world) same(was *v1.VM, what string) {
	w.t.Helper()
	is, err := w.node.Wait(w.ctx, was.GetName(), node.Goal{Phase: "running", Health: "healthy", Within: soon})
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
		is, err = w.Get(w.ctx, was.GetName())
		w.must(err)
	}
	if is.GetPid() != was.GetPid() || is.GetIncarnation() != was.GetIncarnation() || is.GetCrashes() != was.GetCrashes() || is.GetHealth() != "healthy" {
		w.t.Errorf("%s: %s was pid %d, incarnation %d, %d crashes; is pid %d, incarnation %d, %d crashes, %s, %s (%s %s)", what, was.GetName(),
			was.GetPid(), was.GetIncarnation(), was.GetCrashes(), is.GetPid(), is.GetIncarnation(), is.GetCrashes(),
			is.GetPhase(), is.GetHealth(), is.GetReason(), is.GetHealthWhy())
	}
}

// only fails unless exactly these pids are VMMs of the node (P1, P6).
func (w *world) only(pids ...int32) {
	w.t.Helper()
	want := map[int]bool{}
	for _, pid := range pids {
		want[int(pid)] = true
	}
	for _, p := range w.VMMs() {
		if !want[p.PID] {
			w.t.Errorf("VMM %d should not live: %.120q", p.PID, p.Argv)
		}
		delete(want, p.PID)
	}
	for pid := range want {
		w.t.Errorf("VMM %d should live", pid)
	}
}

// ctl runs the CLI and fails unless it exits with the code.
func (w *world) ctl(code int, args ...string) node.Result {
	w.t.Helper()
	r, err := w.CLI(w.ctx, args...)
	w.must(err)
	if r.Code != code {
		w.t.Fatalf("blixard %v: want exit code %d, got %v", args, code, r)
	}
	return r
}
