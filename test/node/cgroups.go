package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/proof"
)

// cgroups are the folders of the node's own cgroups, each after the one that it
// is in; see package host/cgroup.
func (n *Node) cgroups() []string {
	id, err := os.ReadFile(filepath.Join(n.State, "node-id"))
	if err != nil {
		return nil // it never ran
	}
	public := proof.Identity{Node: strings.TrimSpace(string(id))}.Public()
	var out []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || !entry.IsDir():
			return nil //nolint:nilerr // removed while we looked
		case filepath.Base(filepath.Dir(path)) == "blixard" && !strings.HasPrefix(public, filepath.Base(path)):
			return fs.SkipDir // another node's
		case strings.Contains(path, "/blixard/"):
			out = append(out, path)
		}
		return nil
	})
	return out
}

// heldCgroups are those of VMs.
func (n *Node) heldCgroups() []string {
	return slices.DeleteFunc(n.cgroups(), func(path string) bool { return filepath.Base(filepath.Dir(path)) == "blixard" })
}

// sweep ends and removes what a daemon that was killed can't. What it was about
// to start when it died looks like no VMM until its exec, so that it may be found
// only at the second look, by the cgroup that it holds.
func (n *Node) sweep() error {
	return unheld(func() error {
		var failed error
		for _, p := range marked(n.Root + "/") {
			failed = errors.Join(failed, p.Kill())
		}
		for _, path := range slices.Backward(n.cgroups()) {
			if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
				failed = errors.Join(failed, &os.PathError{Op: "rmdir", Path: path, Err: err})
			}
			_ = unix.Rmdir(filepath.Dir(path)) // the folder of all nodes, with the last of them
		}
		return failed
	})
}

// unheld removes cgroups once nothing is in them any more: a process that was
// killed may hold its own for a moment after its end was told.
func unheld(remove func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(cutWithin); ; <-tick.C {
		if err := remove(); !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}
