package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const repairTimeout = 10*time.Minute + 10*time.Second

func nodeRepairCommand(c *cli) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "repair", Short: "End safe mode: write the store anew from what there is",
		Long: `End safe mode. The damaged store is moved aside and kept; a new one is written
from the VMs that run and from the manifests in the VMs' folders. VMs that run
are not touched. What only the store knew is lost: who was wanted up or down,
crash histories, and the journal.

It first shows what it will do, and asks. Without a terminal it needs --yes.`,
		Example: "  blixard node repair\n  blixard node repair --yes",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.beforeRepair(cmd, yes); err != nil {
				return err
			}
			return c.repair(cmd)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return outputs(cmd, "text", "json", "yaml")
}

// beforeRepair shows what a repair will do, and asks for it.
func (c *cli) beforeRepair(cmd *cobra.Command, yes bool) error {
	s, err := ask(cmd.Context(), c, c.node().NodeStatus, &blixardv1.NodeStatusRequest{})
	if err != nil {
		return err
	}
	if s.GetSafeMode() == "" {
		return &vm.Refusal{
			Code: vm.WrongPhase, Why: "the node is not in safe mode, there is nothing to repair", Try: "blixard node status, blixard node doctor",
		}
	}
	vms, err := ask(cmd.Context(), c, c.node().ListVMs, &blixardv1.ListVMsRequest{})
	if err != nil {
		return err
	}
	if outputOf(cmd) == "text" {
		if err := c.print(c.repairBlock(s, vms).bytes(c)); err != nil {
			return err
		}
	}
	switch {
	case yes:
		return nil
	case !c.inIs:
		return misuse(cmd, "nobody can be asked without a terminal, and nothing was done; --yes goes ahead")
	}
	return c.confirm("Repair the node now?")
}

func (c *cli) repairBlock(s *blixardv1.NodeStatusResponse, vms *blixardv1.ListVMsResponse) *block {
	b := &block{alarms: map[string]bool{safeMode: true}}
	b.add(safeMode, "%s", s.GetSafeMode())
	b.addAll("Will do", []string{
		"- what is left of the store in " + s.GetStateDir() + " is moved aside, and kept",
		"- a new one is written from the VMs that run and the manifests in the VMs' folders",
		"- safe mode ends: from then on VMs are started, restarted and deleted again",
	})
	var up, rest []string
	for _, v := range vms.GetVms() {
		if v.GetPid() != 0 {
			up = append(up, v.GetName())
		} else {
			rest = append(rest, v.GetName())
		}
	}
	b.add("VMs", "%d known; %d run and go on running: %s", len(vms.GetVms()), len(up), or(names(up), "none"))
	b.addIf(len(rest) > 0, "", "%d don't run: %s", len(rest), names(rest))
	b.add("Is lost", "what only the damaged store knew: crash histories, the journal, who was wanted up of those that don't run, VMs that were never started, and specs that were applied and not started since")
	return b
}

// confirm asks a person; all but a yes is a no.
func (c *cli) confirm(question string) error {
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(io.LimitReader(c.in, 256)).ReadString('\n')
	if err != nil {
		fmt.Fprintln(c.err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return invalid("y, or --yes", "nothing was done: the answer was no")
}

// answersAgain waits until the node has begun anew, so that whoever asks next
// finds it.
func (c *cli) answersAgain(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 20 { // it takes tenths of a second; whoever comes before that is refused, no more
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s, err := call(ctx, c.node().NodeStatus, &blixardv1.NodeStatusRequest{})
		if err == nil && s.GetSafeMode() == "" {
			return
		}
	}
}

func (c *cli) repair(cmd *cobra.Command) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), repairTimeout)
	defer cancel()
	stop := c.waiting("repairing the store")
	res, err := call(ctx, c.node().NodeRepair, &blixardv1.NodeRepairRequest{})
	stop()
	if err != nil {
		return err
	}
	c.answersAgain(ctx)
	if handled, err := c.told(cmd, res); handled {
		return err
	}
	b := &block{}
	b.add("Repaired", "%s in the new store", count(int(res.GetVms()), "VM is", "VMs are"))
	aside := res.GetAside()
	b.addIf(aside != "", "Aside", "%s holds the damaged one; remove it when nothing is missed", aside)
	lines := slices.Clone(res.GetLines())
	for i := range lines {
		lines[i] = "- " + lines[i]
	}
	b.addAll("To know", lines)
	return c.print(b.bytes(c))
}
