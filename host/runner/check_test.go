package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const sleeper = "#!/bin/sh\nexec sleep 600\n"

func TestCheckSaysAllThatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		bend  func(t *testing.T, dir string)
		says  []string // nothing: it is fine
	}{
		{name: "the least", files: map[string]string{"bin/microvm-run": sleeper}},
		{name: "all that is called", files: map[string]string{
			"bin/microvm-run": sleeper, "bin/microvm-shutdown": sleeper, "bin/tap-up": sleeper, "bin/tap-down": sleeper, "share/microvm/tap-interfaces": "t0\n",
		}},
		{name: "scripts that are links, as nix makes them", files: map[string]string{"store/run": sleeper, "bin/x": ""}, bend: func(t *testing.T, dir string) {
			do(t, os.Chmod(filepath.Join(dir, "store/run"), 0o555))
			do(t, os.Symlink("../store/run", filepath.Join(dir, "bin/microvm-run")))
		}},
		{name: "an empty folder", files: map[string]string{"x": ""}, says: []string{"bin/microvm-run is missing"}},
		{name: "a link that leads nowhere", files: map[string]string{"bin/x": ""}, bend: func(t *testing.T, dir string) {
			do(t, os.Symlink("nowhere", filepath.Join(dir, "bin/microvm-run")))
		}, says: []string{"bin/microvm-run is missing"}},
		{name: "a link to itself", files: map[string]string{"bin/x": ""}, bend: func(t *testing.T, dir string) {
			do(t, os.Symlink("microvm-run", filepath.Join(dir, "bin/microvm-run")))
		}, says: []string{"bin/microvm-run can't be followed"}},
		{name: "a folder for a script", files: map[string]string{"bin/microvm-run/x": ""}, says: []string{"bin/microvm-run is no file"}},
		{name: "not executable", files: map[string]string{"bin/microvm-run": sleeper}, bend: func(t *testing.T, dir string) {
			do(t, os.Chmod(filepath.Join(dir, "bin/microvm-run"), 0o644))
		}, says: []string{"may not be read and run", "0644"}},
		{name: "writable by others", files: map[string]string{"bin/microvm-run": sleeper}, bend: func(t *testing.T, dir string) {
			do(t, os.Chmod(filepath.Join(dir, "bin/microvm-run"), 0o757))
		}, says: []string{"bin/microvm-run isn't safe", "others may write", "0757"}},
		{name: "in a folder that others write", files: map[string]string{"bin/microvm-run": sleeper}, bend: func(t *testing.T, dir string) {
			do(t, os.Chmod(dir, 0o775))
		}, says: []string{"others may write", "0775"}},
		{name: "two wrong scripts", files: map[string]string{"bin/tap-up": sleeper}, bend: func(t *testing.T, dir string) {
			do(t, os.Chmod(filepath.Join(dir, "bin/tap-up"), 0o600))
		}, says: []string{"bin/microvm-run is missing; ", "bin/tap-up may not be read"}},
		{name: "what isn't served", files: map[string]string{
			"bin/microvm-run": sleeper, "bin/virtiofsd-run": sleeper, "share/microvm/macvtap-interfaces": "x", "share/microvm/pci-devices": "x",
		}, says: []string{"virtiofsd", "macvtap", "PCI"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			dir := w.runner("runner", c.files)
			if c.bend != nil {
				c.bend(t, dir)
			}
			got, err := Check(dir)
			if len(c.says) > 0 {
				wantKind(t, c.name, err, host.Broken, c.says...)
				return
			}
			if err != nil || got != dir {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckRefusesWhatIsNoRunner(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "file")
	do(t, os.WriteFile(file, nil, 0o644))
	for path, says := range map[string]string{
		"relative/runner": "isn't absolute", "": "isn't absolute", filepath.Join(w.dir, "none"): "no such file", file: "no folder", "/proc/self/fd": "missing",
	} {
		_, err := Check(path)
		wantKind(t, path, err, host.Broken, says)
	}
}

func TestAScriptOfAnotherUserIsRefused(t *testing.T) {
	needRoot(t, "giving a file away")
	w := newWorld(t)
	dir := w.runner("runner", map[string]string{"bin/microvm-run": sleeper})
	do(t, os.Chown(filepath.Join(dir, "bin"), 4711, 4711))
	_, err := Check(dir)
	wantKind(t, "a folder of another user", err, host.Broken, "belongs to user 4711")
	do(t, os.Chown(filepath.Join(dir, "bin"), 0, 0))
	do(t, os.Chown(filepath.Join(dir, "bin/microvm-run"), 4711, 4711))
	_, err = Check(dir)
	wantKind(t, "a script of another user", err, host.Broken, "belongs to user 4711")
	do(t, os.Chown(filepath.Join(dir, "bin/microvm-run"), 0, 0))
	do(t, os.Chmod(dir, 0o700))
	_, err = Check(dir)
	wantKind(t, "a folder that keeps the VM's user out", err, host.Broken, "can't pass")
}

// Who can change a link on the way to root's script can put his own in its place.
func TestALinkThatAnotherUserCanChangeIsRefused(t *testing.T) {
	needRoot(t, "giving a link away")
	for name, give := range map[string]string{"the folder of the link": "bin", "the link": "bin/microvm-run", "the folder of a link before": "share"} {
		w := newWorld(t)
		dir := w.runner("runner", map[string]string{"store/run": sleeper, "bin/x": "", "share/x": ""})
		do(t, os.Chmod(filepath.Join(dir, "store/run"), 0o555))
		do(t, os.Symlink("../store/run", filepath.Join(dir, "share/run")))
		do(t, os.Symlink("../share/run", filepath.Join(dir, "bin/microvm-run")))
		_, err := Check(dir)
		do(t, err)
		do(t, os.Lchown(filepath.Join(dir, give), 4711, 4711))
		_, err = Check(dir)
		wantKind(t, name, err, host.Broken, "bin/microvm-run isn't safe", "belongs to user 4711")
	}
}

func TestASpecThatARunnerCantFollowIsRefused(t *testing.T) {
	w := newWorld(t)
	w.spec.Boot.Runner = w.runner("runner", map[string]string{"bin/microvm-run": sleeper})
	for says, bend := range map[string]func(*vm.Spec){
		"has no disks":    func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "d", Size: vm.MiB}} },
		"has no networks": func(s *vm.Spec) { s.Networks = []vm.Network{{Mode: vm.NetworkUser}} },
		"no guest agent":  func(s *vm.Spec) { s.Health = []vm.Check{{Type: vm.CheckConsole}, {Type: vm.CheckAgent}} },
	} {
		spec := w.spec
		bend(&spec)
		wantKind(t, says, w.driver.Prepare(w.ctx(), w.ref, spec, w.paths), host.Broken, says)
	}
}

