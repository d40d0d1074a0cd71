package main

import (
	"context"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/messages/blixardv1"
)

// watchTries tells, until the returned function is called, of each end of these
// VMs and of what was decided: a start that is tried again and again would look
// like one that is slow. A journal that can't be read costs the lines, not the wait.
func (c *cli) watchTries(ctx context.Context, names []string, tell func(*blixardv1.Event) string) (stop func()) {
	s, err := ask(ctx, c, c.node().NodeStatus, &blixardv1.NodeStatusRequest{})
	if err != nil {
		return func() {}
	}
	req := &blixardv1.WatchEventsRequest{After: proto.Uint64(s.GetLastEvent()), Follow: true}
	if len(names) == 1 {
		req.Vm = names[0]
	}
	copied := make(chan struct{})
	copying, over := context.WithCancel(ctx)
	go func() {
		defer close(copied)
		c.copyTries(copying, req, names, tell)
	}()
	return func() {
		over()
		<-copied
		req.Follow = false // what was durable before the wait was answered, and not sent yet
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		c.copyTries(ctx, req, names, tell)
	}
}

func (c *cli) copyTries(ctx context.Context, req *blixardv1.WatchEventsRequest, names []string, tell func(*blixardv1.Event) string) {
	stream, err := c.node().WatchEvents(ctx, connect.NewRequest(req))
	if err != nil {
		return
	}
	defer func() { _ = stream.Close() }() // it has ended, or nobody listens any more
	for stream.Receive() {
		e := stream.Msg()
		req.After = proto.Uint64(e.GetSequence())
		if line := tell(e); line != "" && slices.Contains(names, e.GetVm()) {
			c.tell("%s: %s", e.GetVm(), line)
		}
	}
}

// tryOf is what an event says of a try to get a VM up, or nothing.
func tryOf(e *blixardv1.Event) string {
	if e.GetDecision() == "" {
		return ""
	}
	return or(e.GetWhy(), e.GetCause()) + " (" + e.GetDecision() + ")"
}

// endingOf is what an event says of a VM that is to end; that it stays down is no news.
func endingOf(e *blixardv1.Event) string {
	if e.GetTo() == "killing" && e.GetFrom() != "killing" {
		return or(e.GetWhy(), "it did not end") + " (killed)"
	}
	if e.GetDecision() == "stay-down" {
		return ""
	}
	return tryOf(e)
}
