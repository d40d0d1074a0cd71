package actors

import (
	"slices"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// What a failure is told with on its way out of the run actor: what a look at the
// VMM's process and at the disk says costs microseconds, and saves the wait for an
// answer that can't come, or a start that finds nothing.

// wordsForPage is how much of the console is kept of a death after a reset.
const wordsForPage = 64 << 10

// resetMark begins what a guest said since its machine was reset.
const resetMark = "--- its machine was reset here ---\n"

// halted says why the VMM's process is not at work, empty where it may be.
func (r *runActor) halted() string {
	if r.process == nil || r.env.ports.Meter == nil {
		return ""
	}
	g, err := r.env.ports.Meter.Look(*r.process)
	if err != nil {
		return ""
	}
	why, _ := policies.AtWork(g, vm.Glance{})
	return why
}

// wantsDump says whether the guest's memory is to be written for a failure.
func (r *runActor) wantsDump(f vm.Failure) bool {
	return r.dumping == nil && f.Alive && slices.Contains(r.dumps.On, f.Cause) && r.env.ports.Bundles != nil
}

// undumped are the notes of a death whose memory nobody can write; halted: why.
func (r *runActor) undumped(halted string) *vm.Notes {
	if halted == "" {
		halted = "its VMM does not answer"
	}
	return &vm.Notes{Dump: &vm.Dumped{Format: r.dumps.Format, Why: halted + " and can't write it"}}
}

// noted adds to a failure what only this actor knows.
func (r *runActor) noted(f vm.Failure) vm.Failure {
	if f.Alive {
		f.LostGood = r.lostGood()
	}
	words := r.notes.wordsOf()
	f = r.env.noted(f, r.notes, r.ref.VM, r.process)
	if words != nil {
		f.Notes.Console = words()
	}
	return f
}

// lostGood is the incarnation whose known-good state the record names and the
// disk has not; 0: there is none, or it is there, or nobody can tell.
func (r *runActor) lostGood() vm.Incarnation {
	v, ok := r.env.views.get(r.ref.Name)
	if !ok || v.rec.ID != r.ref.VM || v.rec.State.Good == nil {
		return 0
	}
	good := *v.rec.State.Good
	if err := r.env.ports.Folders.HasState(r.ref, good); host.KindOf(err) == host.Broken {
		return good.Incarnation
	}
	return 0
}
