package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// What the guests show on their consoles when they are up.
const (
	readyMark = "blixard: ready"
	pvhMark   = "BLIXARD-PVH-UP"
)

// pair is a VM of ours beside the same command by hand, and one eye for each.
type pair struct {
	n            *node.Node
	name         string
	goal         node.Goal
	command      command
	ours, theirs *marks
	folder       string // of the one by hand
	number       int
}

// newPair brings the VM up once, to learn its command, and stops it.
func newPair(ctx context.Context, n *node.Node, spec *v1.VMSpec, mark string) (*pair, error) {
	p := &pair{n: n, name: spec.GetName(), goal: node.Goal{Phase: "running", Health: "healthy", Within: time.Minute}, folder: filepath.Join(n.Root, "bare", spec.GetName())}
	if _, err := n.Create(ctx, spec, true); err != nil {
		return nil, err
	}
	vm, err := n.Wait(ctx, p.name, p.goal)
	if err != nil {
		return nil, err
	}
	process, err := n.VMM(int(vm.GetPid()))
	if err != nil {
		return nil, err
	}
	if p.command, err = commandOf(process); err != nil {
		return nil, err
	}
	if err := p.command.prepare(p.folder); err != nil {
		return nil, err
	}
	if p.ours, err = watchMarks(filepath.Join(n.State, "vms", p.name), mark); err != nil {
		return nil, err
	}
	p.theirs, err = watchMarks(p.folder, mark)
	return p, err
}

// pvhPair is one of the PVH guest, started again at once whenever it dies.
func pvhPair(ctx context.Context, n *node.Node, name string) (*pair, error) {
	spec, err := n.PVH(name)
	if err != nil {
		return nil, err
	}
	spec.Restart = node.Impatient(100)
	return newPair(ctx, n, spec, pvhMark)
}

func (p *pair) close() {
	p.ours.close()
	p.theirs.close()
}

// down stops the VM of ours.
func (p *pair) down(ctx context.Context) error {
	if _, err := p.n.StopOf(ctx, p.name, true); err != nil {
		return err
	}
	_, err := p.n.Wait(ctx, p.name, node.Goal{Phase: "stopped", Within: time.Minute})
	return err
}

// starts measures one start on our side: until the call is back, until the mark, until wait is back.
func (p *pair) starts(ctx context.Context) (call, mark, wait time.Duration, err error) {
	began := time.Now()
	vm, err := p.n.StartOf(ctx, p.name)
	if err != nil {
		return 0, 0, 0, err
	}
	call = time.Since(began)
	done := make(chan error, 1)
	go func() {
		_, err := p.n.Wait(ctx, p.name, node.Goal{Phase: "running", Health: "healthy", After: vm.GetRevision(), Within: time.Minute})
		wait = time.Since(began)
		done <- err
	}()
	at, err := p.ours.wait(ctx, 1)
	if err != nil {
		return 0, 0, 0, err
	}
	return call, at.Sub(began), wait, <-done
}

// byHand measures one start of the same command, until the mark.
func (p *pair) byHand(ctx context.Context) (time.Duration, error) {
	p.number++
	began := time.Now()
	b, err := p.command.start(p.folder, p.number)
	if err != nil {
		return 0, err
	}
	at, err := p.theirs.wait(ctx, 1)
	if err != nil {
		return 0, err
	}
	return at.Sub(began), b.kill()
}

func benchStart(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	spec, err := n.PVH("bench")
	if err != nil {
		return nil, err
	}
	return startFigures(ctx, n, spec, pvhMark, "PVH guest", s.samples)
}

func benchBuiltin(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	return startFigures(ctx, n, node.Builtin("bench", ""), readyMark, "built-in guest", s.rounds(4))
}

