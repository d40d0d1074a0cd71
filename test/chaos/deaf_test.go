package chaos

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// socketGone is how a VM tells that nobody can speak to its VMM.
const socketGone = "its control socket is gone"

// speaks are checks of all that a VMM and its guest are reached by.
func speaks(name string) *v1.VMSpec {
	return watched(name, "", &v1.Check{Type: "vmm"}, &v1.Check{Type: "process"})
}

// The names of a VMM's sockets are deleted under it, or their whole folder. What
// is open goes on, and the next daemon finds the sockets without a name, as the
// VMM still listens on them.
func TestSocketsAreDeletedUnderARunningVM(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	vm := w.up(speaks("bare"))
	removed := w.removeSocket("qmp.sock")
	w.passes(3 * time.Second) // the session lives on
	w.same(vm, "its control socket's name was deleted")

	for _, what := range []string{"the name of its control socket", "the folder of its sockets"} {
		w.must(w.Kill())
		if strings.HasPrefix(what, "the folder") {
			w.must(os.RemoveAll(filepath.Dir(removed)))
		}
		w.start()
		if is := w.adopted(vm, what); is.GetHealth() != "healthy" {
			if !strings.HasPrefix(is.GetHealthWhy(), socketGone) {
				t.Fatalf("without %s it is %s: %s", what, is.GetHealth(), is.GetHealthWhy())
			}
			t.Skipf("this machine lets nobody have a VMM's socket without its name: %s", is.GetHealthWhy())
		}
		said, err := w.Inside(w.ctx, "bare", "echo", "well")
		if err != nil || !strings.Contains(said, "well") {
			t.Errorf("without %s its agent says %q, %v", what, said, err)
		}
		w.ctl(0, "vm", "pause", "bare")
		w.reaches("bare", "paused", soon)
		w.ctl(0, "vm", "resume", "bare")
		w.healthy("bare", 0)
		w.same(vm, "without "+what)
	}
	_, err := w.StopOf(w.ctx, "bare", false)
	w.must(err)
	w.reaches("bare", "stopped", soon)
	w.only()
}

// adopted waits until the daemon has looked at a VM, and returns what it makes
// of it: the same process, with no death more.
func (w *ward) adopted(was *v1.VM, what string) (is *v1.VM) {
	w.t.Helper()
	looked := func() bool {
		var err error
		is, err = w.node.Get(w.ctx, was.GetName())
		w.must(err)
		if is.GetPid() != 0 && is.GetPid() != was.GetPid() || is.GetCrashes() != was.GetCrashes() {
			w.t.Fatalf("without %s: pid %d became %d, %d crashes became %d (%s)", what, was.GetPid(), is.GetPid(), was.GetCrashes(), is.GetCrashes(), is.GetReason())
		}
		return is.GetPhase() == "running"
	}
	w.eventually("it is adopted", soon, looked)
	began := time.Now() // whoever finds nobody listening needs some tries to believe it
	w.eventually("and judged", boot, func() bool {
		judged := looked() && (is.GetHealth() == "healthy" || strings.HasPrefix(is.GetHealthWhy(), socketGone))
		return judged && time.Since(began) > 4*time.Second
	})
	return is
}

// removeSocket deletes the one socket of that name and returns its path.
func (w *world) removeSocket(name string) (found string) {
	w.t.Helper()
	_ = filepath.WalkDir(w.Root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type()&fs.ModeSocket != 0 && filepath.Base(path) == name {
			found = path
		}
		return nil
	})
	w.must(os.Remove(found))
	return found
}

// unprivileged is a daemon that may not open a socket without its name.
func unprivileged(t *testing.T) node.Options {
	t.Helper()
	dir := t.TempDir()
	wrapper := filepath.Join(dir, "blixard")
	script := "#!/bin/sh\nexec setpriv --bounding-set=-net_admin --inh-caps=-net_admin -- '" + os.Getenv("BLIXARD_BIN") + "' \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("BLIXARD_BIN") == "" {
		return node.Options{} // which says why it is skipped
	}
	return node.Options{Binary: wrapper}
}

