package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func applyCommand(c *cli) *cobra.Command {
	var files []string
	var dry bool
	cmd := &cobra.Command{
		Use: "apply -f FILE...", Short: "Create VMs, or change them, until they are as files say",
		Long: `Apply spec files: a VM that doesn't exist is created, one whose spec differs
gets the new one, one that is as wanted is left alone. What a VM that is up was
launched with changes at its next start; restart, autostart, health, remedies,
dump and reclaim change at once. A console check that comes to a running guest
sees only what is written from then on. A change forgives a VM its crashes: one
that was given up, or waits for its next try, is started at once. Nothing else
is started, and nothing is deleted: "blixard vm start NAME" starts, or for new
VMs "blixard vm create -f FILE --start".

All files are read, and where there are several VMs the daemon is asked of each
of them, before anything is changed: where one would be refused, or not all of
them fit, nothing is. Somebody else may take the room meanwhile; then what was
changed stays so.

With --dry-run the daemon says what it would do, what each VM needs of the node
and what would be left after it, and does nothing. What doesn't fit is refused,
and takes nothing from those behind it.`,
		Example: `  blixard apply -f web.yaml -f db.yaml
  blixard apply --dry-run -f vms.yaml
  generate-vms | blixard apply -f -
  blixard apply -f vms.yaml -o name | xargs blixard vm start --wait`,
		Args: between(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files = append(files, args...) // a shell unfolds -f *.yaml into -f a.yaml b.yaml
			if len(files) == 0 {
				return misuse(cmd, "%s needs -f FILE", cmd.CommandPath())
			}
			specs, err := c.specsOf(files)
			if err != nil {
				return err
			}
			return c.apply(cmd, specs, dry)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "spec `FILE`, or - for standard input; may be repeated")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, change nothing")
	return outputs(cmd, "text", "json", "name")
}

func (c *cli) apply(cmd *cobra.Command, specs []vm.Spec, dry bool) error {
	node := c.node()
	byName, names := specsByName(specs)
	var r *rehearsal
	if dry {
		r = c.rehearse(cmd.Context())
	} else if len(specs) > 1 {
		if err := c.allFit(cmd, specs); err != nil {
			return err
		}
	}
	err := c.each(cmd, names, func(name string) error {
		req := &blixardv1.ApplyRequest{Spec: messages.SpecToProto(byName[name]), DryRun: dry}
		res, err := ask(cmd.Context(), c, node.Apply, req)
		if err != nil {
			return err
		}
		return c.printApplied(cmd, name, res, r)
	})
	if dry {
		err = c.worse(cmd, err, r.together())
	}
	if !errors.Is(err, errUnreachable) {
		c.warnOfStrangers(cmd.Context(), specs)
	}
	return err
}

// printApplied tells what was done, or in a rehearsal what would be.
func (c *cli) printApplied(cmd *cobra.Command, name string, res *blixardv1.ApplyResponse, r *rehearsal) error {
	dry, needs := r != nil, ""
	if dry {
		needs = r.take(name, res)
	}
	switch outputOf(cmd) {
	case "json":
		return c.printJSON(res)
	case "yaml":
		return c.printYAML(res)
	case "name":
		return c.printf("%s\n", name)
	}
	would := ""
	if dry && res.GetAction() != "unchanged" {
		would = "would be "
	}
	if err := c.printf("%s: %s%s\n", name, would, res.GetAction()); err != nil {
		return err
	}
	for _, change := range res.GetChanges() {
		if err := c.printf("  %s\n", cell(change)); err != nil {
			return err
		}
	}
	if needs != "" && res.GetAction() != "unchanged" {
		if err := c.printf("%s\n", hang("  "+needs, 2, c.width)); err != nil {
			return err
		}
	}
	if res.GetAction() == "created" && !dry && c.outIs {
		return c.printf("  it is down: blixard vm start %s\n", name)
	}
	if res.GetAction() != "changed" {
		return nil
	}
	for _, line := range takesEffect(res, name, dry) {
		if err := c.printf("%s\n", hang("  "+line, 2, c.width)); err != nil {
			return err
		}
	}
	return nil
}

// takesEffect says when a change does, and what it forgives.
func takesEffect(res *blixardv1.ApplyResponse, name string, dry bool) []string {
	takes, are, phase := "takes", "are", res.GetVm().GetPhase()
	if dry {
		takes, are = "would take", "would be"
	}
	var out []string
	switch {
	case res.GetWaits() && len(res.GetNow()) > 0:
		out = append(out, fmt.Sprintf("now: %s; at its next start (blixard vm restart %s): %s", strings.Join(res.GetNow(), ", "), name, strings.Join(res.GetLater(), ", ")))
	case res.GetWaits():
		out = append(out, fmt.Sprintf("%s effect at its next start: blixard vm restart %s", takes, name))
	case res.GetVm().GetPid() != 0:
		out = append(out, takes+" effect at once")
	case dry && (phase == vm.Backoff.String() || phase == vm.Failed.String()):
		return []string{"its crashes would be forgiven, and it would be started at once"}
	case phase == vm.Preparing.String():
		return []string{"its crashes are forgiven, and it is started now"}
	default:
		out = append(out, takes+" effect when it is started")
	}
	if res.GetForgives() {
		out = append(out, fmt.Sprintf("its crashes and used remedies %s forgiven", are))
	}
	return out
}

// specsOf reads every file before anything is done with one of them.
func (c *cli) specsOf(files []string) ([]vm.Spec, error) {
	var all []vm.Spec
	from := map[vm.Name]string{}
	for _, file := range files {
		specs, err := c.specsIn(file)
		if err != nil {
			return nil, err
		}
		for _, s := range specs {
			if other, ok := from[s.Name]; ok {
				return nil, invalid("give each VM a name of its own", "%q is in %s and in %s", s.Name, other, file)
			}
			from[s.Name] = file
		}
		all = append(all, specs...)
	}
	return all, nil
}

func (c *cli) specsIn(file string) ([]vm.Spec, error) {
	if file == "-" {
		return parsed(c.in, file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, invalid("", "reading the spec: %v", err)
	}
	defer f.Close()
	return parsed(f, file)
}

func parsed(r io.Reader, file string) ([]vm.Spec, error) {
	specs, err := specfile.Parse(r, file)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	return specs, nil
}
