package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/test/node"
	"github.com/blixard/blixard/vm"
)

const (
	known     = 10_000 // VMs that a decision meets
	decisions = 20_000
	batch     = 100
	decision  = 20.0 // microseconds that one may take
)

// benchAdmit measures what admission costs: the decision alone, and creations
// through the actor tree on the fake machine, ten thousand on one node beside
// as many on ten: a quadratic term would make that ten times as long.
func benchAdmit(ctx context.Context, _ *node.Node, _ sizes) ([]figure, error) {
	granted, refused := decided()
	var few, many sample
	for range 3 {
		ten := time.Duration(0)
		for range 10 {
			took, err := created(ctx, known/10)
			if err != nil {
				return nil, fmt.Errorf("%d VMs: %w", known/10, err)
			}
			ten += took
		}
		few.add(ten)
		took, err := created(ctx, known)
		if err != nil {
			return nil, fmt.Errorf("%d VMs: %w", known, err)
		}
		many.add(took)
	}
	return []figure{
		amount("a decision of admission, with 10,000 VMs: granted", granted, decision, "µs"),
		amount("the same, refused with its numbers", refused, decision, "µs"),
		beside("10,000 VMs created, and left down", many, few, "ten nodes of 1,000", 3),
	}, nil
}

// decided is how many microseconds a decision takes that is granted, with its
// hold and the end of it, and one that is refused.
func decided() (granted, refused float64) {
	var book policies.Book
	one := vm.Reservation{CPUs: 1, Memory: 160 * vm.MiB, Disk: vm.GiB}
	for i := range known {
		book.Know(vm.ID(fmt.Sprintf("%016x", i)), one)
	}
	large := vm.Capacity{CPUs: known, Memory: 1 << 50, Disk: 1 << 50}
	small := vm.Capacity{CPUs: 1, Memory: vm.GiB, Disk: vm.GiB}
	wants := policies.Request{Name: "web", Need: one, Memory: 128 * vm.MiB}
	each := func(f func()) float64 { // the median of some batches: others use the machine too
		var batches sample
		for range decisions / batch {
			began := time.Now()
			for range batch {
				f()
			}
			batches.add(time.Since(began))
		}
		return float64(batches.at(0.5)) / float64(time.Microsecond) / batch
	}
	granted = each(func() {
		if policies.Admit(policies.DefaultTerms.Account(large, 0, book.Sum(), book.Len()), wants) == nil {
			book.Settle("web", book.Hold("web", one), one, false)
		}
	})
	refused = each(func() { policies.Admit(policies.DefaultTerms.Account(small, 0, book.Sum(), book.Len()), wants) })
	return granted, refused
}

// created is how long that many creations take, 64 at once.
func created(ctx context.Context, count int) (took time.Duration, err error) {
	world := fake.New(1, fake.Watch{}, func(vm.Ref) fake.Guest { return fake.Guest{} }, func(string, ...any) {})
	store := persistence.NewMemory()
	tree, err := actors.Start(actors.Config{
		Ports: world.Daemon().Ports(), Store: store, Log: zap.NewNop(), Observer: &risen{},
		Fatal:  func(why string) { panic(why) },
		Status: func() gateway.Status { return gateway.Status{} },
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tree.Stop(ctx), store.Close()) }()
	began := time.Now()
	err = each(count, 64, func(i int) error {
		_, err := tree.Create(ctx, messages.Create{Spec: vm.Spec{Name: vm.Name(fmt.Sprintf("vm-%d", i))}.Filled()})
		return err
	})
	return time.Since(began), err
}