// A daemon that can't have the socket again takes the guest on without: it lives
// on, what can't be done is refused, and it is restarted when a person says so.
func TestAVMMThatNobodyCanSpeakToKeepsItsGuest(t *testing.T) {
	t.Parallel()
	w := begin(t, unprivileged(t))
	vm, mute := w.up(speaks("bare")), w.up(w.pvh("mute"))
	w.must(w.Kill())
	w.removeSocket("qmp.sock")
	w.removeSocket("qmp.sock")
	w.start()
	w.deaf(vm)
	w.deaf(mute)
	if text := w.ctl(0, "vm", "explain", "bare").Stdout; !strings.Contains(text, "nobody can speak to its VMM") || !strings.Contains(text, "blixard vm restart bare") {
		t.Errorf("explain says:\n%s", text)
	}
	_, err := w.PauseVM(w.ctx, connect.NewRequest(&v1.PauseVMRequest{Name: "bare"}))
	if why := w.refused(err, "wrong-phase"); !strings.Contains(why, socketGone) {
		t.Errorf("a pause is refused: %s", why)
	}
	w.ctl(0, "vm", "restart", "bare")
	ends := w.event("the end of its VMM", boot, func(e *v1.Event) bool { return e.GetVm() == "bare" && e.GetKind() == "VMMGone" })
	asked := w.event("the restart", soon, func(e *v1.Event) bool { return e.GetVm() == "bare" && e.GetKind() == "RestartAsked" })
	t.Logf("a guest whose agent alone can be asked is down %v after", ends.GetAt().AsTime().Sub(asked.GetAt().AsTime()))
	is := w.next(vm)
	if is.GetIncarnation() != vm.GetIncarnation()+1 || is.GetCrashes() != 0 {
		t.Errorf("after its restart: %v", is)
	}
	began := time.Now()
	_, err = w.StopOf(w.ctx, "mute", false)
	w.must(err)
	w.reaches("mute", "stopped", soon)
	t.Logf("a guest that nobody can ask is down %v after it was asked to be", time.Since(began))
	w.only(is.GetPid())
}

// deaf waits until a VM tells that nobody can speak to its VMM, and lives.
func (w *ward) deaf(was *v1.VM) {
	w.t.Helper()
	w.eventually("it is known that nobody listens", soon, func() bool {
		is, err := w.node.Get(w.ctx, was.GetName())
		w.must(err)
		return strings.HasPrefix(is.GetHealthWhy(), socketGone)
	})
	if is := w.adopted(was, "its sockets"); is.GetHealth() != "degraded" || is.GetIncarnation() != was.GetIncarnation() {
		w.t.Errorf("%s is %s: %s", was.GetName(), is.GetHealth(), is.GetHealthWhy())
	}
}

// The same where systemd launches the VMMs: with the privileges that the unit
// gives nothing is missed, and without them the guest lives on.
func TestSocketsAreDeletedInAMachine(t *testing.T) {
	t.Parallel()
	underLaunchers(t, func(t *testing.T, o node.Options) {
		s := settle(t, o)
		vm := s.crew("vm", 1)[0]
		remove := func() {
			_, err := s.Run(s.ctx, "sh", "-c", "rm -r $(dirname $(find /run /var -name qmp.sock -type s))")
			s.must(err)
		}
		s.step("the folder of its sockets is deleted", func(s *site) {
			remove()
			s.must(s.Kill(s.ctx))
			s.must(s.Ready(s.ctx))
			is := s.adopted(vm, "its sockets")
			if strings.HasPrefix(is.GetHealthWhy(), socketGone) {
				s.t.Skipf("this machine lets nobody have a VMM's socket without its name: %s", is.GetHealthWhy())
			}
			if is.GetHealth() != "healthy" {
				s.t.Errorf("it is %s: %s", is.GetHealth(), is.GetHealthWhy())
			}
		})
		s.step("and the daemon lacks a privilege", func(s *site) {
			_, err := s.Run(s.ctx, "sh", "-c", "mkdir -p /etc/systemd/system/blixard.service.d && printf '[Service]\\nCapabilityBoundingSet=~CAP_NET_ADMIN\\n' >/etc/systemd/system/blixard.service.d/poor.conf")
			s.must(err)
			s.systemctl("daemon-reload")
			s.must(s.Restart(s.ctx))
			s.deaf(vm)
		})
		s.step("it is restarted", func(s *site) {
			_, err := s.Run(s.ctx, "blixard", "vm", "restart", vm.GetName())
			s.must(err)
			is := s.next(vm)
			if is.GetIncarnation() != vm.GetIncarnation()+1 || is.GetCrashes() != 0 {
				s.t.Errorf("after its restart: %v", is)
			}
		})
	})
}
