package process

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

func TestOrphansAreAdopted(t *testing.T) {
	w := newWorld(t)
	old := w.orphans(w.sh(1, 4, sleeps), w.sh(2, 1, sleeps))
	p, err := w.l.Find(t.Context(), w.ref(1, 4), &old[0])
	if err != nil || p != old[0] {
		t.Fatalf("by its record: %+v, %v, want %+v", p, err, old[0])
	}
	q, err := w.l.Find(t.Context(), w.ref(2, 1), nil)
	if err != nil || q != old[1] {
		t.Fatalf("by its tags: %+v, %v, want %+v", q, err, old[1])
	}
	if s, err := procfs.Default.Stat(p.PID); err != nil || s.Parent == os.Getpid() {
		t.Fatalf("it is no orphan: %+v, %v", s, err)
	}
	_, err = w.l.Find(t.Context(), w.ref(1, 3), &old[0])
	wantKind(t, "an earlier incarnation", err, host.Gone)
	ended := make(chan vm.Exit, 2)
	w.l.Watch(p, func(e vm.Exit) { ended <- e })
	kill9(t, p)
	e := w.wait(p, ended)
	if !e.Known || e.Signal != int(unix.SIGKILL) {
		t.Errorf("the end of an orphan: %+v", e)
	}
	if err := w.l.Kill(t.Context(), w.ref(2, 1), &old[1]); err != nil || alive(q) {
		t.Errorf("killing an orphan: %v, alive %v", err, alive(q))
	}
}

func TestAnAdoptedVMMGetsTheLimitsThatItsDaemonDiedBeforeSetting(t *testing.T) {
	w := newWorld(t)
	c := w.sh(1, 1, sleeps)
	c.MaxFile = 1 << 20
	born := exec.Command(c.Argv[0], c.Argv[1:]...) // what a launch is, before its limits
	born.Env = proof.Identity{Node: w.config.Node, BootID: w.config.BootID}.Tagged(w.config.Node, c)
	born.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}}
	if err := born.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = born.Process.Kill()
		_ = born.Wait()
	}()
	p := vm.Process{PID: born.Process.Pid}
	w.restart()
	if _, err := w.l.Find(t.Context(), c.Ref, nil); err != nil {
		t.Fatal(err)
	}
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/limits") // asking the kernel takes more rights than a container may have
	if err != nil || !regexp.MustCompile(`(?m)^Max file size +1048576 +1048576 `).Match(limits) {
		t.Errorf("P15: it may write more than 1 MiB: %v\n%s", err, limits)
	}
}

func TestAChildOfAVMMIsNotTheVMM(t *testing.T) {
	w := newWorld(t)
	c := w.sh(1, 1, `sleep 600 & echo "$!" >&2; wait`)
	p := w.launch(c)
	child := 0
	for deadline := time.Now().Add(patience); child == 0 && time.Now().Before(deadline); runtime.Gosched() {
		child, _ = strconv.Atoi(strings.TrimSpace(w.stderr(c)))
	}
	defer func() { _ = unix.Kill(child, unix.SIGKILL) }()
	w.restart()
	found, err := w.l.List(t.Context())
	if err != nil || len(found) != 1 || found[0].Process.PID != p.PID {
		t.Errorf("listed %+v, %v, want only %d and not its child %d", found, err, p.PID, child)
	}
}

func TestTheEndIsToldOnceWithItsCode(t *testing.T) {
	w := newWorld(t)
	p := w.launch(w.sh(1, 1, "exit 3"))
	for range 2 { // the second asks long after the end
		if e := w.exit(p); !e.Known || e.Code != 3 || e.Signal != 0 {
			t.Errorf("exit %+v", e)
		}
	}
	if s, err := procfs.Default.Stat(p.PID); err == nil && s.StartTime == p.StartTime {
		t.Errorf("it was not reaped: %+v", s)
	}
	if err := w.l.Kill(t.Context(), w.ref(1, 1), &p); err != nil {
		t.Errorf("killing what is gone: %v", err)
	}
}

func TestCancelLeavesTheProcessAlone(t *testing.T) {
	w := newWorld(t)
	p := w.launch(w.sh(1, 1, sleeps))
	cancelled := make(chan vm.Exit, 1)
	cancel := w.l.Watch(p, func(e vm.Exit) { cancelled <- e })
	cancel()
	cancel()
	if !alive(p) {
		t.Fatal("P6: the end of a watch was the end of a VMM")
	}
	kill9(t, p)
	w.exit(p)
	select {
	case e := <-cancelled:
		t.Errorf("a cancelled watch was told %+v", e)
	default:
	}
}

func TestUnwatchedChildrenAreReaped(t *testing.T) {
	w := newWorld(t)
	p := w.launch(w.sh(1, 1, "exit 0"))
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		if _, err := procfs.Default.Stat(p.PID); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a child that nobody watches stays a zombie")
		}
	}
}
