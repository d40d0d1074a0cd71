package process

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

func TestLaunchedVMMIsDetachedAndTagged(t *testing.T) {
	w := newWorld(t)
	c := w.sh(1, 3, `pwd >&2; id -u >&2; id -G >&2; umask >&2; read line || echo "stdin ended" >&2; exec sleep 600`)
	c.Env = append(c.Env, "BLIXARD_VM=forged", "OTHER=kept")
	c.Sockets = []host.Socket{{Name: "qmp", Path: filepath.Join(w.dir, "qmp.sock")}}
	c.MaxFile = 1 << 20
	p := w.launch(c)
	s, err := procfs.Default.Stat(p.PID)
	if err != nil || s.Session != p.PID || s.StartTime != p.StartTime {
		t.Errorf("no session of its own: %+v, %v", s, err)
	}
	ref, err := w.l.Identity().Read(p.PID)
	if err != nil || ref != c.Ref {
		t.Errorf("its tags say %+v, %v", ref, err)
	}
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Max file size 1048576 1048576", "Max core file size 0 0"} {
		if got := strings.Join(strings.Fields(string(limits)), " "); !strings.Contains(got, want) {
			t.Errorf("limits without %q: %s", want, got)
		}
	}
	score, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/oom_score_adj")
	if err != nil || strings.TrimSpace(string(score)) != oomScore {
		t.Errorf("oom score %q, %v", score, err)
	}
	if at, err := os.Stat(c.Sockets[0].Path); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", at, err)
	}
	saw := w.says(c, "stdin ended")
	kill9(t, p)
	if e := w.exit(p); !e.Known || e.Signal != int(unix.SIGKILL) {
		t.Errorf("exit %+v", e)
	}
	id := strconv.Itoa(c.UID)
	if want := w.dir + "\n" + id + "\n" + strconv.Itoa(c.GID) + "\n"; !strings.HasPrefix(saw, want) {
		t.Errorf("it saw itself as %q, want %q", saw, want)
	}
}

