package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
)

const defaultDump = 5 * time.Minute

func dumpCommand(c *cli) *cobra.Command {
	req := &blixardv1.DumpVMRequest{}
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "dump NAME", Short: "Write the memory of a guest to the node's disk",
		Long: `Write the memory of a running or paused guest to the node's disk, and show where
it is. The guest stands still meanwhile, about a second for each GiB, and goes
on as it was; its probes don't count for so long. kdump is compressed, and read
by crash; elf is as large as the memory, and read by gdb too.

Only root can read the file, as a guest's memory holds its secrets. It is
written over by the next dump of the VM, and goes with the VM when that is
deleted. For dumps of guests that panic or hang see dump in the spec, and vm
crashes.`,
		Example: "  blixard vm dump web\n  blixard vm dump web --format elf --timeout 10m",
		Args:    between(1, 1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f := req.GetFormat(); f != "kdump" && f != "elf" {
				return misuse(cmd, "%.40q is no format of a dump, which are kdump and elf", f)
			}
			req.Name, req.Timeout = args[0], durationpb.New(timeout)
			defer c.waiting("writing the memory of %s to the disk", args[0])()
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout+callTimeout)
			defer cancel()
			res, err := call(ctx, c.node().DumpVM, req)
			if err != nil {
				return err
			}
			if outputOf(cmd) == "json" {
				return c.printJSON(res)
			}
			return c.printf("%s (%s, %s)\n", res.GetPath(), res.GetFormat(), size(res.GetBytes()))
		},
	}
	cmd.Flags().StringVar(&req.Format, "format", "kdump", "kdump or elf")
	cmd.Flags().DurationVar(&timeout, "timeout", defaultDump, "how long it may take; then exit code 5")
	return outputs(cmd, "text", "json")
}
