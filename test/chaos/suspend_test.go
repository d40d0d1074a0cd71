package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// inside runs a command in the guest.
func (w *ward) inside(name string, argv ...string) string {
	w.t.Helper()
	out, err := w.node.Inside(w.ctx, name, argv...)
	w.must(err)
	return strings.TrimSpace(out)
}

// life is what a guest knows of its boot: a new one has another.
func (w *ward) life(name string) string {
	w.t.Helper()
	return w.inside(name, "cat", "/proc/sys/kernel/random/boot_id")
}

func (w *ward) suspend(name string) *v1.VM {
	w.t.Helper()
	_, err := w.node.SuspendOf(w.ctx, name)
	w.must(err)
	return w.reaches(name, "suspended", boot)
}

func (w *ward) resume(name string) *v1.VM {
	w.t.Helper()
	vm, err := w.node.ResumeOf(w.ctx, name)
	w.must(err)
	return w.healthy(name, vm.GetRevision())
}

func states(root string) []string {
	found, err := filepath.Glob(filepath.Join(root, "vms", "*", "saved-*"))
	if err != nil {
		panic(err) // the pattern is ours
	}
	return found
}

// A suspended guest goes on where it was, with a clock that is right, and holds
// nothing meanwhile; its file is gone once it runs.
func TestASuspendedGuestGoesOn(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.up(node.Builtin("web", ""))
	was := w.life("web")
	for range 2 { // what was resumed can be suspended again
		vm := w.suspend("web")
		w.only()
		if vm.GetIntent() != "suspended" || vm.GetPid() != 0 || vm.GetReservation().GetMemoryBytes() == 0 {
			t.Errorf("want it down, wanted suspended, and its reservation held: %v", vm)
		}
		if left := states(w.State); len(left) != 1 || !strings.HasSuffix(left[0], ".state") {
			t.Errorf("want one whole file, got %v", left)
		}
		w.must(w.Kill()) // it stays as it is over lives of the daemon
		w.start()
		w.reaches("web", "suspended", soon)
		next := w.resume("web")
		if is := w.life("web"); is != was {
			t.Fatalf("the guest booted: %s became %s", was, is)
		}
		if next.GetIncarnation() != vm.GetIncarnation()+1 || next.GetCrashes() != 0 || next.GetRestarts().GetInWindow() != 0 {
			t.Errorf("want the next incarnation and no crash: %v", next)
		}
		w.only(next.GetPid())
		w.eventually("the saved guest to be removed", soon, func() bool { return len(states(w.State)) == 0 })
	}
	w.eventually("the guest's clock to be right", soon, func() bool {
		now, err := time.Parse(time.RFC3339Nano, w.inside("web", "date"))
		w.must(err)
		return time.Since(now).Abs() < 2*time.Second
	})
	w.noCrash("web")
}

func (w *world) noCrash(name string) {
	w.t.Helper()
	crashes, err := w.Crashes(w.ctx, name)
	w.must(err)
	if len(crashes) != 0 {
		w.t.Errorf("%s has crashes on record: %v", name, crashes)
	}
}

