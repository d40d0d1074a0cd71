package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func crashesCommand(c *cli) *cobra.Command {
	var limit int32
	var b bundles
	cmd := &cobra.Command{
		Use: "crashes NAME [NUMBER]", Short: "Show how a VM died, and what was decided",
		Long: `Show the crash history of a VM, newest first. With a number: that crash with its
evidence, what its probes and its VMM said last, and the ends of both logs.

Of each death a bundle is kept on the node: the ends of the logs, what the
daemon had seen, and the guest's memory where the spec asks for it (dump).
--export writes one as a tar archive into a new file, - is standard output; it
may hold all secrets of the guest. --prune removes bundles, of one crash, of a
VM or of --all VMs; the records of the deaths stay. The daemon's configuration
bounds what bundles hold (crashes), and they go with their VM when it is
deleted.`,
		Example: "  blixard vm crashes web\n  blixard vm crashes web 3\n  blixard vm crashes web 3 --export web-3.tar\n" +
			"  blixard vm crashes web 3 --export - | tar tvf -\n  blixard vm crashes web 3 --prune\n  blixard vm crashes --all --prune --older-than 7d",
		Args: between(0, 2), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := b.check(cmd, args); err != nil {
				return err
			}
			switch {
			case b.prune:
				return c.pruneCrashes(cmd, args, b)
			case b.export != "":
				return c.exportCrash(cmd, args[0], args[1], b.export)
			case len(args) == 2:
				return c.oneCrash(cmd, args[0], args[1])
			}
			return c.crashList(cmd, args[0], limit)
		},
	}
	f := cmd.Flags()
	f.Int32Var(&limit, "limit", 20, "at most this many")
	f.StringVar(&b.export, "export", "", "write the bundle of the crash to a new `FILE`, - for standard output")
	f.BoolVar(&b.prune, "prune", false, "remove bundles")
	f.StringVar(&b.olderThan, "older-than", "", "with --prune: only those of deaths before this `TIME`, such as 7d or 12h")
	f.BoolVar(&b.all, "all", false, "with --prune: of all VMs")
	return outputs(cmd, "table", "wide", "json", "yaml")
}

func (c *cli) crashList(cmd *cobra.Command, name string, limit int32) error {
	res, err := ask(cmd.Context(), c, c.node().ListCrashes, &blixardv1.ListCrashesRequest{Name: name, Limit: limit})
	if err != nil {
		return err
	}
	if handled, err := c.told(cmd, res); handled {
		return err
	}
	return c.crashTable(res, outputOf(cmd) == "wide")
}

func (c *cli) crashTable(res *blixardv1.ListCrashesResponse, wide bool) error {
	if len(res.GetCrashes()) == 0 && c.outIs {
		return c.printf("No crash is on record.\n")
	}
	t := &table{heads: []string{"NUMBER", "AGE", "INC", "CAUSE", "SURE", "UPTIME", "CHARGED", "DECISION", "BUNDLE", "EVIDENCE"}, long: []string{"EVIDENCE", "WHY"}}
	if wide {
		t.heads = append(t.heads, "WHY")
	}
	for _, one := range res.GetCrashes() {
		row := []string{
			number(one.GetNumber()), c.since(one.GetAt()), number(one.GetIncarnation()), one.GetCause(), one.GetConfidence(),
			span(one.GetUptime()), yes(one.GetDecision().GetCharged()), verdict(one.GetDecision()), c.bundleCell(one), c.short(one.GetEvidence(), wide || !c.outIs),
		}
		if wide {
			row = append(row, one.GetDecision().GetWhy())
		}
		t.row(row...)
	}
	return c.printTable(t)
}

// verdict is what was decided, in a word.
func verdict(d *blixardv1.Decision) string {
	return policies.Verdict(vm.Decision{Do: vm.Do(d.GetDo()), After: d.GetAfter().AsDuration(), Remedy: vm.Remedy(d.GetRemedy())})
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// short keeps a cell of the narrow table from pushing the lines over the edge.
func (c *cli) short(s string, whole bool) string {
	if whole {
		return s
	}
	const least, others = 60, 100 // columns
	return cut(cell(s), max(least, c.width-others))
}

func (c *cli) oneCrash(cmd *cobra.Command, name, text string) error {
	n, err := crashNumber(cmd, text)
	if err != nil {
		return err
	}
	res, err := ask(cmd.Context(), c, c.node().GetCrash, &blixardv1.GetCrashRequest{Name: name, Number: n})
	if err != nil {
		return err
	}
	if handled, err := c.told(cmd, res); handled {
		return err
	}
	return c.crashBlock(name, res)
}

func (c *cli) crashBlock(name string, res *blixardv1.GetCrashResponse) error {
	one, b := res.GetCrash(), &block{}
	b.add("Crash", "%d of %s, incarnation %d", one.GetNumber(), name, one.GetIncarnation())
	at, uptime := "At", "Uptime"
	if one.GetCause() == string(vm.CauseUnknown) && one.GetEvidence() == policies.EndedUnseen {
		at, uptime = "Found at", "Found after"
	}
	b.add(at, "%s", c.moment(one.GetAt()))
	b.add("Cause", "%s%s%s", one.GetCause(), ended(one.ExitCode, one.GetSignal()), sure(one.GetConfidence()))
	b.add("Evidence", "%s", one.GetEvidence())
	used := account(one)
	b.addIf(used != "", "Used", "%s", used)
	b.add(uptime, "%s, the guest had answered: %s", or(span(one.GetUptime()), "0ms"), yes(one.GetReady()))
	b.add("Decision", "%s, charged: %s, rule: %s", verdict(one.GetDecision()), yes(one.GetDecision().GetCharged()), one.GetDecision().GetRule())
	b.add("Why", "%s", one.GetDecision().GetWhy())
	c.evidenceBlock(b, res)
	if err := c.print(b.bytes(c)); err != nil {
		return err
	}
	for _, tail := range []struct {
		name string
		text []byte
	}{{"console", res.GetConsoleTail()}, {"VMM", res.GetVmmTail()}} {
		if len(tail.text) == 0 {
			continue
		}
		if err := c.printf("\nLast of the %s:\n%s\n", tail.name, tail.text); err != nil {
			return err
		}
	}
	return nil
}

func crashNumber(cmd *cobra.Command, text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, misuse(cmd, "%.60q is no number of a crash", text)
	}
	return n, nil
}
