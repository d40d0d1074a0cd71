package main

import (
	"context"
	"fmt"
	"time"

	"github.com/blixard/blixard/test/node"
)

const (
	// sampledVMs is how many VMs run while the daemon does nothing but measure them.
	sampledVMs = 100
	// idling is how long its processor time is counted: six samples and two looks
	// of the reconciler; the kernel counts in hundredths of a second.
	idling = time.Minute
)

// benchSampling has a hundred real QEMUs whose guests sleep, and counts what the
// daemon uses meanwhile: with its samples, and without.
func benchSampling(ctx context.Context, n *node.Node, _ sizes) ([]figure, error) {
	if err := each(sampledVMs, startsAtOnce, func(i int) error {
		spec, err := n.PVH(fmt.Sprintf("vm-%d", i))
		if err != nil {
			return err
		}
		return comeUp(ctx, n.Client, spec)
	}); err != nil {
		return nil, err
	}
	with, err := idleShare(ctx, n, node.Roomy, sampledVMs)
	if err != nil {
		return nil, err
	}
	vms, err := n.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range vms {
		if one.GetUsage().GetMemoryBytes() == 0 {
			return nil, fmt.Errorf("%s was not measured: %v", one.GetName(), one.GetUsage())
		}
	}
	without, err := idleShare(ctx, n, unsampled, sampledVMs)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("daemon's CPU, of a core, %d idle guests, ", sampledVMs)
	return []figure{
		amount(what+"a sample every 10 s", 100*with, 0.5, "%"),
		amount(what+"none", 100*without, 0, "%"),
	}, nil
}

// unsampled is node.Roomy without samples of the VMs.
const unsampled = "resources: {sample: 0s, overcommit: {cpu: 1000, memory: 100, disk: 100}, reserve: {memory: 0B, disk: 0%}}\n"

// idleShare starts the daemon anew with that configuration, lets it come to
// rest, and tells which share of a core it uses then.
func idleShare(ctx context.Context, n *node.Node, config string, vms int) (float64, error) {
	if err := n.Configure(config); err != nil {
		return 0, err
	}
	if err := n.Kill(); err != nil {
		return 0, err
	}
	if err := n.Start(ctx); err != nil {
		return 0, err
	}
	if err := allUp(ctx, n, vms, ""); err != nil {
		return 0, err
	}
	if err := pass(ctx, 15*time.Second); err != nil { // adoption, and the first look of the reconciler
		return 0, err
	}
	began, before := time.Now(), node.CPUTime(n.PID())
	if err := pass(ctx, idling); err != nil {
		return 0, err
	}
	return float64(node.CPUTime(n.PID())-before) / float64(time.Since(began)), nil
}

// pass lets time pass: to measure idling one has to idle.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
