package actors

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A machine's reset in place, after vm/<name> has written that it is due:
//
//	run-<n> that failed ─▶ its end ─▶ run-<n> anew: attach ─▶ Session.Reset ─▶ GuestWasReset ─▶ probes
//
// Until then nothing that the guest does counts, and a person's stop comes first (P5).

// wasReset: a goroutine of the run actor → itself.
type wasReset struct{ err error }

// resetDue says whether the machine is to be reset before its guest is listened to.
func (r *runActor) resetDue() bool { return r.rec.State.ResetDue && !r.off }

// pressReset resets the machine.
func (r *runActor) pressReset() {
	r.hearAnew()
	r.notes.anew(r.wordsAnew())
	session := r.session
	r.background(effectTimeout, func(ctx context.Context) any { return wasReset{session.Reset(ctx)} })
}

// wasReset goes on with a guest that boots. A session that was lost is opened
// again, and the reset is done then.
func (r *runActor) wasReset(m wasReset) {
	switch {
	case host.KindOf(m.err) == host.Gone:
		r.sessionFailed(sessionFailed{"reset", m.err})
		return
	case m.err != nil && r.off:
	case m.err != nil:
		r.fail(vm.Failure{Cause: vm.CauseHealthFailed, Evidence: fmt.Sprintf("it could not be reset: %v", m.err), Silent: true}, true)
	default:
		r.env.tell(r.parent, messages.GuestWasReset{Incarnation: r.ref.Incarnation})
	}
	r.rec.State.ResetDue = false
	if r.off {
		r.powerDown() // what it was told before the reset, it has forgotten
	}
	r.meet()
}

// hearAnew begins to count what the console says: what a guest said before it
// was reset is no evidence of what comes after.
func (r *runActor) hearAnew() {
	if r.heard != nil {
		return
	}
	heard := new(atomic.Int64)
	cancel, err := r.env.ports.Console.Follow(r.paths, host.ConsoleEnd, func(b []byte) { heard.Add(int64(len(b))) })
	if err != nil {
		r.sessionFailed(sessionFailed{"follow console", err})
		return
	}
	r.heard = heard
	context.AfterFunc(r.ctx, cancel)
}

// lastWords are the end of what the guest has said since it last booted by our doing.
func (r *runActor) lastWords() []byte {
	n := tailForCause
	if r.heard != nil {
		n = int(min(int64(n), r.heard.Load()))
	}
	tail, _ := r.env.ports.Console.Tail(r.paths, n) // best effort: a missing log is no evidence
	return tail
}

// wordsAnew reads, off any mailbox too, what the guest has said since now; nil:
// nobody could listen.
func (r *runActor) wordsAnew() func() []byte {
	heard, console, paths := r.heard, r.env.ports.Console, r.paths
	if heard == nil {
		return nil
	}
	return func() []byte {
		var tail []byte
		if n := int(min(wordsForPage, heard.Load())); n > 0 {
			tail, _ = console.Tail(paths, n) // best effort: a missing log is no evidence
		}
		return append([]byte(resetMark), tail...)
	}
}

// resetBefore says whether this incarnation was reset before this actor began.
func (r *runActor) resetBefore() bool { return policies.WasReset(r.rec.State) }
