package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// Plan is what the reconciler would do.
func (n *Node) Plan(ctx context.Context, fresh bool) (gateway.Plan, error) {
	return n.askPlan(ctx, planAsk{fresh: fresh})
}

// ApplyPlan does what waits for a person.
func (n *Node) ApplyPlan(ctx context.Context, ids []string, by messages.Caller) (gateway.Plan, error) {
	if n.env.safe != "" {
		return gateway.Plan{}, n.env.holdsBack("nothing was done")
	}
	m := planAsk{apply: true, ids: map[string]bool{}}
	for _, id := range ids {
		m.ids[id] = true
	}
	n.env.note("PlanApplied", vm.Record{}, fmt.Sprintf("%s wants done what waits for a person: %v", by, ids))
	p, err := n.askPlan(ctx, m)
	if err != nil {
		return p, err
	}
	return p, unplanned(ids, p)
}

// unplanned refuses names of actions that the look has not found. What it found
// is done all the same.
func unplanned(ids []string, p gateway.Plan) error {
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		return slices.ContainsFunc(p.Actions, func(a gateway.Action) bool { return a.ID == id })
	})
	if len(missing) == 0 {
		return nil
	}
	why := fmt.Sprintf("there is no action %q at this look", missing)
	if done := len(ids) - len(missing); done > 0 {
		why += fmt.Sprintf("; the %d others that you named were heeded", done)
	}
	return &vm.Refusal{Code: vm.NotFound, Why: why, Try: "blixard node plan --fresh"}
}

func (n *Node) askPlan(ctx context.Context, m planAsk) (gateway.Plan, error) {
	reply := make(chan planAnswer, 1)
	m.reply = reply
	n.env.tell(n.reconciler, m)
	select {
	case a := <-reply:
		return a.plan, a.err
	case <-ctx.Done():
		return gateway.Plan{}, &vm.Refusal{Code: vm.TimedOut, Why: "the look at the machine takes long", Try: "blixard node plan"}
	}
}

// Look has the reconciler look now: what a port was told of may have been missed.
func (n *Node) Look() { n.env.tell(n.reconciler, lookDue{}) }

// Restore moves back what was put into quarantine.
func (n *Node) Restore(ctx context.Context, name string, by messages.Caller) error {
	if err := n.env.ports.Salvage.Restore(ctx, name); err != nil {
		code := vm.Invalid
		if host.KindOf(err) == host.Gone {
			code = vm.NotFound
		}
		return &vm.Refusal{Code: code, Why: err.Error(), Try: "its name stands in the event Quarantined: blixard events"}
	}
	n.env.note("Restored", vm.Record{}, fmt.Sprintf("%s was moved back by %s", name, by))
	return n.know(ctx, vm.Name(name), by)
}

// know gives a restored folder its record, down until a person starts it: a
// folder of a VM that nobody knows would be moved aside again.
func (n *Node) know(ctx context.Context, name vm.Name, by messages.Caller) error {
	all, err := n.env.ports.Salvage.List(ctx)
	if err != nil {
		return &vm.Refusal{Code: vm.Unavailable, Why: "the folder is back, and could not be read: " + err.Error(), Try: "blixard node plan --fresh"}
	}
	owner, _, _ := strings.Cut(string(name), ".")
	all = slices.DeleteFunc(all, func(f vm.FoundFolder) bool { return string(f.Name) != owner })
	for _, rec := range policies.Rebuild(policies.Inventory{Folders: all}, n.env.ports.BootID, n.env.ports.Clock.Now()) {
		reply := make(chan messages.Answer, 1)
		n.env.tell(n.env.tracker, rebuilt{rec: rec, by: by, reply: reply})
		if _, err := wait(ctx, owner, reply); err != nil {
			return err
		}
	}
	return nil
}

// holdsBack refuses what safe mode doesn't do.
func (e *env) holdsBack(what string) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.Unavailable, Why: fmt.Sprintf("%s: the node is in safe mode, as %s", what, e.safe),
		Try: "look at what it found with `blixard node status`, then `blixard node repair`",
	}
}

// Repair ends safe mode.
func (n *Node) Repair(ctx context.Context, by messages.Caller) (gateway.Repaired, error) {
	if n.env.safe == "" || n.repair == nil {
		return gateway.Repaired{}, &vm.Refusal{Code: vm.WrongPhase, Why: "the node is well, there is nothing to repair", Try: "blixard node status"}
	}
	return n.repair(ctx, n.List(), by)
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
