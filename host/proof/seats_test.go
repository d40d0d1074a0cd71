package proof

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

const patience = 10 * time.Second

// sleeper makes VMMs that sleep.
type sleeper struct{ who Identity }

func (s sleeper) Make(_ context.Context, c host.Command, _ string) (*VMM, error) {
	fd := -1
	pid, _, err := syscall.StartProcess("/bin/sleep", []string{"sleep", "600"}, &syscall.ProcAttr{
		Env: s.who.Tagged(s.who.Node, c), Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &fd},
	})
	if err != nil {
		return nil, err
	}
	stat, err := procfs.Default.Stat(pid)
	if err != nil {
		return nil, err
	}
	return NewVMM(c.Ref, s.who.Process(c.Ref, pid, stat.StartTime), fd)
}

func (s sleeper) End(v *VMM) vm.Exit { return v.Reap(procfs.Default) }
func (s sleeper) Clean(*VMM)         {}
func (s sleeper) Adopted(*VMM)       {}

func (s sleeper) Clear(context.Context, vm.Ref, string) error { return nil }

func (s sleeper) Settle(context.Context) error { return nil }

// node is who owns the VMMs of one test.
func node() Identity {
	return Identity{Node: "test-" + string(vm.NewID()), BootID: "boot", Proc: procfs.Default}
}

func seats(t *testing.T, who Identity) *Seats {
	t.Helper()
	l, err := NewSeats(who, sleeper{who})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func ref(n vm.Incarnation) vm.Ref {
	return vm.Ref{VM: "0000000000000001", Name: "vm-1", Slot: 1, Incarnation: n, BootID: "boot"}
}

// sleeping is a VMM that ends with the test.
func sleeping(t *testing.T, who Identity) vm.Process {
	t.Helper()
	l := seats(t, who)
	c := host.Command{Ref: ref(1), Argv: []string{"/bin/sleep"}, UID: 1, GID: 1}
	p, err := l.Launch(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Kill(context.Background(), c.Ref, &p); err != nil {
			t.Error(err)
		}
	})
	return p
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

func TestTagsInPartOrForgedAreNotOurs(t *testing.T) {
	who := node()
	mine := who.Node
	for story, change := range map[string]func([]string) []string{
		"the public name outside a unit": func(e []string) []string {
			e[0] = "BLIXARD_NODE=" + (Identity{Node: mine}).Public()
			return e
		},
		"another node": func(e []string) []string { e[0] = "BLIXARD_NODE=" + mine + "x"; return e },
		"no node":      func(e []string) []string { return e[1:] },
		"no boot":      func(e []string) []string { return e[:5] },
		"other boot":   func(e []string) []string { e[5] = "BLIXARD_BOOT=x"; return e },
		"path as name": func(e []string) []string { e[2] = "BLIXARD_NAME=../x"; return e },
		"slot":         func(e []string) []string { e[3] = "BLIXARD_SLOT=-1"; return e },
		"incarnation":  func(e []string) []string { e[4] = "BLIXARD_INCARNATION=0"; return e },
	} {
		env := change(who.Tagged(mine, host.Command{Ref: ref(1)}))
		root := t.TempDir()
		dir := filepath.Join(root, "77")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "environ"), []byte(strings.Join(env, "\x00")), 0o600); err != nil {
			t.Fatal(err)
		}
		who.Proc = procfs.FS{Root: root}
		if ref, err := who.Read(77); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: taken for %+v, %v", story, ref, err)
		}
	}
}

// forgedProc is a /proc in which one real process looks as we want.
func forgedProc(t *testing.T, who Identity, ref vm.Ref, pid, session int, startTime string) Identity {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, strconv.Itoa(pid))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	stat := strconv.Itoa(pid) + " (x) S 1 1 " + strconv.Itoa(session) + strings.Repeat(" 0", 15) + " " + startTime + strings.Repeat(" 0", 30) + "\n"
	for name, text := range map[string]string{"stat": stat, "environ": strings.Join(who.Tagged(who.Node, host.Command{Ref: ref}), "\x00")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	who.Proc.Root = root
	return who
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
	who := node()
	p := sleeping(t, who)
	other := ref(2)
	hint := vm.Process{PID: p.PID, StartTime: 500, BootID: "boot"}
	for story, find := range map[string]func(*Seats) error{
		"by a scan": func(l *Seats) error {
			_, err := l.Find(t.Context(), other, nil)
			return err
		},
		"by its record": func(l *Seats) error {
			if l.hinted(other, &hint) == nil {
				return errNone
			}
			return nil
		},
		"by a list": func(l *Seats) error {
			found, err := l.List(t.Context())
			if err == nil && len(found) != 1 {
				err = errNone
			}
			return err
		},
	} {
		forged := forgedProc(t, who, other, p.PID, p.PID, "500")
		inExec(t, forged.Proc.Root, p.PID)
		if err := find(seats(t, forged)); err != nil {
			t.Errorf("P1: %s it was taken for a stranger: %v", story, err)
		}
	}
}

