package qemu

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// patience bounds every wait of these tests on a loaded machine.
const patience = 30 * time.Second

// guest is a real QEMU, launched as the launcher does it.
type guest struct {
	t       *testing.T
	driver  *Driver
	paths   host.Paths
	process *exec.Cmd
	ended   chan struct{}
	kernel  string
	boot    vm.Boot
	stderr  *os.File // takes what QEMU writes; nil: the test's own
}

// qemuBinary finds QEMU, or skips and says why.
func qemuBinary(t *testing.T) string {
	t.Helper()
	path, err := Find("")
	if err != nil {
		t.Skipf("SKIP real QEMU: %v", err)
	}
	return path
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// shortDir is a folder whose path leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start launches a VM; elf, if any, becomes its kernel.
func start(t *testing.T, elf []byte, bend func(*vm.Spec)) *guest {
	t.Helper()
	g, c := prepare(t, elf, bend)
	g.launch(c)
	return g
}

func prepare(t *testing.T, elf []byte, bend func(*vm.Spec)) (*guest, host.Command) {
	t.Helper()
	path, dir := qemuBinary(t), shortDir(t)
	spec := vm.Spec{Name: "t", CPUs: 1, Memory: 8 * vm.MiB}
	if elf != nil {
		spec.Boot.Kernel = filepath.Join(dir, "guest.elf")
		if err := os.WriteFile(spec.Boot.Kernel, elf, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if bend != nil {
		bend(&spec)
	}
	ref := vm.Ref{VM: "0123456789abcdef", Name: "t", Incarnation: 1, BootID: "b"}
	g := &guest{
		t: t, driver: New(Config{Binary: path, Accel: AccelTCG, TSCKHz: HostTSCKHz()}), paths: host.NewPaths(dir, dir, ref),
		ended: make(chan struct{}), kernel: spec.Boot.Kernel, boot: spec.Boot,
	}
	for _, folder := range []string{g.paths.Folder, g.paths.Run, g.paths.Disks} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range spec.Disks {
		if d.Path == "" {
			g.makeDisk(d)
		}
	}
	c, err := g.driver.Command(ref, spec, g.paths)
	if err != nil {
		t.Fatalf("command: %v", err)
	}
	return g, c
}

func (g *guest) makeDisk(d vm.Disk) {
	g.t.Helper()
	path := g.paths.Disk(d.Name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Truncate(path, int64(d.Size)); err != nil {
		g.t.Fatal(err)
	}
}

// launch makes the sockets, puts their descriptors' numbers in, and starts.
func (g *guest) launch(c host.Command) {
	g.t.Helper()
	argv := strings.Join(c.Argv, "\x00")
	g.process = &exec.Cmd{Path: c.Argv[0], Dir: c.Dir, Env: c.Env, Stderr: os.Stderr}
	if g.stderr != nil {
		g.process.Stderr = g.stderr
	}
	for i, s := range c.Sockets {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.Path, Net: "unix"})
		if err != nil {
			g.t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		file, err := l.File()
		if err != nil {
			g.t.Fatal(err)
		}
		defer file.Close()
		defer l.Close()
		g.process.ExtraFiles = append(g.process.ExtraFiles, file)
		argv = strings.ReplaceAll(argv, "{fd:"+s.Name+"}", fmt.Sprint(3+i))
	}
	for i, f := range c.Files {
		file, err := os.Open(f.Path)
		if err != nil {
			g.t.Fatal(err)
		}
		defer file.Close()
		g.process.ExtraFiles = append(g.process.ExtraFiles, file)
		argv = strings.ReplaceAll(argv, "{fd:"+f.Name+"}", fmt.Sprint(3+len(c.Sockets)+i))
	}
	g.process.Args = strings.Split(argv, "\x00")
	if err := g.process.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() { defer close(g.ended); _ = g.process.Wait() }()
	g.t.Cleanup(func() { _ = g.process.Process.Kill(); <-g.ended })
}

// attach opens a session whose notices come through the channel.
func (g *guest) attach() (host.Session, chan host.Notice) {
	g.t.Helper()
	notices := make(chan host.Notice, 1024)
	s, err := g.driver.Attach(deadline(g.t), vm.Spec{Boot: g.boot}, g.paths, func(n host.Notice) {
		select {
		case notices <- n:
		default:
		}
	})
	if err != nil {
		g.t.Fatalf("attach: %v", err)
	}
	g.t.Cleanup(s.Close)
	return s, notices
}

func (g *guest) hear(notices chan host.Notice, kind host.NoticeKind) host.Notice {
	g.t.Helper()
	select {
	case n := <-notices:
		if n.Kind != kind {
			g.t.Fatalf("heard %q (%s), want %q", n.Kind, n.Detail, kind)
		}
		return n
	case <-time.After(patience):
		g.t.Fatalf("heard nothing, want %q", kind)
	}
	panic("unreachable")
}

func (g *guest) wantState(s host.Session, want host.GuestState) {
	g.t.Helper()
	got, err := s.State(deadline(g.t))
	if err != nil || got != want {
		g.t.Fatalf("state is %q (%v), want %q", got, err, want)
	}
}

// wantConsole connects to the serial console and reads until the bytes wanted came.
func (g *guest) wantConsole(want string) {
	g.t.Helper()
	conn, err := dial(deadline(g.t), g.paths.Console, vm.Process{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	var all []byte
	for buf := make([]byte, 4096); !strings.Contains(string(all), want); {
		n, err := conn.Read(buf)
		if err != nil {
			g.t.Fatalf("console: %v after %q, want %q", err, all, want)
		}
		all = append(all, buf[:n]...)
	}
}

// wantLog waits until the console's file holds the bytes wanted.
func (g *guest) wantLog(want string) {
	g.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		log, err := os.ReadFile(g.paths.Log)
		if err == nil && strings.Contains(string(log), want) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			g.t.Fatalf("log is %.80q (%v), want %q", log, err, want)
		}
	}
}

func (g *guest) waitEnd() {
	g.t.Helper()
	select {
	case <-g.ended:
	case <-time.After(patience):
		g.t.Fatal("QEMU did not end")
	}
}
