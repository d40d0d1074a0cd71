package procfs

import (
	"slices"
	"strings"
)

// Hierarchy is one mounted tree of cgroups.
type Hierarchy struct {
	V2          bool
	Root        string   // the cgroup that the mount shows as its top; in a container not always "/"
	Point       string   // where it is mounted
	Controllers []string // of version 1; among other options
}

// Has says whether a controller of version 1 is in it.
func (h Hierarchy) Has(controller string) bool {
	return !h.V2 && slices.Contains(h.Controllers, controller)
}

// ParseHierarchy reads a line of /proc/PID/mountinfo; false: it mounts no cgroups.
//
//	31 23 0:26 /docker/1f /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
//
// A blank in a path is \040 there; no hierarchy is mounted at such a place.
func ParseHierarchy(line string) (Hierarchy, bool) {
	place, kind, ok := strings.Cut(line, " - ")
	f, k := strings.Fields(place), strings.Fields(kind)
	if !ok || len(f) < 5 || len(k) < 3 || k[0] != "cgroup" && k[0] != "cgroup2" || strings.Contains(f[4], `\`) {
		return Hierarchy{}, false
	}
	if k[0] == "cgroup2" {
		return Hierarchy{V2: true, Root: f[3], Point: f[4]}, true
	}
	return Hierarchy{Root: f[3], Point: f[4], Controllers: strings.Split(k[2], ",")}, true
}
