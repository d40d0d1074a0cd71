package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/host/qemu"
	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// benchNotice is how soon an end is known: from what ended it until the time in
// the crash record, by one clock.
func benchNotice(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	killed, err := killNoticed(ctx, n, min(s.samples, mostPairs))
	if err != nil {
		return killed, err
	}
	panicked, err := panicNoticed(ctx, n, min(s.samples, mostPairs))
	if err != nil {
		return append(killed, panicked...), err
	}
	stopped, err := stopNoticed(ctx, n, s.rounds(5))
	return append(append(killed, panicked...), stopped...), err
}

// killNoticed is a SIGKILL beside a bare loop on the pidfd of the same command.
func killNoticed(ctx context.Context, n *node.Node, samples int) ([]figure, error) {
	p, err := pvhPair(ctx, n, "notice")
	if err != nil {
		return nil, err
	}
	defer p.close()
	var ours, same, floor sample
	for range samples {
		one, err := p.endByHand(ctx)
		if err != nil {
			return nil, err
		}
		floor.add(one)
		known, seen, err := p.noticed(ctx, unix.SIGKILL)
		if err != nil {
			return nil, err
		}
		ours.add(known)
		same.add(seen)
	}
	return []figure{
		beside("SIGKILL of a VMM until its end is known, PVH guest", ours, same, "bare loop on the same pidfd", 1.2),
		beside("the same", ours, floor, "bare loop on a QEMU by hand, in no cgroup", 1.2),
		within("the same (systemd's own notice: 25 ms, libvirt's: 214 ms)", ours, 25),
	}, p.down(ctx)
}

// noticed sends a signal to our VMM, and tells how long it took until its death
// was known to the daemon, and until a bare loop here on the same pidfd saw it.
// Until then the daemon is asked nothing: a loop by hand isn't either. The next
// incarnation is up afterwards.
func (p *pair) noticed(ctx context.Context, signal unix.Signal) (known, seen time.Duration, err error) {
	vm, err := p.n.Wait(ctx, p.name, p.goal)
	if err != nil {
		return 0, 0, err
	}
	process, err := p.n.VMM(int(vm.GetPid()))
	if err != nil {
		return 0, 0, err
	}
	fd, err := process.Signal(0)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	err = errors.Join(unix.PidfdSendSignal(fd, signal, nil, 0), awaitEnd(fd), unix.Close(fd))
	if err != nil {
		return 0, 0, err
	}
	seen = time.Since(began)
	again := p.goal
	again.After = vm.GetRevision()
	vm, err = p.n.Wait(ctx, p.name, again)
	return vm.GetLastExit().GetAt().AsTime().Sub(began), seen, err
}

// endByHand kills a VMM that was started by hand and waits on its pidfd.
func (p *pair) endByHand(ctx context.Context) (time.Duration, error) {
	p.number++
	one, err := p.command.start(p.folder, p.number)
	if err != nil {
		return 0, err
	}
	if _, err := p.theirs.wait(ctx, 1); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := unix.PidfdSendSignal(one.pidfd, unix.SIGKILL, nil, 0); err != nil {
		return 0, err
	}
	err = awaitEnd(one.pidfd)
	took := time.Since(began)
	return took, errors.Join(err, one.reap())
}

// panicNoticed has a guest panic right behind its mark, again and again.
func panicNoticed(ctx context.Context, n *node.Node, samples int) ([]figure, error) {
	const name = "doomed"
	kernel := filepath.Join(n.Root, "doomed.elf")
	if err := os.WriteFile(kernel, qemu.PVHGuestThat(qemu.PVHPanics), 0o644); err != nil {
		return nil, err
	}
	eye, err := watchMarks(filepath.Join(n.State, "vms", name), pvhMark)
	if err != nil {
		return nil, err
	}
	defer eye.close()
	spec := &v1.VMSpec{
		Name: name, MemoryBytes: 8 << 20, Boot: &v1.Boot{Kernel: kernel}, Restart: node.Impatient(100),
		Health: []*v1.Check{{Type: "guest-agent"}}, // a machine with devices
	}
	if _, err := n.Create(ctx, spec, true); err != nil {
		return nil, err
	}
	var marks []time.Time
	for range samples {
		at, err := eye.wait(ctx, 1)
		if err != nil {
			return nil, err
		}
		marks = append(marks, at)
	}
	if _, err := n.StopOf(ctx, name, true); err != nil {
		return nil, err
	}
	crashes, err := n.Crashes(ctx, name) // newest first
	if err != nil {
		return nil, err
	}
	var ours sample
	for i := range min(len(marks), len(crashes)) {
		crash := crashes[len(crashes)-1-i]
		if crash.GetCause() != "guest-panic" {
			return nil, fmt.Errorf("%s died of %s: %s", name, crash.GetCause(), crash.GetEvidence())
		}
		ours.add(crash.GetAt().AsTime().Sub(marks[i]))
	}
	return []figure{within("a guest's panic, from the mark before it to the decision", ours, 50)}, nil
}

// stopNoticed stops a VMM with SIGSTOP: its guest answers nobody, and is
// unhealthy after so many rounds.
func stopNoticed(ctx context.Context, n *node.Node, rounds int) ([]figure, error) {
	const interval, timeout, failures = 50 * time.Millisecond, 500 * time.Millisecond, 3
	spec := node.Builtin("frozen", "")
	spec.Restart = node.Impatient(100)
	spec.Health[0].Interval, spec.Health[0].Timeout, spec.Health[0].Failures = durationpb.New(interval), durationpb.New(timeout), failures
	p, err := newPair(ctx, n, spec, readyMark)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var ours sample
	for range rounds {
		one, _, err := p.noticed(ctx, unix.SIGSTOP)
		if err != nil {
			return nil, err
		}
		ours.add(one)
	}
	allowed := sample{failures * timeout}
	return []figure{beside("SIGSTOP of a VMM until the decision, built-in guest", ours, allowed, "timeout × failures", 1.1)}, p.down(ctx)
}
