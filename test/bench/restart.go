package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/test/node"
)

const (
	restartVMs   = 20
	callers      = 8
	restartLimit = 10 * time.Second // of one call
)

// benchRestart restarts the packaged service while callers list the VMs without
// a pause, each call on a connection of its own.
func benchRestart(ctx context.Context, _ *node.Node, s sizes) ([]figure, error) {
	m, err := newBooted(ctx, restartVMs, pvhMark, func(s *node.Service, name string) *v1.VMSpec { return s.PVH(name) })
	if err != nil {
		return nil, err
	}
	defer m.close()
	before, err := m.List(ctx)
	if err != nil {
		return nil, err
	}
	socket, err := m.socket()
	if err != nil {
		return nil, err
	}
	loop, stop := context.WithCancel(ctx)
	defer stop()
	var calls tally
	var group sync.WaitGroup
	for range callers {
		group.Go(func() { calls.keepCalling(loop, socket) })
	}
	var restarts sample
	for range s.rounds(4) {
		began := time.Now()
		if err = m.Restart(ctx); err != nil {
			break
		}
		restarts.add(time.Since(began))
	}
	stop()
	group.Wait()
	if err = errors.Join(err, calls.first, sameVMMs(ctx, m.Client, before)); err != nil && calls.refused == 0 {
		return nil, err
	}
	what := fmt.Sprintf("%d × systemctl restart under %d callers, ", len(restarts), callers)
	return []figure{
		{name: what + "calls refused", ours: fmt.Sprint(calls.refused), against: fmt.Sprintf("of %d calls", len(calls.waits)+calls.refused), value: float64(calls.refused), target: 0.5, unit: "calls"},
		{name: what + "longest call", ours: milliseconds(calls.waits.at(1)) + " ms", against: "median call " + milliseconds(calls.waits.at(0.5)) + " ms"},
		within(what+"until the next daemon answers", restarts, 0),
	}, err
}

// socket is the daemon's, as the machine's first process sees it.
func (m *booted) socket() (string, error) {
	for _, p := range m.Processes("systemd") {
		if p.Inside == 1 {
			return fmt.Sprintf("/proc/%d/root/run/blixard/blixard.sock", p.PID), nil
		}
	}
	return "", errors.New("the machine has no first process")
}

// tally is what became of calls.
type tally struct {
	mu      sync.Mutex
	waits   sample
	refused int
	first   error // of a refused call
}

// keepCalling calls until ctx ends.
func (t *tally) keepCalling(ctx context.Context, socket string) {
	client := blixardv1connect.NewNodeClient(&http.Client{Timeout: restartLimit, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}, "http://node")
	for ctx.Err() == nil {
		began := time.Now()
		answer, err := client.ListVMs(context.WithoutCancel(ctx), connect.NewRequest(&v1.ListVMsRequest{}))
		if err == nil && len(answer.Msg.GetVms()) != restartVMs {
			err = fmt.Errorf("answered with %d VMs", len(answer.Msg.GetVms())) // P11
		}
		t.count(time.Since(began), err)
	}
}

func (t *tally) count(wait time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.waits.add(wait)
		return
	}
	t.refused++
	if t.first == nil {
		t.first = fmt.Errorf("a call after %v: %w", wait, err)
	}
}
