package policies_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A limit is never below what admission holds for the VM, nor below its guest's
// RAM: whoever was admitted can use what it was promised.
func TestALimitLeavesWhatWasPromised(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := vm.Spec{
			Memory:    vm.Bytes(rapid.Int64Range(1, 1<<50).Draw(t, "memory")),
			Resources: vm.Resources{CPUQuota: rapid.IntRange(0, 6400).Draw(t, "quota"), CPUWeight: 7, IOWeight: 9},
		}
		r := vm.Reservation{Memory: vm.Bytes(rapid.Int64Range(0, 1<<51).Draw(t, "reserved"))}
		l := policies.LimitsFor(s, r)
		if l.Memory <= r.Memory || l.Memory <= s.Memory {
			t.Errorf("%v for a guest of %v and a reservation of %v", l.Memory, s.Memory, r.Memory)
		}
		if l.CPUQuota != s.Resources.CPUQuota || l.CPUWeight != 7 || l.IOWeight != 9 || l.Tasks != 1024 {
			t.Errorf("%+v of %+v", l, s.Resources)
		}
	})
}

func TestTheSlackOfALimit(t *testing.T) {
	r := vm.Reservation{Memory: 192 * vm.MiB}
	for story, c := range map[string]struct {
		spec vm.Spec
		want vm.Bytes
	}{
		"of any guest":         {vm.Spec{Memory: 128 * vm.MiB}, (192 + 64 + 1) * vm.MiB},
		"of one with disks":    {vm.Spec{Memory: 128 * vm.MiB, Disks: []vm.Disk{{Size: vm.GiB}, {Path: "/a.qcow2"}}}, (192 + 64 + 1 + 32) * vm.MiB},
		"of a system's disk":   {vm.Spec{Memory: 128 * vm.MiB, Boot: vm.Boot{Disk: "/a"}}, (192 + 64 + 1 + 32) * vm.MiB},
		"of somebody's runner": {vm.Spec{Memory: 128 * vm.MiB, Boot: vm.Boot{Runner: "/r"}}, (192 + 64 + 1 + 1024) * vm.MiB},
	} {
		if got := policies.LimitsFor(c.spec, r).Memory; got != c.want {
			t.Errorf("%s: %v, want %v", story, got, c.want)
		}
	}
}
