package capacity

import (
	"maps"
	"testing"

	"github.com/blixard/blixard/vm"
)

func TestUseIsOfTheGroupNearestToItsLimit(t *testing.T) {
	for _, one := range []struct {
		what     string
		files    map[string]string
		used, of vm.Bytes
	}{
		{"no cgroups", map[string]string{}, 0, 0},
		{"no limit", map[string]string{"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.current": "4096\n"}, 0, 0},
		{"a limit above the machine", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "17179869184\n", "sys/fs/cgroup/a/memory.current": "4096\n",
		}, 0, 0},
		{"v2, without what can be dropped", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "1073741824\n", "sys/fs/cgroup/a/memory.current": "900000000\n",
			"sys/fs/cgroup/a/memory.stat": "anon 5\nfile 300000000\ninactive_file 200000000\nactive_file 50000000\nslab_reclaimable 50000000\nshmem 7\n",
		}, 600_000_000, vm.GiB},
		{"v2, the group above is nearer", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "1073741824\n", "sys/fs/cgroup/a/b/memory.current": "1000\n",
			"sys/fs/cgroup/a/memory.max": "2147483648\n", "sys/fs/cgroup/a/memory.current": "2000000000\n",
		}, 2_000_000_000, 2 * vm.GiB},
		{"v1 counts what is below, too", map[string]string{
			"proc/self/mountinfo": v1Memory, "proc/self/cgroup": "4:memory:/vms\n",
			"sys/fs/cgroup/memory/vms/memory.limit_in_bytes": "2147483648\n", "sys/fs/cgroup/memory/vms/memory.usage_in_bytes": "1000000000\n",
			"sys/fs/cgroup/memory/vms/memory.stat": "inactive_file 1\ntotal_inactive_file 300000000\ntotal_active_file 100000000\n",
		}, 600_000_000, 2 * vm.GiB},
		{"nonsense", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "1073741824\n", "sys/fs/cgroup/a/memory.current": "1000\n",
			"sys/fs/cgroup/a/memory.stat": "inactive_file 99999999999999999999\nactive_file -5\nslab_reclaimable 5000\nfile\n",
		}, 0, vm.GiB},
		{"a limit of zero, and a use that isn't told", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "0\n", "sys/fs/cgroup/a/memory.max": "1073741824\n",
		}, 0, 0},
	} {
		files := maps.Clone(one.files)
		files["proc/meminfo"] = meminfo8
		if used, of := machine(t, files).Use(); used != one.used || of != one.of {
			t.Errorf("%s: %s of %s, want %s of %s", one.what, used, of, one.used, one.of)
		}
	}
	if used, of := machine(t, nil).Use(); used != 0 || of != 0 {
		t.Errorf("a machine that tells nothing: %s of %s", used, of)
	}
}
