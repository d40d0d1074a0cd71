package capacity

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// group is one cgroup that VMMs are in, or one above it.
type group struct {
	dir string
	v2  bool
}

// groups are those whose limits hold for our VMMs, over all hierarchies. A
// machine without cgroups has none.
func (r Reader) groups() []group {
	mounts, err := r.read("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	own, err := r.read("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var out []group
	for line := range bytes.Lines(mounts) {
		h, ok := procfs.ParseHierarchy(string(line))
		if !ok || !h.V2 && !h.Has("cpu") && !h.Has("memory") {
			continue
		}
		path, ok := pathIn(string(own), h)
		if !ok {
			continue
		}
		if r.Slice != "" {
			path = "/" + strings.Trim(r.Slice, "/")
		}
		out = append(out, r.upwards(h, path)...)
	}
	return out
}

// upwards are a cgroup and all above it, as far as the mount shows them.
func (r Reader) upwards(h procfs.Hierarchy, path string) []group {
	rest := path
	if h.Root != "/" { // a container sees its own part alone, under the name that it has outside
		var within bool
		if rest, within = strings.CutPrefix(path, h.Root); !within || rest != "" && rest[0] != '/' {
			rest = ""
		}
	}
	var out []group
	for rest = filepath.Clean("/" + rest); ; rest = filepath.Dir(rest) {
		dir := filepath.Join(r.Root+h.Point, rest)
		if _, err := os.Stat(dir); err == nil {
			out = append(out, group{dir, h.V2})
		}
		if rest == "/" {
			return out
		}
	}
}

// pathIn is our cgroup in a hierarchy, by lines such as 4:memory:/vms and 0::/vms.
func pathIn(own string, h procfs.Hierarchy) (string, bool) {
	for line := range strings.Lines(own) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		if h.V2 && f[0] == "0" && f[1] == "" {
			return f[2], true
		}
		if f[1] != "" && h.Has(strings.Split(f[1], ",")[0]) {
			return f[2], true
		}
	}
	return "", false
}

// quota is in processors; +Inf where there is none.
func (g group) quota() float64 {
	var quota, period float64
	if g.v2 {
		f := strings.Fields(g.text("cpu.max"))
		if len(f) != 2 {
			return math.Inf(1)
		}
		quota, period = number(f[0]), number(f[1])
	} else {
		quota, period = number(g.text("cpu.cfs_quota_us")), number(g.text("cpu.cfs_period_us"))
	}
	if !(quota > 0 && period > 0) { // "max", -1, or a group without the controller
		return math.Inf(1)
	}
	return quota / period
}

// memory is the group's limit; the largest size where there is none.
func (g group) memory() vm.Bytes {
	file := "memory.limit_in_bytes"
	if g.v2 {
		file = "memory.max"
	}
	v, err := strconv.ParseInt(g.text(file), 10, 64)
	if err != nil || v < 0 {
		return math.MaxInt64
	}
	return vm.Bytes(v)
}

func (g group) text(file string) string {
	b, err := readFile(filepath.Join(g.dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return -1
	}
	return v
}
