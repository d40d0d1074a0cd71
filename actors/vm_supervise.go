package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A run actor that failed by a bug of ours is replaced after 10 ms, doubling up
// to a minute: the guest notices nothing, and we don't burn a core on our bug.
const (
	firstBugDelay = 10 * time.Millisecond
	lastBugDelay  = time.Minute
)

// HandleFailure is the supervision of the run actor. It runs in this actor's
// own mailbox, so the record may be touched. The library's strategies are not
// used: they end in silence and forget over a restart.
func (v *vmActor) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	if !child.Equal(v.run) || v.ending || v.ctx.Err() != nil {
		return // it was asked to end already; the Stop is in its queue
	}
	v.endRun()
	f, guest := reason.(vm.Failure)
	if !guest {
		v.bug(fmt.Sprint(reason))
		return
	}
	v.sick = true
	event := vm.VMMGone
	if f.Alive {
		event = vm.GuestSick
	}
	v.turn(s.(actor.Context), policies.Turn{Event: event, Failure: &f})
	v.outdate()
}

// attachAnew replaces the run actor of a guest whose start took too long and
// which is to be reset: it listens to what the guest was before.
func (v *vmActor) attachAnew() {
	if v.rec.State.Phase == vm.Starting && v.rec.State.ResetDue && v.run != nil && !v.ending {
		v.endRun()
		v.sick = true
		v.outdate()
	}
}

// outdate has what a run actor told of a guest that is to be reset pass unheard.
func (v *vmActor) outdate() {
	if v.rec.State.ResetDue {
		v.overtaken++
		v.env.tell(v.self, caughtUp{})
	}
}

// caughtUp: vm/<name> → itself, behind all that its run actor had told before it
// failed: a failure overtakes that. A machine that is reset stays the same
// incarnation, so nothing else says that it was of the guest before.
type caughtUp struct{}

// ofGuest are the facts that a reset makes untrue.
func ofGuest(f messages.Fact) bool {
	switch f.(type) {
	case messages.GuestAnswered, messages.GuestReset, messages.HealthJudged, messages.OutOfSpace:
		return true
	}
	return false
}

// bug counts a failure of ours, on a budget of its own: the guest lives on (P6).
func (v *vmActor) bug(why string) {
	v.bugs++
	v.env.log.Error("run actor failed by a bug; the guest is left alone", zap.String("vm", string(v.rec.Spec.Name)),
		zap.String("why", why), zap.Int("bugs", v.bugs))
	v.env.views.mark(v.rec.Spec.Name, func(o *view) { o.bugs++ })
}

// runEnded goes on once the run actor has ended, and only then.
func (v *vmActor) runEnded(c actor.Context, who *actor.PID) {
	if !who.Equal(v.run) {
		return
	}
	v.run, v.ending = nil, false
	if v.releasing {
		v.release()
		return
	}
	switch p := v.rec.State.Phase; {
	case p == vm.Preparing && v.begun != v.rec.State.Incarnation: // one that began already, a bug ended: its deadline says what follows
		v.begin(c, doPrepare{})
	case p&vm.Live != 0 && v.sick: // by its remedy it goes on, or is asked to power off
		v.attach(c)
	case p&vm.Live != 0:
		v.watchLater()
	}
}

// launched: a bug of the run actor may have been heard of before the launch, and
// have ended it by now.
func (v *vmActor) launched(c actor.Context, p vm.Process) {
	v.turn(c, policies.Turn{Event: vm.Launched, Process: &p})
	if v.run == nil {
		v.watchLater()
	}
}

// watchLater gives the VMM a new run actor after a delay.
func (v *vmActor) watchLater() {
	delay := min(firstBugDelay<<min(v.bugs, 20), lastBugDelay)
	self, n := v.self, v.rec.State.Incarnation
	v.env.ports.Clock.After(delay, func() { v.env.tell(self, watchAgain{n}) })
}
