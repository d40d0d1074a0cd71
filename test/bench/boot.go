package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// bootCount is how many VMs are wanted up when the power is cut.
const bootCount = 20

// benchBoot cuts the power of a machine whose VMs are all up, and measures until
// all are up again; beside a bare loop that starts the same commands, so many
// at a time, without any machine that boots around it.
func benchBoot(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	p, err := newPair(ctx, n, node.Builtin("bench", ""), readyMark)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.down(ctx); err != nil {
		return nil, err
	}
	m, err := newBooted(ctx, bootCount, readyMark, bootSpec)
	if err != nil {
		return nil, err
	}
	defer m.close()
	paces := []int{1, 2, 3, 4, bootCount}
	floors := make([]sample, len(paces))
	var ours, whole, eager sample
	for range max(1, s.samples/7) {
		one, _, err := m.bootsWith(ctx, "boot: {pressure: {cpu: 100}}\n")
		if err != nil {
			return nil, err
		}
		progress("boot: ours %v after the daemon's exec, if CPU pressure holds nothing", one)
		eager.add(one)
		fromExec, fromPower, err := m.bootsWith(ctx, "boot: {}\n")
		if err != nil {
			return nil, err
		}
		progress("boot: ours %v after the daemon's exec, %v after power-on", fromExec, fromPower)
		ours.add(fromExec)
		whole.add(fromPower)
		for i, pace := range paces {
			one, err := p.manyByHand(ctx, bootCount, pace, readyMark)
			if err != nil {
				return nil, fmt.Errorf("by hand, %d at a time: %w", pace, err)
			}
			progress("boot: by hand, %d at a time, %v", pace, one)
			floors[i].add(one)
		}
	}
	return append(bootFigures(paces, floors, ours, whole),
		paired("same, beside ours when CPU pressure holds nothing", ours, eager, "ours", 0)), nil
}

func bootFigures(paces []int, floors []sample, ours, whole sample) []figure {
	const what = "boot with 20 built-in guests, daemon's exec to all marks"
	best := 0
	for i := range paces[:len(paces)-1] {
		if floors[i].at(0.5) < floors[best].at(0.5) {
			best = i
		}
	}
	out := []figure{paired(what, ours, floors[best], fmt.Sprintf("best loop, %d at a time", paces[best]), 1.1)}
	for i, pace := range paces[:len(paces)-1] {
		out = append(out, paired(what, ours, floors[i], fmt.Sprintf("loop, %d at a time", pace), 0))
	}
	last := len(paces) - 1
	return append(out,
		paired(what, ours, floors[last], "loop, all at once", 1),
		paired("same, from the machine's power-on", whole, floors[best], "best loop", 0))
}

// bootSpec may take long to come up, because many share the processors; who takes longer fails the figure.
func bootSpec(_ *node.Service, name string) *v1.VMSpec {
	spec := node.Builtin(name, "")
	spec.Start = &v1.Start{Timeout: durationpb.New(2 * time.Minute)}
	spec.Autostart = &v1.Autostart{Policy: "always"}
	return spec
}

// booted is a machine with VMs that are wanted up.
type booted struct {
	*node.Service
	eye         *marks
	incarnation map[string]uint64
}

// newBooted boots the machine, and brings up that many VMs.
func newBooted(ctx context.Context, count int, mark string, specOf func(s *node.Service, name string) *v1.VMSpec) (m *booted, err error) {
	s, err := node.NewService(node.Options{})
	if err != nil {
		return nil, err
	}
	m = &booted{Service: s, incarnation: map[string]uint64{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%w; the daemon wrote: %s", err, tail(s.Journal(context.WithoutCancel(ctx), "blixard"), 1500)), m.close())
		}
	}()
	if err := s.Boot(ctx); err != nil {
		return nil, err
	}
	if m.eye, err = watchMarks(filepath.Join(s.State, "vms"), mark); err != nil {
		return nil, err
	}
	err = each(count, 2, func(i int) error {
		spec := specOf(s, fmt.Sprintf("vm-%d", i))
		if _, err := s.Create(ctx, spec, true); err != nil {
			return err
		}
		_, err := s.Wait(ctx, spec.GetName(), node.Goal{Phase: "running", Within: 5 * time.Minute})
		return err
	})
	if err == nil {
		_, err = m.eye.wait(ctx, count)
	}
	return m, errors.Join(err, m.remember(ctx))
}

func tail(s string, limit int) string { return s[max(0, len(s)-limit):] }

// close ends the machine at once, with all that is in it.
func (m *booted) close() error {
	if m.eye != nil {
		m.eye.close()
	}
	return m.Close()
}

func (m *booted) remember(ctx context.Context) error {
	vms, err := m.List(ctx)
	for _, vm := range vms {
		m.incarnation[vm.GetName()] = vm.GetIncarnation()
	}
	return err
}

// boots cuts the power and switches it on, and returns after how long all marks
// were seen: counted from the daemon's exec, and from power-on.
func (m *booted) boots(ctx context.Context) (fromExec, fromPower time.Duration, err error) {
	if err := m.PowerCut(); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	seen := m.eye.later(ctx, len(m.incarnation))
	if err := m.Boot(ctx); err != nil {
		return 0, 0, err
	}
	exec, err := m.daemonBegan(ctx)
	if err != nil {
		return 0, 0, err
	}
	last := <-seen
	if last.err != nil {
		return 0, 0, last.err
	}
	if err := m.undisturbed(ctx); err != nil {
		return 0, 0, err
	}
	status, err := m.NodeStatus(ctx, connect.NewRequest(&v1.NodeStatusRequest{}))
	if err != nil {
		return 0, 0, err
	}
	progress("boot: %d ready, %d failed, in the end %d at once", status.Msg.GetBootstrap().GetReady(), status.Msg.GetBootstrap().GetFailed(), status.Msg.GetBootstrap().GetLimit())
	return last.at.Sub(exec), last.at.Sub(began), nil
}

// bootsWith is boots with that configuration of the daemon, which says nothing of resources.
func (m *booted) bootsWith(ctx context.Context, config string) (fromExec, fromPower time.Duration, err error) {
	if err := m.PowerCut(); err != nil {
		return 0, 0, err
	}
	if err := os.WriteFile(filepath.Join(m.Disk, "upper/etc/blixard/blixard.yaml"), []byte(node.Roomy+config), 0o644); err != nil {
		return 0, 0, err
	}
	return m.boots(ctx)
}

// undisturbed fails unless each VM is up in the very next incarnation: one more
// would mean that somebody was killed on the way.
func (m *booted) undisturbed(ctx context.Context) error {
	for name, was := range m.incarnation {
		vm, err := m.Wait(ctx, name, node.Goal{Phase: "running", Within: time.Minute})
		if err != nil {
			return err
		}
		if vm.GetIncarnation() != was+1 {
			crashes, err := m.Crashes(ctx, name)
			return errors.Join(fmt.Errorf("%s came up as incarnation %d after %d: it was killed on its way: %v", name, vm.GetIncarnation(), was, crashes), err)
		}
	}
	return m.remember(ctx)
}

// daemonBegan is when systemd executed the daemon that runs now.
func (m *booted) daemonBegan(ctx context.Context) (time.Time, error) {
	out, err := m.Run(ctx, "systemctl", "show", "-P", "ExecMainStartTimestampMonotonic", "blixard.service")
	if err != nil {
		return time.Time{}, err
	}
	began, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("systemd tells of no start of the daemon: %w", err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return time.Time{}, err
	}
	return time.Now().Add(time.Duration(began)*time.Microsecond - time.Duration(now.Nano())), nil
}
