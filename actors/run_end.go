package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// tailForCause is how much of the console is searched for a kernel's last words.
const tailForCause = 8 << 10

// logForCause is how far back the kernel's log is asked for a kill: its line
// comes before the end that it tells of, and no pid is used again so soon.
const logForCause = time.Minute

// fail ends this incarnation: the failure travels to vm/<name> as its
// supervisor. alive: the VMM may still run and has to be killed.
func (r *runActor) fail(f vm.Failure, alive bool) {
	f.Incarnation, f.At, f.Alive = r.ref.Incarnation, r.env.ports.Clock.Now(), alive
	panic(f)
}

// ended: the VMM is gone, or the guest is over while its VMM stands (exit nil).
func (r *runActor) ended(exit *vm.Exit) {
	e := r.evidence
	e.Incarnation, e.At, e.Ready, e.Alive, e.Launched = r.ref.Incarnation, r.env.ports.Clock.Now(), r.ready, exit == nil, true
	e.Console = r.lastWords()
	stderr, _ := r.env.ports.Console.Tail(host.Paths{Log: r.paths.Stderr}, tailForCause)
	e.Stderr = string(stderr)
	if exit != nil && exit.MemoryPeak == 0 { // the last sample's, where the end itself tells none
		exit.MemoryPeak = r.env.usage(r.ref.VM, r.process).MemoryPeak
	}
	e.Exit, e.Runner, e.Log = exit, r.rec.Spec.Boot.Built(), r.killedFor(exit)
	e.PoweredOff = e.PoweredOff || r.deaf != "" && exit == nil && policies.HasPowerDown(e.Console)
	f := policies.Classify(e)
	if r.deaf != "" {
		f = policies.Unheard(f, r.sentTerm)
	}
	if r.suspend.loading {
		f = policies.WhileLoading(f, e.Stderr)
	}
	f.Silent = f.Alive && (r.session == nil || policies.Silent(r.allProbes()))
	panic(f)
}

// killedFor asks the kernel's log for the reason of a kill of which nobody else
// knows one.
func (r *runActor) killedFor(exit *vm.Exit) string {
	log := r.env.ports.Log
	if log == nil || r.process == nil || !policies.Unexplained(exit) {
		return ""
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Second)
	defer cancel()
	line, _ := log.Killed(ctx, r.process.PID, r.env.ports.Clock.Now().Add(-logForCause)) // best effort
	return line
}

// notice hears what the VMM tells of its guest.
func (r *runActor) notice(n host.Notice) {
	r.notes.heard(n)
	if r.resetDue() && n.Kind != host.NoticeLost {
		return // it is over for this guest in any case
	}
	if n.Kind != host.NoticeLost { // that is only the socket's end, and says nothing of the guest
		r.evidence.Detail = n.Detail
	}
	switch n.Kind {
	case host.NoticePowerOff:
		r.good.spoil("the guest powered off meanwhile")
		r.evidence.PoweredOff = true
		r.ask("quit", host.Session.Quit)
		r.after(quitGrace, exitOverdue{vm.Failure{Cause: vm.CauseGuestPoweroff, Evidence: "the guest powered off, its VMM did not end"}})
	case host.NoticeReset:
		r.reset(n)
	case host.NoticeResetEnd:
		r.evidence.Reset = true
		r.after(quitGrace, exitOverdue{vm.Failure{Cause: vm.CauseGuestReset, Evidence: "the guest reset itself, its VMM did not end"}})
	case host.NoticePanic:
		r.evidence.Panicked = true
		r.ended(nil)
	case host.NoticeIOError:
		r.evidence.DiskFailed = true
		r.ended(nil)
	case host.NoticeWatchdog:
		r.evidence.Hung = true
		r.ended(nil)
	case host.NoticeBroken:
		r.evidence.Broken = true
		r.ended(nil)
	case host.NoticeCrashed:
		r.crashKernel()
	case host.NoticeNoSpace:
		r.outOfSpace(n)
	case host.NoticeLost:
		r.session, r.attempts = nil, 0
		r.after(exitGrace/4, attachAgain{}) // a dying VMM's exit comes first
	}
}