func TestAnEnvironmentThatNeverComesIsNotWaitedForForLong(t *testing.T) {
	who := node()
	p := sleeping(t, who)
	forged := forgedProc(t, who, ref(2), p.PID, p.PID, "500")
	if err := os.Truncate(filepath.Join(forged.Proc.Root, strconv.Itoa(p.PID), "environ"), 0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := seats(t, forged).Find(t.Context(), ref(2), nil)
	wantKind(t, "a process without an environment", err, host.Gone)
	if took := time.Since(began); took < execWait {
		t.Errorf("P1: a process in the midst of its exec was given up after %v", took)
	}
}

func TestAReusedPIDIsAnotherProcess(t *testing.T) {
	who := node()
	p := sleeping(t, who)
	other := ref(2)
	l := seats(t, forgedProc(t, who, other, p.PID, p.PID, "500"))
	for story, hint := range map[string]vm.Process{
		"another start time": {PID: p.PID, StartTime: 499, BootID: "boot"},
		"another boot":       {PID: p.PID, StartTime: 500, BootID: "before"},
		"no process":         {PID: 0, StartTime: 500, BootID: "boot"},
		"nobody":             {PID: 1 << 21, StartTime: 500, BootID: "boot"},
	} {
		if v := l.hinted(other, &hint); v != nil {
			t.Errorf("P8: %s was taken for ours: %+v", story, v.Process)
		}
		done := make(chan vm.Exit, 1)
		l.Watch(hint, func(e vm.Exit) { done <- e })
		select {
		case e := <-done:
			if e.Known {
				t.Errorf("%s: exit %+v", story, e)
			}
		case <-time.After(patience):
			t.Fatalf("%s: no notice that it is gone", story)
		}
	}
	if err := l.Kill(t.Context(), ref(1), &vm.Process{PID: p.PID, StartTime: 499, BootID: "boot"}); err != nil {
		t.Error(err)
	}
	if !alive(p) {
		t.Fatal("P8: a process that couldn't be proved ours was killed")
	}
	old := other
	old.BootID = "before"
	_, err := l.Find(t.Context(), old, &vm.Process{PID: p.PID, StartTime: 500, BootID: "before"})
	wantKind(t, "another boot", err, host.Gone)
	if err := l.Kill(t.Context(), old, nil); err != nil || !alive(p) {
		t.Errorf("P8: killed for another boot: %v", err)
	}
}

func TestAKillThatTakesTooLongIsTransient(t *testing.T) {
	v := &VMM{gone: make(chan struct{}), conn: deaf{}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantKind(t, "a process in state D", v.kill(ctx, "kill"), host.Transient)
}

// deaf is the pidfd of a process that no signal reaches.
type deaf struct{}

func (deaf) Control(func(uintptr)) error    { return nil }
func (deaf) Read(func(uintptr) bool) error  { return io.EOF }
func (deaf) Write(func(uintptr) bool) error { return io.EOF }

func TestWhoIsToldOfAnEndFindsItRemembered(t *testing.T) {
	who := node()
	v, err := sleeper{who}.Make(t.Context(), host.Command{Ref: ref(1)}, "")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{})
	v.watch(func(vm.Exit) { close(told) })
	if err := unix.Kill(v.Process.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v.mind(sleeper{who}.End, func(*VMM) {
		select {
		case <-told:
			t.Error("told before it was remembered")
		case <-time.After(50 * time.Millisecond): // time enough for a notice that was sent too early
		}
	})
	<-told
}
