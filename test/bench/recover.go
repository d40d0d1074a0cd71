package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// each calls f for 0 to count-1, so many at a time, and returns the first error.
func each(count, atOnce int, f func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(max(atOnce, 1))
	for i := range count {
		g.Go(func() error { return f(i) })
	}
	return g.Wait()
}

// mostPairs is how many samples of two restarts each the largest budget allows.
const mostPairs = 45

// benchRecover kills a VMM with SIGKILL and waits for the mark of the next one:
// ours with no delay, a bare loop on the pidfd, and systemd's own restart.
func benchRecover(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	small, err := n.PVH("phoenix")
	if err != nil {
		return nil, err
	}
	figures, err := recoverFigures(ctx, n, small, pvhMark, "PVH guest", min(s.samples, mostPairs))
	if err != nil {
		return figures, err
	}
	whole, err := recoverFigures(ctx, n, node.Builtin("roc", ""), readyMark, "built-in guest", min(s.rounds(3), mostPairs))
	return append(figures, whole...), err
}

func recoverFigures(ctx context.Context, n *node.Node, spec *v1.VMSpec, mark, guest string, samples int) ([]figure, error) {
	spec.Restart = node.Impatient(100)
	p, err := newPair(ctx, n, spec, mark)
	if err != nil {
		return nil, err
	}
	defer p.close()
	systemd, missing := newPeer(ctx, n, p.command, mark)
	if systemd != nil && missing == nil {
		defer systemd.close()
	}
	var ours, floor, theirs sample
	for range samples {
		one, err := p.loopByHand(ctx)
		if err != nil {
			return nil, err
		}
		floor.add(one)
		if one, err = warm(ctx, p.recovers); err != nil {
			return nil, err
		}
		ours.add(one)
		if missing != nil {
			continue
		}
		if one, err = warm(ctx, systemd.recovers); err != nil {
			return nil, err
		}
		theirs.add(one)
	}
	what := "SIGKILL of a VMM to its next one's mark, " + guest
	figures := []figure{beside(what, ours, floor, "bare loop", 1.15)}
	if missing != nil {
		return figures, fmt.Errorf("no systemd to compare with: %w", missing)
	}
	figures = append(figures, beside(what, ours, theirs, "systemd Restart=always", 1))
	return figures, p.down(ctx)
}

// warm measures the second of two restarts in a row, as the bare loop measures
// the second of two starts. After another one's turn, a guest's memory may be
// pages that a virtual machine below us had given back to its own host: then
// clearing them takes 60 to 80 ms for the built-in guest, whoever restarts it.
func warm(ctx context.Context, recovers func(context.Context) (time.Duration, error)) (time.Duration, error) {
	if _, err := recovers(ctx); err != nil {
		return 0, err
	}
	return recovers(ctx)
}

// recovers kills our VMM; the daemon does the rest.
func (p *pair) recovers(ctx context.Context) (time.Duration, error) {
	vm, began, err := p.strike(ctx, unix.SIGKILL)
	if err != nil {
		return 0, err
	}
	at, err := p.ours.wait(ctx, 1)
	if err != nil {
		return 0, err
	}
	_, err = p.n.Wait(ctx, p.name, node.Goal{Phase: "running", Health: "healthy", After: vm.GetRevision(), Within: time.Minute})
	return at.Sub(began), err
}

// strike sends a signal to our VMM once it is up, and tells when that was.
func (p *pair) strike(ctx context.Context, signal unix.Signal) (before *v1.VM, at time.Time, err error) {
	if before, err = p.n.Wait(ctx, p.name, p.goal); err != nil {
		return nil, at, err
	}
	process, err := p.n.VMM(int(before.GetPid()))
	if err != nil {
		return nil, at, err
	}
	at, err = signalled(process, signal)
	return before, at, err
}

// signalled sends a signal and tells when: proving whose process it is, which
// the loops by hand need not, takes its time before that.
func signalled(p node.Process, signal unix.Signal) (at time.Time, err error) {
	fd, err := p.Signal(0)
	if err != nil {
		return at, err
	}
	at = time.Now()
	return at, errors.Join(unix.PidfdSendSignal(fd, signal, nil, 0), unix.Close(fd))
}

// loopByHand is the bare loop: wait on the pidfd, start the same command.
func (p *pair) loopByHand(ctx context.Context) (time.Duration, error) {
	p.number++
	first, err := p.command.start(p.folder, p.number)
	if err != nil {
		return 0, err
	}
	if _, err := p.theirs.wait(ctx, 1); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := unix.PidfdSendSignal(first.pidfd, unix.SIGKILL, nil, 0); err != nil {
		return 0, err
	}
	if err := awaitEnd(first.pidfd); err != nil {
		return 0, err
	}
	p.number++
	second, err := p.command.start(p.folder, p.number)
	if err != nil {
		return 0, err
	}
	at, err := p.theirs.wait(ctx, 1)
	return at.Sub(began), errors.Join(err, first.reap(), second.kill())
}
