package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// root supervises all. A failure that reaches it is a promise broken by us:
// the process ends non-zero, its service manager starts it again, and every
// guest, which none of this touches, is adopted.
type root struct {
	env     *env
	records []vm.Record
	broken  []persistence.Broken
	fleet   chan<- *actor.PID
	joined  chan<- struct{}
	pulse   pulse
}

// Receive is the root's mailbox.
func (r *root) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		records := r.records
		r.records = nil
		r.pulse.fleet = spawn(c, r.env.log, "fleet", func() actor.Actor {
			return &fleet{env: r.env, records: records, broken: r.broken, joined: r.joined}
		})
		r.fleet <- r.pulse.fleet
		r.pulse.ask(r.env, c.Self())
	case pulseDue:
		r.pulse.ask(r.env, c.Self())
	case pong:
		r.pulse.heard(r.env, c.Self())
	case *actor.Stopping:
		r.pulse.stop()
	}
}

// HandleFailure ends the process.
func (r *root) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	r.env.fatal(fmt.Sprintf("%s failed: %v", child.Id, reason))
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
