package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// benchSuspend saves and resumes a built-in guest beside cold boots of the same
// one: each side from the ask until the guest has answered.
func benchSuspend(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	const name = "bench"
	if _, err := n.Create(ctx, node.Builtin(name, ""), false); err != nil {
		return nil, err
	}
	asked := func(ask func(context.Context, string) (*v1.VM, error), phase string) (time.Duration, error) {
		began := time.Now()
		vm, err := ask(ctx, name)
		if err != nil {
			return 0, err
		}
		_, err = n.Wait(ctx, name, node.Goal{Phase: phase, After: vm.GetRevision() - 1, Within: 2 * time.Minute})
		return time.Since(began), err
	}
	var boots, saves, resumes sample
	var held int64
	for range s.rounds(3) {
		boot, err := asked(n.StartOf, "running")
		if err != nil {
			return nil, err
		}
		save, err := asked(n.SuspendOf, "suspended")
		if err != nil {
			return nil, err
		}
		if held, err = onDisk(filepath.Join(n.State, "vms", name, "saved-*")); err != nil {
			return nil, err
		}
		resume, err := asked(n.ResumeOf, "running")
		if err != nil {
			return nil, err
		}
		progress("suspend: boot %v, save %v, resume %v", boot, save, resume)
		boots.add(boot)
		saves.add(save)
		resumes.add(resume)
		if _, err := asked(func(ctx context.Context, name string) (*v1.VM, error) { return n.StopOf(ctx, name, true) }, "stopped"); err != nil {
			return nil, err
		}
	}
	return []figure{
		paired("resume of a suspended built-in guest until it answers", resumes, boots, "cold boot", 0.125),
		paired("suspend of a built-in guest, until it is durable and its VMM is gone", saves, boots, "cold boot", 0),
		{name: "saved built-in guest of 128 MiB, on the disk", ours: fmt.Sprintf("%d MiB", held>>20), value: float64(held >> 20), target: 128, unit: "MiB"},
	}, nil
}

func onDisk(pattern string) (sum int64, err error) {
	found, err := filepath.Glob(pattern)
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		sum += info.Size()
	}
	return sum, err
}
