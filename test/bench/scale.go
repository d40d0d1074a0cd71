package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/blixard/blixard/test/node"
)

const (
	mib = 1 << 20
	kib = 1 << 10
)

// benchStopped is a daemon that has nothing to do, with many stopped VMs.
func benchStopped(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	if err := createMany(ctx, n, s.many); err != nil {
		return nil, err
	}
	var ready, lists sample
	for range max(3, s.samples/4) {
		if err := n.Kill(); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := n.Start(ctx); err != nil {
			return nil, err
		}
		vms, err := n.List(ctx)
		if err != nil {
			return nil, err
		}
		if len(vms) != s.many { // P11
			return nil, fmt.Errorf("the daemon answered with %d VMs after its start, not with all %d", len(vms), s.many)
		}
		ready.add(time.Since(began))
	}
	resident := float64(node.Resident(n.PID())) / mib
	for range s.samples {
		r, err := n.CLI(ctx, "vm", "list")
		if err != nil {
			return nil, err
		}
		if r.Code != 0 {
			return nil, fmt.Errorf("vm list: %v", r)
		}
		lists.add(r.Took)
	}
	const idle = 5 * time.Second
	before := node.CPUTime(n.PID())
	time.Sleep(idle) // to measure idling one has to idle
	used := node.CPUTime(n.PID()) - before
	with := fmt.Sprintf(", %d stopped VMs", s.many)
	return []figure{
		within("daemon started and has listed them"+with, ready, 100),
		amount("daemon's resident memory"+with, resident, 60, "MiB"),
		within("vm list as a whole process"+with, lists, 50),
		amount("daemon's CPU when nothing happens, of a core"+with, 100*float64(used)/float64(idle), 0.2, "%"),
	}, nil
}

func createMany(ctx context.Context, n *node.Node, count int) error {
	return each(count, 16, func(i int) error {
		spec, err := n.PVH(fmt.Sprintf("vm-%d", i))
		if err != nil {
			return err
		}
		_, err = n.Create(ctx, spec, false)
		return err
	})
}

// startsAtOnce is how many starts are under way at once, on both sides.
const startsAtOnce = 8

// benchScale has many real QEMU processes: started by hand, as
// many at once as are asked of the daemon, and by the daemon; then the daemon is killed
// and adopts them.
func benchScale(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	p, err := manyPair(ctx, n)
	if err != nil {
		return nil, err
	}
	defer p.close()
	floor, err := p.manyByHand(ctx, s.many, startsAtOnce, pvhMark)
	if err != nil {
		return nil, err
	}
	if err := createMany(ctx, n, s.many); err != nil {
		return nil, err
	}
	stopped := node.Resident(n.PID())
	began := time.Now()
	if err := each(s.many, startsAtOnce, func(i int) error {
		_, err := n.StartOf(ctx, fmt.Sprintf("vm-%d", i))
		return err
	}); err != nil {
		return nil, err
	}
	if err := allUp(ctx, n, s.many, "healthy"); err != nil {
		return nil, err
	}
	ours := time.Since(began)
	running := node.Resident(n.PID())
	with := fmt.Sprintf("%d real QEMUs, ", s.many)
	figures := []figure{
		beside(with+"all up", sample{ours}, sample{floor}, fmt.Sprintf("by hand, %d at a time", startsAtOnce), 1.15),
		amount(with+"daemon's memory for each more", float64(running-stopped)/float64(s.many)/kib, 100, "KiB"),
		amount(with+"daemon's resident memory", float64(running)/mib, 0, "MiB"),
		amount(with+"daemon's descriptors", float64(node.Descriptors(n.PID())), 0, "fds"),
	}
	adopted, err := adoption(ctx, n, s.many)
	if err != nil {
		return figures, err
	}
	return append(figures, within(with+"daemon killed and all adopted", sample{adopted}, 2000)), nil
}

func manyPair(ctx context.Context, n *node.Node) (*pair, error) {
	spec, err := n.PVH("model")
	if err != nil {
		return nil, err
	}
	p, err := newPair(ctx, n, spec, pvhMark)
	if err != nil {
		return nil, err
	}
	if err := p.down(ctx); err != nil {
		return nil, err
	}
	if _, err := n.DeleteOf(ctx, "model"); err != nil {
		return nil, err
	}
	return p, n.Removed(ctx, "model", time.Minute)
}

// manyByHand starts the command that many times, so many at a time, each until its mark.
func (p *pair) manyByHand(ctx context.Context, count, atOnce int, mark string) (time.Duration, error) {
	all := make([]*bare, count)
	p.number++
	top := filepath.Join(p.folder, fmt.Sprintf("many-%d", p.number))
	began := time.Now()
	err := each(count, atOnce, func(i int) error {
		folder := filepath.Join(top, fmt.Sprint(i))
		if err := p.command.prepare(folder); err != nil {
			return err
		}
		eye, err := watchMarks(folder, mark)
		if err != nil {
			return err
		}
		defer eye.close()
		if all[i], err = p.command.start(folder, 1); err != nil {
			return err
		}
		_, err = eye.wait(ctx, 1)
		return err
	})
	took := time.Since(began)
	for _, b := range all {
		if b == nil {
			continue
		}
		if killErr := b.kill(); err == nil {
			err = killErr
		}
	}
	return took, err
}

// allUp waits until so many VMs are running, with that health: empty is any.
func allUp(ctx context.Context, n *node.Node, count int, health string) error {
	for i := range count {
		goal := node.Goal{Phase: "running", Health: health, Within: 10 * time.Minute}
		if _, err := n.Wait(ctx, fmt.Sprintf("vm-%d", i), goal); err != nil {
			return err
		}
	}
	return nil
}

// adoption kills the daemon, starts it, and returns after how long it has them all.
func adoption(ctx context.Context, n *node.Node, count int) (time.Duration, error) {
	before, err := n.List(ctx)
	if err != nil {
		return 0, err
	}
	if err := n.Kill(); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := n.Start(ctx); err != nil {
		return 0, err
	}
	if err := allUp(ctx, n, count, "healthy"); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, err := n.List(ctx)
	if err != nil {
		return 0, err
	}
	for i, vm := range after {
		if vm.GetPid() != before[i].GetPid() {
			return 0, fmt.Errorf("%s: pid %d became %d", vm.GetName(), before[i].GetPid(), vm.GetPid())
		}
	}
	return took, nil
}
