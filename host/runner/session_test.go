package runner

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/qemu"
)

// otherVMM is a hypervisor without QMP, whose bin/microvm-shutdown finds it by
// MAINPID and waits for its end, as cloud-hypervisor's does.
func (w *world) otherVMM() {
	w.t.Helper()
	w.spec.Boot.Runner = w.runner("other", map[string]string{
		"bin/microvm-run": `#!/bin/sh
set -eu
echo the guest says hello
trap 'echo the guest is told to end; exit 0' USR1
trap 'exit 5' TERM
echo ready >ready
while :; do sleep 0.05; done
`,
		"bin/microvm-shutdown": `#!/bin/sh
set -eu
id -u
kill -USR1 "$MAINPID"
while kill -0 "$MAINPID" 2>/dev/null; do sleep 0.05; done
`,
	})
}

func (w *world) launchOther() *launched {
	w.t.Helper()
	w.otherVMM()
	w.prepare()
	p := w.launch()
	eventually(w.t, "the runner's own start", func() bool { return w.read(w.inWork("ready")) == "ready\n" })
	return p
}

func TestAnotherHypervisorIsEndedByItsOwnScript(t *testing.T) {
	w := newWorld(t)
	p := w.launchOther()
	s, _ := w.attach()
	w.wantState(s, host.GuestRuns)
	wantKind(t, "pause", s.Pause(w.ctx()), host.Broken, "QEMU")
	wantKind(t, "resume", s.Resume(w.ctx()), host.Broken, "QEMU")
	if err := s.PowerDown(w.ctx()); err != nil {
		t.Fatalf("%v; it says %s", err, w.read(w.paths.Stderr))
	}
	w.wantEnd(p)
	if got := w.read(w.paths.Log); got != "the guest says hello\nthe guest is told to end\n" {
		t.Errorf("console %q", got)
	}
	if got := w.read(w.paths.Stderr); got != strconv.Itoa(w.uid)+"\n" {
		t.Errorf("microvm-shutdown ran as %q, want the VM's user %d", got, w.uid)
	}
	if _, err := s.State(w.ctx()); host.KindOf(err) != host.Gone {
		t.Errorf("state of a VMM that is gone: %v", err)
	}
	if err := s.Quit(w.ctx()); err != nil {
		t.Errorf("quit after the end: %v", err)
	}
}

