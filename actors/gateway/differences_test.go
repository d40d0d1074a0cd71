package gateway

import (
	"slices"
	"testing"
	"time"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

func TestDifferencesAreInTheWordsOfASpecFile(t *testing.T) {
	before := vm.Spec{Name: "web", Disks: []vm.Disk{{Name: "data", Size: vm.GiB}}}.Filled()
	after := before
	after.Memory, after.CPUs, after.Resources.CPUQuota = 256*vm.MiB, 2, 150
	after.Disks = []vm.Disk{{Name: "data", Size: 3 * vm.GiB / 2}}
	after.Restart.Delays = []time.Duration{5 * time.Second}
	after.Restart.Budget.Window, after.Boot.Cmdline = time.Hour, "quiet"
	before.Networks = []vm.Network{{Mode: vm.NetworkUser}}
	after.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0", MTU: 1400, MAC: "52:54:00:12:34:56"}}
	after.Boot.Image, after.Boot.Flake, after.Autostart.Priority = "", "/srv/vms#web", -3
	after.Autostart.DependsOn = []vm.Dependency{{VM: "db", Is: vm.IsHealthy, Timeout: 2 * time.Minute}}
	before.Reclaim = vm.Reclaim{Steps: []vm.ReclaimStep{{Do: vm.ReclaimPause, After: 30 * time.Minute}}, Keep: 50, Idle: vm.Idle{CPU: 2}}
	after.Reclaim = vm.Reclaim{Steps: []vm.ReclaimStep{{Do: vm.ReclaimPause, After: 5 * time.Second}}, Keep: 60, Idle: vm.Idle{CPU: 1.5}}
	want := []string{
		"autostart.dependsOn[0].is: new -> \"healthy\"", "autostart.dependsOn[0].timeout: new -> 2m", "autostart.dependsOn[0].vm: new -> \"db\"",
		"autostart.priority: 0 -> -3",
		`boot.cmdline: "" -> "quiet"`, `boot.flake: "" -> "/srv/vms#web"`, `boot.image: "builtin" -> ""`,
		"cpus: 1 -> 2", "disks[data].size: 1GiB -> 1536MiB", "memory: 128MiB -> 256MiB",
		`networks[0].bridge: "" -> "br0"`, `networks[0].mac: "" -> "52:54:00:12:34:56"`, `networks[0].mode: "user" -> "bridge"`,
		"networks[0].mtu: 0 -> 1400",
		"reclaim.idle.cpu: 2% -> 1.5%", "reclaim.keep: 50% -> 60%", "reclaim.steps[0].after: 30m -> 5s",
		"resources.cpuQuota: 0% -> 150%", "restart.budget.window: 10m -> 1h", "restart.delays[0]: new -> 5s",
	}
	if got := differences(messages.SpecToProto(before), messages.SpecToProto(after)); !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestNamedElementsAreToldByName(t *testing.T) {
	before := vm.Spec{Name: "web", Health: []vm.Check{{Type: vm.CheckAgent}, {Name: "bt", Type: vm.CheckVMM}, {Name: "up", Type: vm.CheckProcess}}}.Filled()
	after := before
	for _, one := range []struct {
		story  string
		health []vm.Check
		want   []string
	}{
		{"nothing", before.Health, nil},
		{"one goes", before.Health[1:], []string{"health[guest-agent]: removed"}},
		{"one comes", append([]vm.Check{{Name: "ssh", Type: vm.CheckTCP, Address: "10.0.0.2:22"}}, before.Health...), []string{"health[ssh]: new"}},
		{"others are in front", []vm.Check{before.Health[1], before.Health[0], before.Health[2]}, []string{"health: in the order bt, guest-agent, up"}},
		{"one is another", []vm.Check{before.Health[0], {Name: "bt", Type: vm.CheckVMM, Interval: time.Minute}, before.Health[2]}, []string{"health[bt].interval: 10s -> 1m"}},
	} {
		after.Health = one.health
		if got := differences(messages.SpecToProto(before.Filled()), messages.SpecToProto(after.Filled())); !slices.Equal(got, one.want) {
			t.Errorf("%s: got %q, want %q", one.story, got, one.want)
		}
	}
}
