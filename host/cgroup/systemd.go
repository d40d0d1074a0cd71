package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// Systemd is a systemd that is PID 1 here. It takes the same words for both
// versions, and keeps silent about what it can't do.
type Systemd struct{ seen seen }

// Holding says which limits of units can't be held, and why. It is looked at
// anew after some seconds.
func (s *Systemd) Holding() vm.Holding { return s.seen.get(live.systemd) }

func (k kernel) systemd() vm.Holding {
	m, err := k.mounted()
	if err != nil {
		why := err.Error()
		return vm.Holding{Memory: why, CPU: why, IO: why, Tasks: why}
	}
	out := vm.Holding{Memory: m.forSystemd(memory), CPU: m.forSystemd(cpu), IO: m.forSystemd(io), Tasks: m.forSystemd(tasks)}
	if out.Memory == "" && !m.second(memory) && k.swaps() {
		out.Memory = "systemd limits no swap in version 1 of cgroups, and this machine swaps: boot it with systemd.unified_cgroup_hierarchy=1"
	}
	if out.IO == "" {
		out.IO = k.weighs(m.second(io))
	}
	return out
}

// second says whether systemd has the kind in version 2.
func (m hierarchies) second(k kind) bool {
	return m.v2 != "" && slices.Contains(words(filepath.Join(m.v2At, "cgroup.controllers")), controllers[k].v2)
}

func (m hierarchies) forSystemd(k kind) (why string) {
	at := m.v1At[controllers[k].v1]
	switch {
	case m.second(k):
		at = m.v2At
	case at == "":
		return fmt.Sprintf("no cgroup hierarchy with the controller %s is mounted here", controllers[k].v2)
	}
	if err := unix.Access(at, unix.W_OK); err != nil {
		return fmt.Sprintf("%s can't be written: %v", at, err)
	}
	return ""
}

// swaps says whether the machine has swap.
func (k kernel) swaps() bool {
	b, err := os.ReadFile(filepath.Join(k.root, "/proc/swaps"))
	return err == nil && bytes.Count(b, []byte{'\n'}) > 1 // the first line is a heading
}
