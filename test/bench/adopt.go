package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// adoptCount is how many VMs run when the daemon is killed.
const adoptCount = 100

// benchAdopt kills the daemon with SIGKILL while VMs run, and measures from the
// next one's exec until the last VM is known to be adopted by it: under the
// process launcher here, and under the systemd launcher on a machine that has one.
func benchAdopt(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	if err := each(adoptCount, startsAtOnce, func(i int) error {
		spec, err := n.PVH(fmt.Sprintf("vm-%d", i))
		if err != nil {
			return err
		}
		return comeUp(ctx, n.Client, spec)
	}); err != nil {
		return nil, err
	}
	var process, systemd sample
	for range s.rounds(3) {
		one, err := adopted(ctx, n.Client, func() (time.Time, error) {
			if err := n.Kill(); err != nil {
				return time.Time{}, err
			}
			began := time.Now()
			return began, n.Start(ctx)
		})
		if err != nil {
			return nil, fmt.Errorf("under the process launcher: %w", err)
		}
		process.add(one)
	}
	what := fmt.Sprintf("daemon killed, exec to all %d VMs adopted, ", adoptCount)
	ends, err := letGo(ctx, n, s.rounds(3))
	if err != nil {
		return nil, err
	}
	figures := []figure{
		within(what+"process launcher", process, 500),
		within(fmt.Sprintf("SIGTERM until the daemon of %d VMs has let go of them and ended", adoptCount), ends, 2000),
	}
	m, err := newBooted(ctx, adoptCount, pvhMark, func(s *node.Service, name string) *v1.VMSpec { return s.PVH(name) })
	if err != nil {
		return figures, err
	}
	defer m.close()
	for range s.rounds(3) {
		one, err := adopted(ctx, m.Client, func() (time.Time, error) {
			if err := m.Kill(ctx); err != nil {
				return time.Time{}, err
			}
			return m.daemonBegan(ctx)
		})
		if err != nil {
			return figures, fmt.Errorf("under the systemd launcher: %w", err)
		}
		systemd.add(one)
	}
	return append(figures, within(what+"systemd launcher", systemd, 500)), nil
}

// letGo ends the daemon in order, and measures that; another one adopts the VMs again.
func letGo(ctx context.Context, n *node.Node, rounds int) (took sample, err error) {
	for range rounds {
		began := time.Now()
		code, err := n.Terminate(time.Minute)
		if err != nil || code != 0 {
			return took, errors.Join(fmt.Errorf("after SIGTERM the daemon ended with %d", code), err)
		}
		took.add(time.Since(began))
		if err := n.Start(ctx); err != nil {
			return took, err
		}
	}
	return took, nil
}

func comeUp(ctx context.Context, c *node.Client, spec *v1.VMSpec) error {
	if _, err := c.Create(ctx, spec, true); err != nil {
		return err
	}
	_, err := c.Wait(ctx, spec.GetName(), node.Goal{Phase: "running", Within: 5 * time.Minute})
	return err
}

// adopted has another daemon begin, and returns how long after that the journal
// told that each VM was found ready. None may be another process than before.
func adopted(ctx context.Context, c *node.Client, another func() (began time.Time, err error)) (time.Duration, error) {
	before, err := c.List(ctx)
	if err != nil {
		return 0, err
	}
	after, err := journalEnd(ctx, c)
	if err != nil {
		return 0, err
	}
	began, err := another()
	if err != nil {
		return 0, err
	}
	last, err := foundReady(ctx, c, after, len(before))
	if err != nil {
		return 0, err
	}
	return last.Sub(began), sameVMMs(ctx, c, before)
}

// journalEnd is the last sequence number that the journal has.
func journalEnd(ctx context.Context, c *node.Client) (last uint64, err error) {
	err = c.Watch(ctx, 0, false, func(e *v1.Event) bool {
		last = e.GetSequence()
		return true
	})
	return last, err
}

// foundReady is when that many VMs have been found ready by a daemon, as the journal dates it.
func foundReady(ctx context.Context, c *node.Client, after uint64, count int) (last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	found := map[string]bool{}
	err = c.Watch(ctx, after, true, func(e *v1.Event) bool {
		if e.GetKind() == "FoundReady" {
			found[e.GetVm()] = true
			last = e.GetAt().AsTime()
		}
		return len(found) < count
	})
	if len(found) < count {
		return last, errors.Join(fmt.Errorf("%d of %d VMs were adopted", len(found), count), err)
	}
	return last, nil // that we left the stream is no failure
}

// sameVMMs fails unless every VM is up in the process and incarnation in which it was.
func sameVMMs(ctx context.Context, c *node.Client, before []*v1.VM) error {
	for _, was := range before {
		is, err := c.Wait(ctx, was.GetName(), node.Goal{Phase: "running", Within: time.Minute})
		if err != nil {
			return err
		}
		if is.GetPid() != was.GetPid() || is.GetIncarnation() != was.GetIncarnation() {
			return fmt.Errorf("%s: pid %d, incarnation %d became pid %d, incarnation %d",
				was.GetName(), was.GetPid(), was.GetIncarnation(), is.GetPid(), is.GetIncarnation())
		}
	}
	return nil
}
