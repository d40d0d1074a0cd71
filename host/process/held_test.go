package process

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/vm"
)

// cgroupsOf are the folders of cgroups of that node, by the last part of their paths.
func (w *world) cgroupsOf() []string {
	var out []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // it went while we looked
		}
		if strings.Contains(path, "/blixard/"+w.l.Identity().Public()[:nodeWord]+"/") {
			out = append(out, filepath.Base(path))
		}
		return nil
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func (w *world) wantCgroups(story string, want ...string) {
	w.T.Helper()
	if got := w.cgroupsOf(); !slices.Equal(got, want) {
		w.T.Errorf("%s: the node has the cgroups %q, want %q", story, got, want)
	}
}

// P7: a VMM that is gone holds no cgroup, whoever was there to see its end.
func TestACgroupGoesWithItsVMM(t *testing.T) {
	w := newWorld(t)
	if why := w.l.Holding().Tasks; why != "" {
		t.Skip("no cgroup can be made here: " + why)
	}
	p := w.Launch(w.Sh(1, 1, sleeps))
	const first = "vm-1.0000000000000002.1"
	w.wantCgroups("one lives", first)
	w.Restart()
	if _, err := w.L.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantCgroups("adopted", first)
	launchertest.Kill9(t, p.PID)
	w.Exit(p)
	w.wantCgroups("it died")

	orphan := w.Orphans(w.Sh(2, 3, sleeps))[0]
	if err := w.L.Close(); err != nil {
		t.Fatal(err)
	}
	launchertest.Kill9(t, orphan.PID)
	w.wantCgroups("it died while no daemon looked", "vm-2.0000000000000003.3")
	for alive := true; alive; { // its parent is PID 1 of this machine
		alive = launchertest.Alive(orphan)
	}
	w.L = w.Open()
	if _, err := w.L.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantCgroups("a daemon looks again")
}

// P8: what is in a cgroup of ours but is no VMM's stays, and so does a folder of
// any other name.
func TestAKillEndsWhatAVMMLeftInItsCgroupAndNothingElse(t *testing.T) {
	w := newWorld(t)
	if why := w.l.Holding().Tasks; why != "" {
		t.Skip("no cgroup can be made here: " + why)
	}
	bystander := w.Launch(w.Sh(1, 1, sleeps))
	left := w.Sh(2, 1, "sleep 600 & exit 0")
	p := w.Launch(left)
	w.Exit(p)
	w.wantCgroups("it left a child", "vm-1.0000000000000002.1", "vm-2.0000000000000003.1")
	again := left.Ref
	again.VM = vm.ID("00000000000000ff") // a later VM of that name
	if err := w.L.Kill(t.Context(), again, nil); err != nil {
		t.Fatal(err)
	}
	w.wantCgroups("another VM of its name was killed", "vm-1.0000000000000002.1", "vm-2.0000000000000003.1")
	if err := w.L.Kill(t.Context(), left.Ref, &p); err != nil {
		t.Fatal(err)
	}
	w.wantCgroups("it was killed", "vm-1.0000000000000002.1")
	if !launchertest.Alive(bystander) {
		t.Error("P8: its neighbour died")
	}
}

// A VMM that the kernel killed for want of memory while no daemon ran is told so.
func TestAnEndForWantOfMemoryIsKeptByItsCgroup(t *testing.T) {
	w := newWorld(t)
	if why := w.l.Holding().Memory; why != "" {
		t.Skip("this machine doesn't limit memory: " + why)
	}
	when := filepath.Join(w.Dir, "when")
	orphan := w.Orphans(w.Leak(1, 32*vm.MiB, when))[0]
	if err := w.L.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(when, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); launchertest.Alive(orphan); {
		if time.Now().After(deadline) {
			t.Fatal("it lives")
		}
	}
	w.L = w.Open()
	if _, err := w.L.List(t.Context()); err != nil { // which sweeps
		t.Fatal(err)
	}
	e, err := w.L.Verdict(t.Context(), w.Ref(1, 1), &orphan)
	if err != nil || e.OOM == nil || e.OOM.Limit != 32*vm.MiB || e.OOM.Host {
		t.Errorf("told %+v, %v", e, err)
	}
	if err := w.L.Kill(t.Context(), w.Ref(1, 1), &orphan); err != nil {
		t.Fatal(err)
	}
	w.wantCgroups("P7: it is made up for")
}
