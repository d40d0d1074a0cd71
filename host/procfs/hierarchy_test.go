package procfs

import "testing"

func TestHierarchiesAmongMounts(t *testing.T) {
	for _, one := range []struct {
		line string
		is   bool
		v2   bool
		root string
		at   string
	}{
		{"31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup rw,nsdelegate\n", true, true, "/", "/sys/fs/cgroup"},
		{"32 23 0:27 /docker/1f /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", true, false, "/docker/1f", "/sys/fs/cgroup/memory"},
		{"33 23 0:28 / /proc rw - proc proc rw\n", false, false, "", ""},
		{`31 23 0:26 / /a\040b rw - cgroup2 cgroup rw`, false, false, "", ""},
		{"31 23 0:26 / - cgroup2 cgroup rw", false, false, "", ""},
		{"31 23 0:26 / /sys/fs/cgroup rw - cgroup2", false, false, "", ""},
		{"", false, false, "", ""},
	} {
		h, ok := ParseHierarchy(one.line)
		if ok != one.is || ok && (h.V2 != one.v2 || h.Root != one.root || h.Point != one.at) {
			t.Errorf("%q is %+v, %v", one.line, h, ok)
		}
		if want := one.is && !one.v2; h.Has("memory") != want || h.Has("rw") != want || h.Has("cpu") {
			t.Errorf("%q has the controllers %q", one.line, h.Controllers)
		}
	}
}
