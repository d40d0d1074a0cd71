package systemd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/proof"
)

func unitLaunchesAVMMAsItsOwnUser(t *testing.T) {
	w := newWorld(t)
	c := w.Sh(1, 3, `pwd >&2; id -u >&2; id -G >&2; grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status >&2; env >&2; readlink /proc/$$/fd/$1 >&2; printf "%s\n" "$2" >&2; read line || echo "stdin ended" >&2; exec sleep 600`, "{fd:qmp}", "$HOME ${HOME} %n $$ \\x41 'q'")
	c.Env = append(c.Env, "BLIXARD_VM=forged", "OTHER=kept $HOME %n")
	c.Groups = []int{4711}
	c.Sockets = []host.Socket{{Name: "qmp", Path: filepath.Join(w.Dir, "qmp.sock")}}
	c.MaxFile = 1 << 20
	p := w.Launch(c)
	saw := w.Says(c, "stdin ended")
	t.Log(saw)
	for _, want := range []string{
		w.Dir + "\n" + strconv.Itoa(c.UID) + "\n" + strconv.Itoa(c.GID) + " 4711\n",
		"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
		"OTHER=kept $HOME %n", "socket:", "\n$HOME ${HOME} %n $$ \\x41 'q'\n",
	} {
		if !strings.Contains(saw, want) {
			t.Errorf("it didn't see %q", want)
		}
	}
	s, err := procfs.Default.Stat(p.PID)
	if err != nil || s.StartTime != p.StartTime || p.Launcher != Name || p.Unit != "blixard-vm-1.service" {
		t.Errorf("process %+v, %+v, %v", p, s, err)
	}
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/limits")
	if got := strings.Join(strings.Fields(string(limits)), " "); err != nil || !strings.Contains(got, "Max file size 1048576 1048576") {
		t.Errorf("limits %s, %v", got, err)
	}
	conn, err := net.Dial("unix", c.Sockets[0].Path)
	if err != nil {
		t.Fatalf("it doesn't listen: %v", err)
	}
	_ = conn.Close()
	launchertest.Kill9(t, p.PID)
	if e := w.Exit(p); !e.Known || e.Signal != int(unix.SIGKILL) || e.Result != "signal" { // the processor time is told only where systemd has its controller
		t.Errorf("exit %+v", e)
	}
	if conn, err := net.Dial("unix", c.Sockets[0].Path); err == nil {
		_ = conn.Close()
		t.Error("its socket still listens: somebody kept a copy")
	}
	w.Launch(w.Sh(1, 4, sleeps))
	if got := w.run("systemctl", "show", "-p", "Environment", proof.UnitName("vm-1")); strings.Contains(got, w.config.Node) {
		t.Errorf("anybody can read the node's id: %s", got)
	}
}

func unitThatEndsAtOnceIsALaunchWithAnEnd(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		p := w.Launch(w.Sh(i, 1, fmt.Sprintf("exit %d", i)))
		if e := w.Exit(p); !e.Known || e.Code != i || p.PID == 0 {
			t.Errorf("process %+v ended by %+v", p, e)
		}
	}
	for story, bend := range map[string]func(*host.Command){
		"no run folder":   func(c *host.Command) { c.Dir = w.Dir + "/none" },
		"no such program": func(c *host.Command) { c.Argv = []string{"/usr/bin/no-such-vmm"} },
	} {
		c := w.Sh(20, 1, sleeps)
		bend(&c)
		_, err := w.l.Launch(t.Context(), c)
		launchertest.WantKind(t, story, err, host.Broken)
	}
	if left := w.units(); len(left) != 10 {
		t.Errorf("what could not start left %v", left)
	}
}
