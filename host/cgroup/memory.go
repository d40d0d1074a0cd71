package cgroup

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/blixard/blixard/vm"
)

// Memory is what the kernel counted of a group's memory. Zero where it doesn't tell.
type Memory struct {
	Current, Peak, Limit vm.Bytes
	Kills                uint64 // processes that the kernel killed for want of memory, whoever's
	Full                 uint64 // how often its own limit was met and nothing could be freed; in version 1 also where something could
}

// Read reads a group by its folder, of either version; a folder that isn't
// there, or has no such controller, tells nothing.
func Read(dir string) Memory {
	m := Memory{
		Current: bytesIn(dir, "memory.current", "memory.usage_in_bytes"), Peak: bytesIn(dir, "memory.peak", "memory.max_usage_in_bytes"),
		Limit: bytesIn(dir, "memory.max", "memory.limit_in_bytes"),
	}
	events := fields(dir, "memory.events.local")
	if len(events) == 0 {
		events = fields(dir, "memory.events")
	}
	if len(events) > 0 {
		m.Kills, m.Full = events["oom_kill"], events["oom"]
		return m
	}
	m.Kills = fields(dir, "memory.oom_control")["oom_kill"]                                // Linux 4.13
	m.Full = uint64(bytesIn(dir, "memory.failcnt") + bytesIn(dir, "memory.memsw.failcnt")) // of two equal limits that with swap is met first
	if m.Limit > 0 && m.Peak >= m.Limit && m.Full == 0 {                                   // some kernels leave both counters at zero
		m.Full = 1
	}
	return m
}

// Folders are where a group of that path can be, as seen from our own, below a
// mount of everything: for groups that systemd makes.
func Folders(root, path string) []string {
	return []string{filepath.Join(root, path), filepath.Join(root, "memory", path), filepath.Join(root, "unified", path)}
}

// unlimited is what version 1 calls no limit: all pages that fit a signed number.
const unlimited = vm.Bytes(1) << 62

// bytesIn is the first of the files that has a number.
func bytesIn(dir string, files ...string) vm.Bytes {
	for _, file := range files {
		b := read(filepath.Join(dir, file))
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && vm.Bytes(n) < unlimited {
			return vm.Bytes(n)
		}
	}
	return 0
}

// fields of a file of names and numbers.
func fields(dir, file string) map[string]uint64 {
	out := map[string]uint64{}
	all := words(filepath.Join(dir, file))
	for i := 0; i+1 < len(all); i += 2 {
		if n, err := strconv.ParseUint(all[i+1], 10, 64); err == nil {
			out[all[i]] = n
		}
	}
	return out
}
