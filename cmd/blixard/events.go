package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

func eventsCommand(c *cli) *cobra.Command {
	req := &blixardv1.WatchEventsRequest{}
	var since time.Duration
	var after uint64
	cmd := &cobra.Command{
		Use: "events", Short: "Show the journal of the node",
		Long: `Show what happened: every turn of every VM, with its reason and who asked for
it. With -f new events follow as they come, across restarts of the daemon; none
is left out and none comes twice. -o json writes one object a line.`,
		Example: "  blixard events --since 10m\n  blixard events -f --vm web\n  blixard events --after 4711 -o json",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("after") {
				req.After = proto.Uint64(after)
			}
			if since > 0 {
				req.Since = timestamppb.New(c.now().Add(-since))
			}
			return c.watch(cmd, req)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&req.Follow, "follow", "f", false, "go on with what comes; alone, only that")
	f.DurationVar(&since, "since", 0, "only what is younger than this, such as 10m")
	f.Uint64Var(&after, "after", 0, "only what comes after this sequence `NUMBER`")
	f.StringVar(&req.Vm, "vm", "", "only this VM's, by `NAME`")
	_ = cmd.RegisterFlagCompletionFunc("vm", c.completeNames(-1))
	return outputs(cmd, "text", "json")
}

// watch follows the journal. A daemon that goes away is waited for, and the
// stream resumed after the last event seen.
func (c *cli) watch(cmd *cobra.Command, req *blixardv1.WatchEventsRequest) error {
	ctx, node := cmd.Context(), c.node()
	if !req.GetFollow() {
		if req.After == nil && req.GetSince() == nil {
			req.After = proto.Uint64(0)
		}
		_, err := c.copyEvents(ctx, cmd, node, req)
		return err
	}
	s, err := ask(ctx, c, node.NodeStatus, &blixardv1.NodeStatusRequest{}) // no daemon at all is an error, not waited for
	if err != nil {
		return err
	}
	if req.After == nil && req.GetSince() == nil {
		req.After = proto.Uint64(s.GetLastEvent())
	}
	return c.following(ctx, func() (bool, error) { return c.copyEvents(ctx, cmd, node, req) })
}

// copyEvents shows one stream and keeps in req where the next one goes on.
func (c *cli) copyEvents(
	ctx context.Context, cmd *cobra.Command, node blixardv1connect.NodeClient, req *blixardv1.WatchEventsRequest,
) (came bool, err error) {
	stream, err := node.WatchEvents(ctx, connect.NewRequest(req))
	if err != nil {
		return false, lost(err)
	}
	defer func() { _ = stream.Close() }() // it has ended, or nobody listens any more
	whys := map[string]string{}           // of each VM the last one: what leads through several phases is told once
	for stream.Receive() {
		e := stream.Msg()
		again := e.GetWhy() != "" && e.GetWhy() == whys[e.GetVm()]
		whys[e.GetVm()] = e.GetWhy()
		if err := c.printEvent(cmd, e, again); err != nil {
			return true, err
		}
		came, req.After, req.Since = true, proto.Uint64(e.GetSequence()), nil
	}
	return came, lost(stream.Err())
}

// printEvent shows one line; again: its reason was that of the line before.
func (c *cli) printEvent(cmd *cobra.Command, e *blixardv1.Event, again bool) error {
	if outputOf(cmd) == "json" {
		return c.printJSONLine(e)
	}
	move := ""
	if e.GetTo() != "" && e.GetTo() != e.GetFrom() {
		move = fmt.Sprintf(" %s → %s", or(e.GetFrom(), "new"), e.GetTo())
	}
	cause, why := e.GetCause(), e.GetWhy()
	if strings.HasPrefix(why, cause+":") {
		cause = ""
	}
	if again && move != "" {
		why = ""
	}
	var more []string
	for _, one := range []string{cause, e.GetDecision(), why} {
		if one != "" {
			more = append(more, one)
		}
	}
	if by := e.GetBy(); by != "" && !strings.HasSuffix(e.GetWhy(), " by "+by) {
		more = append(more, "by "+by)
	}
	what := vm.OneLine(fmt.Sprintf("%s %s%s: %s", or(e.GetVm(), "node"), e.GetKind(), move, strings.Join(more, ", ")), 0)
	line := fmt.Sprintf("%s %6d %s", e.GetAt().AsTime().Local().Format("15:04:05.000"), e.GetSequence(), strings.TrimSuffix(what, ":"))
	indent := len("15:04:05.000 ") + max(6, len(strconv.FormatUint(e.GetSequence(), 10))) + 1
	return c.print([]byte(hang(line, indent, c.width) + "\n"))
}
