package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/blixard/blixard/host/procfs"
)

// kernel is where the kernel shows itself; recorded trees stand in for it in tests.
type kernel struct {
	root  string // before every path; empty but in tests
	mkdir func(path string) error
	rmdir func(path string) error
}

// live is the running kernel.
var live = kernel{
	mkdir: func(path string) error { return os.Mkdir(path, 0o755) },
	rmdir: os.Remove, // the kernel removes a group with its files, if no process and no group is in it
}

// hierarchies are the daemon's own groups, by the paths at which they are seen
// here, and the places where the hierarchies are mounted.
type hierarchies struct {
	v1, v1At map[string]string // by controller
	v2, v2At string            // empty: not mounted
}

// mounted finds our own group in each hierarchy.
func (k kernel) mounted() (hierarchies, error) {
	out := hierarchies{v1: map[string]string{}, v1At: map[string]string{}}
	of, err := k.groups("self")
	if err != nil {
		return out, err
	}
	info, err := os.ReadFile(filepath.Join(k.root, "/proc/self/mountinfo"))
	if err != nil {
		return out, err
	}
	for line := range bytes.Lines(info) {
		m, ok := procfs.ParseHierarchy(string(line))
		if !ok {
			continue
		}
		if m.V2 {
			out.v2, out.v2At = k.below(m, of[""]), filepath.Join(k.root, m.Point)
			continue
		}
		for c, path := range of {
			if c != "" && m.Has(c) {
				out.v1[c], out.v1At[c] = k.below(m, path), filepath.Join(k.root, m.Point)
			}
		}
	}
	return out, nil
}

// groups are the paths of a process's groups by controller, the empty one for
// version 2, as the kernel has them.
func (k kernel) groups(pid string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(k.root, "/proc", pid, "cgroup"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) < 3 {
			return nil, fmt.Errorf("the cgroups of process %s: %.80q", pid, line)
		}
		for c := range strings.SplitSeq(parts[1], ",") {
			out[c] = parts[2]
		}
	}
	return out, nil
}

// below is where a group is seen. In a container without a namespace of its own
// for cgroups the kernel's path begins outside, and only what is below the mount
// is seen; a group outside it is answered by the mount itself.
func (k kernel) below(m procfs.Hierarchy, path string) string {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(m.Root, "/"))
	if !ok || rest != "" && rest[0] != '/' || strings.Contains(path, "..") { // "/.." is outside of a namespace
		rest = ""
	}
	return filepath.Join(k.root, m.Point, rest)
}

// weighs says why a weight of IO has no effect here; empty: it has. The disks'
// schedulers weigh, and most are set to one that doesn't.
func (k kernel) weighs(v2 bool) string {
	if v2 {
		if b, err := os.ReadFile(filepath.Join(k.root, "/sys/fs/cgroup/io.cost.qos")); err == nil && bytes.Contains(b, []byte("enable=1")) {
			return ""
		}
	}
	queues, _ := filepath.Glob(filepath.Join(k.root, "/sys/block/*/queue/scheduler")) // the pattern is well formed
	for _, q := range queues {
		if b, err := os.ReadFile(q); err == nil && bytes.Contains(b, []byte("[bfq]")) {
			return ""
		}
	}
	return "no disk of this machine weighs its users: echo bfq > /sys/block/DISK/queue/scheduler"
}