func TestPrepareLeavesWhatIsInTheWayAlone(t *testing.T) {
	w := newWorld(t)
	w.spec.Boot.Runner = w.runner("runner", map[string]string{"bin/microvm-run": sleeper})
	in := filepath.Join(w.paths.Folder, workName)
	do(t, os.Symlink(w.dir, in))
	before, err := os.Stat(w.dir)
	do(t, err)
	err = w.driver.Prepare(w.ctx(), w.ref, w.spec, w.paths)
	wantKind(t, "a link for the working folder", err, host.Broken, "in the way")
	after, err := os.Stat(w.dir)
	do(t, err)
	if before.Mode() != after.Mode() {
		t.Errorf("the folder that the link leads to has mode %v now", after.Mode())
	}
}

// What is read of a runner's text decides on a limit that could cut a disk, so
// it has to be right or to say that it doesn't know.
func TestWhatAScriptTells(t *testing.T) {
	const q = "exec -a \"microvm@web\" /nix/store/x/bin/qemu-system-x86_64 "
	for _, c := range []struct {
		name, text string
		want       script
	}{
		{"QEMU, words as they are", q + "-qmp unix:web.sock,server,nowait\n", script{QEMU: true, QMP: "web.sock", bounded: true}},
		{"QEMU, every word quoted", "exec '/nix/x/qemu-system-aarch64' '-qmp' 'unix:/run/a b.sock,server,nowait'\n", script{QEMU: true, QMP: "/run/a b.sock", bounded: true}},
		{"a line that goes on", "exec \\\n  /x/qemu-system-x86_64 \\\n  -qmp unix:web.sock,server\n", script{QEMU: true, QMP: "web.sock", bounded: true}},
		{"no socket", q + "-M microvm\n", script{QEMU: true, bounded: true}},
		{"the shell puts more in", q + "-qmp unix:web.sock,server \"$@\"\n", script{QEMU: true, QMP: "web.sock"}},
		{"a socket that only the shell knows", q + "-qmp \"unix:$S,server\"\n", script{QEMU: true}},
		{"QMP by TCP", q + "-qmp tcp:localhost:4444,server\n", script{QEMU: true, bounded: true}},
		{"the last exec counts", "exec 3<x\n" + q + "-qmp unix:a,server\n", script{QEMU: true, QMP: "a", bounded: true}},
		{"another hypervisor", "exec /x/cloud-hypervisor --api-socket web.sock\n", script{}},
		{"QEMU's tools are no QEMU", "qemu-img create x\nexec /x/crosvm run\n", script{}},
		{"a binary", "\x7fELF\x00\x00qemu-system-x86_64", script{}},
		{"nothing", "", script{}},
		{"option without a value", q + "-qmp", script{QEMU: true, bounded: true}},
		{"a quote without end", "exec /x/qemu-system-x86_64 -qmp 'unix:a", script{QEMU: true, QMP: "a"}},
		{"volumes", "truncate -s 512M 'a'\ntruncate -s 2G b\ntruncate -s 7 c\n" + q + "-drive id=vda,format=raw,file=a\n", script{
			QEMU: true, sizes: []int64{512 << 20, 2 << 30, 7}, files: []string{"a"}, bounded: true,
		}},
		{"a disk that grows", q + "-drive file=x.qcow2,format=qcow2\n", script{QEMU: true, files: []string{"x.qcow2"}}},
		{"a disk that is only read", q + "-drive file=x.qcow2,format=qcow2,readonly=on\n", script{QEMU: true, files: []string{"x.qcow2"}, bounded: true}},
		{"a folder of the host", q + "-fsdev local,path=/srv\n", script{QEMU: true}},
		{"a size beyond all", "truncate -s 99999999999999999999G a\ntruncate -s 9999999999T a\n" + q, script{QEMU: true, bounded: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := parseScript(c.text)
			if got.QEMU != c.want.QEMU || got.QMP != c.want.QMP || got.bounded != c.want.bounded ||
				len(got.sizes) != len(c.want.sizes) || strings.Join(got.files, ",") != strings.Join(c.want.files, ",") {
				t.Fatalf("got %+v\nwant %+v", got, c.want)
			}
			for i, n := range c.want.sizes {
				if got.sizes[i] != n {
					t.Errorf("size %d, want %d", got.sizes[i], n)
				}
			}
		})
	}
}

