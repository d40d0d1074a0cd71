package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

func listCommand(c *cli) *cobra.Command {
	var bare bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the VMs",
		Long: `List the VMs of the node, one a line. SINCE is the time in the phase. RESTARTS
counts the restarts that supervision made; in brackets, the failures of now
against the crash budget.

CPUS and MEMORY are of what runs; a changed spec that waits for the next start
is told of in REASON.

-o wide has the daemon look, and shows use beside reservation: CPU% of one
processor; USED is memory that counts against the reservation, of that; DISK is
allocated, with a saved guest, of what it may grow to; IO is read and written.
"blixard top" follows them. -o json tells of the daemon's last look.`,
		Example: "  blixard vm list\n  blixard vm ls -o wide\n  blixard vm list -o json |\n    jq -r '.vms[] | select(.phase==\"failed\") | .name'",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if outputOf(cmd) == "wide" {
				c.lookNow(cmd.Context())
			}
			res, err := ask(cmd.Context(), c, c.node().ListVMs, &blixardv1.ListVMsRequest{})
			if err != nil {
				return err
			}
			return c.printVMs(outputOf(cmd), bare, res)
		},
	}
	cmd.Flags().BoolVar(&bare, "no-headers", false, "leave the line of the column names out")
	return outputs(cmd, "table", "wide", "json", "yaml", "name")
}

func (c *cli) printVMs(format string, bare bool, res *blixardv1.ListVMsResponse) error {
	switch format {
	case "json":
		return c.printJSON(res)
	case "yaml":
		return c.printYAML(res)
	case "name":
		var names strings.Builder
		for _, v := range res.GetVms() {
			fmt.Fprintln(&names, v.GetName())
		}
		return c.printf("%s", names.String())
	}
	if len(res.GetVms()) == 0 && c.outIs {
		return c.printf("There are no VMs yet. Make one: blixard vm create web --start\n")
	}
	wide := format == "wide"
	t := &table{bare: bare, heads: []string{"NAME", "PHASE", "HEALTH", "SINCE", "RESTARTS", "CPUS", "MEMORY"}}
	if wide {
		t.heads = append(t.heads, "CPU%", "USED", "DISK", "IO", "INTENT", "INC", "PID", "LAUNCHER", "LAST-EXIT", "REASON")
		t.long = []string{"REASON"}
	}
	queued := 0
	for _, v := range res.GetVms() {
		t.row(c.listRow(v, wide)...)
		if v.GetQueued() {
			queued++
		}
	}
	if err := c.printTable(t); err != nil || queued == 0 || !c.outIs {
		return err
	}
	return c.printf("%s after a boot of the node: blixard node status\n", count(queued, "VM waits for its turn", "VMs wait for their turn"))
}

func (c *cli) listRow(v *blixardv1.VM, wide bool) []string {
	runs := v.GetSpec()
	if v.GetRuns() != nil {
		runs = v.GetRuns()
	}
	row := []string{
		v.GetName(), v.GetPhase(), v.GetHealth(), c.since(v.GetPhaseSince()), restarts(v.GetRestarts()),
		strconv.Itoa(int(runs.GetCpus())), size(runs.GetMemoryBytes()),
	}
	if !wide {
		return row
	}
	reason := v.GetReason()
	if v.GetSpecPending() {
		reason = strings.TrimPrefix(reason+"; "+specWaits, "; ")
	}
	row = append(row, cpuCell(v), memoryCell(v), diskCell(v), ioCell(v))
	return append(row, v.GetIntent(), number(v.GetIncarnation()), number(v.GetPid()), v.GetLauncher(), v.GetLastExit().GetCause(), reason)
}

func restarts(r *blixardv1.Restarts) string {
	if r.GetInWindow() == 0 {
		return strconv.FormatUint(r.GetCount(), 10)
	}
	return fmt.Sprintf("%d (%d/%d)", r.GetCount(), r.GetInWindow(), r.GetBudget())
}

// number is empty for zero, which stands for "none".
func number[T ~int32 | ~uint64](n T) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}
