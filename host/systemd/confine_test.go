package systemd

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// device is one that the machine has and that no VMM gets by itself.
const device = "/dev/net/tun"

// worst is the exposure that no unit of a VM may exceed, by systemd's own count.
const worst = 2.0

func unitIsConfined(t *testing.T) {
	w := newWorld(t)
	level := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	i := 0
	for name, shape := range shapes() {
		i++
		c := w.Sh(i, 1, sleeps)
		c.Needs = shape.Needs
		if c.Needs.Devices != nil {
			c.Needs.Devices = []string{device} // it stands for /dev/kvm, which isn't there
		}
		c.Argv = append(c.Argv, shape.Argv[3:]...)
		w.Launch(c)
		said := w.run("systemd-analyze", "security", "--no-pager", proof.UnitName(c.Ref.Name))
		found := level.FindStringSubmatch(said)
		if found == nil {
			t.Fatalf("systemd-analyze says %s", said)
		}
		if n, err := strconv.ParseFloat(found[1], 64); err != nil || n > worst {
			t.Errorf("%s: exposure %s, at most %v is allowed\n%s", name, found[1], worst, said)
		}
		t.Logf("%s: exposure %s", name, found[1])
	}
}

func unitSeesNothingButItsOwn(t *testing.T) {
	w := newWorld(t)
	own, other := filepath.Join(w.Dir, "own"), filepath.Join(w.Dir, "other")
	c := w.Sh(1, 1, `
		echo x > `+own+` && echo wrote own
		echo x > `+other+` || echo kept from other
		[ -z "$(ls -A /root)$(ls -A /home)" ] && echo no homes
		[ -e `+device+` ] || echo no device
		ls /dev | tr '\n' ' '
		ls /sys/class/net | tr '\n' ' '; cat /proc/net/dev | grep -c :
		ls -d /proc/1 || echo no other processes
		unshare -n true || echo no namespaces
		ping -c1 -W1 127.0.0.1 || echo no network
		touch /tmp/private && echo tmp
		echo all seen; exec sleep 600`)
	c.Needs = host.Needs{Writable: []string{own}}
	for _, path := range []string{own, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, c.UID, c.GID); err != nil {
			t.Fatal(err)
		}
	}
	c.Stdout = c.Stderr
	w.Launch(c)
	saw := w.Says(c, "all seen")
	for _, want := range []string{"wrote own", "kept from other", "no homes", "no other processes", "no namespaces", "no network", "no device", "tmp"} {
		if !strings.Contains(saw, want) {
			t.Errorf("it wasn't %q", want)
		}
	}
	if strings.Contains(saw, "kmsg") || strings.Contains(saw, "eth0") {
		t.Error("it sees devices or links of the host")
	}
	if t.Failed() {
		t.Log(saw)
	}
	if _, err := os.Stat("/tmp/private"); err == nil {
		t.Error("its /tmp is everybody's")
	}
	needed, refused := "/dev/bx-needed", "/dev/bx-refused"
	w.run("mknod", "-m", "666", needed, "c", "10", "200")
	defer os.Remove(needed)
	defer os.Remove(refused)
	w.run("mknod", "-m", "666", refused, "c", "10", "229")
	d := w.Sh(2, 1, `(true <> `+needed+`) && echo opened >&2; [ -e `+refused+` ] || echo all seen >&2; exec sleep 600`)
	d.Needs = host.Needs{Devices: []string{needed}}
	w.Launch(d)
	if saw := w.Says(d, "all seen"); !strings.Contains(saw, "opened") {
		t.Errorf("it needs a device: %s", saw)
	}
}

