package vm_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

func TestANameIsEnough(t *testing.T) {
	got := vm.Spec{Name: "web"}.Filled()
	want := vm.Spec{
		Name: "web", CPUs: 1, Memory: 128 * vm.MiB, Boot: vm.Boot{Image: "builtin"},
		Restart: vm.Restart{
			Policy: vm.RestartOnFailure,
			Delay:  vm.Delay{Initial: time.Second, Factor: 2, Max: 5 * time.Minute, Jitter: 0.1},
			Budget: vm.Budget{Attempts: 5, Window: 10 * time.Minute}, ResetAfter: 10 * time.Minute,
		},
		Autostart: vm.Autostart{Policy: "inherit"},
		Health:    []vm.Check{{Name: "guest-agent", Type: vm.CheckAgent, Role: vm.RoleLiveness, Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1}},
		Start:     vm.Start{Timeout: 2 * time.Minute},
		Stop:      vm.Stop{Method: "auto", Timeout: 30 * time.Second},
		Resources: vm.Resources{CPUWeight: 100, IOWeight: 100},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.Check(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestFilledKeepsWhatWasSaid(t *testing.T) {
	tests := []struct {
		name string
		spec vm.Spec
		see  func(vm.Spec) any
		want any
	}{
		{"a kernel takes the image's place", vm.Spec{Boot: vm.Boot{Kernel: "/k"}}, func(s vm.Spec) any { return s.Boot }, vm.Boot{Kernel: "/k"}},
		{"a disk takes the image's place", vm.Spec{Boot: vm.Boot{Disk: "/d"}}, func(s vm.Spec) any { return s.Boot }, vm.Boot{Disk: "/d"}},
		{"a lone initrd is left for Check", vm.Spec{Boot: vm.Boot{Initrd: "/i"}}, func(s vm.Spec) any { return s.Boot.Image }, ""},
		{"words for the image", vm.Spec{Boot: vm.Boot{Cmdline: "quiet"}}, func(s vm.Spec) any { return s.Boot }, vm.Boot{Image: "builtin", Cmdline: "quiet"}},
		{"no check for a guest we don't know", vm.Spec{Boot: vm.Boot{Kernel: "/k"}}, func(s vm.Spec) any { return len(s.Health) }, 0},
		{"no jitter beside a whole curve", vm.Spec{Restart: vm.Restart{Delay: vm.Delay{Initial: 1, Factor: 1, Max: 1}}}, func(s vm.Spec) any { return s.Restart.Delay.Jitter }, 0.0},
		{"max follows a long initial delay", vm.Spec{Restart: vm.Restart{Delay: vm.Delay{Initial: time.Hour}}}, func(s vm.Spec) any { return s.Restart.Delay.Max }, time.Hour},
		{"a timeout beside a shorter interval", vm.Spec{Health: []vm.Check{{Type: vm.CheckVMM, Interval: 500 * time.Millisecond}}}, func(s vm.Spec) any { return s.Health[0].Timeout }, time.Second},
		{"auto is the derived address", vm.Spec{Networks: []vm.Network{{MAC: "auto"}}}, func(s vm.Spec) any { return s.Networks[0] }, vm.Network{Mode: "user"}},
		{"disks are named by their place", vm.Spec{Disks: []vm.Disk{{Name: "a"}, {}}}, func(s vm.Spec) any { return s.Disks[1].Name }, "disk1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.see(tt.spec.Filled()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFillingTwiceChangesNothingAndTheReceiverNever(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string) time.Duration {
			return time.Duration(rapid.SampledFrom([]int64{0, 1, 1e6, 1e9, 1e12}).Draw(t, name))
		}
		s := vm.Spec{CPUs: rapid.IntRange(0, 3).Draw(t, "cpus")}
		s.Boot.Kernel = rapid.SampledFrom([]string{"", "/k"}).Draw(t, "kernel")
		s.Restart.Delay = vm.Delay{Initial: span("initial"), Factor: float64(rapid.IntRange(0, 2).Draw(t, "factor")), Max: span("max")}
		for range rapid.IntRange(0, 2).Draw(t, "checks") {
			s.Health = append(s.Health, vm.Check{Type: vm.CheckVMM, Interval: span("interval"), Timeout: span("timeout")})
		}
		for range rapid.IntRange(0, 2).Draw(t, "disks") {
			s.Disks, s.Networks = append(s.Disks, vm.Disk{}), append(s.Networks, vm.Network{MAC: "auto"})
		}
		kept := s
		kept.Health, kept.Disks = append([]vm.Check(nil), s.Health...), append([]vm.Disk(nil), s.Disks...)
		kept.Networks = append([]vm.Network(nil), s.Networks...)
		once := s.Filled()
		if !reflect.DeepEqual(s, kept) {
			t.Fatalf("filling changed its receiver:\n%+v\n%+v", s, kept)
		}
		if twice := once.Filled(); !reflect.DeepEqual(once, twice) {
			t.Fatalf("filled once:  %+v\nfilled twice: %+v", once, twice)
		}
	})
}

func TestARecordOfAnOlderDaemonGetsNames(t *testing.T) {
	old := vm.Spec{Name: "web", Health: []vm.Check{
		{Type: vm.CheckAgent, Interval: time.Minute, Timeout: time.Second, Failures: 5, Successes: 2}, {Type: vm.CheckConsole, Healthy: "a"}, {Type: vm.CheckConsole, Unhealthy: "b"},
	}}
	r := vm.Record{Spec: old, State: vm.State{Runs: &vm.Began{Spec: old}}}
	runs := r.State.Runs
	r.Renew()
	for _, s := range []vm.Spec{r.Spec, r.State.Runs.Spec} {
		if s.Health[0].Name != "guest-agent" || s.Health[2].Name != "console-2" || s.Health[1].Role != vm.RoleLiveness || s.Health[0].Failures != 5 || s.Health[0].Successes != 2 {
			t.Errorf("%+v", s.Health)
		}
	}
	if old.Health[0].Name != "" || runs.Spec.Health[0].Name != "" {
		t.Error("what others hold was changed")
	}
	if r.Spec.Boot.Image != "" || r.Spec.CPUs != 0 {
		t.Errorf("more than checks was filled: %+v", r.Spec)
	}
	none := vm.Record{Spec: vm.Spec{Boot: vm.Boot{Image: vm.Image}}}
	if none.Renew(); len(none.Spec.Health) != 0 {
		t.Errorf("a check was added: %+v", none.Spec.Health)
	}
}
