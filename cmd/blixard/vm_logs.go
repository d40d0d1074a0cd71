package main

import (
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func logsCommand(c *cli) *cobra.Command {
	req := &blixardv1.LogsRequest{}
	var raw bool
	cmd := &cobra.Command{
		Use: "logs NAME", Short: "Show the serial console of a VM",
		Long: `Show what a guest wrote on its serial console. Each incarnation has its own log;
without a flag it is the last one's. With -f the log is followed, into the next
incarnations too. Control bytes are made visible, unless --raw asks for them.`,
		Example: "  blixard vm logs web\n  blixard vm logs -f web\n  blixard vm logs --previous web\n  blixard vm logs --incarnation 3 --raw web > boot.log",
		Args:    between(1, 1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.GetPrevious() && req.GetIncarnation() != 0 {
				return misuse(cmd, "--previous and --incarnation exclude each other")
			}
			req.Name = args[0]
			stream, err := c.node().Logs(cmd.Context(), connect.NewRequest(req))
			if err != nil {
				return lost(err)
			}
			defer stream.Close()
			return c.copyLogs(stream, raw)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&req.Follow, "follow", "f", false, "go on with what comes")
	f.BoolVar(&req.Previous, "previous", false, "the incarnation before the last one")
	f.Uint64Var(&req.Incarnation, "incarnation", 0, "the incarnation of this `NUMBER`")
	f.Int64Var(&req.TailBytes, "tail", 0, "only the last `BYTES`")
	f.BoolVar(&raw, "raw", false, "as it came, control bytes and all")
	return cmd
}

func (c *cli) copyLogs(stream *connect.ServerStreamForClient[blixardv1.LogsChunk], raw bool) error {
	out := c.guestWriter(raw)
	incarnation := uint64(0)
	for stream.Receive() {
		chunk := stream.Msg()
		if n := chunk.GetIncarnation(); n != incarnation && incarnation != 0 && c.outIs && !raw {
			if err := c.printf("\n--- incarnation %d ---\n", n); err != nil {
				return err
			}
		}
		incarnation = chunk.GetIncarnation()
		if _, err := out.Write(chunk.GetData()); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return lost(stream.Err())
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
