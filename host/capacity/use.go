package capacity

import (
	"bytes"
	"strconv"

	"github.com/blixard/blixard/vm"
)

// Use is what is in use of the cgroup that is nearest to its limit, of those
// that VMMs are in: without the pages of files, which the kernel drops first.
// of is zero where no limit is below what the machine has.
func (r Reader) Use() (used, of vm.Bytes) {
	has, err := r.memory()
	if err != nil {
		return 0, 0
	}
	for _, g := range r.groups() {
		limit := g.memory()
		if limit <= 0 || limit >= has {
			continue
		}
		if now, ok := g.used(); ok && (of == 0 || float64(now)/float64(limit) > float64(used)/float64(of)) {
			used, of = now, limit
		}
	}
	return used, of
}

// used is what the group can't do without; false: it doesn't say.
func (g group) used() (vm.Bytes, bool) {
	file, prefix := "memory.usage_in_bytes", "total_" // of it and of all below it, as v2 counts everywhere
	if g.v2 {
		file, prefix = "memory.current", ""
	}
	all, err := strconv.ParseInt(g.text(file), 10, 64)
	if err != nil || all < 0 {
		return 0, false
	}
	return max(0, vm.Bytes(all)-dropped([]byte(g.text("memory.stat")), prefix)), true
}

// dropped is how much of a group the kernel can take without writing: pages of
// files, and of its own caches what can be given back.
func dropped(stat []byte, prefix string) (sum vm.Bytes) {
	for line := range bytes.Lines(stat) {
		f := bytes.Fields(line)
		if len(f) != 2 {
			continue
		}
		switch string(f[0]) {
		case prefix + "inactive_file", prefix + "active_file", prefix + "slab_reclaimable":
			if v, err := strconv.ParseInt(string(f[1]), 10, 56); err == nil && v > 0 {
				sum += vm.Bytes(v)
			}
		}
	}
	return sum
}
