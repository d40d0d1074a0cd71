package runner

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/process"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

func TestARunnerOfQEMUIsDrivenByItsOwnSocket(t *testing.T) {
	w := newWorld(t)
	w.qemuRunner(qemu.PVHGuest())
	w.prepare()
	p := w.launch()
	s, _ := w.attach()
	w.wantState(s, host.GuestRuns)
	eventually(t, "the guest's mark on the console", func() bool { return strings.Contains(w.read(w.paths.Log), qemu.PVHMark) })
	if err := s.Pause(w.ctx()); err != nil {
		t.Fatal(err)
	}
	w.wantState(s, host.GuestPaused)
	s.Close()

	again, _ := w.attach() // a daemon that was down
	w.wantState(again, host.GuestPaused)
	if err := again.Resume(w.ctx()); err != nil {
		t.Fatal(err)
	}
	w.wantState(again, host.GuestRuns)
	if err := again.PowerDown(w.ctx()); err != nil { // this guest doesn't listen, but QEMU takes it
		t.Fatal(err)
	}
	if err := again.Quit(w.ctx()); err != nil {
		t.Fatal(err)
	}
	w.wantEnd(p)
	if c := p.ProcessState.ExitCode(); c != 0 {
		t.Errorf("exit code %d; it says %s", c, w.read(w.paths.Stderr))
	}
	if said := w.read(w.paths.Stderr); said != "" {
		t.Errorf("the VMM complains: %s", said)
	}
}

func TestVolumesSurviveRestartsAndStaleSocketsDont(t *testing.T) {
	w := newWorld(t)
	w.qemuRunner(qemu.PVHGuest())
	for n := vm.Incarnation(1); n <= 3; n++ {
		w.ref.Incarnation = n
		w.prepare()
		if n > 1 && w.read(w.inWork("data.img"))[:4] != "mine" {
			t.Fatalf("incarnation %d: the volume lost what was on it", n)
		}
		if _, err := os.Lstat(w.inWork("web.sock")); err == nil {
			t.Fatalf("incarnation %d: the socket of the last one is still there", n)
		}
		p := w.launch()
		s, notices := w.attach()
		w.wantState(s, host.GuestRuns)
		if n == 1 {
			f, err := os.OpenFile(w.inWork("data.img"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f.WriteString("mine")
			_ = f.Close()
		}
		if err := p.Process.Kill(); err != nil { // leaves its socket's name
			t.Fatal(err)
		}
		w.wantEnd(p)
		select {
		case notice := <-notices:
			if notice.Kind != host.NoticeLost {
				t.Errorf("told of %+v, want the session's loss", notice)
			}
		case <-time.After(patience):
			t.Fatal("the session's loss was not told")
		}
		w.release()
	}
}

func TestAGuestsOwnEndIsTold(t *testing.T) {
	for _, c := range []struct {
		name  string
		guest qemu.PVHEnd
		want  host.NoticeKind
	}{
		{"poweroff", qemu.PVHPowersOff, host.NoticePowerOff},
		{"reset, which ends this VMM", qemu.PVHResets, host.NoticeResetEnd},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			dir := w.qemuRunner(qemu.PVHGuestThat(c.guest))
			run := filepath.Join(dir, "bin/microvm-run")
			held := strings.Replace(w.read(run), " -nographic", " -nographic -S", 1) // until we listen
			if err := os.WriteFile(run, []byte(held), 0o755); err != nil {
				t.Fatal(err)
			}
			w.prepare()
			p := w.launch()
			s, notices := w.attach()
			if err := s.Resume(w.ctx()); err != nil {
				t.Fatal(err)
			}
			select {
			case n := <-notices:
				if n.Kind != c.want {
					t.Errorf("told of %+v, want %s", n, c.want)
				}
			case <-time.After(patience):
				t.Fatal("nothing was told")
			}
			w.wantEnd(p)
		})
	}
}

// The launcher proves its VMMs by their environment, which sh and the runner's
// own shell have to hand on.
func TestTheProcessLauncherFindsARunnersVMMAgain(t *testing.T) {
	w := newWorld(t)
	w.qemuRunner(qemu.PVHGuest())
	boot, err := procfs.Default.BootID()
	if err != nil {
		t.Fatal(err)
	}
	w.ref.BootID = boot
	w.prepare()
	l, err := process.New(process.Config{Node: w.dir, BootID: boot})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := w.driver.Command(w.ref, w.spec, w.paths)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Launch(w.ctx(), c)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := w.attach()
	w.wantState(s, host.GuestRuns)
	eventually(t, "the guest's mark on the console", func() bool { return strings.Contains(w.read(w.paths.Log), qemu.PVHMark) })
	if got, err := l.Find(w.ctx(), w.ref, nil); err != nil || got != p {
		t.Errorf("found %+v, %v; launched was %+v", got, err, p)
	}
	if got := w.read(w.inWork(pidName)); strings.TrimSpace(got) != strconv.Itoa(p.PID) {
		t.Errorf("noted pid %q, launched was %d", got, p.PID)
	}
	if err := l.Kill(w.ctx(), w.ref, &p); err != nil {
		t.Fatal(err)
	}
}

func TestCommandIsOfTheRunnerThatWasPrepared(t *testing.T) {
	w := newWorld(t)
	_, err := w.driver.Command(w.ref, w.spec, w.paths)
	wantKind(t, "a launch before Prepare", err, host.Broken)
	old := w.runner("old", map[string]string{"bin/microvm-run": "#!/bin/sh\nexec sleep 1\n"})
	current := filepath.Join(w.dir, "current")
	if err := os.Symlink(old, current); err != nil {
		t.Fatal(err)
	}
	w.spec.Boot.Runner = current
	w.prepare()
	next := w.runner("next", map[string]string{"bin/microvm-run": "#!/bin/sh\nexec sleep 2\n"})
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(next, current); err != nil {
		t.Fatal(err)
	}
	c, err := w.driver.Command(w.ref, w.spec, w.paths)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Argv[len(c.Argv)-1]; got != old+"/bin/microvm-run" {
		t.Errorf("launches %s", got)
	}
	if c.Dir != w.inWork("") && c.Dir != filepath.Dir(w.inWork("x")) || c.Stdout != w.paths.Log || c.Stderr != w.paths.Stderr {
		t.Errorf("command %+v", c)
	}
	if os.Geteuid() == 0 && c.UID != w.uid {
		t.Errorf("runs as %d, want the VM's user %d", c.UID, w.uid)
	}
	w.ref.Incarnation = 2
	w.prepare()
	c, err = w.driver.Command(w.ref, w.spec, w.paths)
	if err != nil || c.Argv[len(c.Argv)-1] != next+"/bin/microvm-run" {
		t.Errorf("after the next Prepare %q, %v", c.Argv, err)
	}
}

func TestWhatWasStartedIsKnownUntilItsRelease(t *testing.T) {
	w := newWorld(t)
	w.spec.Boot.Runner = w.runner("runner", map[string]string{"bin/microvm-run": sleeper})
	if Started(w.paths) {
		t.Error("nothing was started yet")
	}
	w.ref.Incarnation = 2
	w.prepare()
	w.ref.Incarnation = 1
	w.release() // late, of the incarnation before
	if !Started(w.paths) {
		t.Error("it was started")
	}
	w.ref.Incarnation = 2
	w.spec.Boot = vm.Boot{Image: "builtin"} // applied meanwhile
	w.release()
	if Started(w.paths) {
		t.Error("it was released")
	}
	w.release()
}
