package node

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Leaks says what is held although no VM exists any more: processes, sockets,
// cgroups and folders of VMs, and zombies of the daemon (P7).
func (n *Node) Leaks() []string {
	var out []string
	for _, p := range n.VMMs() {
		out = append(out, fmt.Sprintf("process %d: %.200s", p.PID, strings.Join(p.Argv, " ")))
	}
	out = append(out, n.lastingZombies()...)
	for _, path := range n.heldCgroups() {
		out = append(out, "cgroup "+path)
	}
	_ = filepath.WalkDir(n.Root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // removed while we looked
		case entry.Type()&fs.ModeSocket != 0 && path != n.Socket:
			out = append(out, "socket "+path)
		case entry.IsDir() && (filepath.Dir(path) == filepath.Join(n.State, "vms") || filepath.Base(filepath.Dir(path)) == "vm"):
			out = append(out, "folder "+path)
		}
		return nil
	})
	return out
}

// lastingZombies are those that stay: every child is one until its parent has
// heard of its end.
func (n *Node) lastingZombies() []string {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(cutWithin); ; <-tick.C {
		if out := n.zombies(); len(out) == 0 || time.Now().After(deadline) {
			return out
		}
	}
}

// zombies are children of the daemon that it never reaped.
func (n *Node) zombies() []string {
	if n.PID() == 0 {
		return nil
	}
	names, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	var out []string
	for _, name := range names {
		b, err := os.ReadFile(name)
		_, after, ok := strings.Cut(string(b), ") ")
		fields := strings.Fields(after)
		if err == nil && ok && len(fields) > 1 && fields[0] == "Z" && fields[1] == fmt.Sprint(n.PID()) {
			out = append(out, "zombie "+strings.TrimSpace(string(b[:min(len(b), 60)])))
		}
	}
	return out
}