// outOfSpace: the guest is halted in the midst of a write, and loses nothing if
// it goes on once there is room. One that had not answered yet has nothing to
// lose, and its start would only time out.
func (r *runActor) outOfSpace(n host.Notice) {
	if !r.ready {
		r.evidence.DiskFailed = true
		r.ended(nil)
	}
	r.paused, r.rec.State.Stalled = true, n.Detail
	r.good.spoil("a disk of the guest could not grow meanwhile")
	r.env.tell(r.parent, messages.OutOfSpace{Incarnation: r.ref.Incarnation, Why: n.Detail})
}

// reset: a guest that had answered and says nothing of a panic rebooted by its
// own will and goes on in place; any other reset is a death.
func (r *runActor) reset(n host.Notice) {
	if !r.ready || r.evidence.Crashed || policies.HasPanic(r.lastWords()) {
		r.evidence.Reset = true
		r.ended(nil)
	}
	r.ready = false
	r.good.spoil("the guest rebooted itself meanwhile")
	go r.agent.cut() // off the mailbox: somebody may be opening it
	r.env.tell(r.parent, messages.GuestReset{Incarnation: r.ref.Incarnation, Why: n.Detail})
	r.startProbes()
}

// powerDown asks the guest to end, by the ways that the spec allows, all at
// once: whichever it understands. The phase's deadline kills it.
func (r *runActor) powerDown() {
	r.off = true
	if r.suspend.loading { // it doesn't run, and what it was is still on the disk
		r.fail(vm.Failure{Cause: vm.CauseUs, Evidence: "its saved guest was not loaded yet"}, true)
	}
	r.keepYields() // it has to run to hear of it
	method := r.rec.Spec.Stop.Method
	if method == "kill" {
		r.fail(vm.Failure{Cause: vm.CauseOperator, Evidence: "stop method is kill"}, true)
	}
	if r.deaf != "" {
		r.powerDownDeaf()
		return
	}
	if method != "acpi" {
		r.shutdownByAgent()
	}
	if method != "agent" {
		r.ask("power down", host.Session.PowerDown)
	}
}

func (r *runActor) shutdownByAgent() {
	owner := r.ctx
	r.background(r.rec.Spec.Stop.Timeout, func(ctx context.Context) any {
		conn, err := r.agentConn(ctx, owner)
		if err != nil {
			return sessionFailed{"open agent", err}
		}
		return sessionFailed{"agent shutdown", conn.Shutdown(ctx)}
	})
}

// sessionFailed: a goroutine of the run actor → itself; err may be nil.
type sessionFailed struct {
	doing string
	err   error
}

// sessionFailed only tells: a command that fails on a VMM that is going is
// expected, and whatever waits for its effect has a deadline.
func (r *runActor) sessionFailed(m sessionFailed) {
	if m.err != nil {
		r.env.log.Sugar().Infow("session command failed", "vm", r.ref.Name, "incarnation", r.ref.Incarnation,
			"doing", m.doing, "error", m.err)
	}
}

// ask sends one command to the VMM, off the mailbox.
func (r *runActor) ask(doing string, command func(host.Session, context.Context) error) {
	session := r.session
	if session == nil {
		return
	}
	r.background(effectTimeout, func(ctx context.Context) any {
		return sessionFailed{doing, command(session, ctx)}
	})
}

// startFailure is a start that a port refused; its kind says whether trying again may help.
func startFailure(doing string, err error) vm.Failure {
	cause := vm.CauseStartPermanent
	if host.KindOf(err) == host.Transient {
		cause = vm.CauseStartTransient
	}
	return vm.Failure{Cause: cause, Evidence: fmt.Sprintf("%s: %v", doing, err)}
}
