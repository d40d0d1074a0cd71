package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// balloon: vm/<name> → run-<n>. No turn: nothing of the record changes.
type balloon struct {
	reclaimAsked
	spec vm.Spec // as it is now: the run actor has the one that it began with
}

// reclaim carries out one step that the node decided by itself. What came in
// between, as from a person, comes first: the next look decides anew.
func (v *vmActor) reclaim(c actor.Context, m reclaimAsked) {
	if m.revision != v.rec.State.Revision {
		v.reclaimEnded(m, "it changed meanwhile")
		return
	}
	switch m.Do {
	case vm.ReclaimBalloon, vm.ReclaimGiveBack:
		if v.run == nil {
			v.reclaimEnded(m, "its VMM is not attached to")
			return
		}
		v.env.tell(v.run, balloon{m, v.rec.Spec})
	case vm.ReclaimPause, vm.ReclaimSuspend:
		event := vm.PauseAsked
		if m.Do == vm.ReclaimSuspend {
			event = vm.SuspendAsked
		}
		failed := ""
		if r := v.try(c, policies.Turn{Event: event, By: reclaimer, Why: m.Why, Reclaim: true}); r != nil {
			failed = r.Why
		}
		v.reclaimEnded(m, failed)
	}
}

func (v *vmActor) reclaimEnded(m reclaimAsked, failed string) {
	v.env.tell(v.env.tracker, reclaimDone{
		id: m.id, incarnation: v.rec.State.Incarnation, do: m.Do, why: m.Why, failed: failed,
	})
}

const (
	// balloonWait is how long a guest may take to give memory back. Under TCG and
	// on a busy host it is some ten MiB a second.
	balloonWait = 20 * time.Second
	balloonLook = time.Second
)

// balloon has the guest give memory back, or gives it again, off the mailbox.
func (r *runActor) balloon(m balloon) {
	session, env, done := r.session, r.env, reclaimDone{id: m.id, incarnation: r.ref.Incarnation, do: m.Do, why: m.Why}
	if session == nil {
		done.failed = "its VMM does not answer just now"
		env.tell(env.tracker, done)
		return
	}
	whole := r.rec.Spec.Memory // of this incarnation, whatever the next one gets
	m.spec.Memory = whole
	r.background(effectTimeout, func(ctx context.Context) any {
		leave, err := whole, error(nil)
		if m.Do == vm.ReclaimBalloon {
			leave, err = spare(ctx, session, m.spec)
		}
		if err == nil {
			done.left, err = env.inflate(ctx, session, leave, whole)
		}
		if err != nil {
			done.failed = err.Error()
		}
		env.tell(env.tracker, done)
		return sessionFailed{"balloon", nil}
	})
}

// spare is what the balloon may leave to the guest, by the guest's own word.
func spare(ctx context.Context, s host.Session, spec vm.Spec) (vm.Bytes, error) {
	memory, err := s.Memory(ctx)
	if err != nil {
		return 0, err
	}
	leave := policies.Leaves(spec, memory.Available)
	if leave >= spec.Memory {
		return 0, fmt.Errorf("the guest has no memory to spare: %s of %s are available to it", memory.Available, spec.Memory)
	}
	return leave, nil
}

// inflate sets the balloon and waits until the guest has followed. A guest that
// gave back a part of it has done its part.
func (e *env) inflate(ctx context.Context, s host.Session, leave, whole vm.Bytes) (left vm.Bytes, err error) {
	if err := s.Balloon(ctx, leave); err != nil {
		return 0, err
	}
	for deadline := e.ports.Clock.Now().Add(balloonWait); ; {
		if left, err = s.Left(ctx); err != nil || left == leave {
			return left, err
		}
		if !e.ports.Clock.Now().Before(deadline) {
			break
		}
		next := make(chan struct{})
		cancel := e.ports.Clock.After(balloonLook, func() { close(next) })
		select {
		case <-next:
		case <-ctx.Done():
			cancel()
			return left, ctx.Err()
		}
	}
	if leave < whole && left >= whole {
		_ = s.Balloon(ctx, whole) // it would follow whenever its driver comes
		return left, fmt.Errorf("the guest gave nothing back within %s: it may have no driver of the balloon", balloonWait)
	}
	return left, nil
}

// findBalloon tells the tracker of a balloon that an earlier daemon filled, or
// that was filled when a guest was saved.
func (r *runActor) findBalloon() {
	session, env, id, n, whole := r.session, r.env, r.ref.VM, r.ref.Incarnation, r.rec.Spec.Memory
	if session == nil || r.rec.Spec.Boot.Built() {
		return
	}
	r.background(effectTimeout, func(ctx context.Context) any {
		left, err := session.Left(ctx)
		if err == nil && left > 0 && left < whole {
			env.tell(env.tracker, reclaimDone{id: id, incarnation: n, do: vm.ReclaimBalloon, left: left})
		}
		return sessionFailed{"look at the balloon", nil} // a machine without one has none to tell of
	})
}
