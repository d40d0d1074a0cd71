// Package cgroup holds VMMs to their limits where no service manager does: each
// in a group of its own, below the daemon's own group in each hierarchy, so that
// whatever limits the daemon limits its VMMs too.
//
//	<own group>/blixard/<node>/<name>.<uid>.<incarnation>
//
//	Tree.Make ─ limits ─▶ Group.Start ─ fork inside ─▶ VMM ─ its end ─▶ OutOfMemory, Remove
//	Tree.Of   ─ /proc/PID/cgroup ─▶ Group of a VMM that another life of the daemon made
//	Tree.Sweep ─ what a dead daemon left, if it is ours by name and empty
//
// Version 2 is taken where it has the controller, version 1 else; one machine
// may need both. A VMM is in its group before its first instruction: version 2
// forks into it, for version 1 the thread that forks goes there and comes back.
package cgroup

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// kind is what a limit limits.
type kind int

const (
	memory kind = iota
	cpu
	io
	tasks
	kinds
)

// controllers hold the kinds, by version.
var controllers = [kinds]struct{ v1, v2 string }{{"memory", "memory"}, {"cpu", "cpu"}, {"blkio", "io"}, {"pids", "pids"}}

// home is where groups that limit one kind are made.
type home struct {
	own string // the daemon's group, or the one above it, where the hierarchy is mounted here
	v2  bool
	why string // why none can be made; empty: they can
}

// Tree is where one node makes groups. The zero value makes none.
type Tree struct {
	kernel kernel
	node   string
	homes  [kinds]home
	seen   seen

	mu    sync.Mutex
	held  map[string]bool // names of groups that a live VMM, or one that is being made, needs
	swept bool
}

// Open finds the places. node is a word for the node in paths, of letters and
// digits. It never fails: what can't be held is Holding's to tell.
func Open(node string) *Tree { return open(node, live) }

func open(node string, k kernel) *Tree {
	t := &Tree{kernel: k, node: node, held: map[string]bool{}}
	m, err := k.mounted()
	if err != nil {
		for i := range t.homes {
			t.homes[i].why = err.Error()
		}
		return t
	}
	two := t.second(m)
	for i, c := range controllers {
		own, v1 := m.v1[c.v1]
		switch {
		case two.has[c.v2]:
			t.homes[i] = home{own: two.base, v2: true, why: two.why}
		case v1:
			t.homes[i] = home{own: own}
		case two.why != "":
			t.homes[i].why = two.why
		default:
			t.homes[i].why = fmt.Sprintf("no cgroup hierarchy with the controller %s is mounted here", c.v2)
		}
	}
	return t
}

// limited says whether groups are made for that kind now; why: for people.
func (t *Tree) limited(k kind) (why string) {
	h := t.homes[k]
	if h.why != "" || h.own == "" {
		return h.why
	}
	if err := unix.Access(h.own, unix.W_OK); err != nil { // a read-only mount tells by it, too
		return fmt.Sprintf("%s can't be written: %v", h.own, err)
	}
	return ""
}

// Holding says which limits can't be held, and why. It is looked at anew after
// some seconds.
func (t *Tree) Holding() vm.Holding {
	if t == nil || t.held == nil {
		const why = "no place for cgroups was looked for"
		return vm.Holding{Memory: why, CPU: why, IO: why, Tasks: why}
	}
	return t.seen.get(t.holding)
}

func (t *Tree) holding() vm.Holding {
	out := vm.Holding{Memory: t.limited(memory), CPU: t.limited(cpu), IO: t.limited(io), Tasks: t.limited(tasks)}
	if out.IO == "" {
		out.IO = t.kernel.weighs(t.homes[io].v2)
	}
	return out
}

// seen is the last look: a list of a thousand VMs asks as often, and the look
// goes over all disks.
type seen struct {
	mu      sync.Mutex
	at      time.Time
	holding vm.Holding
}

const lookAgain = 5 * time.Second

func (s *seen) get(look func() vm.Holding) vm.Holding {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || time.Since(s.at) > lookAgain {
		s.at, s.holding = time.Now(), look()
	}
	return s.holding
}

// folder of this node's groups in a home.
func (t *Tree) folder(h home) string { return filepath.Join(h.own, top, t.node) }

// top is the folder of all nodes of this machine.
const top = "blixard"

// name of a group. Neither a vm.Name nor a uid has a dot or a slash, so nobody
// can name a VM out of its folder or like another's group; the uid tells a VM
// from a later one of the same name.
func name(ref vm.Ref) (string, error) {
	called := fmt.Sprintf("%s.%s.%d", ref.Name, ref.VM, ref.Incarnation)
	if of, ok := parse(called); !ok || of != (vm.Ref{VM: ref.VM, Name: ref.Name, Incarnation: ref.Incarnation}) {
		return "", fmt.Errorf("%.80q can't be the name of a cgroup", called)
	}
	return called, nil
}

var uid = regexp.MustCompile(`^[0-9a-f]{16}$`)

// parse is the other way of name.
func parse(called string) (vm.Ref, bool) {
	parts := strings.Split(called, ".")
	if len(parts) != 3 || !uid.MatchString(parts[1]) {
		return vm.Ref{}, false
	}
	n, err := strconv.ParseUint(parts[2], 10, 64)
	of, invalid := vm.ParseName(parts[0])
	if err != nil || invalid != nil || n == 0 || parts[2] != strconv.FormatUint(n, 10) {
		return vm.Ref{}, false
	}
	return vm.Ref{VM: vm.ID(parts[1]), Name: of, Incarnation: vm.Incarnation(n)}, true
}
