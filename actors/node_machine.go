package actors

import (
	"context"
	"time"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// notYet refuses what is being built.
func notYet() *vm.Refusal {
	return &vm.Refusal{Code: vm.Unavailable, Why: "this node can't do that yet", Try: "blixard node status"}
}

// Plan is what the reconciler would do.
func (n *Node) Plan(context.Context, bool) (gateway.Plan, error) { return gateway.Plan{}, notYet() }

// ApplyPlan does what waits for a person.
func (n *Node) ApplyPlan(context.Context, []string, messages.Caller) (gateway.Plan, error) {
	return gateway.Plan{}, notYet()
}

// Restore moves back what was put into quarantine.
func (n *Node) Restore(context.Context, string, messages.Caller) error { return notYet() }

// Repair ends safe mode.
func (n *Node) Repair(context.Context, messages.Caller) (gateway.Repaired, error) {
	return gateway.Repaired{}, notYet()
}

// Shutdown stops every VM in reverse order.
func (n *Node) Shutdown(ctx context.Context, within time.Duration, by messages.Caller) error {
	reply := make(chan error, 1)
	n.env.tell(n.root, shutdownAsked{within: within, by: by, reply: reply})
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return &vm.Refusal{
			Code: vm.TimedOut, Why: "the VMs are still being stopped", Try: "blixard vm list",
		}
	}
}
