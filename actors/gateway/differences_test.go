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
	want := []string{
		`boot.cmdline: "" -> "quiet"`, "cpus: 1 -> 2", "disks[0].size: 1GiB -> 1536MiB", "memory: 128MiB -> 256MiB",
		"resources.cpuQuota: 0% -> 150%", "restart.budget.window: 10m -> 1h", "restart.delays[0]: new -> 5s",
	}
	if got := differences(messages.SpecToProto(before), messages.SpecToProto(after)); !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
