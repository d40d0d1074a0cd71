package main

import (
	"context"
	"fmt"
	"net"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

const probedVMs = 100

// benchProbing has a hundred real QEMUs that each are asked by three probes at
// their default interval, and counts what the daemon uses for it.
func benchProbing(ctx context.Context, n *node.Node, _ sizes) ([]figure, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed at the end
			}
			_ = conn.Close()
		}
	}()
	if err := each(probedVMs, startsAtOnce, func(i int) error {
		spec, err := n.PVH(fmt.Sprintf("vm-%d", i))
		if err != nil {
			return err
		}
		spec.Health = []*v1.Check{{Type: "vmm"}, {Type: "process"}, {Type: "tcp", Address: listener.Addr().String()}}
		return comeUp(ctx, n.Client, spec)
	}); err != nil {
		return nil, err
	}
	share, err := idleShare(ctx, n, node.Roomy, probedVMs)
	return []figure{amount(fmt.Sprintf("daemon's CPU, of a core, %d VMs with three probes each", probedVMs), 100*share, 2, "%")}, err
}
