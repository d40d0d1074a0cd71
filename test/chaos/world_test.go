package chaos

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// Boots under TCG share two cores with other scenarios: bounds are generous,
// and nothing waits for them when all goes well.
const (
	boot = 90 * time.Second
	soon = 20 * time.Second
)

// world is one node under test, with the scenario's context.
type world struct {
	*node.Node
	t   *testing.T
	ctx context.Context //nolint:containedctx // lives as long as the scenario
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
	w := &world{Node: n, t: t, ctx: ctx}
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

// leave deletes every VM and looks for what is left; after a failure it tells the story instead.
func (w *world) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if w.t.Failed() {
		w.t.Logf("the story:\n%s\nthe daemon wrote:\n%s", w.Story(ctx), w.LogTail(4000))
		return
	}
	if w.PID() == 0 {
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
	code, err := w.Terminate(2 * time.Second)
	if err != nil || code != 0 {
		w.t.Errorf("SIGTERM: exit code %d, %v; want 0 within 2 s", code, err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// up creates and starts the VM and waits until it is running, and healthy where it has a check.
func (w *world) up(spec *v1.VMSpec) *v1.VM {
	w.t.Helper()
	_, err := w.Create(w.ctx, spec, true)
	w.must(err)
	return w.healthy(spec.GetName(), 0)
}

func (w *world) healthy(name string, after uint64) *v1.VM {
	w.t.Helper()
	vm, err := w.Wait(w.ctx, name, node.Goal{Phase: "running", Health: "healthy", After: after, Within: boot})
	w.must(err)
	return vm
}

func (w *world) reaches(name, phase string, within time.Duration) *v1.VM {
	w.t.Helper()
	vm, err := w.Wait(w.ctx, name, node.Goal{Phase: phase, Within: within})
	w.must(err)
	return vm
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

// event waits for the first event of the journal that matches.
func (w *world) event(what string, within time.Duration, match func(*v1.Event) bool) *v1.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, within)
	defer cancel()
	var found *v1.Event
	err := w.Watch(ctx, 0, true, func(e *v1.Event) bool {
		if match(e) {
			found = e
		}
		return found == nil
	})
	if found == nil {
		w.t.Fatalf("no event within %v: %s (%v)", within, what, err)
	}
	return found
}

// ended waits until an incarnation of the VM has ended, and returns the event that tells why.
func (w *world) ended(name string, within time.Duration) *v1.Event {
	w.t.Helper()
	return w.event("the end of "+name, within, func(e *v1.Event) bool { return e.GetVm() == name && e.GetCause() != "" })
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

// refused fails unless the error is a refusal of that code, and returns its sentence.
func (w *world) refused(err error, code string) string {
	w.t.Helper()
	r := node.Refusal(err)
	if r == nil || r.GetCode() != code {
		w.t.Fatalf("want a refusal %q, got %v", code, err)
	}
	return r.GetWhy()
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

// oneLine fails unless a person gets one clear line.
func (w *world) oneLine(text string) {
	w.t.Helper()
	text = strings.TrimSpace(text)
	if text == "" || strings.Contains(text, "goroutine ") || strings.Count(text, "\n") > 0 {
		w.t.Errorf("want one clear line, got:\n%s", text)
	}
}
