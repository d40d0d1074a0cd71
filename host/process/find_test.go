package process

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
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

func TestTagsInPartOrForgedAreNotOurs(t *testing.T) {
	w := newWorld(t)
	mine := w.config.Node
	for story, change := range map[string]func([]string) []string{
		"another node": func(e []string) []string { e[0] = "BLIXARD_NODE=" + mine + "x"; return e },
		"no node":      func(e []string) []string { return e[1:] },
		"no boot":      func(e []string) []string { return e[:5] },
		"other boot":   func(e []string) []string { e[5] = "BLIXARD_BOOT=x"; return e },
		"path as name": func(e []string) []string { e[2] = "BLIXARD_NAME=../x"; return e },
		"slot":         func(e []string) []string { e[3] = "BLIXARD_SLOT=-1"; return e },
		"incarnation":  func(e []string) []string { e[4] = "BLIXARD_INCARNATION=0"; return e },
	} {
		env := change(w.l.tagged(w.ref(1, 1), nil))
		root := t.TempDir()
		dir := filepath.Join(root, "77")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "environ"), []byte(strings.Join(env, "\x00")), 0o600); err != nil {
			t.Fatal(err)
		}
		l := &Launcher{config: Config{Node: mine, BootID: w.config.BootID, Proc: procfs.FS{Root: root}}}
		if ref, err := l.readRef(77); !errors.Is(err, errNotOurs) {
			t.Errorf("%s: taken for %+v, %v", story, ref, err)
		}
	}
}

// forgedProc is a /proc in which one real process looks as we want.
func forgedProc(t *testing.T, l *Launcher, ref vm.Ref, pid, session int, startTime string) procfs.FS {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, strconv.Itoa(pid))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	stat := strconv.Itoa(pid) + " (x) S 1 1 " + strconv.Itoa(session) + strings.Repeat(" 0", 15) + " " + startTime + strings.Repeat(" 0", 30) + "\n"
	for name, text := range map[string]string{"stat": stat, "environ": strings.Join(l.tagged(ref, nil), "\x00")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return procfs.FS{Root: root}
}

// inExec makes the forged process one whose environment is empty at the first
// look and there at the next.
func inExec(t *testing.T, root string, pid int) {
	t.Helper()
	environ := filepath.Join(root, strconv.Itoa(pid), "environ")
	later, first := environ+".later", environ+".first"
	if err := errors.Join(os.Rename(environ, later), unix.Mkfifo(first, 0o600), os.Rename(first, environ)); err != nil {
		t.Fatal(err)
	}
	go func() {
		pipe, err := os.OpenFile(environ, os.O_WRONLY, 0) // waits until somebody looks
		if err != nil {
			t.Error(err)
			return
		}
		if err := errors.Join(os.Rename(later, environ), pipe.Close()); err != nil {
			t.Error(err)
		}
	}()
}

func TestAVMMInTheMidstOfItsExecIsOurs(t *testing.T) {
	w := newWorld(t)
	p := w.launch(w.sh(1, 1, sleeps))
	defer func() { w.config.Proc = procfs.Default }()
	hint := vm.Process{PID: p.PID, StartTime: 500, BootID: w.config.BootID}
	for story, find := range map[string]func() error{
		"by a scan": func() error {
			_, err := w.l.Find(t.Context(), w.ref(2, 1), nil)
			return err
		},
		"by its record": func() error {
			_, err := w.l.Find(t.Context(), w.ref(2, 1), &hint)
			return err
		},
		"by a list": func() error {
			found, err := w.l.List(t.Context())
			if err == nil && len(found) != 1 {
				err = errors.New("not listed")
			}
			return err
		},
	} {
		w.config.Proc = forgedProc(t, w.l, w.ref(2, 1), p.PID, p.PID, "500")
		inExec(t, w.config.Proc.Root, p.PID)
		w.restart()
		if err := find(); err != nil {
			t.Errorf("P1: %s it was taken for a stranger: %v", story, err)
		}
	}
}

func TestAnEnvironmentThatNeverComesIsNotWaitedForForLong(t *testing.T) {
	w := newWorld(t)
	p := w.launch(w.sh(1, 1, sleeps))
	defer func() { w.config.Proc = procfs.Default }()
	w.config.Proc = forgedProc(t, w.l, w.ref(2, 1), p.PID, p.PID, "500")
	if err := os.Truncate(filepath.Join(w.config.Proc.Root, strconv.Itoa(p.PID), "environ"), 0); err != nil {
		t.Fatal(err)
	}
	w.restart()
	began := time.Now()
	_, err := w.l.Find(t.Context(), w.ref(2, 1), nil)
	wantKind(t, "a process without an environment", err, host.Gone)
	if took := time.Since(began); took < execWait {
		t.Errorf("P1: a process in the midst of its exec was given up after %v", took)
	}
}

func TestAReusedPIDIsAnotherProcess(t *testing.T) {
	w := newWorld(t)
	p := w.launch(w.sh(1, 1, sleeps))
	other := w.ref(2, 1)
	w.config.Proc = forgedProc(t, w.l, other, p.PID, p.PID, "500")
	w.restart()
	defer func() { w.config.Proc = procfs.Default }()
	for story, hint := range map[string]vm.Process{
		"another start time": {PID: p.PID, StartTime: 499, BootID: w.config.BootID},
		"another boot":       {PID: p.PID, StartTime: 500, BootID: "before"},
		"no process":         {PID: 0, StartTime: 500, BootID: w.config.BootID},
		"nobody":             {PID: 1 << 21, StartTime: 500, BootID: w.config.BootID},
	} {
		if v := w.l.hinted(other, &hint); v != nil {
			t.Errorf("P8: %s was taken for ours: %+v", story, v.process)
		}
		done := make(chan vm.Exit, 1)
		w.l.Watch(hint, func(e vm.Exit) { done <- e })
		if e := w.wait(hint, done); e.Known {
			t.Errorf("%s: exit %+v", story, e)
		}
	}
	if err := w.l.Kill(t.Context(), w.ref(1, 1), &vm.Process{PID: p.PID, StartTime: 499, BootID: w.config.BootID}); err != nil {
		t.Error(err)
	}
	if !alive(p) {
		t.Fatal("P8: a process that couldn't be proved ours was killed")
	}
	old := other
	old.BootID = "before"
	_, err := w.l.Find(t.Context(), old, &vm.Process{PID: p.PID, StartTime: 500, BootID: "before"})
	wantKind(t, "another boot", err, host.Gone)
	if err := w.l.Kill(t.Context(), old, nil); err != nil || !alive(p) {
		t.Errorf("P8: killed for another boot: %v", err)
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

func TestAKillThatTakesTooLongIsTransient(t *testing.T) {
	v := &vmm{gone: make(chan struct{}), conn: deaf{}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantKind(t, "a process in state D", v.kill(ctx, "kill"), host.Transient)
}

// deaf is the pidfd of a process that no signal reaches.
type deaf struct{}

func (deaf) Control(func(uintptr)) error    { return nil }
func (deaf) Read(func(uintptr) bool) error  { return io.EOF }
func (deaf) Write(func(uintptr) bool) error { return io.EOF }
