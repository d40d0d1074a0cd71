package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

// How long the daemon may take, and a little more.
const (
	lookTimeout   = time.Minute + 10*time.Second
	changeTimeout = 5*time.Minute + 10*time.Second
)

// The states of an action.
const (
	actionDue    = "due"
	actionWaits  = "waiting"
	actionPerson = "person"
	actionDone   = "done"
	actionFailed = "failed"
	actionTold   = "told"
)

func nodePlanCommand(c *cli) *cobra.Command {
	var fresh, apply bool
	cmd := &cobra.Command{
		Use: "plan [ID...]", Short: "Show what differs from the records, and what is done about it",
		Long: `Show what the daemon found on the host that is not as its records say, and what
it will do about it. Showing it does nothing. STATE says who does it, and when:

  due      the daemon does it by itself, at its next look (every 30s)
  waiting  the daemon does it by itself, after the time in brackets
  person   nothing is done until a person asks for it with --apply
  told     nothing is done; it is only told

With --apply, what waits for a person is done: all of it, or the actions with
the IDs that are named. The exit code is 1 where one of them fails.`,
		Example: "  blixard node plan\n  blixard node plan --fresh -o json |\n    jq '.actions[] | select(.state==\"person\")'\n  blixard node plan --apply\n  blixard node plan --apply vmm/0123456789abcdef/3",
		Args:    between(0, -1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if len(ids) > 0 && !apply {
				return misuse(cmd, "%s takes IDs only with --apply", cmd.CommandPath())
			}
			if apply {
				return c.applyPlan(cmd, ids, fresh)
			}
			p, err := c.askPlan(cmd.Context(), fresh)
			if err != nil {
				return err
			}
			return c.printPlan(cmd, p, false)
		},
	}
	cmd.Flags().BoolVar(&fresh, "fresh", false, "look at the host now, instead of telling of the last look")
	cmd.Flags().BoolVar(&apply, "apply", false, "do what waits for a person")
	return outputs(cmd, "table", "json", "yaml")
}

func (c *cli) askPlan(ctx context.Context, fresh bool) (*blixardv1.Plan, error) {
	defer c.waiting("looking at the host")()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return call(ctx, c.node().NodePlan, &blixardv1.NodePlanRequest{Fresh: fresh})
}

func (c *cli) applyPlan(cmd *cobra.Command, ids []string, fresh bool) error {
	if fresh {
		if _, err := c.askPlan(cmd.Context(), true); err != nil {
			return err
		}
	}
	stop := c.waiting("carrying the plan out")
	ctx, cancel := context.WithTimeout(cmd.Context(), changeTimeout)
	defer cancel()
	p, err := call(ctx, c.node().ApplyPlan, &blixardv1.ApplyPlanRequest{Ids: ids})
	stop()
	if err != nil {
		return err
	}
	if err := c.printPlan(cmd, p, true); err != nil {
		return err
	}
	return failedActions(p, ids)
}

// failedActions is an error where one of those that were asked for failed; the
// plan tells of what the daemon does by itself too.
func failedActions(p *blixardv1.Plan, ids []string) error {
	var failed []string
	for _, a := range p.GetActions() {
		if a.GetState() == actionFailed && (len(ids) == 0 || slices.Contains(ids, a.GetId())) {
			failed = append(failed, a.GetId())
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return invalid("what the reasons say, then blixard node plan", "%s failed: %s", count(len(failed), "action", "actions"), names(failed))
}

func (c *cli) printPlan(cmd *cobra.Command, p *blixardv1.Plan, applied bool) error {
	if handled, err := c.told(cmd, p); handled {
		return err
	}
	if len(p.GetActions()) > 0 {
		t := &table{heads: []string{"ID", "DO", "WHAT", "VM", "STATE", "WHY"}, long: []string{"WHAT", "WHY"}}
		for _, a := range p.GetActions() {
			t.row(a.GetId(), a.GetDo(), a.GetWhat(), a.GetVm(), c.actionState(a), reasonOf(a))
		}
		if err := c.printTable(t); err != nil {
			return err
		}
	}
	for _, line := range c.planWords(p, applied) {
		if err := c.printf("%s\n", hang(line, 0, c.width)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) actionState(a *blixardv1.Action) string {
	if a.GetState() == actionWaits && a.GetAfter() != nil {
		return actionWaits + " (" + c.until(a.GetAfter()) + ")"
	}
	return a.GetState()
}

func reasonOf(a *blixardv1.Action) string {
	if a.GetError() != "" {
		return "failed: " + a.GetError() + "; wanted because " + a.GetWhy()
	}
	return a.GetWhy()
}

func planCounts(p *blixardv1.Plan) map[string]int {
	n := map[string]int{}
	for _, a := range p.GetActions() {
		n[a.GetState()]++
	}
	return n
}

// planWords say what was done, what will be done by itself and when, and what
// waits for a person.
func (c *cli) planWords(p *blixardv1.Plan, applied bool) []string {
	n, out := planCounts(p), []string{}
	say := func(state, words string, args ...any) {
		if n[state] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[state], fmt.Sprintf(words, args...)))
		}
	}
	by := ""
	if !applied {
		by = " by itself, at the last look"
	}
	say(actionDone, "done%s.", by)
	say(actionFailed, "failed%s.", by)
	say(actionDue, "due: done by itself at the next look, within 30s.")
	say(actionWaits, "waiting: done by itself, the first %s.", c.firstAfter(p))
	say(actionPerson, "for a person: blixard node plan --apply, or with the IDs that you want done.")
	say(actionTold, "only told: nothing is done.")
	switch {
	case p.GetAt() == nil:
		return append(out, "The host was not looked at yet; now: blixard node plan --fresh")
	case len(p.GetActions()) == 0 && applied:
		return []string{"Nothing waited for a person."}
	case applied:
		return out
	case len(p.GetActions()) == 0:
		out = append(out, "The host is as the records say.")
	default:
		out = append([]string{"Nothing was done by showing this."}, out...)
	}
	if c.now().Sub(p.GetAt().AsTime()) < time.Second {
		return append(out, "Looked just now.")
	}
	return append(out, "Looked "+c.since(p.GetAt())+" ago; now: blixard node plan --fresh")
}

func (c *cli) firstAfter(p *blixardv1.Plan) string {
	var first *blixardv1.Action
	for _, a := range p.GetActions() {
		if a.GetState() == actionWaits && a.GetAfter() != nil && (first == nil || a.GetAfter().AsTime().Before(first.GetAfter().AsTime())) {
			first = a
		}
	}
	if first == nil {
		return "when its time has come"
	}
	return c.until(first.GetAfter())
}

func nodeRestoreCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore NAME", Short: "Move back what was put into quarantine",
		Long: `Undo a quarantine: what the daemon moved aside under that name, because it was
of Blixard but of no VM that it knows, is moved back to where it was. The names
stand in "blixard events", and below the state folder in "quarantine".

The VM's record doesn't come back with its folder: put back the store that knows
the VM first. A folder that still belongs to nobody is moved aside again after
five minutes.`,
		Example: "  blixard events | grep Quarantined\n  blixard node restore web.0123456789abcdef.20260102T150405.000000000Z",
		Args:    between(1, 1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), changeTimeout)
			defer cancel()
			defer c.waiting("moving %s back", args[0])()
			res, err := call(ctx, c.node().RestoreQuarantined, &blixardv1.RestoreQuarantinedRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if handled, err := c.told(cmd, res); handled {
				return err
			}
			return c.printf("%s: restored\n", args[0])
		},
	}
	return outputs(cmd, "text", "json", "yaml")
}
