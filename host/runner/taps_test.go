package runner

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/qemu"
)

// inside marks the child that runs in network and mount namespaces of its own.
const inside = "RUNNER_TEST_NAMESPACE"

// ownNetwork runs the calling test again where it can harm no link of the
// machine, and says whether this is that run.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	needRoot(t, "a network namespace")
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("SKIP: taps: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
		`mount -t sysfs sysfs /sys && exec "$0" "$@"`, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "=== RUN") {
		t.Skipf("SKIP: no namespace of our own: %v, %s", err, out)
	}
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	return false
}

// tapRunner is one whose scripts do as microvm.nix's: delete what has the name,
// make a tap for another user, and take it away.
func (w *world) tapRunner(up string, names ...string) {
	w.t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		w.t.Skip("SKIP: no ip(8)")
	}
	down := "#!/bin/sh\nset -u\n"
	var text strings.Builder
	text.WriteString("#!/bin/sh\nset -eu\n")
	for _, name := range names {
		fmt.Fprintf(&text, "[ ! -e /sys/class/net/%[1]s ] || ip link delete %[1]s\nip tuntap add name %[1]s mode tap user 4711 vnet_hdr\nip link set %[1]s up\n", name)
		down += "ip link delete " + name + "\n"
	}
	if up == "" {
		up = text.String()
	}
	w.spec.Boot.Runner = w.runner("tapper", map[string]string{
		"bin/microvm-run": sleeper, "bin/tap-up": up, "bin/tap-down": down, "share/microvm/tap-interfaces": strings.Join(names, "\n") + "\n",
	})
}

func (w *world) wantTap(name string) {
	w.t.Helper()
	l := look(name)
	if l == nil || l.flags == 0 || l.alias != w.driver.mark(w.ref.VM) {
		w.t.Fatalf("tap %s: %+v", name, l)
	}
	for file, want := range map[string]int{"owner": w.uid, "group": w.uid} {
		if got := strings.TrimSpace(w.read(filepath.Join(classNet, name, file))); got != fmt.Sprint(want) {
			w.t.Errorf("its %s is %s, want %d", file, got, want)
		}
	}
	if flags := w.read(filepath.Join(classNet, name, "flags")); !strings.HasSuffix(strings.TrimSpace(flags), "3") { // up, broadcast
		w.t.Errorf("it is not up: flags %s", flags)
	}
}

func TestTapsAreHandedOverAndTakenBack(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	w := newWorld(t)
	w.tapRunner("", "vm-web", "vm-web2")
	w.prepare()
	w.wantTap("vm-web")
	w.wantTap("vm-web2")
	w.prepare() // a start that was cut off
	w.wantTap("vm-web")
	w.release()
	for _, name := range []string{"vm-web", "vm-web2"} {
		if l := look(name); l != nil {
			t.Errorf("after the release there is %s", l)
		}
	}
	w.release()
	if log := w.read(filepath.Join(w.paths.Folder, logName)); !strings.Contains(log, "tap-up") || !strings.Contains(log, "tap-down") {
		t.Errorf("the log has only %s", log)
	}
}

func TestATapIsMadeWithoutAScriptToo(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	w := newWorld(t)
	w.spec.Boot.Runner = w.runner("old", map[string]string{
		"bin/microvm-run": sleeper, "share/microvm/tap-interfaces": "t0\n", "share/microvm/tap-flags": "vnet_hdr\nmulti_queue\n",
	})
	w.prepare()
	w.wantTap("t0")
	if l := look("t0"); l.flags&unix.IFF_MULTI_QUEUE == 0 || l.flags&unix.IFF_VNET_HDR == 0 {
		t.Errorf("flags %x", l.flags)
	}
	w.prepare()
	w.wantTap("t0")
	w.release()
	if l := look("t0"); l != nil {
		t.Errorf("after the release there is %s", l)
	}
}

// P8: bin/tap-up deletes whatever has its name.
func TestALinkOfSomebodyElseIsLeftAlone(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	w := newWorld(t)
	w.tapRunner("", "vm-web", "vm-web2")
	for _, c := range []struct{ story, alias string }{
		{"a foreign tap", ""}, {"a tap of another VM", w.driver.mark("fedcba9876543210")}, {"somebody's", "hands off"},
	} {
		do(t, makeTap("vm-web2", unix.IFF_TAP|unix.IFF_NO_PI))
		do(t, look("vm-web2").mark(c.alias+"\n"))
		err := w.driver.Prepare(w.ctx(), w.ref, w.spec, w.paths)
		wantKind(t, c.story, err, host.Broken, "vm-web2", "tap-up would delete it")
		w.release()
		if l := look("vm-web2"); l == nil || l.alias != c.alias {
			t.Fatalf("%s: now %+v", c.story, l)
		}
		if l := look("vm-web"); l != nil {
			t.Errorf("%s: half of the taps were made", c.story)
		}
		do(t, look("vm-web2").remove())
	}

	w.prepare()
	do(t, look("vm-web2").remove())
	do(t, makeTap("vm-web2", unix.IFF_TAP|unix.IFF_NO_PI))
	do(t, look("vm-web2").mark("hands off"))
	w.release() // bin/tap-down would delete both
	if look("vm-web") != nil {
		t.Error("our own tap is still there")
	}
	if l := look("vm-web2"); l == nil || l.alias != "hands off" {
		t.Errorf("somebody's tap is now %+v", l)
	}
}

