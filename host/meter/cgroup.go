package meter

import (
	"bytes"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// mounts are the hierarchies of cgroups that are of use here. On a machine with
// v1, pressure may still be told by a v2 that is mounted beside it.
type mounts struct {
	v2, memory mount
}

// mount is where a hierarchy can be seen, and from which of its cgroups on.
type mount struct{ point, root string }

// at is the folder of a cgroup, or empty: it can't be seen, or is the root,
// which nothing has to itself.
func (m mount) at(cgroup string) string {
	if m.root != "/" {
		if cgroup != m.root && !strings.HasPrefix(cgroup, m.root+"/") {
			return ""
		}
		cgroup = cgroup[len(m.root):]
	}
	if m.point == "" || cgroup == "" || cgroup == "/" || strings.Contains(cgroup, "/..") {
		return ""
	}
	return m.point + cgroup
}

// parseMounts reads /proc/self/mountinfo.
func parseMounts(b []byte) mounts {
	var out mounts
	for one := range bytes.Lines(b) {
		h, ok := procfs.ParseHierarchy(string(one))
		switch found := (mount{point: h.Point, root: h.Root}); {
		case !ok:
		case h.V2 && out.v2.point == "":
			out.v2 = found
		case h.Has("memory") && out.memory.point == "":
			out.memory = found
		}
	}
	return out
}

// hasWord finds a word among those that commas part.
func hasWord(list []byte, word string) bool {
	for one := range bytes.SplitSeq(list, []byte{','}) {
		if string(one) == word {
			return true
		}
	}
	return false
}

// parseCgroups reads /proc/PID/cgroup: "4:memory:/path", and of v2 "0::/path".
func parseCgroups(b []byte) (v2, memory string) {
	for one := []byte(nil); len(b) > 0; {
		one, b = line(b)
		number, rest, ok := bytes.Cut(one, []byte{':'})
		controllers, path, also := bytes.Cut(rest, []byte{':'})
		switch {
		case !ok || !also || len(path) == 0 || path[0] != '/':
		case string(number) == "0" && len(controllers) == 0:
			v2 = string(path)
		case hasWord(controllers, "memory"):
			memory = string(path)
		}
	}
	return v2, memory
}

// place is a cgroup, with the files that are read in it.
type place struct {
	folder string
	files  []string
}

func newPlace(folder string, files ...string) place {
	if folder == "" {
		return place{}
	}
	p := place{folder: folder}
	for _, f := range files {
		p.files = append(p.files, filepath.Join(folder, f))
	}
	return p
}

// settle learns the VMM's cgroups, which seldom change.
func (v *vmm) settle(b []byte, at mounts) {
	if v.cgroup != nil && bytes.Equal(b, v.cgroup) {
		return
	}
	v.cgroup = append(v.cgroup[:0], b...)
	v.stalls, v.limits = places(b, at)
}

// places are where pressure and the limit of memory are told.
func places(cgroup []byte, at mounts) (stalls, limits place) {
	v2, memory := parseCgroups(cgroup)
	if memory != "" { // this controller is in the old hierarchy
		limits = newPlace(at.memory.at(memory), "memory.limit_in_bytes")
	} else {
		limits = newPlace(at.v2.at(v2), "memory.max")
	}
	return newPlace(at.v2.at(v2), "cpu.pressure", "memory.pressure", "io.pressure"), limits
}

// readCgroups adds what the cgroups tell, where a VMM has one to itself: what
// holds for the daemon too, or for several VMMs, is told of none.
func (m *Meter) readCgroups(of []vm.Metered, out map[vm.ID]vm.Counters) {
	if m.mounts == (mounts{}) {
		return
	}
	shared := map[string]int{}
	if b, err := m.whole(filepath.Join(m.conf.Proc, "self/cgroup")); err == nil {
		stalls, limits := places(b, m.mounts)
		shared[stalls.folder]++
		shared[limits.folder]++
	}
	for _, v := range m.known {
		if v.pass == m.pass {
			shared[v.stalls.folder]++
			if v.limits.folder != v.stalls.folder {
				shared[v.limits.folder]++
			}
		}
	}
	for _, one := range of {
		c, ok := out[one.Ref.VM]
		v := m.known[name{one.Process.PID, one.Process.StartTime}]
		if !ok || v == nil {
			continue
		}
		if v.limits.folder != "" && shared[v.limits.folder] == 1 {
			c.Limit = parseLimit(m.text(v.limits.files[0]))
		}
		if v.stalls.folder != "" && shared[v.stalls.folder] == 1 {
			c.Stalled = vm.Stalls{
				CPU: parseWaited(m.text(v.stalls.files[0])), Memory: parseWaited(m.text(v.stalls.files[1])), IO: parseWaited(m.text(v.stalls.files[2])),
			}
		}
		out[one.Ref.VM] = c
	}
}

// text is a small file, or nothing.
func (m *Meter) text(path string) []byte {
	b, err := m.file(unix.AT_FDCWD, path)
	if err != nil {
		return nil
	}
	return b
}
