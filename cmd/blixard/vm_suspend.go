package main

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

func suspendCommand(c *cli) *cobra.Command {
	var a aim
	cmd := &cobra.Command{
		Use: "suspend NAME...", Short: "Save VMs to the disk, and give their memory back",
		Long: `Suspend VMs: what a guest has in its memory is written to the disk, and its VMM
ends. It goes on where it was with vm resume or vm start, also after a reboot or
a power cut. The disk needs room for up to the guest's memory; a guest that
can't be saved goes on. What is reserved for the VM stays reserved.`,
		Example: "  blixard vm suspend web\n  blixard vm suspend --wait web db",
	}
	a.flags(cmd, "suspended")
	return asking(c, cmd, &a,
		func(name string) *blixardv1.SuspendVMRequest { return &blixardv1.SuspendVMRequest{Name: name} },
		func() func(context.Context, *connect.Request[blixardv1.SuspendVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().SuspendVM
		})
}

func resumeCommand(c *cli) *cobra.Command {
	var a aim
	cmd := &cobra.Command{
		Use: "resume NAME...", Short: "Let paused or suspended VMs go on",
		Long: `Resume VMs that were paused or suspended. A saved guest that can't be loaded, as
its file is damaged or its hardware was changed meanwhile, boots afresh, and vm
show says why.`,
		Example: "  blixard vm resume web\n  blixard vm resume --wait web",
	}
	a.flags(cmd, "running")
	return asking(c, cmd, &a,
		func(name string) *blixardv1.ResumeVMRequest { return &blixardv1.ResumeVMRequest{Name: name} },
		func() func(context.Context, *connect.Request[blixardv1.ResumeVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().ResumeVM
		})
}
