package capacity

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// machine writes what a kernel would tell below a folder.
func machine(t *testing.T, files map[string]string) Reader {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(root, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	return Reader{State: state, Root: root}
}

const (
	unified  = "31 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n"
	v1Memory = "32 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	v1CPU    = "33 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	meminfo8 = "MemTotal:        8388608 kB\nMemFree:  1 kB\nHugetlb:         0 kB\n"
)

func TestTheSmallestLimitOnTheWayUpHolds(t *testing.T) {
	for _, one := range []struct {
		what   string
		slice  string
		files  map[string]string
		cpus   float64 // +Inf: as many as there are
		memory vm.Bytes
	}{
		{"no cgroups", "", map[string]string{}, math.Inf(1), 8 * vm.GiB},
		{"v2 without any limit", "", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
		}, math.Inf(1), 8 * vm.GiB},
		{"v2, a limit above ours", "", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "4294967296\n", "sys/fs/cgroup/a/memory.max": "1073741824\n",
			"sys/fs/cgroup/a/b/cpu.max": "50000 100000\n", "sys/fs/cgroup/a/cpu.max": "25000 50000\n",
		}, 0.5, vm.GiB},
		{"v2, ours is gone from the mount", "", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/../..\n", "sys/fs/cgroup/memory.max": "2147483648\n",
		}, math.Inf(1), 2 * vm.GiB},
		{"VMMs are in a slice of their own", "blixard.slice", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/system.slice/blixard.service\n",
			"sys/fs/cgroup/system.slice/blixard.service/memory.max": "1048576\n", "sys/fs/cgroup/blixard.slice/memory.max": "3221225472\n",
		}, math.Inf(1), 3 * vm.GiB},
		{"a slice that isn't there yet", "blixard.slice", map[string]string{
			"proc/self/mountinfo": unified, "proc/self/cgroup": "0::/system.slice/blixard.service\n", "sys/fs/cgroup/memory.max": "max\n",
		}, math.Inf(1), 8 * vm.GiB},
		{"v1, two hierarchies", "", map[string]string{
			"proc/self/mountinfo": v1Memory + v1CPU, "proc/self/cgroup": "4:memory:/vms\n3:cpu,cpuacct:/\n0::/\n",
			"sys/fs/cgroup/memory/vms/memory.limit_in_bytes": "2147483648\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, 1.5, 2 * vm.GiB},
		{"v1 without a quota", "", map[string]string{
			"proc/self/mountinfo": v1CPU, "proc/self/cgroup": "3:cpu,cpuacct:/\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, math.Inf(1), 8 * vm.GiB},
		{"in a container that shows its own part alone", "", map[string]string{
			"proc/self/mountinfo": "32 23 0:27 /docker/1f /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "proc/self/cgroup": "4:memory:/docker/1f/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "2147483648\n",
		}, math.Inf(1), vm.GiB},
		{"nonsense", "", map[string]string{
			"proc/self/mountinfo": "x\n - cgroup2\n" + unified + v1Memory, "proc/self/cgroup": "::\nmemory\n0::/a\n4:memory:/a\n",
			"sys/fs/cgroup/a/memory.max": "-5\n", "sys/fs/cgroup/a/cpu.max": "NaN NaN\n", "sys/fs/cgroup/cpu.max": "0 0\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "99999999999999999999\n",
		}, math.Inf(1), 8 * vm.GiB},
	} {
		one.files["proc/meminfo"] = meminfo8
		r := machine(t, one.files)
		r.Slice = one.slice
		has, held, err := r.Capacity()
		all, _ := r.processors()
		if want := min(one.cpus, all); err != nil || has.CPUs != want || has.Memory != one.memory || held != 0 || has.Disk <= 0 {
			t.Errorf("%s: %+v, %s held, %v; want %g processors and %s", one.what, has, held, err, want, one.memory)
		}
	}
}

func TestHugePagesAreNotForGuests(t *testing.T) {
	r := machine(t, map[string]string{"proc/meminfo": "MemTotal:  8388608 kB\nHugetlb:  6291456 kB\n"})
	if has, _, err := r.Capacity(); err != nil || has.Memory != 2*vm.GiB {
		t.Errorf("%s, %v", has.Memory, err)
	}
	for _, text := range []string{"", "MemTotal:\n", "MemTotal: x kB\n", "MemTotal: -1 kB\n", "MemTotal: 99999999999999 kB\n", "MemTotal: 8388608\n"} {
		if has, _, err := machine(t, map[string]string{"proc/meminfo": text}).Capacity(); host.KindOf(err) != host.Broken {
			t.Errorf("%q is %s, %v", text, has.Memory, err)
		}
	}
}

func TestWhatDisksHoldIsTheNodesStill(t *testing.T) {
	r := machine(t, map[string]string{"proc/meminfo": meminfo8})
	before, _, err := r.Capacity()
	if err != nil {
		t.Fatal(err)
	}
	disks := filepath.Join(r.State, "vms", "web", "disks")
	if err := os.MkdirAll(disks, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(disks, "data.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 4*vm.MiB)); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(vm.GiB)); err != nil { // sparse beyond
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/kcore", filepath.Join(disks, "link")); err != nil { // what isn't a file holds nothing
		t.Fatal(err)
	}
	has, held, err := r.Capacity()
	if err != nil || held < 4*vm.MiB || held > 5*vm.MiB {
		t.Errorf("%s are held, %v", held, err)
	}
	if apart := has.Disk - before.Disk; apart < -vm.GiB || apart > vm.GiB {
		t.Errorf("the disk of %s became one of %s", before.Disk, has.Disk) // others write to it too
	}
	r.State = filepath.Join(r.State, "none")
	if _, _, err := r.Capacity(); host.KindOf(err) != host.Transient {
		t.Errorf("without a state folder: %v", err)
	}
}

func TestThisMachineTells(t *testing.T) {
	has, _, err := Reader{State: t.TempDir()}.Capacity()
	if err != nil || has.CPUs <= 0 || has.Memory < 64*vm.MiB || has.Disk <= 0 {
		t.Errorf("%+v, %v", has, err)
	}
	t.Logf("%+v", has)
}

func FuzzHierarchies(f *testing.F) {
	f.Add(unified+v1CPU, "0::/a\n3:cpu,cpuacct:/x\n")
	f.Add("1 2 0:0 /a /b rw - cgroup2 c rw", "0::/../../etc\n")
	f.Fuzz(func(_ *testing.T, mounts, own string) {
		if h, ok := procfs.ParseHierarchy(mounts); ok {
			_, _ = pathIn(own, h)
		}
	})
}
