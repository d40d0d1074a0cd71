package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// root supervises all. A failure that reaches it is a promise broken by us:
// the process ends non-zero, its service manager starts it again, and every
// guest, which none of this touches, is adopted.
type root struct {
	env     *env
	records []vm.Record
	shares  Resources
	tracked chan<- struct{}
	broken  []persistence.Broken
	fleet   chan<- *actor.PID
	joined  chan<- struct{}
	looks   chan<- *actor.PID
	pulse   pulse
	conduct Conduct
	boot    *actor.PID     // nil: it has ended
	bugs    map[string]int // of the actors that nothing but progress depends on
	again   map[string]func(c actor.Context)

	shutdowns int  // begun in this life
	ending    bool // the library waits for the children that it knew when this began: no new one may come
}

// Receive is the root's mailbox.
func (r *root) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		records := r.records
		r.env.tracker = spawn(c, r.env.log, "tracker", func() actor.Actor {
			return &tracker{env: r.env, conf: r.shares, records: records, broken: r.broken, ready: r.tracked}
		})
		r.records, r.bugs, r.again = nil, map[string]int{}, map[string]func(c actor.Context){}
		r.pulse.fleet = spawn(c, r.env.log, "fleet", func() actor.Actor {
			return &fleet{env: r.env, records: records, broken: r.broken, joined: r.joined}
		})
		r.env.fleet = r.pulse.fleet // before anybody else is spawned who may use it
		r.fleet <- r.pulse.fleet
		r.pulse.ask(r.env, c.Self())
		r.boots(c)
		r.looks <- r.reconciles(c)
	case shutdownAsked:
		r.shutdown(c, m)
	case *actor.Terminated:
		if m.Who.Equal(r.boot) {
			r.boot = nil // a shutdown must not wait for its end again
		}
		if again := r.again[m.Who.Id]; again != nil {
			delete(r.again, m.Who.Id)
			again(c)
		}
	case pulseDue:
		r.pulse.ask(r.env, c.Self())
	case pong:
		r.pulse.heard(r.env, c.Self())
	case *actor.Stopping:
		r.ending = true
		clear(r.again)
		r.pulse.stop()
	}
}

// boots brings up what waits for its turn; in safe mode nothing comes.
func (r *root) boots(c actor.Context) {
	if r.env.safe != "" {
		return
	}
	r.boot = spawn(c, r.env.log, "bootstrap", func() actor.Actor { return &bootstrap{env: r.env, conduct: r.conduct} })
}

// reconciles compares the machine with the records, at once and from then on.
func (r *root) reconciles(c actor.Context) *actor.PID {
	return spawn(c, r.env.log, "reconciler", func() actor.Actor { return &reconciler{env: r.env, broken: r.broken} })
}

// shutdown ends the bootstrap first: it would call up again what is stopped.
func (r *root) shutdown(c actor.Context, m shutdownAsked) {
	if r.ending {
		m.reply <- &vm.Refusal{
			Code: vm.Unavailable, Why: "the daemon is ending, no VM was stopped", Try: "try again when it is up: blixard node status",
		}
		return
	}
	begin := func(c actor.Context) {
		r.env.booted.breakOff(r.env.ports.Clock.Now())
		r.shutdowns++
		spawn(c, r.env.log, fmt.Sprintf("shutdown-%d", r.shutdowns), func() actor.Actor { return &shutdown{env: r.env, asked: m} })
	}
	if r.boot == nil {
		begin(c)
		return
	}
	r.again[r.boot.Id] = begin
	r.env.stop(r.boot)
	r.boot = nil
}

// bugsAllowed is how often an actor that nothing but progress depends on may
// fail in one life of the daemon; the VMs it cared for start without it.
const bugsAllowed = 5

// HandleFailure ends the process, but for the bootstrap and the shutdown: their
// bugs must cost no more than what they do.
func (r *root) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	if child.Equal(r.pulse.fleet) || child.Equal(r.env.tracker) {
		r.env.fatal(fmt.Sprintf("%s failed: %v", child.Id, reason))
		return
	}
	if r.ending {
		return // the Stop is in its queue
	}
	r.bugs[child.Id]++
	r.env.log.Error("an actor failed by a bug", zap.String("actor", child.Id), zap.Any("why", reason), zap.Int("bugs", r.bugs[child.Id]))
	if child.Id == "root/reconciler" && r.bugs[child.Id] <= bugsAllowed {
		r.again[child.Id] = func(c actor.Context) { r.reconciles(c) } // of the same name, so whoever knows it reaches the new one
	}
	if child.Equal(r.boot) && r.bugs[child.Id] <= bugsAllowed {
		r.again[child.Id] = r.boots
	}
	r.env.stop(child)
}

// pulse tells whoever watches over this process that the tree makes progress.
// One beat is a message through the root's mailbox and the fleet's; the next
// is only armed by the answer, so a tree that hangs falls silent by itself.
type pulse struct {
	fleet *actor.PID
	every time.Duration // 0: nobody watches
	beat  func()
	stops func()
}

// pulseDue: clock → root. One at a time.
type pulseDue struct{}

// ping: root → fleet. pong: fleet → root, once for each.
type (
	ping struct{ from *actor.PID }
	pong struct{}
)

func (p *pulse) ask(e *env, self *actor.PID) {
	if p.every > 0 {
		e.tell(p.fleet, ping{from: self})
	}
}

func (p *pulse) heard(e *env, self *actor.PID) {
	p.beat()
	p.stops = e.ports.Clock.After(p.every, func() { e.tell(self, pulseDue{}) })
}

func (p *pulse) stop() {
	if p.stops != nil {
		p.stops()
	}
}
