package actors

import (
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// keptNotices is how many of a VMM's last words a bundle tells of: a guest that
// reboots all the time must not make it grow.
const keptNotices = 32

// notes is what a run actor remembers for the bundle of its incarnation's death.
type notes struct {
	said []vm.Said
	argv []string
}

// heard keeps what the VMM told.
func (n *notes) heard(m host.Notice) {
	if len(n.said) == keptNotices {
		n.said = append(n.said[:0], n.said[1:]...)
	}
	n.said = append(n.said, vm.Said{At: m.At, Kind: string(m.Kind), Detail: m.Detail})
}

// noted adds to a failure what this actor alone has seen.
func (r *runActor) noted(f vm.Failure) vm.Failure {
	n := vm.Notes{}
	if f.Notes != nil {
		n = *f.Notes
	}
	n.Argv, n.Notices, n.Rounds = r.notes.argv, r.notes.said, r.rounds
	if u := r.env.usage(r.ref.VM, r.process); u != (vm.Usage{}) {
		n.Usage = &u
	}
	if all := r.env.resources.Load(); all != nil {
		node := all.Usage
		n.Node = &node
	}
	f.Notes = &n
	return f
}
