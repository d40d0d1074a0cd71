package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

var update = flag.Bool("update", false, "write the goldens anew")

// launch is a VM of the built-in image, for tests to bend.
func launch(bend func(*Launch)) Launch {
	ref := vm.Ref{VM: "0123456789abcdef", Name: "web-1", Slot: 3, Incarnation: 7, BootID: "b"}
	l := Launch{
		Binary: "/usr/bin/qemu-system-x86_64", Accel: AccelTCG, TSCKHz: 2600000, Ref: ref, PVHKern: true,
		Paths: host.NewPaths("/var/lib/blixard", "/run/blixard", ref),
		Spec:  vm.Spec{Name: "web-1", CPUs: 1, Memory: 128 * vm.MiB, Boot: vm.Boot{Image: "builtin"}},
		Image: Image{Kernel: "/img/kernel", Initrd: "/img/initrd", Cmdline: "console=ttyS0 quiet"},
	}
	if bend != nil {
		bend(&l)
	}
	return l
}

func boot(b vm.Boot) func(*Launch) {
	return func(l *Launch) { l.Spec.Boot, l.Image = b, Image{} }
}

// TestArgsOfEveryShape compares each command line with its golden, one word a line.
func TestArgsOfEveryShape(t *testing.T) {
	shapes := map[string]func(*Launch){
		"image":         nil,
		"image-kvm":     func(l *Launch) { l.Accel = AccelKVM },
		"image-loaded":  func(l *Launch) { l.Paths.Load = "/var/lib/blixard/vms/web-1/saved-6.state" },
		"image-cmdline": func(l *Launch) { l.Spec.Boot.Cmdline = "blixard.die=panic,5s" },
		"image-full": func(l *Launch) {
			l.Spec.CPUs, l.Spec.Memory = 4, 512*vm.MiB+4*vm.KiB
			l.Spec.Disks = []vm.Disk{
				{Name: "data", Size: vm.GiB},
				{Name: "a-very-long-name-of-a-disk", Path: `/srv/a,b "c".img`, ReadOnly: true},
				{Name: "old", Path: "/srv/old.qcow2"},
			}
			l.Spec.Networks = []vm.Network{{Mode: "user"}, {Mode: "user", MAC: "52:54:00:12:34:56"}}
		},
		"kernel-bzimage": func(l *Launch) {
			boot(vm.Boot{Kernel: "/boot/vmlinuz", Initrd: "/boot/initrd,img", Cmdline: "console=ttyS0 root=/dev/vda,x"})(l)
			l.PVHKern = false
		},
		"kernel-pvh": func(l *Launch) {
			boot(vm.Boot{Kernel: "/srv/pvh.elf"})(l)
			l.Spec.Memory = 8 * vm.MiB
		},
		"kernel-pvh-kvm": func(l *Launch) {
			boot(vm.Boot{Kernel: "/srv/pvh.elf"})(l)
			l.Spec.Memory, l.Accel = 8*vm.MiB, AccelKVM
		},
		"kernel-pvh-agent": func(l *Launch) {
			boot(vm.Boot{Kernel: "/srv/pvh.elf"})(l)
			l.Spec.Health = []vm.Check{{Type: vm.CheckAgent}}
		},
		"disk": func(l *Launch) {
			boot(vm.Boot{Disk: "/srv/debian.qcow2"})(l)
			l.Spec.CPUs = 2
			l.Spec.Disks = []vm.Disk{{Name: "data", Size: vm.GiB}}
			l.Spec.Networks = []vm.Network{{Mode: "user"}}
		},
		"image-bridges": func(l *Launch) {
			l.Spec.Networks = []vm.Network{
				{Mode: vm.NetworkBridge, Bridge: "br0"},
				{Mode: vm.NetworkUser},
				{Mode: vm.NetworkBridge, Bridge: "lan.7", MTU: 9000, MAC: "52:54:00:12:34:56"},
			}
		},
		"disk-seed": func(l *Launch) {
			l.Spec.Boot = vm.Boot{Disk: "/srv/debian.raw"}
			l.Spec.Disks = []vm.Disk{{Name: "data", Size: vm.GiB}}
			l.Spec.Networks = nil
			l.Spec.Seed.Hostname = "other"
		},
		"disk-bridges": func(l *Launch) {
			boot(vm.Boot{Disk: "/srv/debian.qcow2"})(l)
			l.Spec.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}, {Mode: vm.NetworkBridge, Bridge: "br1", MTU: 576}}
		},
		"log-with-comma": func(l *Launch) { l.Paths.Log = "/var/lib/a,b/console-7.log" },
	}
	for name, bend := range shapes {
		t.Run(name, func(t *testing.T) {
			got, err := Args(launch(bend))
			if err != nil {
				t.Fatalf("args: %v", err)
			}
			golden(t, name, strings.Join(got, "\n")+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".argv")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run with -update and read the diff", err)
	}
	if string(want) != got {
		t.Errorf("%s differs from its golden; run with -update and read the diff\n got:\n%s\nwant:\n%s", name, got, want)
	}
}

// TestNothingUnescapedReachesTheCommandLine tries what a spec must not smuggle in.
func TestNothingUnescapedReachesTheCommandLine(t *testing.T) {
	hostile := map[string]func(*Launch){
		"relative kernel":       boot(vm.Boot{Kernel: "kernel"}),
		"kernel like an option": boot(vm.Boot{Kernel: "-monitor"}),
		"newline in a path":     boot(vm.Boot{Kernel: "/srv/a\nb"}),
		"zero byte in a path":   boot(vm.Boot{Disk: "/srv/a\x00b"}),
		"placeholder":           boot(vm.Boot{Kernel: "/srv/k", Cmdline: "{fd:qmp}"}),
		"no boot":               boot(vm.Boot{}),
		"two boots":             boot(vm.Boot{Kernel: "/srv/k", Disk: "/srv/d"}),
		"initrd without kernel": func(l *Launch) { l.Spec.Boot.Initrd = "/srv/i" },
		"cmdline with a disk":   boot(vm.Boot{Disk: "/srv/d", Cmdline: "x"}),
		"endless cmdline":       func(l *Launch) { l.Spec.Boot.Cmdline = strings.Repeat("x", 2048) },
		"escape in the cmdline": func(l *Launch) { l.Spec.Boot.Cmdline = "\x1b[2J" },
		"image without kernel":  func(l *Launch) { l.Image = Image{} },
		"name with a comma":     func(l *Launch) { l.Ref.Name = "a,b" },
		"empty name":            func(l *Launch) { l.Ref.Name = "" },
		"no memory":             func(l *Launch) { l.Spec.Memory = 0 },
		"disk leaves its home":  func(l *Launch) { l.Spec.Disks = []vm.Disk{{Name: "../x", Size: 1}} },
		"disk with an option":   func(l *Launch) { l.Spec.Disks = []vm.Disk{{Name: "a,readonly=off", Size: 1}} },
		"relative disk":         func(l *Launch) { l.Spec.Disks = []vm.Disk{{Name: "a", Path: "nbd:host:1"}} },
		"disk over a protocol":  func(l *Launch) { l.Spec.Disks = []vm.Disk{{Name: "a", Path: "json:{}"}} },
		"unknown network":       func(l *Launch) { l.Spec.Networks = []vm.Network{{Mode: "user,hostfwd=tcp::22-:22"}} },
		"user mode with MTU":    func(l *Launch) { l.Spec.Networks = []vm.Network{{Mode: vm.NetworkUser, MTU: 1400}} },
		"MTU of nothing":        func(l *Launch) { l.Spec.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0", MTU: -1}} },
		"MTU beyond a tap's":    func(l *Launch) { l.Spec.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0", MTU: 65536}} },
		"endless networks":      func(l *Launch) { l.Spec.Networks = make([]vm.Network, 9) },
		"MAC with an option":    func(l *Launch) { l.Spec.Networks = []vm.Network{{Mode: "user", MAC: "02:00:00:00:00:01,x=y"}} },
		"multicast MAC":         func(l *Launch) { l.Spec.Networks = []vm.Network{{Mode: "user", MAC: "01:00:5e:00:00:01"}} },
	}
	for name, bend := range hostile {
		t.Run(name, func(t *testing.T) {
			got, err := Args(launch(bend))
			if err == nil {
				t.Fatalf("accepted:\n%s", strings.Join(got, "\n"))
			}
			if host.KindOf(err) != host.Broken {
				t.Errorf("kind of %q is %d, want Broken", err, host.KindOf(err))
			}
		})
	}
}

// TestIdentityDerives holds that uuid and MAC last as long as the VM and differ between VMs and NICs.
func TestIdentityDerives(t *testing.T) {
	if again := uuid("a"); again != uuid("a") || again == uuid("b") {
		t.Error("uuid doesn't follow the uid")
	}
	macs := map[string]bool{macOf("a", 0): true, macOf("a", 1): true, macOf("b", 0): true, macOf("a", 0): true}
	if len(macs) != 3 {
		t.Errorf("MACs collide: %v", macs)
	}
	for m := range macs {
		if !strings.HasPrefix(m, "02:") || len(m) != 17 {
			t.Errorf("%q is not a locally administered unicast address", m)
		}
	}
}

// TestTapsAreNamedAsTheCommandLineNamesThem holds the two lists together: the
// launcher puts a descriptor's number where a word names it.
func TestTapsAreNamedAsTheCommandLineNamesThem(t *testing.T) {
	l := launch(func(l *Launch) {
		l.Spec.Networks = []vm.Network{
			{Mode: vm.NetworkUser}, {Mode: vm.NetworkBridge, Bridge: "br0"}, {Mode: vm.NetworkBridge, Bridge: "br0"},
		}
	})
	want := []host.Tap{{Name: "net1", Link: host.LinkName(3, 1)}, {Name: "net2", Link: host.LinkName(3, 2)}}
	if got := l.taps(); !slices.Equal(got, want) {
		t.Errorf("taps are %v, want %v", got, want)
	}
	argv, err := Args(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, tap := range want {
		if !strings.Contains(strings.Join(argv, " "), "fd={fd:"+tap.Name+"}") {
			t.Errorf("no word of %q takes the descriptor of %s", argv, tap.Name)
		}
	}
}
