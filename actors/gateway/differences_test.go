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
		"cpus: 1 -> 2", "disks[0].size: 1GiB -> 1536MiB", "memory: 128MiB -> 256MiB",
		`networks[0].bridge: "" -> "br0"`, `networks[0].mac: "" -> "52:54:00:12:34:56"`, `networks[0].mode: "user" -> "bridge"`,
		"networks[0].mtu: 0 -> 1400",
		"reclaim.idle.cpu: 2% -> 1.5%", "reclaim.keep: 50% -> 60%", "reclaim.steps[0].after: 30m -> 5s",
		"resources.cpuQuota: 0% -> 150%", "restart.budget.window: 10m -> 1h", "restart.delays[0]: new -> 5s",
	}
	if got := differences(messages.SpecToProto(before), messages.SpecToProto(after)); !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
