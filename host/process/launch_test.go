package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/host/procfs"
)

func TestLaunchedVMMIsDetachedAndTagged(t *testing.T) {
	w := newWorld(t)
	c := w.Sh(1, 3, `pwd >&2; id -u >&2; id -G >&2; umask >&2; read line || echo "stdin ended" >&2; exec sleep 600`)
	c.Env = append(c.Env, "BLIXARD_VM=forged", "OTHER=kept")
	c.Sockets = []host.Socket{{Name: "qmp", Path: filepath.Join(w.Dir, "qmp.sock")}}
	c.MaxFile = 1 << 20
	p := w.Launch(c)
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
	for _, want := range []string{"Max file size 1048576 1048576", "Max core file size 1 1"} {
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
	saw := w.Says(c, "stdin ended")
	launchertest.Kill9(t, p.PID)
	if e := w.Exit(p); !e.Known || e.Signal != int(unix.SIGKILL) {
		t.Errorf("exit %+v", e)
	}
	id := strconv.Itoa(c.UID)
	if want := w.Dir + "\n" + id + "\n" + strconv.Itoa(c.GID) + "\n"; !strings.HasPrefix(saw, want) {
		t.Errorf("it saw itself as %q, want %q", saw, want)
	}
}

func TestASecondDaemonOfTheNodeIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lock")
	}
	w := newWorld(t)
	_, err := New(w.config)
	launchertest.WantKind(t, "second launcher", err, host.Broken)
}
