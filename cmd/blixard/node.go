package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/messages/blixardv1"
)

func nodeCommand(c *cli) *cobra.Command {
	return group(
		&cobra.Command{Use: "node", Short: "Look at the node and its daemon, mend it, shut it down"},
		nodeStatusCommand(c), nodeResourcesCommand(c), nodePlanCommand(c), nodeRestoreCommand(c), nodeRepairCommand(c),
		nodeShutdownCommand(c), nodeTreeCommand(c), nodeDoctorCommand(c),
	)
}

// told prints a message in the machine's formats; handled is false for people's.
func (c *cli) told(cmd *cobra.Command, m proto.Message) (handled bool, err error) {
	switch outputOf(cmd) {
	case "json":
		return true, c.printJSON(m)
	case "yaml":
		return true, c.printYAML(m)
	}
	return false, nil
}

func nodeTreeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "tree", Short: "Show the tree of actors",
		Long:    "Show the supervision tree: each actor, its state and for how long, and how often\na bug of ours ended it.",
		Example: "  blixard node tree",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := ask(cmd.Context(), c, c.node().NodeTree, &blixardv1.NodeTreeRequest{})
			if err != nil {
				return err
			}
			if handled, err := c.told(cmd, res); handled {
				return err
			}
			t := &table{heads: []string{"ACTOR", "STATE", "SINCE", "BUGS"}}
			for _, a := range res.GetActors() {
				t.row("", a.GetState(), c.since(a.GetSince()), strconv.Itoa(int(a.GetBugs())))
				t.rows[len(t.rows)-1][0] = branch(a.GetPath()) // its indent is no text of a guest's
			}
			return c.printTable(t)
		},
	}
	return outputs(cmd, "table", "json", "yaml")
}

// branch indents an actor by its depth and shows the last part of its path;
// "vm/web" is one part: the VM's.
func branch(path string) string {
	parts := strings.Split(strings.Replace(strings.Trim(path, "/"), "/vm/", "/vm\x00", 1), "/")
	for i, p := range parts {
		parts[i] = cell(strings.Replace(p, "\x00", "/", 1))
	}
	return strings.Repeat("  ", len(parts)-1) + parts[len(parts)-1]
}

func nodeDoctorCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check what the node can and can't do",
		Long:    "Check the host: each finding says what is missing, what that costs, and what to\ndo. The exit code is 1 where something fails.",
		Example: "  blixard node doctor",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := ask(cmd.Context(), c, c.node().NodeDoctor, &blixardv1.NodeDoctorRequest{})
			if err != nil {
				return err
			}
			if handled, err := c.told(cmd, res); handled && err != nil {
				return err
			} else if !handled {
				if err := c.print(findings(res.GetFindings()).bytes(c)); err != nil {
					return err
				}
			}
			return failing(res.GetFindings())
		},
	}
	return outputs(cmd, "table", "json", "yaml")
}

// findings are lines instead of columns: a reason is a sentence, and a remedy
// that a narrow terminal wraps under another column helps nobody.
func findings(all []*blixardv1.Finding) *block {
	b := &block{}
	for _, f := range all {
		b.add(f.GetCheck(), "%s: %s", f.GetState(), f.GetWhy())
		b.addIf(f.GetTry() != "", "", "try: %s", f.GetTry())
	}
	return b
}

func failing(findings []*blixardv1.Finding) error {
	var names []string
	for _, f := range findings {
		if f.GetState() == "fail" {
			names = append(names, f.GetCheck())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return invalid("what the findings say", "%d of %d checks fail: %s", len(names), len(findings), strings.Join(names, ", "))
}
