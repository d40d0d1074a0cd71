package actors

import (
	"slices"
	"sync"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// keptNotices is how many of a VMM's last words a bundle tells of: a guest that
// reboots all the time must not make it grow.
const keptNotices = 32

// notes is what the run actors of one incarnation remember for the bundle of its
// death. They are vm/<name>'s to read as well: it alone knows of a death by a
// deadline, and then waits for no answer (P9).
type notes struct {
	mu     sync.Mutex
	argv   []string
	said   []vm.Said
	rounds policies.Rounds
	words  func() []byte // reads what the guest said since its machine was reset; nil: it was not
}

// anew begins the notes of a machine that is reset: what was told of the guest
// before is in the evidence of that death.
func (n *notes) anew(words func() []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said, n.words = nil, words
}

// deafen: whoever has counted the words since a reset has ended.
func (n *notes) deafen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.words = nil
}

func (n *notes) wordsOf() func() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.words
}

// launched keeps what was launched, and of an adopted VMM what the kernel says of
// it: what we launched ourselves we know better.
func (n *notes) launched(argv []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.argv == nil {
		n.argv = argv
	}
}

// argvOf is the command line of a VMM that was found; nil: nobody can tell.
func (e *env) argvOf(p vm.Process) []string {
	if e.ports.Meter == nil {
		return nil
	}
	argv, _ := e.ports.Meter.Argv(p) // best effort: a bundle without it is one all the same
	return argv
}

// heard keeps what the VMM told.
func (n *notes) heard(m host.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.said) == keptNotices {
		n.said = append(n.said[:0], n.said[1:]...)
	}
	n.said = append(n.said, vm.Said{At: m.At, Kind: string(m.Kind), Detail: m.Detail})
}

// asked keeps a round of one of so many checks.
func (n *notes) asked(one vm.Round, checks int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rounds.Keep(one, checks)
}

// noted adds to a failure what was seen of it, and of the node meanwhile.
func (e *env) noted(f vm.Failure, seen *notes, of vm.ID, process *vm.Process) vm.Failure {
	n := vm.Notes{}
	if f.Notes != nil {
		n = *f.Notes
	}
	seen.mu.Lock()
	n.Argv, n.Notices, n.Rounds = seen.argv, slices.Clone(seen.said), seen.rounds.All()
	seen.mu.Unlock()
	if u := e.usage(of, process); u != (vm.Usage{}) {
		n.Usage = &u
	}
	if all := e.resources.Load(); all != nil {
		node := all.Usage
		n.Node = &node
	}
	f.Notes = &n
	return f
}