func TestTheLimitSparesTheDisks(t *testing.T) {
	dir := t.TempDir()
	do(t, os.WriteFile(filepath.Join(dir, "large"), make([]byte, 5000), 0o600))
	for _, c := range []struct {
		s    script
		want int64
	}{
		{script{}, 0},
		{script{bounded: true}, 1000},
		{script{bounded: true, sizes: []int64{10, 4000}}, 4000},
		{script{bounded: true, sizes: []int64{10}, files: []string{"large"}}, 5000},
		{script{bounded: true, files: []string{filepath.Join(dir, "large")}}, 5000},
		{script{bounded: true, files: []string{"none", "/dev/null"}}, 1000},
		{script{bounded: true, files: []string{"large"}, readOnly: map[string]bool{"large": true}}, 1000},
	} {
		if got := c.s.maxFile(dir, 1000); int64(got) != c.want {
			t.Errorf("%+v: limit %d, want %d", c.s, got, c.want)
		}
	}
}

func TestNeedsNameWhatQEMUOpens(t *testing.T) {
	s := parseScript("exec /x/qemu-system-x86_64 -drive file=/nix/store/x,format=raw,read-only=on -drive file=a.img,format=raw " +
		"-drive file=/srv/./b.img,format=raw,read-only=off -drive file=/dev/vg/web,format=raw\n")
	n := s.needs("/w")
	if got := strings.Join(n.Writable, " "); got != "/w /srv/b.img" {
		t.Errorf("writes %s", got)
	}
	if got := strings.Join(n.Devices, " "); got != strings.Join(devices, " ")+" /dev/vg/web" {
		t.Errorf("opens %s", got)
	}
	if !n.Network || !n.JIT || !n.Sockets {
		t.Errorf("%+v", n)
	}
}

func FuzzScript(f *testing.F) {
	for _, s := range []string{"exec /x/qemu-system-x86_64 -qmp 'unix:a,server' -drive file=x,format=raw\n", "exec '\\", "truncate -s 1T x", "exec \"$(x)\"\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parseScript(text)
		if s.QMP != "" && (!s.QEMU || strings.ContainsRune(s.QMP, 0)) {
			t.Errorf("%q: %+v", text, s)
		}
		if s.maxFile("/nowhere", 1) < 0 {
			t.Errorf("%q: a negative limit", text)
		}
	})
}