func unitSeesOfAHomeWhatItNames(t *testing.T) {
	w := newWorld(t)
	home, err := os.MkdirTemp("/home", "bx")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	link := filepath.Join(w.Dir, "link")
	for _, name := range []string{"disk", "kernel", "secret"} {
		path := filepath.Join(home, name)
		if err := errors.Join(os.WriteFile(path, []byte(name), 0o600), os.Chmod(path, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(home, "kernel"), link); err != nil {
		t.Fatal(err)
	}
	c := w.Sh(1, 1, `cat $1 >&2; echo more >> $1 || echo kept >&2; echo more >> $2 && echo wrote >&2; ls /home/$3 >&2; echo all seen >&2; exec sleep 600`,
		link, filepath.Join(home, "disk"))
	c.Argv = append(c.Argv, filepath.Base(home))
	c.Needs.Writable = []string{filepath.Join(home, "disk")}
	w.Launch(c)
	saw := w.Says(c, "all seen")
	for _, want := range []string{"kernel", "kept", "wrote", "disk\nkernel\nall seen"} {
		if !strings.Contains(saw, want) {
			t.Errorf("it doesn't see %q: %s", want, saw)
		}
	}
}

// unitSeesOddNames: of paths that systemd's own files would have to quote.
func unitSeesOddNames(t *testing.T) {
	w := newWorld(t)
	home, err := os.MkdirTemp("/home", "bx")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a=b", `a"b`, "a'b", "a b", "a:b", `a\b`, "a%b%%", "$HOME", "a,b", "-a", "ä", "a;b", "#a"} {
		disk, kernel := filepath.Join(home, name+"-disk"), filepath.Join(home, name+"-kernel")
		for _, path := range []string{disk, kernel} {
			if err := errors.Join(os.WriteFile(path, []byte("its text\n"), 0o600), os.Chmod(path, 0o666)); err != nil {
				t.Fatal(err)
			}
		}
		c := w.Sh(i, 1, `cat "$1" >&2; echo more >> "$1" || echo kept >&2; echo more >> "$2" && echo wrote >&2; echo all seen >&2; exec sleep 600`, kernel, disk)
		c.Needs.Writable = []string{disk}
		p, err := w.l.Launch(t.Context(), c)
		if err != nil {
			if !strings.Contains(err.Error(), disk) || host.KindOf(err) != host.Broken {
				t.Errorf("%s: refused without a word on the path: %v", name, err)
			}
			continue
		}
		saw := w.Says(c, "all seen")
		for _, want := range []string{"its text", "kept", "wrote"} {
			if !strings.Contains(saw, want) {
				t.Errorf("%s: it doesn't see %q: %s", name, want, saw)
			}
		}
		w.run("systemctl", "daemon-reload")
		if !launchertest.Alive(p) || w.state(i) != "running" {
			t.Errorf("%s: after a reload it is %s", name, w.state(i))
		}
	}
}

func unitRunsARealVMM(t *testing.T) {
	const binary = "/usr/bin/qemu-system-x86_64"
	w := newWorld(t)
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	kernel := filepath.Join(w.Dir, "pvh.elf")
	if err := os.WriteFile(kernel, qemu.PVHGuest(), 0o644); err != nil {
		t.Fatal(err)
	}
	driver := qemu.New(qemu.Config{Binary: binary, Accel: qemu.AccelTCG})
	spec := vm.Spec{Boot: vm.Boot{Kernel: kernel}, CPUs: 1, Memory: 16 * vm.MiB}
	more := spec
	more.Memory, more.Disks, more.Networks = 64*vm.MiB, []vm.Disk{{Name: "data", Size: vm.MiB}}, []vm.Network{{Mode: vm.NetworkUser}}
	for i, s := range []vm.Spec{spec, more} {
		ref := w.Ref(i, 1)
		f := host.NewPaths(w.Dir, w.Dir, ref)
		uid, gid := host.Owners{}.Of(ref.Slot)
		for _, folder := range []string{f.Folder, f.Run, f.Disks} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for path, size := range map[string]int64{f.Log: 0, f.Disk("data"): 1 << 20} {
			if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
		c, err := driver.Command(ref, s, f)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		p := w.Launch(c)
		launched := time.Since(began)
		mark := c
		mark.Stderr = f.Log
		w.Says(mark, "BLIXARD-PVH-UP")
		t.Logf("launched in %v, its guest's mark after %v", launched, time.Since(began))
		session, err := driver.Attach(t.Context(), s, f, func(host.Notice) {})
		if err != nil {
			t.Fatalf("%v; it says %s", err, w.Says(c, ""))
		}
		if err := session.Quit(t.Context()); err != nil {
			t.Error(err)
		}
		session.Close()
		if e := w.Exit(p); !e.Known || e.Code != 0 || e.Result != "success" {
			t.Errorf("exit %+v", e)
		}
	}
}

// unitWithoutJIT starts QEMU as it is under KVM, where no memory may be
// writable and executable. KVM itself is not there; a TCG that maps its code
// twice, once for each, stands for it.
func unitWithoutJIT(t *testing.T) {
	const binary = "/usr/bin/qemu-system-x86_64"
	w := newWorld(t)
	if _, err := os.Stat(binary); err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	c := w.Sh(1, 1, "")
	c.Argv = []string{
		binary, "-M", "q35", "-accel", "tcg,split-wx=on", "-nodefaults", "-display", "none", "-m", "64", "-S",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", "socket,id=qmp,fd={fd:qmp},server=on,wait=off", "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-net-pci", "-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r",
	}
	c.Sockets = []host.Socket{{Name: "qmp", Path: filepath.Join(w.Dir, "qmp.sock")}}
	p := w.Launch(c)
	conn, err := net.Dial("unix", c.Sockets[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 512)
	if n, err := conn.Read(b); err != nil || !strings.Contains(string(b[:n]), "QMP") || !launchertest.Alive(p) {
		t.Errorf("it answers %q, %v; it says %s", b[:n], err, w.Says(c, ""))
	}
}

func unitInheritsATap(t *testing.T) {
	w := newWorld(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip (package iproute2)")
	}
	c := w.Sh(1, 1, `grep iff /proc/self/fdinfo/$1 >&2; readlink /proc/self/fd/$1 >&2; echo all seen >&2; exec sleep 600`, "{fd:net0}")
	c.Taps = []host.Tap{{Name: "net0", Link: host.LinkName(1, 0)}}
	_, err := w.l.Launch(t.Context(), c)
	launchertest.WantKind(t, "a link that isn't there", err, host.Transient)
	if out := w.run("ip", "link", "show", c.Taps[0].Link); !strings.Contains(out, "does not exist") {
		t.Errorf("P8: a link was made: %s", out)
	}
	none := c
	none.Taps = []host.Tap{{Name: "net0", Link: "lo"}}
	_, err = w.l.Launch(t.Context(), none)
	launchertest.WantKind(t, "a link that is no tap", err, host.Broken)
	for _, bad := range []string{"", "../lo", "a-name-that-is-cut"} {
		none.Taps = []host.Tap{{Name: "net0", Link: bad}}
		_, err = w.l.Launch(t.Context(), none)
		launchertest.WantKind(t, "a link called "+bad, err, host.Broken)
	}
	id := strconv.Itoa(c.UID)
	w.run("ip", "tuntap", "add", c.Taps[0].Link, "mode", "tap", "user", id, "group", id, "vnet_hdr")
	defer w.run("ip", "link", "del", c.Taps[0].Link)
	w.Launch(c)
	if saw := w.Says(c, "all seen"); !strings.Contains(saw, "/dev/net/tun") || !strings.Contains(saw, c.Taps[0].Link) {
		t.Errorf("it inherited %s", saw)
	}
	second := w.Sh(2, 1, sleeps, "{fd:net0}")
	second.Taps = c.Taps
	_, err = w.l.Launch(t.Context(), second)
	launchertest.WantKind(t, "a tap that another VMM has", err, host.Transient)
}

// unitIsOrderedBehindNothing starts VMs while the daemon's own unit is
// being started, and stops that unit.
func unitIsOrderedBehindNothing(t *testing.T) {
	w := newWorld(t)
	w.run("systemctl", "stop", "blixard.service")
	starting := exec.Command("systemd-run", "--unit=blixard", "--service-type=notify", "-p", "KillMode=mixed", "sleep", "600")
	if err := starting.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		w.run("systemctl", "stop", "blixard.service")
		_ = starting.Wait() // the unit never becomes ready, so it fails
	}()
	w.until("the daemon's unit is being started", func() bool {
		return strings.TrimSpace(w.run("systemctl", "show", "--value", "-p", "ActiveState", "blixard.service")) == "activating"
	})
	began := time.Now()
	p := w.Launch(w.Sh(1, 1, sleeps))
	if took := time.Since(began); took > startWithin/2 {
		t.Errorf("a launch waited %v for the daemon's unit", took)
	}
	w.run("systemctl", "restart", "--no-block", "blixard.service")
	w.Launch(w.Sh(2, 1, sleeps))
	w.run("systemctl", "stop", "blixard.service")
	if !launchertest.Alive(p) {
		t.Error("P6: the end of the daemon's unit was the end of a VMM")
	}
	order := w.run("systemctl", "show", "-p", "After", "blixard.service")
	before := w.run("systemctl", "show", "-p", "Before", "-p", "Conflicts", proof.UnitName("vm-1"))
	if !strings.Contains(before, "blixard.service") || !strings.Contains(before, "Conflicts=shutdown.target") {
		t.Errorf("at a shutdown the daemon isn't stopped first: %s%s", order, before)
	}
}
