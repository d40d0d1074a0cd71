package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

func explainCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain NAME", Short: "Say why a VM is in its state, and what happens next",
		Long: `Explain a VM: why it is in its state, what was tried, what happens next and
when, which rule decided, and what you could do.`,
		Example: "  blixard vm explain web",
		Args:    between(1, 1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := ask(cmd.Context(), c, c.node().ExplainVM, &blixardv1.ExplainVMRequest{Name: args[0]})
			if err != nil {
				return err
			}
			switch outputOf(cmd) {
			case "json":
				return c.printJSON(e)
			case "yaml":
				return c.printYAML(e)
			}
			return c.print(c.explained(e).bytes(c))
		},
	}
	return outputs(cmd, "text", "json", "yaml")
}

func (c *cli) explained(e *blixardv1.Explanation) *block {
	b := &block{}
	b.add("State", "%s", e.GetState())
	b.addIf(e.GetSince() != nil, "Since", "%s ago", c.since(e.GetSince()))
	b.addIf(e.GetSeen() != "", "Seen", "%s", e.GetSeen())
	b.addIf(e.GetTried() != "", "Tried", "%s", e.GetTried())
	when := ""
	if e.GetNextAt() != nil {
		when = fmt.Sprintf(" (%s)", c.until(e.GetNextAt()))
	}
	b.add("Next", "%s%s", or(e.GetNext(), "nothing"), when)
	b.addIf(e.GetRule() != "", "Rule", "%s", e.GetRule())
	for i, can := range e.GetCan() {
		label := ""
		if i == 0 {
			label = "You can"
		}
		b.add(label, "%s", can)
	}
	return b
}
