package actors

import (
	"context"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A VMM that lives and whose control socket is gone keeps its guest:
//
//	attach ─ Gone, time and again ─▶ deafLook: is its process there, and does it run?
//	           │ yes ─▶ WentDeaf: all goes on that needs no session, and the guest is degraded
//	           └ no  ─▶ its end comes, or it is judged as a VMM that doesn't answer
//
// To be asked down it has its agent; whoever has none is ended by SIGTERM.

// deafAttempts is how often nobody listens before that is believed: a VMM that
// is dying hangs up before its end is noticed (exitGrace).
const deafAttempts = 3

// downLook is how often is looked whether a guest that was asked down by its
// agent alone is off: its VMM stands then, and can't tell.
const downLook = time.Second

// What the goroutines and timers of a deaf VMM's run actor bring back to it.
type (
	deafLooked struct {
		gone   error // of the last try to attach
		stands bool  // the process is there, and runs
		unsure bool  // nobody could say, such as while the bus is away
	}
	askedDeaf struct{ err error } // by its agent
	lookDown  struct{}
	endDeaf   struct{}
)

// hearDeaf is what a deaf VMM's run actor hears.
func (r *runActor) hearDeaf(m any) {
	switch m := m.(type) {
	case deafLooked:
		r.deafLooked(m)
	case askedDeaf:
		r.askedDeaf(m)
	case lookDown:
		r.lookDown()
	case endDeaf:
		r.endDeaf()
	}
}

// maybeDeaf says whether nobody listens, and nothing is under way with the guest
// that only a session could bring to its end.
func (r *runActor) maybeDeaf(err error) bool {
	return host.KindOf(err) == host.Gone && r.ready && !r.suspend.wanted && !r.suspend.loading && !r.good.halts && !r.resetDue() && r.rec.State.Stalled == ""
}

// lookWhetherDeaf asks by everything but the socket whether the VMM is well.
func (r *runActor) lookWhetherDeaf(gone error) {
	env, ref, process := r.env, r.ref, *r.process
	r.background(effectTimeout, func(ctx context.Context) any {
		switch _, err := env.ports.Launcher.Find(ctx, ref, &process); {
		case host.KindOf(err) == host.Gone:
			return deafLooked{gone: gone}
		case err != nil:
			return deafLooked{gone: gone, unsure: true}
		}
		if env.ports.Meter != nil {
			g, err := env.ports.Meter.Look(process)
			if why, _ := policies.AtWork(g, vm.Glance{}); err == nil && why != "" || host.KindOf(err) == host.Gone {
				return deafLooked{gone: gone}
			}
		}
		return deafLooked{gone: gone, stands: true}
	})
}

func (r *runActor) deafLooked(m deafLooked) {
	switch {
	case m.unsure:
		r.after(time.Second, attachAgain{})
		r.attempts-- // it was no try that says anything of the VMM
	case !m.stands || !r.maybeDeaf(m.gone):
		r.tryAgain(m.gone)
	case r.session == nil && r.deaf == "":
		r.goDeaf(m.gone)
	}
}

// goDeaf takes the guest on without a session.
func (r *runActor) goDeaf(gone error) {
	r.deaf = policies.DeafWhy(r.paths.QMP)
	r.sessionFailed(sessionFailed{"attach; the guest is left alone, its VMM lives", gone})
	if r.rec.State.Deaf != r.deaf {
		r.env.tell(r.parent, messages.WentDeaf{Incarnation: r.ref.Incarnation, Why: r.deaf})
	}
	if r.resetBefore() {
		r.hearAnew()
	}
	if r.visit == 0 {
		r.watchGuest()
	} else {
		r.judge()
	}
	if r.off {
		r.powerDown()
	}
}

// heardAgain: this daemon has a way to the VMM that an earlier one had not.
func (r *runActor) heardAgain() {
	if r.rec.State.Deaf != "" {
		r.env.tell(r.parent, messages.HeardAgain{Incarnation: r.ref.Incarnation})
	}
	r.deaf, r.rec.State.Deaf = "", ""
}

// powerDownDeaf asks the agent, where the spec allows it, for half of the time
// that a stop may take. Where nobody can be asked, nothing is gained by waiting.
func (r *runActor) powerDownDeaf() {
	if r.rec.Spec.Stop.Method == "acpi" {
		r.endDeaf()
		return
	}
	r.downAt = r.env.ports.Clock.Now()
	owner := r.ctx
	r.background(r.rec.Spec.Stop.Timeout/2, func(ctx context.Context) any {
		conn, err := r.agentConn(ctx, owner)
		if err == nil {
			err = conn.Shutdown(ctx)
		}
		return askedDeaf{err}
	})
}

// askedDeaf: a guest that was asked gets as long as any other, but for the time
// in which its VMM flushes its disks.
func (r *runActor) askedDeaf(m askedDeaf) {
	if m.err != nil {
		r.sessionFailed(sessionFailed{"agent shutdown", m.err})
		r.endDeaf()
		return
	}
	most := r.rec.Spec.Stop.Timeout
	left := max(most/2, most-quitGrace) - r.env.ports.Clock.Now().Sub(r.downAt)
	r.after(downLook, lookDown{})
	r.after(max(left, 0), endDeaf{})
}

// lookDown: the console tells that the guest is off, as its VMM can't.
func (r *runActor) lookDown() {
	if policies.HasPowerDown(r.lastWords()) {
		r.endDeaf()
		return
	}
	r.after(downLook, lookDown{})
}

// endDeaf ends the VMM in order, once; the phase's deadline kills it.
func (r *runActor) endDeaf() {
	if r.sentTerm {
		return
	}
	r.sentTerm = true
	env, ref, process := r.env, r.ref, *r.process
	r.background(effectTimeout, func(ctx context.Context) any {
		return sessionFailed{"end the VMM", env.ports.Launcher.Terminate(ctx, ref, &process)}
	})
}
