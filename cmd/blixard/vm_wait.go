package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func waitCommand(c *cli) *cobra.Command {
	var wanted string
	var timeout time.Duration
	var after uint64
	var quiet bool
	cmd := &cobra.Command{
		Use: "wait NAME", Short: "Wait until a VM is in a phase or of a health",
		Long: `Wait until a VM is as asked. Conditions are phase=PHASE and health=HEALTH; both,
with a comma, must hold at once. phase=removed waits until the VM is gone.
When the time is over, the exit code is 5.

` + strings.Join(wrap("Phases: "+strings.Join(phases(), " "), helpWidth), "\n") + `
Health: ` + strings.Join(healths(), " "),
		Example: "  blixard vm wait web --for health=healthy\n  blixard vm wait web --for phase=running,health=healthy --timeout 2m",
		Args:    between(1, 1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := waitRequest(cmd, args[0], wanted)
			if err != nil {
				return err
			}
			req.AfterRevision = after
			stop := c.watchAim(cmd, args, aim{phase: req.GetPhase(), quiet: quiet})
			v, err := c.await(cmd.Context(), req, timeout)
			stop()
			if err != nil {
				return err
			}
			return c.printChanged(cmd, v)
		},
	}
	cmd.Flags().StringVar(&wanted, "for", "", "the `CONDITION`: phase=PHASE, health=HEALTH, or both with a comma")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long; then exit code 5")
	cmd.Flags().Uint64Var(&after, "after", 0, "count only states after this `REVISION` (see vm show -o json)")
	quietFlag(cmd, &quiet)
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(conditions(), cobra.ShellCompDirectiveNoFileComp))
	return outputs(cmd, "text", "json", "yaml", "name")
}

func phases() []string {
	var out []string
	for _, p := range vm.AllPhases.Each() {
		out = append(out, p.String())
	}
	return append(out, removed)
}

func healths() []string {
	var out []string
	for h := vm.HealthUnknown; h <= vm.Unhealthy; h++ {
		out = append(out, h.String())
	}
	return out
}

func conditions() []string {
	var out []string
	for _, p := range phases() {
		out = append(out, "phase="+p)
	}
	for _, h := range healths() {
		out = append(out, "health="+h)
	}
	return out
}

func waitRequest(cmd *cobra.Command, name, wanted string) (*blixardv1.WaitVMRequest, error) {
	if wanted == "" {
		return nil, misuse(cmd, "%s needs --for, such as --for phase=running", cmd.CommandPath())
	}
	req := &blixardv1.WaitVMRequest{Name: name}
	for one := range strings.SplitSeq(wanted, ",") {
		key, value, _ := strings.Cut(one, "=")
		switch {
		case key == "phase" && contains(phases(), value):
			req.Phase = value
		case key == "health" && contains(healths(), value):
			req.Health = value
		case key == "phase":
			return nil, misuse(cmd, "%q is no phase; there are %s", value, strings.Join(phases(), ", "))
		case key == "health":
			return nil, misuse(cmd, "%q is no health; there are %s", value, strings.Join(healths(), ", "))
		default:
			return nil, misuse(cmd, "%q is no condition; there are phase=PHASE and health=HEALTH", one)
		}
	}
	return req, nil
}

func contains(all []string, s string) bool {
	for _, one := range all {
		if one == s {
			return true
		}
	}
	return false
}

// await is one WaitVM, with a word to the person.
func (c *cli) await(ctx context.Context, req *blixardv1.WaitVMRequest, timeout time.Duration) (*blixardv1.VM, error) {
	req.Timeout = durationpb.New(timeout)
	what := strings.TrimSpace(req.GetPhase() + " " + req.GetHealth())
	defer c.waiting("waiting until %s is %s, at most %s", req.GetName(), what, age(timeout))()
	ctx, cancel := context.WithTimeout(ctx, timeout+callTimeout) // the daemon ends the wait, this is for one that hangs
	defer cancel()
	v, err := call(ctx, c.node().WaitVM, req)
	if req.GetPhase() == removed && (err == nil || gone(err)) {
		return &blixardv1.VM{Name: req.GetName(), Phase: removed}, nil // gone before we asked is gone
	}
	return v, err
}

// arrive waits until the asked change is done.
func (c *cli) arrive(ctx context.Context, v *blixardv1.VM, a aim) (*blixardv1.VM, error) {
	if v.GetPhase() == a.phase {
		return v, nil
	}
	return c.await(ctx, &blixardv1.WaitVMRequest{Name: v.GetName(), Phase: a.phase, AfterRevision: v.GetRevision()}, a.timeout)
}

func gone(err error) bool {
	if errors.Is(err, errUnreachable) {
		return false
	}
	return messages.RefusalOf(err).Code == vm.NotFound
}