// What can't be loaded boots afresh, says why, and is charged for nothing.
func TestWhatCannotBeLoadedBootsAfresh(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	for _, one := range []struct {
		name, why string
		spoil     func(file string) error
	}{
		{"gone", "does not exist", os.Remove},
		{"short", "isn't what was written", func(f string) error { return os.Truncate(f, 1<<20) }},
		{"bent", "isn't what was written", func(f string) error {
			file, err := os.OpenFile(f, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = file.WriteAt([]byte("bent"), 5<<20)
			return err
		}},
	} {
		w.up(node.Builtin(one.name, ""))
		was := w.life(one.name)
		w.suspend(one.name)
		files, err := filepath.Glob(filepath.Join(w.State, "vms", one.name, "saved-*"))
		w.must(err)
		for _, f := range files {
			w.must(one.spoil(f))
		}
		vm := w.resume(one.name)
		if w.life(one.name) == was {
			t.Errorf("%s: what was spoilt was loaded", one.name)
		}
		exit := vm.GetLastExit()
		if exit.GetCause() != "saved-state" || exit.GetCharged() || !strings.Contains(exit.GetEvidence(), one.why) {
			t.Errorf("%s: want the reason, not charged, got %v", one.name, exit)
		}
		_, err = w.StopOf(w.ctx, one.name, true)
		w.must(err)
	}
}

// A spec that would cost a saved guest its memory is refused, and so is a
// suspension into a spec that it could not be loaded with.
func TestNoSpecLosesASavedGuest(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.up(node.Builtin("grown", ""))
	was := w.life("grown")
	w.suspend("grown")
	spec := node.Builtin("grown", "")
	spec.MemoryBytes = 160 << 20
	larger := connect.NewRequest(&v1.ApplyRequest{Spec: spec})
	if _, err := w.Apply(w.ctx, larger); node.Refusal(err) == nil {
		t.Fatalf("more memory for a suspended guest: %v", err)
	}
	w.resume("grown")
	if w.life("grown") != was {
		t.Error("the guest that was suspended is not the one that runs")
	}
	_, err := w.Apply(w.ctx, larger)
	w.must(err)
	if _, err := w.SuspendVM(w.ctx, connect.NewRequest(&v1.SuspendVMRequest{Name: "grown"})); node.Refusal(err) == nil {
		t.Errorf("suspended into a spec that it can't be loaded with: %v", err)
	}
	w.healthy("grown", 0)
}

// Force gives the saved memory up; a plain stop refuses to.
func TestStopByForceDropsASavedGuest(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.up(node.Builtin("web", ""))
	w.suspend("web")
	_, err := w.StopOf(w.ctx, "web", false)
	w.refused(err, "wrong-phase")
	_, err = w.StopOf(w.ctx, "web", true)
	w.must(err)
	w.reaches("web", "stopped", soon)
	w.eventually("the saved guest to be removed", soon, func() bool { return len(states(w.State)) == 0 })
}

// The daemon dies while a guest is being saved, and while it is loaded: in the
// end it is suspended, or runs, and it is the guest that it was.
func TestDaemonMayDieWhileAGuestIsSavedOrLoaded(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{Args: []string{"--enable-faults"}})
	name := "web"
	w.up(node.Builtin(name, ""))
	was := w.life(name)
	for _, phase := range []string{"suspending", "killing", "reaping", "suspended"} {
		for _, when := range []string{"before", "written"} {
			w.dies(when+":"+phase+":"+name, func() error {
				w.reaches(name, "running", boot) // it is adopted first
				_, err := w.SuspendOf(w.ctx, name)
				return err
			})
			is, err := w.Get(w.ctx, name)
			w.must(err)
			if is.GetIntent() != "suspended" {
				w.reaches(name, "running", boot)
				w.suspend(name) // the ask was lost with the daemon
			}
			w.reaches(name, "suspended", boot)
			vm := w.resume(name)
			if w.life(name) != was {
				t.Fatalf("the guest booted after a death %s the write of %s", when, phase)
			}
			w.only(vm.GetPid())
		}
	}
	for _, phase := range []string{"preparing", "starting", "running"} {
		for _, when := range []string{"before", "written"} {
			w.suspend(name)
			w.dies(when+":"+phase+":"+name, func() error { _, err := w.ResumeOf(w.ctx, name); return err })
			is, err := w.Get(w.ctx, name)
			w.must(err)
			if is.GetIntent() != "running" {
				_, err := w.ResumeOf(w.ctx, name)
				w.must(err)
			}
			vm := w.healthy(name, 0)
			if w.life(name) != was {
				t.Fatalf("the guest booted after a death %s the write of %s", when, phase)
			}
			w.only(vm.GetPid())
		}
	}
	w.noCrash(name)
}

// dies lets the daemon die at a step of what is asked, and starts the next one.
func (w *world) dies(fault string, ask func() error) {
	w.t.Helper()
	w.must(w.Kill())
	w.Arm(fault)
	w.start()
	_ = ask() // its answer may be lost
	if _, err := w.Exit(boot); err != nil {
		w.t.Fatalf("%s: the daemon lives: %v", fault, err)
	}
	w.Arm("")
	w.start()
}

// A full disk refuses to save, and the guest goes on as if nothing was.
func TestAFullDiskLetsNobodyBeSuspended(t *testing.T) {
	t.Parallel()
	w := smallDisk(t, "size=96m,mode=755", 0)
	w.start()
	vm := w.up(w.pvh("web"))
	_, err := w.SuspendOf(w.ctx, "web")
	if err == nil {
		w.event("the reason", boot, func(e *v1.Event) bool { return e.GetKind() == "SaveFailed" })
	}
	still := w.healthy("web", 0)
	if still.GetPid() != vm.GetPid() {
		t.Errorf("pid %d became %d", vm.GetPid(), still.GetPid())
	}
	w.eventually("what was begun to be removed", soon, func() bool { return len(states(w.State)) == 0 })
}

// A machine whose power is cut finds its suspended VMs as they were.
func TestASuspendedGuestOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	spec := node.Builtin("web", "")
	spec.Start = &v1.Start{Timeout: durationpb.New(2 * time.Minute)}
	spec.Autostart = &v1.Autostart{Policy: "always"}
	s.up(spec)
	was := s.life("web")
	for _, end := range []func(*site){
		func(s *site) { s.must(s.PowerCut()); s.must(s.Boot(s.ctx)) },
		func(s *site) { s.must(s.Reboot(s.ctx)) },
	} {
		s.suspend("web")
		s.only()
		end(s)
		s.reaches("web", "suspended", boot)
		vm := s.resume("web")
		if is := s.life("web"); is != was {
			t.Fatalf("the guest booted: %s became %s", was, is)
		}
		s.only(vm.GetPid())
	}
}
