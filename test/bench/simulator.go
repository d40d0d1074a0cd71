package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/test/node"
	"github.com/blixard/blixard/vm"
)

// benchSimulator compares 10,000 simulated VMs with 1,000: the actor tree on
// the fake machine and the store in memory, in real time.
func benchSimulator(ctx context.Context, _ *node.Node, _ sizes) ([]figure, error) {
	var few, many sample
	for range 3 {
		for count, to := range map[int]*sample{1000: &few, 10_000: &many} {
			took, err := simulated(ctx, count)
			if err != nil {
				return nil, fmt.Errorf("%d simulated VMs: %w", count, err)
			}
			to.add(took)
		}
	}
	return []figure{beside("10,000 simulated VMs, created to running", many, few, "1,000 VMs", 12)}, nil
}

// risen counts the VMs that got up.
type risen struct {
	left atomic.Int64
	done chan struct{}
}

// Turned is told of every turn.
func (r *risen) Turned(t actors.Turned) {
	if t.Event == vm.GuestAnswered && r.left.Add(-1) == 0 {
		close(r.done)
	}
}

// simulated creates that many VMs and returns after how long all are running.
func simulated(ctx context.Context, count int) (took time.Duration, err error) {
	world := fake.New(1, fake.Watch{
		Launching: func(vm.Ref) {}, Killing: func(vm.Ref, bool) {}, Discarded: func(vm.Ref) {}, Broken: func(string, string) {},
	}, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Millisecond} }, func(string, ...any) {})
	up := &risen{done: make(chan struct{})}
	up.left.Store(int64(count))
	store := persistence.NewMemory()
	tree, err := actors.Start(actors.Config{
		Ports: world.Daemon().Ports(), Store: store, Log: zap.NewNop(), Observer: up,
		Fatal:  func(why string) { panic(why) },
		Status: func() gateway.Status { return gateway.Status{} },
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tree.Stop(ctx), store.Close()) }()
	began := time.Now()
	err = each(count, 64, func(i int) error {
		spec := vm.Spec{Name: vm.Name(fmt.Sprintf("vm-%d", i)), Boot: vm.Boot{Image: vm.Image}}.Filled()
		_, err := tree.Create(ctx, messages.Create{Spec: spec, Start: true})
		return err
	})
	if err != nil {
		return 0, err
	}
	select {
	case <-up.done:
		return time.Since(began), nil
	case <-time.After(5 * time.Minute):
		return 0, fmt.Errorf("%d of %d VMs are not up after 5 minutes", up.left.Load(), count)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
