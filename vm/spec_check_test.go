package vm_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

var update = flag.Bool("update", false, "write the goldens anew; then read the diff")

// TestSpecRefusals writes testdata/refusals.txt: what a person reads for each
// value that is out of bounds. -update writes it anew.
func TestSpecRefusals(t *testing.T) {
	long := strings.Repeat("x", 3000)
	console := func(healthy, unhealthy string) []vm.Check {
		return []vm.Check{{Type: vm.CheckConsole, Healthy: healthy, Unhealthy: unhealthy}}
	}
	bad := []func(s *vm.Spec){
		func(s *vm.Spec) { s.Name = "" },
		func(s *vm.Spec) { s.Name = "../etc" },
		func(s *vm.Spec) { s.Name = vm.Name(long) },
		func(s *vm.Spec) { s.Name = "Web\n" },
		func(s *vm.Spec) { s.CPUs = -1 },
		func(s *vm.Spec) { s.CPUs = 256 },
		func(s *vm.Spec) { s.Memory = 128 },
		func(s *vm.Spec) { s.Memory = -1 },
		func(s *vm.Spec) { s.Memory = 64 * vm.MiB },
		func(s *vm.Spec) { s.Memory = 100*vm.MiB + 1 },
		func(s *vm.Spec) { s.Memory = math.MaxInt64 },
		func(s *vm.Spec) { s.Boot, s.Memory = vm.Boot{Kernel: "/k"}, vm.MiB-1 },
		func(s *vm.Spec) { s.Boot = vm.Boot{Image: "builtin", Kernel: "/k"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Image: "debian"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Initrd: "/i"} },
		func(s *vm.Spec) { s.Boot.Initrd = "/i" },
		func(s *vm.Spec) { s.Boot = vm.Boot{Disk: "/d", Cmdline: "quiet"} },
		func(s *vm.Spec) { s.Boot.Cmdline = long },
		func(s *vm.Spec) { s.Boot.Cmdline = "quiet\nroot" },
		func(s *vm.Spec) { s.Boot.Cmdline = "a\x00b" },
		func(s *vm.Spec) { s.Boot.Cmdline = "x={fd:qmp}" },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "vmlinuz"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "/boot/../etc/shadow"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "/boot/"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "/k,readonly=off"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "/k\x1b[2J"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "/k\xff"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "/{fd:qmp}"} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Disk: "/" + long} },
		func(s *vm.Spec) { s.Boot = vm.Boot{Kernel: "/k", Initrd: "i"} },
		func(s *vm.Spec) { s.Disks = make([]vm.Disk, 17) },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a/b", Size: vm.GiB}} },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a", Size: vm.GiB}, {Name: "a", Size: vm.GiB}} },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a"}} },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a", Size: vm.GiB, Path: "/d"}} },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a", Size: 1}} },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a", Size: -vm.GiB}} },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a", Size: vm.GiB + 1}} },
		func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "a", Path: "d"}} },
		func(s *vm.Spec) { s.Networks = make([]vm.Network, 9) },
		func(s *vm.Spec) { s.Networks = []vm.Network{{Mode: "bridge"}} },
		func(s *vm.Spec) { s.Networks = []vm.Network{{MAC: "52:54:00:12:34:56,id=x"}} },
		func(s *vm.Spec) { s.Networks = []vm.Network{{MAC: "01:00:5e:00:00:01"}} },
		func(s *vm.Spec) { s.Networks = []vm.Network{{MAC: "52-54-00-12-34-56"}} },
		func(s *vm.Spec) { s.Networks = []vm.Network{{MAC: "52:54:00:aa:34:56"}, {MAC: "52:54:00:AA:34:56"}} },
		func(s *vm.Spec) { s.Restart.Policy = "sometimes" },
		func(s *vm.Spec) { s.Restart.Delay.Initial = -time.Second },
		func(s *vm.Spec) { s.Restart.Delay.Factor = math.NaN() },
		func(s *vm.Spec) { s.Restart.Delay.Factor = 0.5 },
		func(s *vm.Spec) { s.Restart.Delay.Max = time.Millisecond },
		func(s *vm.Spec) { s.Restart.Delay.Max = 48 * time.Hour },
		func(s *vm.Spec) { s.Restart.Delay.Jitter = 1.5 },
		func(s *vm.Spec) { s.Restart.Delay.Jitter = math.Inf(-1) },
		func(s *vm.Spec) { s.Restart.Delays = make([]time.Duration, 65) },
		func(s *vm.Spec) { s.Restart.Delays = []time.Duration{0, -1} },
		func(s *vm.Spec) { s.Restart.Budget.Attempts = 101 },
		func(s *vm.Spec) { s.Restart.Budget.Attempts = -1 },
		func(s *vm.Spec) { s.Restart.Budget.Window = 1 },
		func(s *vm.Spec) { s.Restart.ResetAfter = math.MaxInt64 },
		func(s *vm.Spec) { s.Autostart.Policy = "yes" },
		func(s *vm.Spec) { s.Autostart.Priority = 1001 },
		func(s *vm.Spec) { s.Health = make([]vm.Check, 9) },
		func(s *vm.Spec) { s.Health = []vm.Check{{Type: "http"}} },
		func(s *vm.Spec) {
			s.Health = []vm.Check{{Type: vm.CheckVMM, Name: "a"}, {Type: vm.CheckVMM, Name: "a"}}
		},
		func(s *vm.Spec) { s.Health = []vm.Check{{Type: vm.CheckVMM, Interval: 1}} },
		func(s *vm.Spec) { s.Health = []vm.Check{{Type: vm.CheckVMM, Timeout: 25 * time.Hour}} },
		func(s *vm.Spec) { s.Health = []vm.Check{{Type: vm.CheckVMM, Failures: -1}} },
		func(s *vm.Spec) { s.Health = []vm.Check{{Type: vm.CheckVMM, Successes: 101}} },
		func(s *vm.Spec) { s.Health = []vm.Check{{Type: vm.CheckVMM, Healthy: "x"}} },
		func(s *vm.Spec) { s.Health = console("", "") },
		func(s *vm.Spec) { s.Health = console("(", "") },
		func(s *vm.Spec) { s.Health = console("a*", "") },
		func(s *vm.Spec) { s.Health = console("x", "(\x1b\n") },
		func(s *vm.Spec) { s.Health = console("x", "((a{100}){100}){100}") },
		func(s *vm.Spec) { s.Health = console(long, "") },
		func(s *vm.Spec) { s.Start.Timeout = -1 },
		func(s *vm.Spec) { s.Stop.Method = "please" },
		func(s *vm.Spec) { s.Stop.Timeout = 25 * time.Hour },
		func(s *vm.Spec) { s.Resources.CPUWeight = 10001 },
		func(s *vm.Spec) { s.Resources.CPUQuota = -1 },
		func(s *vm.Spec) { s.Resources.IOWeight = -1 },
		func(s *vm.Spec) { s.Reclaim.Keep = 50 },
		func(s *vm.Spec) { s.Reclaim.Idle.CPU = 1 },
		func(s *vm.Spec) { s.Reclaim = ladder("sleep", time.Hour) },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimGiveBack, time.Hour) },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimPause, 0) },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimPause, -1) },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimPause, 31*24*time.Hour) },
		func(s *vm.Spec) {
			s.Reclaim.Steps = append(ladder(vm.ReclaimPause, time.Hour).Steps, ladder(vm.ReclaimSuspend, time.Minute).Steps...)
		},
		func(s *vm.Spec) {
			s.Reclaim.Steps = append(ladder(vm.ReclaimPause, time.Hour).Steps, ladder(vm.ReclaimPause, time.Hour).Steps...)
		},
		func(s *vm.Spec) { s.Boot, s.Reclaim = vm.Boot{Runner: "/r"}, ladder(vm.ReclaimBalloon, time.Hour) },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimPause, time.Hour); s.Reclaim.Keep = 101 },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimPause, time.Hour); s.Reclaim.Idle.CPU = math.NaN() },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimPause, time.Hour); s.Reclaim.Idle.Packets = math.Inf(1) },
		func(s *vm.Spec) { s.Reclaim = ladder(vm.ReclaimPause, time.Hour); s.Reclaim.Idle.IO = -1 },
	}
	refusals(t, bad, "refusals.txt")
}

