package process

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/vm"
)

// limiting is a world whose launcher can hold that limit; else the test is skipped.
func limiting(t *testing.T, which func(vm.Holding) string) *world {
	t.Helper()
	w := newWorld(t)
	if why := which(w.l.Holding()); why != "" {
		t.Skip("this machine doesn't hold the limit: " + why)
	}
	return w
}

// groupsOf are the cgroups that a process is in and that are named like its VM.
func groupsOf(t *testing.T, p vm.Process) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "/blixard/") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// leak is a VMM that takes memory without end, 1 MiB at a time.
func (w *world) leak(i int, limit vm.Bytes) host.Command {
	c := w.Sh(i, 1, `x=$(head -c 1048576 /dev/zero | tr '\0' a); echo begins >&2; while :; do x="$x$x"; done`)
	c.Limits.Memory = limit
	return c
}

func TestAVMMThatLeaksDiesOfItsOwnLimit(t *testing.T) {
	w := limiting(t, func(h vm.Holding) string { return h.Memory })
	neighbour := w.Launch(w.Sh(1, 1, sleeps))
	p := w.Launch(w.leak(2, 32*vm.MiB))
	t.Logf("it is in %q", groupsOf(t, p))
	e := w.Exit(p)
	if e.Signal != 9 || e.OOM == nil {
		t.Fatalf("it ended with %+v", e)
	}
	if o := *e.OOM; o.Limit != 32*vm.MiB || o.Usage < 31*vm.MiB || o.Usage > 32*vm.MiB || o.Host || !strings.Contains(o.Victim, fmt.Sprint(p.PID)) {
		t.Errorf("attributed as %+v", o)
	}
	if !launchertest.Alive(neighbour) {
		t.Error("its neighbour died with it")
	}
}
