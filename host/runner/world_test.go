package runner

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// patience bounds every wait of these tests on a loaded machine.
const patience = 60 * time.Second

// world is a node with one VM.
type world struct {
	t      *testing.T
	dir    string
	ref    vm.Ref
	spec   vm.Spec
	paths  host.Paths
	driver *Driver
	uid    int
	told   []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, dir: dir, ref: vm.Ref{VM: "0123456789abcdef", Name: "web", Slot: 7, Incarnation: 1, BootID: "boot"},
		spec: vm.Spec{Name: "web", CPUs: 1, Memory: 8 * vm.MiB, Stop: vm.Stop{Timeout: 30 * time.Second}},
	}
	w.paths = host.NewPaths(filepath.Join(dir, "s"), filepath.Join(dir, "r"), w.ref)
	uid, gid := host.Owners{}.Of(w.ref.Slot)
	w.uid = uid
	if err := os.MkdirAll(w.paths.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{w.paths.Log, w.paths.Stderr} {
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	w.driver = New(Config{Node: "n1", Tell: func(_ vm.Ref, s string) { w.told = append(w.told, s) }})
	return w
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// runner writes a runner's folder; a name that ends with a slash is a folder.
func (w *world) runner(name string, files map[string]string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	for path, text := range files {
		path = filepath.Join(dir, path)
		mode := os.FileMode(0o644)
		if strings.Contains(path, "/bin/") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			w.t.Fatal(err)
		}
	}
	return dir
}

func (w *world) prepare() {
	w.t.Helper()
	if err := w.driver.Prepare(w.ctx(), w.ref, w.spec, w.paths); err != nil {
		w.t.Fatalf("prepare: %v\n%s", err, w.read(filepath.Join(w.paths.Folder, logName)))
	}
}

func (w *world) release() {
	w.t.Helper()
	if err := w.driver.Release(w.ctx(), w.ref, w.spec, w.paths); err != nil {
		w.t.Fatalf("release: %v", err)
	}
}

func (w *world) read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (w *world) inWork(name string) string { return filepath.Join(w.paths.Folder, workName, name) }

// launched is a runner that was launched as a launcher does it.
type launched struct {
	*exec.Cmd
	ended chan struct{}
}

func (w *world) launch() *launched {
	w.t.Helper()
	c, err := w.driver.Command(w.ref, w.spec, w.paths)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := os.OpenFile(c.Stdout, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.OpenFile(c.Stderr, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer errs.Close()
	p := &launched{Cmd: &exec.Cmd{Path: c.Argv[0], Args: c.Argv, Dir: c.Dir, Env: c.Env, Stdout: out, Stderr: errs}, ended: make(chan struct{})}
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		p.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
	}
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.Wait() // its state is looked at by who waits
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	return p
}

func (w *world) wantEnd(p *launched) {
	w.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		w.t.Fatalf("its runner goes on; it says %s", w.read(w.paths.Stderr))
	}
}

func (w *world) attach() (host.Session, chan host.Notice) {
	w.t.Helper()
	notices := make(chan host.Notice, 64)
	s, err := w.driver.Attach(w.ctx(), w.spec, w.paths, func(n host.Notice) { notices <- n })
	if err != nil {
		w.t.Fatalf("attach: %v; the VMM says %s", err, w.read(w.paths.Stderr))
	}
	w.t.Cleanup(s.Close)
	return s, notices
}

func (w *world) wantState(s host.Session, want host.GuestState) {
	w.t.Helper()
	got, err := s.State(w.ctx())
	if err != nil || got != want {
		w.t.Fatalf("state %q, %v; want %q", got, err, want)
	}
}

func wantKind(t *testing.T, story string, err error, want host.Kind, says ...string) {
	t.Helper()
	if err == nil || host.KindOf(err) != want {
		t.Fatalf("%s: kind %d, error %v; want kind %d", story, host.KindOf(err), err, want)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: %v\ndoesn't say %q", story, err, s)
		}
	}
}

// eventually waits for what no event tells a test of.
func eventually(t *testing.T, story string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(story + ": never")
		}
	}
}

// qemuRunner is a folder like one that microvm.nix builds for QEMU, with the
// built-in bare guest instead of NixOS, and no KVM.
func (w *world) qemuRunner(guest []byte) string {
	w.t.Helper()
	binary, err := qemu.Find("")
	if err != nil {
		w.t.Skipf("SKIP real QEMU: %v", err)
	}
	dir := w.runner("qemu-runner", map[string]string{
		"bin/microvm-run": `#!/usr/bin/env bash
set -eou pipefail
if [ ! -e 'data.img' ]; then
  touch 'data.img'
  truncate -s 3M 'data.img'
fi

exec -a "microvm@web" ` + binary + ` -name web -M 'microvm,accel=tcg,acpi=on,pit=off,pic=off,rtc=on' -m 8M -smp 1 -nodefaults ` +
			`-no-user-config -no-reboot -kernel ` + w.dir + `/guest -chardev 'stdio,id=stdio,signal=off' -serial chardev:stdio -nographic ` +
			`-sandbox on -qmp unix:web.sock,server,nowait -drive 'id=vda,format=raw,file=data.img,if=none,read-only=off' -device virtio-blk-device,drive=vda
`,
		"bin/microvm-shutdown":   "#!/bin/sh\necho not to be called >&2\nexit 1\n",
		"share/microvm/system/x": "",
	})
	if err := os.WriteFile(filepath.Join(w.dir, "guest"), guest, 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.spec.Boot.Runner = dir
	return dir
}

func needRoot(t *testing.T, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("SKIP: %s needs root", what)
	}
}