// refusals writes down what a person reads for each spoilt spec, and refuses
// what helps nobody.
func refusals(t *testing.T, bad []func(s *vm.Spec), golden string) {
	t.Helper()
	var out strings.Builder
	for i, spoil := range bad {
		s := vm.Spec{Name: "web"}
		spoil(&s)
		err := s.Filled().Check()
		r, ok := errors.AsType[*vm.Refusal](err)
		if !ok || r.Code != vm.Invalid || r.Why == "" || r.Try == "" || strings.ContainsAny(r.Error(), "\n\x1b\x00") || len(r.Error()) > 300 {
			t.Errorf("refusal %d helps nobody: %v", i, err)
			continue
		}
		fmt.Fprintln(&out, r.Error())
	}
	compare(t, filepath.Join("testdata", golden), out.String())
}

func ladder(do vm.ReclaimDo, after time.Duration) vm.Reclaim {
	return vm.Reclaim{Steps: []vm.ReclaimStep{{Do: do, After: after}}}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); got:\n%s", file, err, got)
	}
}

func TestSpecsThatAreAllowed(t *testing.T) {
	good := map[string]vm.Spec{
		"the smallest kernel guest": {Memory: vm.MiB, Boot: vm.Boot{Kernel: "/k"}},
		"a kernel's usual words":    {Boot: vm.Boot{Kernel: "/k", Initrd: "/i", Cmdline: "console=ttyS0,115200 quiet"}},
		"spaces and letters":        {Boot: vm.Boot{Disk: "/srv/größe x=1.qcow2"}},
		"no delay at all":           {Restart: vm.Restart{Delays: []time.Duration{0}}},
		"the largest budget":        {Restart: vm.Restart{Budget: vm.Budget{Attempts: vm.MaxLedger - 1}}},
		"two console checks":        {Health: []vm.Check{{Type: vm.CheckConsole, Healthy: "login:"}, {Type: vm.CheckConsole, Unhealthy: "panic"}}},
		"an address of its own":     {Networks: []vm.Network{{MAC: "52:54:00:AB:cd:01"}, {MAC: "auto"}}},
		"disks of both kinds":       {Disks: []vm.Disk{{Size: vm.MiB}, {Path: "/d", ReadOnly: true}}},
	}
	for name, s := range good {
		s.Name = "web"
		if err := s.Filled().Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The zero spec is refused, not trusted: Check looks at filled specs.
func TestTheEmptySpecIsRefused(t *testing.T) {
	for _, s := range []vm.Spec{{}, {Name: "web"}, {Name: "web", CPUs: 1, Memory: vm.GiB}} {
		if err := s.Check(); err == nil {
			t.Errorf("%+v was let through unfilled", s)
		}
	}
}

func TestBytesAreWrittenAsInASpec(t *testing.T) {
	for b, want := range map[vm.Bytes]string{
		0: "0B", 1: "1B", vm.KiB: "1KiB", 1536: "1536B", 128 * vm.MiB: "128MiB", 3 * vm.GiB / 2: "1536MiB", -vm.GiB: "-1GiB",
		16 << 10 * vm.GiB: "16384GiB",
	} {
		if got := b.String(); got != want {
			t.Errorf("%d bytes: got %s, want %s", int64(b), got, want)
		}
	}
}
