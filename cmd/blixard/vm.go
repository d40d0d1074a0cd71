package main

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

func vmCommand(c *cli) *cobra.Command {
	return group(
		&cobra.Command{Use: "vm", Short: "Create, watch and change virtual machines"},
		createCommand(c), startCommand(c), stopCommand(c), restartCommand(c), pauseCommand(c), resumeCommand(c), suspendCommand(c),
		deleteCommand(c), resetCommand(c), listCommand(c), showCommand(c), explainCommand(c), waitCommand(c),
		logsCommand(c), consoleCommand(c), crashesCommand(c), dumpCommand(c), execCommand(c),
	)
}

// removed is what `vm wait` calls a VM that is gone.
const removed = "removed"

// glance is how long a VM is waited for when others have used the time up: it
// may have arrived meanwhile.
const glance = 100 * time.Millisecond

// aim is the state that an asked change leads to, for --wait.
type aim struct {
	phase   string
	wait    bool
	quiet   bool
	timeout time.Duration
}

func (a *aim) flags(cmd *cobra.Command, phase string) {
	a.phase = phase
	cmd.Flags().BoolVar(&a.wait, "wait", false, "wait until the VM is "+phase+"; several are asked first, then waited for")
	cmd.Flags().DurationVar(&a.timeout, "timeout", 2*time.Minute, "with --wait: how long for all of them; then exit code 5")
	quietFlag(cmd, &a.quiet)
}

func quietFlag(cmd *cobra.Command, quiet *bool) {
	cmd.Flags().BoolVarP(quiet, "quiet", "q", false, "don't tell on standard error of tries that fail while it is waited, as with -o json")
}

// watchAim tells of the tries while a command waits, where anybody wants to hear of them.
func (c *cli) watchAim(cmd *cobra.Command, names []string, a aim) (stop func()) {
	switch {
	case a.quiet || outputOf(cmd) == "json": // there, standard error is a refusal as JSON, and nothing else
		return func() {}
	case a.phase == "stopped" || a.phase == removed:
		return c.watchTries(cmd.Context(), names, endingOf)
	}
	return c.watchTries(cmd.Context(), names, tryOf)
}

// change carries one asked change out for each name. All are asked before the
// first is waited for, and the timeout is that of all of them together.
func (c *cli) change(cmd *cobra.Command, names []string, a aim, do func(name string) (*blixardv1.VM, error)) error {
	if !a.wait {
		return c.each(cmd, names, func(name string) error {
			v, err := do(name)
			if err != nil {
				return err
			}
			return c.printChanged(cmd, v)
		})
	}
	asked, began := make([]*blixardv1.VM, 0, len(names)), c.now()
	defer c.watchAim(cmd, names, a)()
	err := c.each(cmd, names, func(name string) error {
		v, err := do(name)
		if err == nil {
			asked = append(asked, v)
		}
		return err
	})
	if len(asked) == 0 || errors.Is(err, errUnreachable) {
		return err
	}
	return c.worse(cmd, err, c.arriveAll(cmd, asked, a, began))
}

func (c *cli) arriveAll(cmd *cobra.Command, asked []*blixardv1.VM, a aim, began time.Time) error {
	byName, names, limit := map[string]*blixardv1.VM{}, make([]string, 0, len(asked)), a.timeout
	for _, v := range asked {
		byName[v.GetName()] = v
		names = append(names, v.GetName())
	}
	return c.each(cmd, names, func(name string) error {
		a.timeout = max(limit-c.now().Sub(began), min(limit, glance))
		v, err := c.arrive(cmd.Context(), byName[name], a)
		if err != nil {
			return err
		}
		if a.phase == removed && outputOf(cmd) == "text" { // what is gone has no phase of its own
			return c.printf("%s: %s\n", name, removed)
		}
		return c.printChanged(cmd, v)
	})
}

func (c *cli) printChanged(cmd *cobra.Command, v *blixardv1.VM) error {
	switch outputOf(cmd) {
	case "json":
		return c.printJSON(v)
	case "yaml":
		return c.printYAML(v)
	case "name":
		return c.printf("%s\n", v.GetName())
	}
	return c.printf("%s: %s\n", v.GetName(), v.GetPhase())
}

// asking is a command that sends one request for each name.
func asking[Req any](
	c *cli, cmd *cobra.Command, a *aim, build func(name string) *Req,
	send func() func(context.Context, *connect.Request[Req]) (*connect.Response[blixardv1.VM], error),
) *cobra.Command {
	cmd.Args = between(1, -1)
	cmd.ValidArgsFunction = c.completeNames(-1)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		f := send()
		return c.change(cmd, names, *a, func(name string) (*blixardv1.VM, error) {
			return ask(cmd.Context(), c, f, build(name))
		})
	}
	return outputs(cmd, "text", "json", "yaml", "name")
}

