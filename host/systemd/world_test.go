package systemd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

const (
	patience = 20 * time.Second
	inside   = "BX_INSIDE" // the shim's path, where the tests run in a machine of their own
	other    = "BX_OTHER_DAEMON"
)

// TestMain is also another daemon: it launches what it is told to and ends at once.
func TestMain(m *testing.M) {
	if told := os.Getenv(other); told != "" {
		otherDaemon(told)
	}
	os.Exit(m.Run())
}

type orders struct {
	Config   Config
	Commands []host.Command
}

func otherDaemon(told string) {
	var o orders
	if err := json.Unmarshal([]byte(told), &o); err != nil {
		panic(err)
	}
	l, err := New(o.Config)
	if err != nil {
		panic(err)
	}
	for _, c := range o.Commands {
		p, err := l.Launch(context.Background(), c)
		if err != nil {
			panic(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(p); err != nil {
			panic(err)
		}
	}
	os.Exit(0)
}

// world is a node with a launcher, whose VMMs end with the test.
type world struct {
	t      *testing.T
	config Config
	l      *Launcher
	dir    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	shim := os.Getenv(inside)
	dir, err := os.MkdirTemp("/srv", "bx")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	boot, err := procfs.Default.BootID()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, config: Config{Node: "test-" + string(vm.NewID()), BootID: boot, Shim: shim}}
	w.l = w.launcher()
	t.Cleanup(func() {
		_ = w.l.Close()
		w.config.Reconnected = nil
		w.l = w.launcher()
		w.killAll()
		_ = w.l.Close()
		w.run("systemctl", "stop", "blixard-*.service") // the dead ones
		w.run("systemctl", "reset-failed", "blixard-*.service")
		_ = os.RemoveAll(dir)
	})
	return w
}

func (w *world) killAll() {
	found, err := w.l.List(context.Background())
	if err != nil {
		w.t.Error(err)
	}
	for _, f := range found {
		if err := w.l.Kill(context.Background(), f.Ref, &f.Process); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) launcher() *Launcher {
	w.t.Helper()
	l, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// restart is what a daemon that starts again has: empty tables.
func (w *world) restart() {
	w.t.Helper()
	if err := w.l.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.l = w.launcher()
}

func (w *world) ref(i int, n vm.Incarnation) vm.Ref {
	return vm.Ref{
		VM: vm.ID(fmt.Sprintf("%016x", i+1)), Name: vm.Name(fmt.Sprintf("vm-%d", i)), Slot: uint32(i),
		Incarnation: n, BootID: w.config.BootID,
	}
}

// sh is a VMM that is a shell script.
func (w *world) sh(i int, n vm.Incarnation, script string, args ...string) host.Command {
	c := host.Command{
		Ref: w.ref(i, n), Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...),
		Env: []string{"PATH=/usr/bin:/bin"}, Dir: w.dir, Stderr: filepath.Join(w.dir, fmt.Sprintf("vmm-%d-%d.log", i, n)),
	}
	c.UID, c.GID = host.Owners{}.Of(c.Ref.Slot)
	return c
}

const sleeps = "exec sleep 600"

func (w *world) launch(c host.Command) vm.Process {
	w.t.Helper()
	p, err := w.l.Launch(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// exit watches until the end.
func (w *world) exit(p vm.Process) vm.Exit {
	w.t.Helper()
	ended := make(chan vm.Exit, 2)
	cancel := w.l.Watch(p, func(e vm.Exit) { ended <- e })
	defer cancel()
	return w.wait(p, ended)
}

func (w *world) wait(p vm.Process, ended <-chan vm.Exit) vm.Exit {
	w.t.Helper()
	select {
	case e := <-ended:
		return e
	case <-time.After(patience):
		w.t.Fatalf("process %d: no notice of its end within %v", p.PID, patience)
		return vm.Exit{}
	}
}

// says waits until the VMM wrote the mark.
func (w *world) says(c host.Command, mark string) string {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		text, err := os.ReadFile(c.Stderr)
		if strings.Contains(string(text), mark) {
			return string(text)
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the VMM wrote %q, %v, and never %q\n%s", text, err, mark, w.run("journalctl", "--no-pager", "-n", "50"))
		}
	}
}

// orphans are VMMs of a daemon that is gone.
func (w *world) orphans(commands ...host.Command) []vm.Process {
	w.t.Helper()
	if err := w.l.Close(); err != nil {
		w.t.Fatal(err)
	}
	plain := w.config
	plain.Reconnected = nil
	told, err := json.Marshal(struct {
		Config   map[string]any
		Commands []host.Command
	}{map[string]any{"Node": plain.Node, "BootID": plain.BootID, "Shim": plain.Shim}, commands})
	if err != nil {
		w.t.Fatal(err)
	}
	daemon := exec.Command("/proc/self/exe")
	daemon.Env = append(os.Environ(), other+"="+string(told))
	var says strings.Builder
	daemon.Stderr = &says
	out, err := daemon.Output()
	if err != nil {
		w.t.Fatalf("the other daemon: %v\n%s", err, says.String())
	}
	var found []vm.Process
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p vm.Process
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			w.t.Fatal(err)
		}
		found = append(found, p)
	}
	w.l = w.launcher()
	return found
}

// run runs a command of the machine and returns what it wrote.
func (w *world) run(argv ...string) string {
	w.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s: %v", out, err)
	}
	return string(out)
}

func alive(p vm.Process) bool {
	s, err := procfs.Default.Stat(p.PID)
	return err == nil && !s.Ended() && s.StartTime == p.StartTime
}

func wantKind(t *testing.T, story string, err error, want host.Kind) {
	t.Helper()
	if err == nil || host.KindOf(err) != want {
		t.Errorf("%s: got %v, want kind %d", story, err, want)
	}
}