func TestACrashBetweenTapUpAndItsMarkIsHealed(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	w := newWorld(t)
	w.tapRunner("", "vm-web")
	record := taps{Incarnation: 1, BootID: w.ref.BootID, Runner: w.spec.Boot.Runner, Names: []string{"vm-web"}}
	path := filepath.Join(w.paths.Folder, tapsName)
	do(t, note(path, record))
	do(t, makeTap("vm-web", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR))
	w.ref.Incarnation = 2
	w.prepare()
	w.wantTap("vm-web")

	w.ref.Incarnation = 1
	w.release() // late, of the incarnation before
	w.wantTap("vm-web")
	w.ref.Incarnation = 2
	w.release()

	record.BootID = "the boot before" // then it can't be ours
	do(t, note(path, record))
	do(t, makeTap("vm-web", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR))
	err := w.driver.Prepare(w.ctx(), w.ref, w.spec, w.paths)
	wantKind(t, "a record of another boot", err, host.Broken, "isn't marked")
	do(t, os.WriteFile(path, []byte("{"), 0o600))
	err = w.driver.Prepare(w.ctx(), w.ref, w.spec, w.paths)
	wantKind(t, "half a record", err, host.Broken, "isn't marked")
	w.release()
	if _, err := os.Stat(path); err == nil || look("vm-web") == nil {
		t.Errorf("after half a record's release: %v, tap %v", err, look("vm-web"))
	}
}

func TestATapUpThatFailsIsQuoted(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	w := newWorld(t)
	for _, c := range []struct {
		up   string
		kind host.Kind
		says string
	}{
		{"#!/bin/sh\necho no such user >&2\nexit 1\n", host.Transient, "no such user"},
		{"#!/bin/sh\n", host.Broken, "didn't make it"},
		{"#!/bin/sh\nip tuntap add name vm-web mode tun\n", host.Broken, "not as a tap"},
	} {
		w.tapRunner(c.up, "vm-web")
		err := w.driver.Prepare(w.ctx(), w.ref, w.spec, w.paths)
		wantKind(t, c.up, err, c.kind, c.says)
	}
}

// The whole way: QEMU, as the VM's user, opens the tap that was handed over.
func TestQEMUOpensItsTap(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	w := newWorld(t)
	w.tapRunner("", "vm-web")
	tapper := w.spec.Boot.Runner
	dir := w.qemuRunner(qemu.PVHGuest())
	run := filepath.Join(dir, "bin/microvm-run")
	text := strings.Replace(w.read(run), " -nographic", " -nographic -netdev tap,id=vm-web,ifname=vm-web,script=no,downscript=no "+
		"-device virtio-net-device,netdev=vm-web,mac=02:00:00:00:00:01", 1)
	do(t, os.WriteFile(run, []byte(text), 0o755))
	for _, name := range []string{"bin/tap-up", "bin/tap-down", "share/microvm/tap-interfaces"} {
		do(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		do(t, os.Rename(filepath.Join(tapper, name), filepath.Join(dir, name)))
	}
	do(t, unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "")) // the machine's own may be for root alone
	do(t, unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))))
	do(t, os.Chmod("/dev/net/tun", 0o666))
	w.prepare()
	p := w.launch()
	s, _ := w.attach()
	w.wantState(s, host.GuestRuns)
	do(t, s.Quit(w.ctx()))
	w.wantEnd(p)
	w.release()
	if look("vm-web") != nil {
		t.Error("after the release the tap is still there")
	}
}

func TestNamesOfTapsAreChecked(t *testing.T) {
	for text, says := range map[string]string{
		"":                           "",
		"\n vm-a \n\nvm-a\nvm.b_2\n": "",
		"../../etc":                  "no name of a link",
		"-x":                         "no name of a link",
		".":                          "no name of a link",
		"sixteen-bytes-xx":           "no name of a link",
		"a b":                        "no name of a link",
		"blx3n0":                     "the node itself gives",
		strings.Repeat("x", 5000):    "no name of a link",
		"t1\nt2\nt3\nt4\nt5\nt6\nt7\nt8\nt9\nt10\nt11\nt12\nt13\nt14\nt15\nt16\nt17\n": "17 taps",
	} {
		w := newWorld(t)
		dir := w.runner("runner", map[string]string{"bin/microvm-run": sleeper, "share/microvm/tap-interfaces": text})
		names, err := tapNames(dir)
		if says == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			if text != "" && strings.Join(names, " ") != "vm-a vm.b_2" {
				t.Errorf("%q: %q", text, names)
			}
			continue
		}
		wantKind(t, text, err, host.Broken, says)
	}
}