func TestQuitEndsTheProvedVMMAlone(t *testing.T) {
	w := newWorld(t)
	p := w.launchOther()
	s, _ := w.attach()
	stranger := filepath.Join(w.paths.Folder, workName, pidName)
	own := w.read(stranger)
	for _, forged := range []string{"1", strconv.Itoa(os.Getpid()), "-1", "0", "x", "", "999999999999999999999"} {
		if err := os.WriteFile(stranger, []byte(forged), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.Quit(w.ctx()); err == nil || host.KindOf(err) == host.Transient {
			t.Errorf("with the noted pid %q quit says %v", forged, err)
		}
		w.wantState(s, host.GuestRuns)
	}
	if err := os.WriteFile(stranger, []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Quit(w.ctx()); err != nil {
		t.Fatal(err)
	}
	w.wantEnd(p)
	if p.ProcessState.ExitCode() != 5 {
		t.Errorf("ended with %v", p.ProcessState)
	}
}

func TestAShutdownThatWaitsTooLongIsCutOff(t *testing.T) {
	w := newWorld(t)
	w.spec.Boot.Runner = w.runner("deaf", map[string]string{
		"bin/microvm-run":      "#!/bin/sh\nexec sleep 600\n",
		"bin/microvm-shutdown": "#!/bin/sh\necho pressed >pressed\nsleep 600 &\nwait\n",
	})
	w.prepare()
	w.launch()
	s, _ := w.attach()
	ctx, cancel := context.WithCancel(w.ctx())
	done := make(chan error, 1)
	go func() { done <- s.PowerDown(ctx) }()
	eventually(t, "the press", func() bool { return w.read(w.inWork("pressed")) == "pressed\n" })
	if err := s.PowerDown(w.ctx()); err != nil {
		t.Errorf("a second press: %v", err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("a wait that is cut off: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it was not cut off")
	}
}

func TestAShutdownThatFailsSaysSo(t *testing.T) {
	w := newWorld(t)
	dir := w.runner("bad", map[string]string{
		"bin/microvm-run":      "#!/bin/sh\nexec sleep 600\n",
		"bin/microvm-shutdown": "#!/bin/sh\necho no socket >&2\nexit 3\n",
	})
	w.spec.Boot.Runner = dir
	w.prepare()
	w.launch()
	s, _ := w.attach()
	wantKind(t, "a script that fails", s.PowerDown(w.ctx()), host.Transient, "exit status 3")
	if got := w.read(w.paths.Stderr); got != "no socket\n" {
		t.Errorf("the VMM's log has %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "bin/microvm-shutdown")); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "no script", s.PowerDown(w.ctx()), host.Broken, "only a kill")
}

func TestAttachSurvivesTheRunnersRemoval(t *testing.T) {
	w := newWorld(t)
	w.launchOther()
	if err := os.RemoveAll(w.spec.Boot.Runner); err != nil {
		t.Fatal(err)
	}
	s, _ := w.attach()
	w.wantState(s, host.GuestRuns)
}

// qmpWorld is one whose runner says that it has a socket, and that never runs.
func qmpWorld(t *testing.T) *world {
	w := newWorld(t)
	w.spec.Boot.Runner = w.runner("q", map[string]string{
		"bin/microvm-run": "#!/bin/sh\nexec /x/qemu-system-x86_64 -qmp unix:web.sock,server,nowait\n",
	})
	w.prepare()
	return w
}

func TestAttachWaitsForTheSocketNoLongerThanItsContext(t *testing.T) {
	w := qmpWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := w.driver.Attach(ctx, w.spec, w.paths, func(host.Notice) {})
	wantKind(t, "no socket", err, host.Transient, "web.sock")

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: w.inWork("web.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	_, err = w.driver.Attach(ctx, w.spec, w.paths, func(host.Notice) {})
	wantKind(t, "nobody listens", err, host.Transient, "web.sock")
}

func TestAttachComesWithTheSocket(t *testing.T) {
	w := qmpWorld(t)
	w.uid = os.Geteuid() // whose socket it is, as the test's own process listens
	if err := os.Lchown(filepath.Dir(w.inWork("x")), os.Geteuid(), -1); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		s, err := w.driver.Attach(w.ctx(), w.spec, w.paths, func(host.Notice) {})
		if err == nil {
			s.Close()
		}
		got <- err
	}()
	for i := range 3 * 4096 / 16 { // more events than are read at once
		if err := os.WriteFile(w.inWork("noise"+strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", w.inWork("web.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(`{"QMP": {}}` + "\n")); err != nil {
		t.Fatal(err)
	}
	for asked, id := bufio.NewReader(conn), 1; id <= 2; id++ { // for its capabilities, and for its machine
		if line, err := asked.ReadString('\n'); err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := fmt.Fprintf(conn, `{"return": {}, "id": %d}`+"\n", id); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("attach goes on waiting")
	}
}

// A guest that broke out of its VMM could lead us to its neighbour's QMP.
func TestASocketOfSomebodyElseIsRefused(t *testing.T) {
	needRoot(t, "a socket of another user")
	w := qmpWorld(t)
	victim := filepath.Join(w.dir, "victim.sock")
	l, err := net.Listen("unix", victim)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(victim, w.inWork("web.sock")); err != nil {
		t.Fatal(err)
	}
	_, err = w.driver.Attach(w.ctx(), w.spec, w.paths, func(host.Notice) {})
	wantKind(t, "a link to another's socket", err, host.Denied, "not the VM's user")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("it was told something: %d, %v", n, err)
	}
}

func TestTheSocketsPathMayBeLong(t *testing.T) {
	w := newWorld(t)
	w.paths.Folder = filepath.Join(w.dir, strings.Repeat("long/", 30), "web")
	if err := os.MkdirAll(w.paths.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	w.qemuRunner(qemu.PVHGuest())
	w.prepare()
	w.launch()
	s, _ := w.attach()
	w.wantState(s, host.GuestRuns)
}