func TestSocketsAreInheritedListening(t *testing.T) {
	w := newWorld(t)
	c := w.sh(1, 1, `readlink /proc/$$/fd/$1 /proc/$$/fd/$2 >&2; echo listed >&2; exec sleep 600`, "{fd:qmp}", "{fd:agent}")
	c.Sockets = []host.Socket{
		{Name: "qmp", Path: filepath.Join(w.dir, "q.sock")}, {Name: "agent", Path: filepath.Join(w.dir, "a.sock")},
	}
	stale, err := net.Listen("unix", c.Sockets[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = stale.Close()
	p := w.launch(c)
	w.says(c, "listed")
	for _, s := range c.Sockets {
		conn, err := net.Dial("unix", s.Path)
		if err != nil {
			t.Fatalf("the VMM doesn't listen on %s: %v", s.Name, err)
		}
		_ = conn.Close()
	}
	kill9(t, p)
	w.exit(p)
	for _, s := range c.Sockets {
		if conn, err := net.Dial("unix", s.Path); err == nil {
			_ = conn.Close()
			t.Errorf("%s still listens after the end of its VMM: we kept a copy", s.Name)
		}
	}
	if n := strings.Count(w.stderr(c), "socket:"); n != 2 {
		t.Errorf("the VMM found %d sockets: %q", n, w.stderr(c))
	}
}

func TestAFullFileIsAnErrorAndNotADeath(t *testing.T) {
	w := newWorld(t)
	c := w.sh(1, 1, `until grep -q "Max file size  *262144 " /proc/$$/limits; do :; done; dd if=/dev/zero bs=64k count=64 >&2; echo "dd ended with $?"; exit 7`)
	c.MaxFile = 256 << 10
	e := w.exit(w.launch(c))
	if !e.Known || e.Signal != 0 || e.Code != 7 {
		t.Errorf("P15: it ended by %+v", e)
	}
	if n := len(w.stderr(c)); n > 256<<10 {
		t.Errorf("P15: its log has %d bytes", n)
	}
}

func TestWhatCannotBeLaunchedSaysWhy(t *testing.T) {
	w := newWorld(t)
	long := w.sh(1, 1, sleeps)
	long.Sockets = []host.Socket{{Name: "qmp", Path: "/tmp/" + strings.Repeat("x", 120)}}
	file := w.sh(1, 1, sleeps)
	file.Sockets = []host.Socket{{Name: "qmp", Path: filepath.Join(w.dir, "precious")}}
	if err := os.WriteFile(file.Sockets[0].Path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := w.sh(1, 1, sleeps)
	missing.Argv = []string{"/usr/bin/no-such-vmm"}
	relative := w.sh(1, 1, sleeps)
	relative.Argv[0] = "sh"
	unknown := w.sh(1, 1, sleeps, "{fd:qmp}")
	noDir := w.sh(1, 1, sleeps)
	noDir.Dir = filepath.Join(w.dir, "none")
	otherBoot := w.sh(1, 1, sleeps)
	otherBoot.Ref.BootID = "another"
	for story, c := range map[string]host.Command{
		"socket path too long": long, "a file where the socket goes": file, "no such program": missing,
		"relative program": relative, "a socket that isn't made": unknown, "no run folder": noDir, "another boot": otherBoot,
	} {
		p, err := w.l.Launch(t.Context(), c)
		wantKind(t, story, err, host.Broken)
		if p.PID != 0 {
			t.Errorf("%s: process %d", story, p.PID)
		}
	}
	if os.Geteuid() == 0 {
		root := w.sh(1, 1, sleeps)
		root.UID, root.GID = 0, 0
		_, err := w.l.Launch(t.Context(), root)
		wantKind(t, "as root", err, host.Broken)
	}
	if b, err := os.ReadFile(file.Sockets[0].Path); err != nil || string(b) != "x" {
		t.Errorf("the file in the socket's place was changed: %q, %v", b, err)
	}
}

func TestNeverTwoForOneVM(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	got := make([]vm.Process, 8)
	for i := range got {
		wg.Go(func() {
			p, err := w.l.Launch(t.Context(), w.sh(1, 1, sleeps))
			if err != nil {
				t.Error(err)
			}
			got[i] = p
		})
	}
	wg.Wait()
	for _, p := range got {
		if p != got[0] {
			t.Errorf("P1: %+v and %+v", p, got[0])
		}
	}
	found, err := w.l.List(t.Context())
	if err != nil || len(found) != 1 || found[0].Process != got[0] || found[0].Ref != w.ref(1, 1) {
		t.Errorf("P1: listed %+v, %v", found, err)
	}
	_, err = w.l.Launch(t.Context(), w.sh(1, 2, sleeps))
	wantKind(t, "P1: the next incarnation while this one lives", err, host.Transient)
	w.restart()
	if p := w.launch(w.sh(1, 1, sleeps)); p != got[0] {
		t.Errorf("P1: after a restart of the daemon %+v, before %+v", p, got[0])
	}
	w.restart()
	_, err = w.l.Launch(t.Context(), w.sh(1, 2, sleeps))
	wantKind(t, "P1: the next incarnation while this one lives, after a restart", err, host.Transient)
}

func TestKilledIsFinal(t *testing.T) {
	w := newWorld(t)
	for i := range 40 {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := w.l.Launch(t.Context(), w.sh(i, 1, sleeps)); err != nil && host.KindOf(err) != host.Gone {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := w.l.Kill(t.Context(), w.ref(i, 1), nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		_, err := w.l.Launch(t.Context(), w.sh(i, 1, sleeps))
		wantKind(t, "a launch after the kill", err, host.Gone)
	}
	if found, err := w.l.List(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("P7: a kill left %+v, %v", found, err)
	}
	w.launch(w.sh(1, 2, sleeps))
}

func TestASecondDaemonOfTheNodeIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lock")
	}
	w := newWorld(t)
	_, err := New(w.config)
	wantKind(t, "second launcher", err, host.Broken)
}
