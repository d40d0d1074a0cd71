package actors

import (
	"fmt"

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
}

// Receive is the root's mailbox.
func (r *root) Receive(c actor.Context) {
	if _, ok := c.Message().(*actor.Started); ok {
		records := r.records
		r.records = nil
		r.fleet <- spawn(c, r.env.log, "fleet", func() actor.Actor {
			return &fleet{env: r.env, records: records, broken: r.broken, joined: r.joined}
		})
	}
}

// HandleFailure ends the process.
func (r *root) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	r.env.fatal(fmt.Sprintf("%s failed: %v", child.Id, reason))
}
