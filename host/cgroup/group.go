package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/blixard/blixard/vm"
)

// Group is the group of one VMM, in each hierarchy that limits it. A nil one is
// of a VMM that nothing limits.
type Group struct {
	tree  *Tree
	name  string
	v1    []string // its folders
	v2    string   // empty: none
	bytes string   // the folder that counts its memory; empty: none does
}

// Make makes the group of an incarnation and sets its limits. One that was left
// by a try before is taken, unless a process is in it. It is nil where nothing
// can be limited.
func (t *Tree) Make(ref vm.Ref, l vm.Limits) (*Group, error) {
	if t == nil || t.held == nil {
		return nil, nil //nolint:nilnil // no group is an answer
	}
	called, err := name(ref)
	if err != nil {
		return nil, err
	}
	g := &Group{tree: t, name: called}
	t.hold(called, true)
	for k := range kinds {
		if t.limited(k) == "" && t.needed(k, l) {
			err = errors.Join(err, t.set(g, k, l))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make its cgroup: %w", err), g.Remove())
	}
	if g.v2 == "" && g.v1 == nil {
		return nil, g.Remove()
	}
	return g, nil
}

// needed says whether a group of that kind is needed at all: one of version 1
// whose only file would say what every group begins with costs a fork as much
// as the others do.
func (t *Tree) needed(k kind, l vm.Limits) bool {
	return k != io || t.homes[io].v2 || l.IOWeight != usual && l.IOWeight > 0
}

// set makes the folder of one kind, and sets the limit.
func (t *Tree) set(g *Group, k kind, l vm.Limits) error {
	h := t.homes[k]
	dir := filepath.Join(t.folder(h), g.name)
	if slices.Contains(g.dirs(), dir) {
		return t.limit(dir, k, l)
	}
	if err := t.make(h, dir); err != nil {
		return err
	}
	switch {
	case h.v2:
		g.v2 = dir
	default:
		g.v1 = append(g.v1, dir)
	}
	if k == memory {
		g.bytes = dir
	}
	return t.limit(dir, k, l)
}

// make makes a folder, and those of this node where they are missing. One that
// is there already may be taken only if nobody is in it.
func (t *Tree) make(h home, dir string) error {
	err := t.kernel.mkdir(dir)
	if errors.Is(err, os.ErrNotExist) {
		err = errors.Join(t.folders(filepath.Join(h.own, top)), t.folders(t.folder(h)))
		if err == nil {
			err = t.kernel.mkdir(dir)
		}
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	if pids := words(filepath.Join(dir, "cgroup.procs")); len(pids) > 0 {
		return fmt.Errorf("%d processes are in %s: %s", len(pids), dir, pids[0])
	}
	return nil
}

// limit sets what limits one kind.
func (t *Tree) limit(dir string, k kind, l vm.Limits) error {
	for _, s := range settings(k, t.homes[k].v2, l) {
		err := write(dir, s.file, s.value)
		if err != nil && (!s.optional || !errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("set %s to %s: %w", s.file, s.value, err)
		}
	}
	return nil
}

func (g *Group) dirs() []string {
	if g.v2 == "" {
		return g.v1
	}
	return append([]string{g.v2}, g.v1...)
}

// Remove removes the group of a VMM that is gone. Repeating it is safe. A
// process that is left in it is an error, and keeps it.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	var failed error
	for _, dir := range g.dirs() {
		failed = errors.Join(failed, g.tree.remove(dir))
	}
	g.tree.hold(g.name, false)
	return failed
}

// Of is the group of a live VMM that this life of the daemon has not made; nil
// where it is in none. The kernel's word and the name prove it (P8): both end
// alike.
func (t *Tree) Of(pid int, ref vm.Ref) *Group {
	called, err := name(ref)
	if err != nil || t == nil || t.held == nil {
		return nil
	}
	in, err := t.kernel.groups(strconv.Itoa(pid))
	if err != nil {
		return nil
	}
	g := &Group{tree: t, name: called}
	for k, c := range controllers {
		h := t.homes[k]
		path := in[c.v1]
		if h.v2 {
			path = in[""]
		}
		dir := filepath.Join(t.folder(h), called)
		if h.own == "" || !strings.HasSuffix(path, filepath.Join("/", top, t.node, called)) {
			continue
		}
		if _, err := os.Stat(dir); err != nil {
			continue // it was made below another group of the daemon, which isn't seen from here
		}
		switch {
		case h.v2:
			g.v2 = dir
		case !slices.Contains(g.v1, dir):
			g.v1 = append(g.v1, dir)
		}
		if kind(k) == memory {
			g.bytes = dir
		}
	}
	if g.v2 == "" && g.v1 == nil {
		return nil
	}
	t.hold(called, true)
	return g
}

func (t *Tree) hold(name string, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if yes {
		t.held[name] = true
	} else {
		delete(t.held, name)
	}
}

func (t *Tree) holds(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held[name]
}