func startCommand(c *cli) *cobra.Command {
	var a aim
	cmd := &cobra.Command{
		Use: "start NAME...", Short: "Start VMs, and keep them running",
		Long: `Start VMs. The wish is durable when the command returns; from then on the VM is
kept running by its restart policy. With --wait the command returns when the
guest has answered, and fails when the VM is given up.`,
		Example: "  blixard vm start web\n  blixard vm start --wait --timeout 1m web db",
	}
	a.flags(cmd, "running")
	return asking(c, cmd, &a,
		func(name string) *blixardv1.StartVMRequest { return &blixardv1.StartVMRequest{Name: name} },
		func() func(context.Context, *connect.Request[blixardv1.StartVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().StartVM
		})
}

func stopCommand(c *cli) *cobra.Command {
	var a aim
	var force bool
	cmd := &cobra.Command{
		Use: "stop NAME...", Short: "Stop VMs, and keep them stopped",
		Long: `Stop VMs: the guest is asked to power off, and killed when its stop timeout has
passed. It stays down until somebody starts it. With --force it is killed at
once.`,
		Example: "  blixard vm stop web\n  blixard vm stop --wait web db\n  blixard vm stop --force web",
	}
	cmd.Flags().BoolVar(&force, "force", false, "kill the VM instead of asking the guest")
	a.flags(cmd, "stopped")
	return asking(c, cmd, &a,
		func(name string) *blixardv1.StopVMRequest { return &blixardv1.StopVMRequest{Name: name, Force: force} },
		func() func(context.Context, *connect.Request[blixardv1.StopVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().StopVM
		})
}

func restartCommand(c *cli) *cobra.Command {
	var a aim
	cmd := &cobra.Command{
		Use: "restart NAME...", Short: "Stop VMs and start them again",
		Long:    "Restart VMs: the guest is asked to power off, then the VM is started anew.\nThis is not charged to its crash budget.",
		Example: "  blixard vm restart --wait web",
	}
	a.flags(cmd, "running")
	return asking(c, cmd, &a,
		func(name string) *blixardv1.RestartVMRequest { return &blixardv1.RestartVMRequest{Name: name} },
		func() func(context.Context, *connect.Request[blixardv1.RestartVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().RestartVM
		})
}

func pauseCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "pause NAME...", Short: "Make VMs stand still",
		Long:    "Pause VMs: their processors stop, their memory stays. Health checks rest too.",
		Example: "  blixard vm pause web",
	}
	return asking(c, cmd, &aim{},
		func(name string) *blixardv1.PauseVMRequest { return &blixardv1.PauseVMRequest{Name: name} },
		func() func(context.Context, *connect.Request[blixardv1.PauseVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().PauseVM
		})
}

func deleteCommand(c *cli) *cobra.Command {
	var a aim
	var force bool
	cmd := &cobra.Command{
		Use: "delete NAME...", Aliases: []string{"rm"}, Short: "Delete VMs with the disks that were made for them",
		Long: `Delete VMs, their records, and the disks that were made for them. Disks that a
spec names by path stay. A VM that is up is refused; --force ends it first. One
that is suspended is down: its saved memory goes with its disks.`,
		Example: "  blixard vm delete web\n  blixard vm delete --force --wait web",
	}
	cmd.Flags().BoolVar(&force, "force", false, "delete even a VM that is up")
	a.flags(cmd, removed)
	return asking(c, cmd, &a,
		func(name string) *blixardv1.DeleteVMRequest {
			return &blixardv1.DeleteVMRequest{Name: name, Force: force}
		},
		func() func(context.Context, *connect.Request[blixardv1.DeleteVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().DeleteVM
		})
}

func resetCommand(c *cli) *cobra.Command {
	var a aim
	cmd := &cobra.Command{
		Use: "reset NAME...", Short: "Forgive the crashes of VMs that were given up",
		Long:    "Forgive the crashes of VMs: the crash budget and the delay start anew, and a VM\nthat was given up (phase failed) is started again if it is wanted up.",
		Example: "  blixard vm reset web",
	}
	a.flags(cmd, "running")
	return asking(c, cmd, &a,
		func(name string) *blixardv1.ResetVMRequest { return &blixardv1.ResetVMRequest{Name: name} },
		func() func(context.Context, *connect.Request[blixardv1.ResetVMRequest]) (*connect.Response[blixardv1.VM], error) {
			return c.node().ResetVM
		})
}