func startFigures(ctx context.Context, n *node.Node, spec *v1.VMSpec, mark, what string, samples int) ([]figure, error) {
	p, err := newPair(ctx, n, spec, mark)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var calls, ours, waits, floor sample
	for range samples {
		if err := p.down(ctx); err != nil {
			return nil, err
		}
		one, err := p.byHand(ctx)
		if err != nil {
			return nil, err
		}
		floor.add(one)
		call, mark, wait, err := p.starts(ctx)
		if err != nil {
			return nil, err
		}
		calls.add(call)
		ours.add(mark)
		waits.add(wait)
	}
	return []figure{
		within("start returns, "+what, calls, 5),
		beside("start to the mark, "+what, ours, floor, "by hand", 1.05),
		beside("start and wait return, "+what, waits, floor, "by hand, to the mark", 0),
	}, p.down(ctx)
}

// benchTogether starts twenty at once: of the smallest guest, and of the built-in one.
func benchTogether(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	const count = 20
	small, err := togetherOf(ctx, n, "PVH guest", pvhMark, s.rounds(4), count, n.PVH)
	if err != nil {
		return nil, err
	}
	whole, err := togetherOf(ctx, n, "built-in guest", readyMark, 5, count, func(name string) (*v1.VMSpec, error) {
		spec := node.Builtin("big-"+name, "")
		spec.Start = &v1.Start{Timeout: durationpb.New(2 * time.Minute)} // twenty boots share the cores
		return spec, nil
	})
	return append(small, whole...), err
}

func togetherOf(ctx context.Context, n *node.Node, what, mark string, samples, count int, specOf func(name string) (*v1.VMSpec, error)) ([]figure, error) {
	names := make([]string, count)
	var p *pair
	for i := range count {
		spec, err := specOf(fmt.Sprintf("vm-%d", i))
		if err != nil {
			return nil, err
		}
		names[i] = spec.GetName()
		if i == 0 {
			if p, err = newPair(ctx, n, spec, mark); err != nil {
				return nil, err
			}
			defer p.close()
			if err := p.down(ctx); err != nil {
				return nil, err
			}
		} else if _, err := n.Create(ctx, spec, false); err != nil {
			return nil, err
		}
	}
	eye, err := watchMarks(filepath.Join(n.State, "vms"), mark)
	if err != nil {
		return nil, err
	}
	defer eye.close()
	var ours, floor sample
	for range samples {
		one, err := p.together(ctx, count)
		if err != nil {
			return nil, err
		}
		floor.add(one)
		if one, err = startAll(ctx, n, eye, names); err != nil {
			return nil, err
		}
		ours.add(one)
	}
	return []figure{beside(fmt.Sprintf("%d at once, all marks seen, %s", count, what), ours, floor, "by hand", 1.05)}, nil
}

// together starts the command that many times at once, by hand.
func (p *pair) together(ctx context.Context, count int) (time.Duration, error) {
	began := time.Now()
	all := make([]*bare, 0, count)
	for range count {
		p.number++
		b, err := p.command.start(p.folder, p.number)
		if err != nil {
			return 0, err
		}
		all = append(all, b)
	}
	at, err := p.theirs.wait(ctx, count)
	for _, b := range all {
		if killErr := b.kill(); err == nil {
			err = killErr
		}
	}
	return at.Sub(began), err
}

// startAll starts that many VMs at once, waits for their marks, and stops them.
func startAll(ctx context.Context, n *node.Node, eye *marks, names []string) (time.Duration, error) {
	began, count := time.Now(), len(names)
	if err := each(count, count, func(i int) error {
		_, err := n.StartOf(ctx, names[i])
		return err
	}); err != nil {
		return 0, err
	}
	at, err := eye.wait(ctx, count)
	if err != nil {
		return 0, err
	}
	return at.Sub(began), each(count, count, func(i int) error {
		if _, err := n.StopOf(ctx, names[i], true); err != nil {
			return err
		}
		_, err := n.Wait(ctx, names[i], node.Goal{Phase: "stopped", Within: time.Minute})
		return err
	})
}
