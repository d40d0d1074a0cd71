package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/blixard/blixard/test/node"
)

const (
	denseMemory = 96 << 20 // a stock kernel deadlocks in its boot below 80 MiB
	keepFree    = 2 << 30  // of the machine: its other users run on
	denseAtOnce = 3        // boots under way: a boot is bound by the processors
	firstFew    = 6        // guests after which the daemon has in memory what any guest needs
)

// benchDensity boots built-in guests until the machine has little memory left,
// and counts those that are healthy together a minute after the last one.
func benchDensity(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	stopped, few := node.Resident(n.PID()), int64(0)
	began, up := time.Now(), 0
	for up < s.many {
		free, err := available()
		if err != nil {
			return nil, err
		}
		if free < keepFree {
			break
		}
		first := up
		if err := each(denseAtOnce, denseAtOnce, func(i int) error { return dense(ctx, n, first+i) }); err != nil {
			return nil, err
		}
		if up += denseAtOnce; up == firstFew {
			few = node.Resident(n.PID())
		}
	}
	took := time.Since(began)
	time.Sleep(time.Minute) // whoever is to fall ill for want of memory does so by then
	vms, err := n.List(ctx)
	if err != nil {
		return nil, err
	}
	healthy, crashes := 0, uint64(0)
	for _, vm := range vms {
		if vm.GetPhase() == "running" && vm.GetHealth() == "healthy" {
			healthy++
		}
		crashes += vm.GetCrashes()
	}
	resident, with := node.Resident(n.PID()), "built-in guests of 96 MiB, "
	return []figure{
		amount(with+"healthy together", float64(healthy), 0, "VMs"),
		amount(with+"up, and not healthy a minute later", float64(up-healthy)+float64(crashes), 0, "VMs and crashes"),
		amount(with+"time for each, three at once", took.Seconds()/float64(max(up, 1)), 0, "s"),
		amount(with+"daemon's memory for each (libvirt's: 234 KiB)", float64(resident-stopped)/float64(max(up, 1))/kib, 100, "KiB"),
		amount(with+"the same, without the first six and the code that they page in", float64(resident-few)/float64(max(up-firstFew, 1))/kib, 0, "KiB"),
	}, nil
}

func dense(ctx context.Context, n *node.Node, i int) error {
	spec := node.Builtin(fmt.Sprintf("vm-%d", i), "")
	spec.MemoryBytes = denseMemory
	if _, err := n.Create(ctx, spec, true); err != nil {
		return err
	}
	_, err := n.Wait(ctx, spec.GetName(), node.Goal{Phase: "running", Health: "healthy", Within: 5 * time.Minute})
	return err
}

// available is the memory that the machine can still give, in bytes.
func available() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no MemAvailable in /proc/meminfo")
}
