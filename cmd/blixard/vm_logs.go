package main

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

func logsCommand(c *cli) *cobra.Command {
	req := &blixardv1.LogsRequest{}
	var raw bool
	cmd := &cobra.Command{
		Use: "logs NAME", Short: "Show the serial console of a VM",
		Long: `Show what a guest wrote on its serial console. Each incarnation has its own log;
without a flag it is the last one's. With -f the log is followed, into the next
incarnations and across restarts of the daemon. Control bytes are made visible,
unless --raw asks for them.

A console is bytes without times, so there is no --since: --tail shows its end,
--incarnation one start, and "blixard events --vm NAME" what happened when.`,
		Example: "  blixard vm logs web\n  blixard vm logs --tail 20 -f web\n  blixard vm logs --previous web\n  blixard vm logs --incarnation 3 --raw web > boot.log",
		Args:    between(1, 1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.GetPrevious() && req.GetIncarnation() != 0 {
				return misuse(cmd, "--previous and --incarnation exclude each other")
			}
			if req.GetTailLines() < 0 {
				return misuse(cmd, "--tail is %d, allowed are whole numbers from 0 on", req.GetTailLines())
			}
			req.Name = args[0]
			return c.logs(cmd.Context(), req, raw)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&req.Follow, "follow", "f", false, "go on with what comes")
	f.BoolVar(&req.Previous, "previous", false, "the incarnation before the last one")
	f.Uint64Var(&req.Incarnation, "incarnation", 0, "the incarnation of this `NUMBER`")
	f.Int32Var(&req.TailLines, "tail", 0, "only the last `LINES`; with -f, and what comes after them")
	f.BoolVar(&raw, "raw", false, "as it came, control bytes and all")
	return cmd
}

// logs shows a console. A follower that loses its daemon goes on in the
// incarnation where it was, after the bytes that were shown of it.
func (c *cli) logs(ctx context.Context, req *blixardv1.LogsRequest, raw bool) error {
	l := &logCopy{c: c, raw: raw, out: c.guestWriter(raw), node: c.node(), req: req}
	var err error
	if !req.GetFollow() {
		_, err = l.copy(ctx)
	} else if _, err = ask(ctx, c, l.node.GetVM, &blixardv1.GetVMRequest{Name: req.GetName()}); err == nil {
		err = c.following(ctx, func() (bool, error) { return l.copy(ctx) })
	}
	return errors.Join(l.out.Flush(), err)
}

// logCopy is where a console's reader stands.
type logCopy struct {
	c     *cli
	raw   bool
	out   guestText
	node  blixardv1connect.NodeClient
	req   *blixardv1.LogsRequest
	shown int64 // up to this byte of the incarnation req.Incarnation
}

func (l *logCopy) copy(ctx context.Context) (came bool, err error) {
	stream, err := l.node.Logs(ctx, connect.NewRequest(l.req))
	if err != nil {
		return false, lost(err)
	}
	defer func() { _ = stream.Close() }() // it has ended, or nobody listens any more
	first := true
	for stream.Receive() {
		n, data, at := stream.Msg().GetIncarnation(), stream.Msg().GetData(), stream.Msg().GetOffset()
		if n != l.req.GetIncarnation() {
			if err := l.head(n, first && l.shown == 0); err != nil {
				return came, err
			}
			l.shown = 0
		}
		old := min(max(l.shown-at, 0), int64(len(data)))
		l.shown = max(l.shown, at+int64(len(data)))
		first, came = false, true
		if _, err := l.out.Write(data[old:]); err != nil {
			return came, err
		}
		if l.req.GetFollow() {
			l.req.Incarnation, l.req.Previous, l.req.TailLines = n, false, 0
		}
	}
	return came, lost(stream.Err())
}

// head tells a person where the next incarnation's console begins.
func (l *logCopy) head(n uint64, first bool) error {
	if first || !l.req.GetFollow() || !l.c.outIs || l.raw {
		return nil
	}
	return l.c.printf("\n--- incarnation %d ---\n", n)
}

// guestText is where a guest's bytes go.
type guestText interface {
	io.Writer
	Flush() error
}

type rawText struct{ io.Writer }

func (rawText) Flush() error { return nil }

func (c *cli) guestWriter(raw bool) guestText {
	if raw {
		return rawText{c.out}
	}
	return &vm.VisibleWriter{To: c.out}
}
