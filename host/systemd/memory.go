package systemd

import "github.com/blixard/blixard/host/cgroup"

// cgroups is where they are mounted.
type cgroups string

// memory is what a unit's cgroup counted: its peak, as systemd itself tells only
// since version 256, and kills, as it tells only in version 2 and without
// numbers. The path has the unit's name in it, so what is found there is no
// other's.
func (c cgroups) memory(path string) cgroup.Memory {
	if path == "" {
		return cgroup.Memory{}
	}
	for _, dir := range cgroup.Folders(string(c), path) {
		if m := cgroup.Read(dir); m.Peak > 0 || m.Kills > 0 {
			return m
		}
	}
	return cgroup.Memory{}
}
