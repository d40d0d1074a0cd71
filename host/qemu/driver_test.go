package qemu

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// script writes an executable that answers as a QEMU of the version would.
func script(t *testing.T, version, machines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	text := "#!/bin/sh\ncase $1 in --version) echo '" + version + "';; *) printf '" + machines + "';; esac\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodMachines = `Supported machines are:\nmicrovm x\nq35 y\n`

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWhatIsMissingIsSaidInASentence: each of these is Broken, and the sentence names the culprit.
func TestWhatIsMissingIsSaidInASentence(t *testing.T) {
	good := script(t, "QEMU emulator version 7.2.22 (Debian)", goodMachines)
	elf := write(t, "guest.elf", string(PVHGuest()))
	for name, c := range map[string]struct {
		binary string
		boot   vm.Boot
		disk   string
		want   string
	}{
		"no QEMU":           {"/nonexistent/qemu", vm.Boot{Kernel: elf}, "", "QEMU is not installed"},
		"old QEMU":          {script(t, "QEMU emulator version 5.2.0", goodMachines), vm.Boot{Kernel: elf}, "", "QEMU 5.2 is too old"},
		"no microvm":        {script(t, "QEMU emulator version 9.0.0", `a\nq35 y\n`), vm.Boot{Kernel: elf}, "", "without the machine microvm"},
		"another program":   {script(t, "hello", goodMachines), vm.Boot{Kernel: elf}, "", "does not tell a version"},
		"not a program":     {elf, vm.Boot{Kernel: elf}, "", "ask QEMU for its version"},
		"no kernel":         {good, vm.Boot{Kernel: "/nonexistent/kernel"}, "", "kernel /nonexistent/kernel does not exist"},
		"kernel is folder":  {good, vm.Boot{Kernel: "/proc"}, "", "kernel /proc is not a file"},
		"kernel is text":    {good, vm.Boot{Kernel: write(t, "k", strings.Repeat("x", 4096))}, "", "neither a bzImage nor an ELF"},
		"kernel is empty":   {good, vm.Boot{Kernel: write(t, "k", "")}, "", "neither a bzImage nor an ELF"},
		"no initrd":         {good, vm.Boot{Kernel: elf, Initrd: "/nonexistent/i"}, "", "initrd /nonexistent/i does not exist"},
		"no boot disk":      {good, vm.Boot{Disk: "/nonexistent/d"}, "", "boot disk /nonexistent/d does not exist"},
		"no disk":           {good, vm.Boot{Kernel: elf}, "/nonexistent/d", "disk data /nonexistent/d does not exist"},
		"no image":          {good, vm.Boot{Image: "nixos"}, "", "no such image"},
		"nothing to boot":   {good, vm.Boot{}, "", "no kernel is named"},
		"relative boot way": {good, vm.Boot{Kernel: "driver.go"}, "", "neither a bzImage nor an ELF"},
	} {
		t.Run(name, func(t *testing.T) {
			d := New(Config{Binary: c.binary, Accel: AccelTCG, Images: func(string) (Image, error) {
				return Image{}, host.Fail(host.Broken, "find", errors.New("no such image"))
			}})
			spec := vm.Spec{Name: "t", CPUs: 1, Memory: 8 * vm.MiB, Boot: c.boot}
			if c.disk != "" {
				spec.Disks = []vm.Disk{{Name: "data", Path: c.disk}}
			}
			ref := vm.Ref{VM: "a", Name: "t"}
			_, err := d.Command(ref, spec, host.NewPaths("/s", "/r", ref))
			if err == nil || !strings.Contains(err.Error(), c.want) || host.KindOf(err) != host.Broken {
				t.Errorf("got %v, want a Broken %q", err, c.want)
			}
		})
	}
}

// TestCommandCarriesWhatTheLauncherNeeds: ids, sockets, the bound on files.
func TestCommandCarriesWhatTheLauncherNeeds(t *testing.T) {
	elf := write(t, "guest.elf", string(PVHGuest()))
	d := New(Config{Binary: script(t, "QEMU emulator version 7.2.22", goodMachines), Accel: AccelTCG, Owners: host.Owners{UID: 100005, GID: 200005}})
	ref := vm.Ref{VM: "a", Name: "t", Slot: 5, Incarnation: 2}
	paths := host.NewPaths("/s", "/r", ref)
	spec := vm.Spec{Name: "t", CPUs: 1, Memory: 8 * vm.MiB, Boot: vm.Boot{Kernel: elf}}
	c, err := d.Command(ref, spec, paths)
	if err != nil {
		t.Fatal(err)
	}
	if c.UID != 100005 || c.GID != 200005 || c.MaxFile != 64*vm.MiB || c.Ref != ref || c.Stderr != paths.Stderr || len(c.Sockets) != 2 {
		t.Errorf("bare guest: %+v", c)
	}
	spec.Disks = []vm.Disk{{Name: "data", Size: vm.GiB}}
	if c, err = d.Command(ref, spec, paths); err != nil || c.MaxFile != vm.GiB || len(c.Sockets) != 3 {
		t.Errorf("a disk of 1 GiB: %+v, %v", c, err)
	}
	spec.Disks = append(spec.Disks, vm.Disk{Name: "old", Path: write(t, "old.qcow2", "QFI")})
	if c, err = d.Command(ref, spec, paths); err != nil || c.MaxFile != 0 {
		t.Errorf("a qcow2 file may grow: %+v, %v", c, err)
	}
	spec.Disks = append(spec.Disks, vm.Disk{Name: "more", Size: 2 * vm.GiB})
	if c, err = d.Command(ref, spec, paths); err != nil || c.MaxFile != 0 {
		t.Errorf("it may grow whatever disk comes after it: %+v, %v", c, err)
	}
}

func TestEveryPlaceholderHasItsSocket(t *testing.T) {
	for _, bend := range []func(*Launch){nil, boot(vm.Boot{Kernel: "/k"}), boot(vm.Boot{Disk: "/d"})} {
		l := launch(bend)
		argv, err := Args(l)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(argv, " ")
		for _, name := range []string{"qmp", "console"} {
			if strings.Count(all, "{fd:"+name+"}") != 1 {
				t.Errorf("%s is not there once in %s", name, all)
			}
		}
		if strings.Contains(all, "{fd:agent}") != (l.shape() != bare) {
			t.Errorf("agent: %s", all)
		}
	}
}

func TestTSCFromBogomips(t *testing.T) {
	for text, want := range map[string]int{
		"processor\t: 0\nbogomips\t: 5199.99\n": 2599995, "bogomips : x\n": 0, "": 0, "bogomips: -1\n": 0, "bogomips: 1e300\n": 0,
	} {
		if got := tscKHz(text); got != want {
			t.Errorf("%q gives %d kHz, want %d", text, got, want)
		}
	}
}

// TestProbe boots the probe guest: it must come up under TCG, and a QEMU that doesn't run, dies or
// hangs must end in an error in time.
func TestProbe(t *testing.T) {
	if err := bootProbe(t.Context(), qemuBinary(t), AccelTCG, patience); err != nil {
		t.Errorf("under TCG: %v", err)
	}
	for name, text := range map[string]string{
		"dies":  "#!/bin/sh\necho 'error: failed to set MSR' >&2\nexit 1\n",
		"hangs": "#!/bin/sh\nexec sleep 100\n",
	} {
		fake := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(fake, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := bootProbe(t.Context(), fake, AccelTCG, 50*time.Millisecond); err == nil || time.Since(began) > patience/2 {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
	}
}

// TestProbeRemembersItsBoot: the verdict counts for one boot of the node and one binary.
func TestProbeRemembersItsBoot(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "accel.json")
	accel, why := Probe(t.Context(), qemuBinary(t), cache, "boot-1")
	t.Logf("this machine: %s, for %s", accel, why)
	if accel != AccelKVM && accel != AccelTCG || why == "" {
		t.Fatalf("%q for %q", accel, why)
	}
	if a, w := Probe(t.Context(), qemuBinary(t), cache, "boot-1"); a != accel || w != why {
		t.Errorf("second answer is %s, %s", a, w)
	}
	for boot, binary := range map[vm.BootID]string{"boot-2": qemuBinary(t), "boot-1": "/other", "": qemuBinary(t)} {
		if _, ok := cached(cache, boot, binary); ok {
			t.Errorf("the verdict counts for boot %q and %s", boot, binary)
		}
	}
	if err := os.WriteFile(cache, []byte(`{"bootId":"boot-1","accel":"xen"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := cached(cache, "boot-1", qemuBinary(t)); ok {
		t.Error("a spoilt cache counts")
	}
}
