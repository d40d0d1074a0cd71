package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// saveInto saves the guest of a session into a new file and returns its path.
func (g *guest) saveInto(s host.Session) (path string, by string) {
	g.t.Helper()
	path = g.paths.State(1)
	file, err := os.Create(path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer file.Close()
	if by, err = s.Kind(deadline(g.t)); err != nil {
		g.t.Fatalf("kind: %v", err)
	}
	if err = s.Save(deadline(g.t), file); err != nil {
		g.t.Fatalf("save: %v", err)
	}
	return path, by
}

// load launches the VMM of the next incarnation with a saved guest.
func (g *guest) load(spec vm.Spec, saved string) *guest {
	g.t.Helper()
	ref := vm.Ref{VM: "0123456789abcdef", Name: "t", Incarnation: 2, BootID: "b"}
	next := &guest{t: g.t, driver: g.driver, paths: g.paths, ended: make(chan struct{}), kernel: g.kernel, stderr: g.stderr}
	next.paths.Load = saved
	for _, s := range []string{g.paths.QMP, g.paths.Agent, g.paths.Console} {
		_ = os.Remove(s)
	}
	c, err := next.driver.Command(ref, spec, next.paths)
	if err != nil {
		g.t.Fatal(err)
	}
	next.launch(c)
	return next
}

func (g *guest) kill() {
	g.t.Helper()
	if err := g.process.Process.Kill(); err != nil {
		g.t.Fatal(err)
	}
	g.waitEnd()
}

func (g *guest) spec(bend func(*vm.Spec)) vm.Spec {
	spec := vm.Spec{Name: "t", CPUs: 1, Memory: 8 * vm.MiB, Boot: vm.Boot{Kernel: g.kernel}}
	if bend != nil {
		bend(&spec)
	}
	return spec
}

func TestASavedGuestIsLoadedAndGoesOn(t *testing.T) {
	for name, bend := range map[string]func(*vm.Spec){"bare": nil, "with devices": needsACPI} {
		t.Run(name, func(t *testing.T) {
			g := start(t, PVHGuest(), bend)
			s, _ := g.attach()
			g.wantLog(PVHMark)
			path, by := g.saveInto(s)
			g.wantState(s, host.GuestSaved)
			if err := g.driver.Loads(vm.Spec{}, vm.SavedState{By: by}); err != nil {
				t.Errorf("its own kind is refused: %v", err)
			}
			if err := g.driver.Loads(vm.Spec{}, vm.SavedState{By: "QEMU 0.1 TCG"}); host.KindOf(err) != host.Broken || err == nil {
				t.Errorf("another kind is not refused: %v", err)
			}
			g.kill()

			next := g.load(g.spec(bend), path)
			again, _ := next.attach()
			for range 2 {
				if err := again.Loaded(deadline(t)); err != nil {
					t.Fatalf("load: %v", err)
				}
			}
			next.wantState(again, host.GuestPaused)
			for range 2 {
				if err := again.Resume(deadline(t)); err != nil {
					t.Fatal(err)
				}
			}
			next.wantState(again, host.GuestRuns)
		})
	}
}

// TestASavingIsDoneAgain: a guest that was saved and couldn't be kept is saved again, or goes on.
func TestASavingIsDoneAgain(t *testing.T) {
	g := start(t, PVHGuest(), nil)
	s, _ := g.attach()
	g.saveInto(s)
	s.Close()
	adopted, _ := g.attach() // by a daemon that knows nothing of the first saving
	g.saveInto(adopted)
	if err := adopted.Resume(deadline(t)); err != nil {
		t.Fatal(err)
	}
	g.wantState(adopted, host.GuestRuns)
	g.saveInto(adopted)
	g.wantState(adopted, host.GuestSaved)
}

var errDiskFull = errors.New("no space left on device")

// stuck takes so many bytes and then fails, or waits until it may.
type stuck struct {
	left int
	wait <-chan struct{}
	met  chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left > 0 {
		return len(b), nil
	}
	if s.wait != nil {
		close(s.met)
		<-s.wait
	}
	return 0, errDiskFull
}

// large is a guest whose saving doesn't fit into a pipe: somebody has to read it.
func large(s *vm.Spec) { s.Memory = vm.GiB }

func TestAGuestThatCannotBeSavedGoesOn(t *testing.T) {
	g := start(t, PVHGuest(), large)
	s, _ := g.attach()
	for range 2 {
		if err := s.Save(deadline(t), &stuck{left: 4096}); !errors.Is(err, errDiskFull) {
			t.Fatalf("want the writer's own error, got %v", err)
		}
		g.wantState(s, host.GuestPaused)
		if err := s.Resume(deadline(t)); err != nil {
			t.Fatal(err)
		}
		g.wantState(s, host.GuestRuns)
	}
	g.saveInto(s)
}

// TestWhoGivesUpASavingLetsTheGuestGoOn: by ctx, or by another session while
// the first one's daemon is gone with its pipe.
func TestWhoGivesUpASavingLetsTheGuestGoOn(t *testing.T) {
	g := start(t, PVHGuest(), large)
	s, _ := g.attach()
	ctx, cancel := context.WithCancel(t.Context())
	slow := &stuck{left: 1, wait: ctx.Done(), met: make(chan struct{})}
	go func() {
		<-slow.met
		cancel()
	}()
	if err := s.Save(ctx, slow); err == nil {
		t.Fatal("it was saved into nothing")
	}
	s.Close()
	adopted, _ := g.attach()
	if err := adopted.Resume(deadline(t)); err != nil {
		t.Fatal(err)
	}
	g.wantState(adopted, host.GuestRuns)
}

func TestAVMMThatDiesWhileItSavesIsGone(t *testing.T) {
	g := start(t, PVHGuest(), large)
	s, _ := g.attach()
	gone := &stuck{left: 1, wait: g.ended, met: make(chan struct{})}
	go func() {
		<-gone.met
		_ = g.process.Process.Kill()
	}()
	if err := s.Save(deadline(t), gone); err == nil {
		t.Fatal("it was saved by the dead")
	}
}

// TestWhatIsNoGuestEndsItsVMM: with words by which policies know it.
func TestWhatIsNoGuestEndsItsVMM(t *testing.T) {
	g := start(t, PVHGuest(), nil)
	s, _ := g.attach()
	path, _ := g.saveInto(s)
	g.kill()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "noise": bytes.Repeat([]byte("noise"), 1000), "cut": whole[:len(whole)/2],
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			said, says, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer said.Close()
			g := &guest{t: t, driver: g.driver, paths: g.paths, kernel: g.kernel, stderr: says}
			g.load(g.spec(nil), path).waitEnd()
			_ = says.Close()
			text, err := io.ReadAll(said)
			if err != nil || !strings.Contains(string(text), "load of migration failed") {
				t.Errorf("QEMU said %q (%v)", text, err)
			}
		})
	}
}

// TestAMachineWithFirmwareAndADiskIsSaved: with every device that such a machine has.
func TestAMachineWithFirmwareAndADiskIsSaved(t *testing.T) {
	disk := shortDir(t) + "/boot.raw"
	if err := os.WriteFile(disk, make([]byte, vm.MiB), 0o600); err != nil {
		t.Fatal(err)
	}
	bend := func(s *vm.Spec) {
		s.Boot, s.Memory, s.CPUs = vm.Boot{Disk: disk}, 64*vm.MiB, 2
		s.Disks = []vm.Disk{{Name: "data", Size: vm.MiB}}
		s.Networks = []vm.Network{{Mode: vm.NetworkUser}}
	}
	g := start(t, nil, bend)
	s, _ := g.attach()
	path, _ := g.saveInto(s)
	g.kill()
	next := g.load(g.spec(bend), path)
	again, _ := next.attach()
	if err := again.Loaded(deadline(t)); err != nil {
		t.Fatal(err)
	}
	next.wantState(again, host.GuestPaused)
	if err := again.Resume(deadline(t)); err != nil {
		t.Fatal(err)
	}
	next.wantState(again, host.GuestRuns)
	next.saveInto(again) // and once more
}
