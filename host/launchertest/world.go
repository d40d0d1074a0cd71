// Package launchertest is what every launcher has to keep, as tests, and the
// world that they need. VMMs are shell scripts.
//
//	launcher's test ─ World{Open} ─▶ Contract ─▶ real processes of a node of its own
package launchertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// Patience is how long a test waits for what takes milliseconds on an idle machine.
const Patience = 20 * time.Second

// Sleeps is the script of a VMM that lives until it is killed.
const Sleeps = "exec sleep 600"

// Launcher is one life of a daemon's.
type Launcher interface {
	host.Launcher
	Close() error
}

// World is a node with a launcher.
type World struct {
	T      *testing.T
	Dir    string // VMMs may enter it
	BootID vm.BootID
	L      Launcher
	Open   func() Launcher // as a daemon that starts has it: with empty tables
	Orders any             // the launcher's configuration, from which Main opens one
	Kept   func() []string // what the launcher keeps of VMs beside processes; nil: nothing
}

// New makes a folder below parent, and no launcher yet.
func New(t *testing.T, parent string) *World {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	boot, err := procfs.Default.BootID()
	if err != nil {
		t.Fatal(err)
	}
	return &World{T: t, Dir: dir, BootID: boot}
}

// Restart is the daemon's.
func (w *World) Restart() {
	w.T.Helper()
	if err := w.L.Close(); err != nil {
		w.T.Fatal(err)
	}
	w.L = w.Open()
}

// KillAll ends the VMMs of the node.
func (w *World) KillAll() {
	w.T.Helper()
	found, err := w.L.List(context.Background())
	if err != nil {
		w.T.Error(err)
	}
	for _, f := range found {
		if err := w.L.Kill(context.Background(), f.Ref, &f.Process); err != nil {
			w.T.Error(err)
		}
	}
}

// Ref is the n-th incarnation of the i-th VM.
func (w *World) Ref(i int, n vm.Incarnation) vm.Ref {
	return vm.Ref{
		VM: vm.ID(fmt.Sprintf("%016x", i+1)), Name: vm.Name(fmt.Sprintf("vm-%d", i)), Slot: uint32(i),
		Incarnation: n, BootID: w.BootID,
	}
}

// Sh is a VMM that is a shell script.
func (w *World) Sh(i int, n vm.Incarnation, script string, args ...string) host.Command {
	c := host.Command{
		Ref: w.Ref(i, n), Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...),
		Env: []string{"PATH=/usr/bin:/bin"}, Dir: w.Dir, Stderr: filepath.Join(w.Dir, fmt.Sprintf("vmm-%d-%d.log", i, n)),
	}
	c.UID, c.GID = host.Owners{}.Of(c.Ref.Slot)
	return c
}

// Launch launches what has to work.
func (w *World) Launch(c host.Command) vm.Process {
	w.T.Helper()
	p, err := w.L.Launch(w.T.Context(), c)
	if err != nil {
		w.T.Fatal(err)
	}
	return p
}

// Exit watches until the end.
func (w *World) Exit(p vm.Process) vm.Exit {
	w.T.Helper()
	ended := make(chan vm.Exit, 2)
	cancel := w.L.Watch(p, func(e vm.Exit) { ended <- e })
	defer cancel()
	return w.Wait(p, ended)
}

// Wait is for a notice of an end.
func (w *World) Wait(p vm.Process, ended <-chan vm.Exit) vm.Exit {
	w.T.Helper()
	select {
	case e := <-ended:
		return e
	case <-time.After(Patience):
		w.T.Fatalf("process %d: no notice of its end within %v", p.PID, Patience)
		return vm.Exit{}
	}
}

// Stderr is what the VMM has written.
func (w *World) Stderr(c host.Command) string {
	w.T.Helper()
	b, err := os.ReadFile(c.Stderr)
	if err != nil {
		w.T.Fatal(err)
	}
	return string(b)
}

// Says waits until the VMM wrote the mark.
func (w *World) Says(c host.Command, mark string) string {
	w.T.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(Patience); ; <-tick.C {
		if text := w.Stderr(c); strings.Contains(text, mark) {
			return text
		}
		if time.Now().After(deadline) {
			w.T.Fatalf("the VMM wrote %q and never %q", w.Stderr(c), mark)
		}
	}
}

// other marks the process that is another daemon.
const other = "BX_OTHER_DAEMON"

type orders struct {
	Config   json.RawMessage
	Commands []host.Command
}

// Main is the launcher's TestMain, up to the exit: this test binary is also
// another daemon, which launches what it is told to and ends at once.
func Main(m *testing.M, open func(config json.RawMessage) (Launcher, error)) (code int) {
	told := os.Getenv(other)
	if told == "" {
		return m.Run()
	}
	if err := otherDaemon(told, open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func otherDaemon(told string, open func(config json.RawMessage) (Launcher, error)) error {
	var o orders
	if err := json.Unmarshal([]byte(told), &o); err != nil {
		return err
	}
	l, err := open(o.Config)
	if err != nil {
		return err
	}
	for _, c := range o.Commands {
		p, err := l.Launch(context.Background(), c)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Orphans are VMMs of a daemon that is gone.
func (w *World) Orphans(commands ...host.Command) []vm.Process {
	w.T.Helper()
	if err := w.L.Close(); err != nil {
		w.T.Fatal(err)
	}
	config, err := json.Marshal(w.Orders)
	if err != nil {
		w.T.Fatal(err)
	}
	told, err := json.Marshal(orders{config, commands})
	if err != nil {
		w.T.Fatal(err)
	}
	daemon := exec.CommandContext(w.T.Context(), "/proc/self/exe")
	daemon.Env = append(os.Environ(), other+"="+string(told))
	var says strings.Builder
	daemon.Stderr = &says
	out, err := daemon.Output()
	if err != nil {
		w.T.Fatalf("the other daemon: %v\n%s", err, says.String())
	}
	var found []vm.Process
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p vm.Process
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			w.T.Fatal(err)
		}
		found = append(found, p)
	}
	w.L = w.Open()
	return found
}

// Alive says whether the process lives, and is not only waiting to be reaped.
func Alive(p vm.Process) bool {
	s, err := procfs.Default.Stat(p.PID)
	return err == nil && !s.Ended() && s.StartTime == p.StartTime
}

// WantKind fails unless the error is of that kind.
func WantKind(t *testing.T, story string, err error, want host.Kind) {
	t.Helper()
	if err == nil || host.KindOf(err) != want {
		t.Errorf("%s: got %v, want kind %d", story, err, want)
	}
}

// Kill9 kills a process from outside.
func Kill9(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
