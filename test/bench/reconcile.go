package main

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

const freshLooks = 10

// benchReconcile is the daemon's processor time with many VMs that run and
// nothing that happens, but the reconciler's looks every 30 s: without samples
// of the VMs, which are the tracker's, and with them; and that of one look.
func benchReconcile(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	if err := each(s.many, startsAtOnce, func(i int) error {
		spec, err := n.PVH(fmt.Sprintf("vm-%d", i))
		if err != nil {
			return err
		}
		spec.Health = nil // nothing polls
		return comeUp(ctx, n.Client, spec)
	}); err != nil {
		return nil, err
	}
	if _, err := looks(ctx, n, 2); err != nil { // what was seen once is looked at again at once
		return nil, err
	}
	before := node.CPUTime(n.PID())
	took, err := looks(ctx, n, freshLooks)
	if err != nil {
		return nil, err
	}
	look := float64(node.CPUTime(n.PID())-before) / freshLooks / float64(time.Millisecond)
	alone, err := idleShare(ctx, n, unsampled, s.many)
	if err != nil {
		return nil, err
	}
	both, err := idleShare(ctx, n, node.Roomy, s.many)
	if err != nil {
		return nil, err
	}
	with := fmt.Sprintf(", %d running VMs", s.many)
	return []figure{
		amount("daemon's CPU with a look every 30 s, of a core"+with, 100*alone, 1, "%"),
		amount("the same with a sample of all every 10 s", 100*both, 0, "%"),
		amount("CPU of one look of the reconciler"+with, look, 300, "ms"),
		within("time of one look of the reconciler"+with, took, 0),
	}, nil
}

// looks has the reconciler look anew, so many times.
func looks(ctx context.Context, n *node.Node, count int) (took sample, err error) {
	for range count {
		began := time.Now()
		plan, err := n.NodePlan(ctx, connect.NewRequest(&v1.NodePlanRequest{Fresh: true}))
		if err != nil {
			return nil, err
		}
		if actions := plan.Msg.GetActions(); len(actions) > 0 {
			return nil, fmt.Errorf("the reconciler has something to do: %v", actions[0])
		}
		took.add(time.Since(began))
	}
	return took, nil
}
