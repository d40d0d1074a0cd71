package actors

import (
	"context"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// Resources is what the node has, what is promised of it and what is used.
func (n *Node) Resources(ctx context.Context, fresh bool) (vm.NodeResources, error) {
	if fresh {
		ready := make(chan struct{})
		n.env.tell(n.env.tracker, freshAsked{ready: ready})
		select {
		case <-ready:
		case <-ctx.Done():
			return vm.NodeResources{}, &vm.Refusal{
				Code: vm.TimedOut, Why: "the look at the machine takes long", Try: "blixard node resources",
			}
		}
	}
	return *n.env.resources.Load(), nil
}

// Usage is the last sample of that VM; zero where none was taken of its VMM.
func (n *Node) Usage(name vm.Name) vm.Usage {
	v, _ := n.env.views.get(name)
	u := n.env.usage(v.rec.ID, v.rec.State.Process)
	if left, ok := n.env.balloons.of(v.rec.ID, v.rec.State.Incarnation); ok { // later than the sample, maybe
		u.Balloon = left
	}
	return u
}

// Limits are what a VM of that record is held to here.
func (n *Node) Limits(r vm.Record) (vm.Limits, vm.Holding) {
	return policies.LimitsFor(r.Runs().Spec, r.Runs().Reservation), n.env.ports.Launcher.Holding()
}

// Needs is what a spec would hold, and the refusal where that would be refused.
// It is worked out from what is published: nothing is held, nobody is asked (P11).
func (n *Node) Needs(s vm.Spec) (vm.Reservation, error) {
	known := n.env.terms.Load()
	need := known.need(s, n.env.accel())
	v, there := n.env.views.get(s.Name)
	what := string(s.Name) + " would not be created"
	if there {
		what = string(s.Name) + " would keep its spec"
	}
	if n.env.safe != "" {
		return need, n.env.holdsBack(what)
	}
	if why := n.env.lowSpace(); why != "" {
		return need, full(what, why)
	}
	if r := n.env.cyclic(s); r != nil {
		return need, r
	}
	if r := policies.Admit(known.account, policies.Request{Name: s.Name, Had: v.rec.Holds(), Need: need, Memory: s.Memory}); r != nil {
		return need, r
	}
	return need, nil
}
