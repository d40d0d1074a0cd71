package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// rehearsal is a dry run of several VMs: each is asked for alone, as nothing is
// held for the ones before, so what they take together is summed up here. One
// that finds too little left takes nothing from those behind it.
type rehearsal struct {
	free  *blixardv1.Amount // what would be left; nil: the daemon didn't tell
	short []string          // who finds too little of what
	told  int
}

func (c *cli) rehearse(ctx context.Context) *rehearsal {
	r, err := ask(ctx, c, c.node().NodeResources, &blixardv1.NodeResourcesRequest{})
	if err != nil || r.GetFree() == nil { // the dry run itself says what is wrong
		return &rehearsal{}
	}
	return &rehearsal{free: r.GetFree()}
}

// take counts one VM, and says what it needs and what would be left.
func (r *rehearsal) take(name string, res *blixardv1.ApplyResponse) string {
	needs := res.GetNeeds()
	if needs == nil {
		return ""
	}
	out := "needs " + portions(float64(needs.GetCpus()), needs.GetMemoryBytes(), needs.GetDiskBytes())
	if r.free == nil || res.GetTakes() == nil {
		return out
	}
	r.told++
	if short := r.lacking(res.GetTakes()); short != "" {
		r.short = append(r.short, fmt.Sprintf("%s lacks %s", name, short))
		return fmt.Sprintf("%s; does not fit with those before it: it lacks %s", out, short)
	}
	r.free.Cpus -= res.GetTakes().GetCpus()
	r.free.MemoryBytes -= res.GetTakes().GetMemoryBytes()
	r.free.DiskBytes -= res.GetTakes().GetDiskBytes()
	res.Left = r.free
	return out + "; would leave " + portions(r.free.GetCpus(), r.free.GetMemoryBytes(), r.free.GetDiskBytes())
}

// lacking is what there is too little of for a VM; one that takes nothing more of
// it fits.
func (r *rehearsal) lacking(takes *blixardv1.Amount) string {
	var out []string
	if n := takes.GetCpus() - r.free.GetCpus(); n > 0 && takes.GetCpus() > 0 {
		out = append(out, decimal(n)+" "+one(n, "processor"))
	}
	if n := takes.GetMemoryBytes() - r.free.GetMemoryBytes(); n > 0 && takes.GetMemoryBytes() > 0 {
		out = append(out, size(n)+" of memory")
	}
	if n := takes.GetDiskBytes() - r.free.GetDiskBytes(); n > 0 && takes.GetDiskBytes() > 0 {
		out = append(out, size(n)+" of disk")
	}
	return strings.Join(out, " and ")
}

// together refuses what fits one by one, and not all at once.
func (r *rehearsal) together() error {
	if len(r.short) == 0 {
		return nil
	}
	return &vm.Refusal{
		Code: vm.NoRoom, Why: fmt.Sprintf("each of these %d VMs fits, but not all of them together: %s", r.told, strings.Join(r.short, ", ")),
		Try: "fewer of them, or smaller ones: blixard node resources",
	}
}

// allFit asks of every spec whether it could be applied, before the first one is.
func (c *cli) allFit(cmd *cobra.Command, specs []vm.Spec) error {
	r, node := c.rehearse(cmd.Context()), c.node()
	byName, names := specsByName(specs)
	err := c.each(cmd, names, func(name string) error {
		res, err := ask(cmd.Context(), c, node.Apply, &blixardv1.ApplyRequest{Spec: messages.SpecToProto(byName[name]), DryRun: true})
		r.take(name, res)
		return err
	})
	if err = c.worse(cmd, err, r.together()); err != nil && !errors.Is(err, errUnreachable) && outputOf(cmd) != "json" {
		c.tell("nothing was changed, as not all of it can be done")
	}
	return err
}

func portions(cpus float64, memory, disk int64) string {
	return fmt.Sprintf("%s %s, %s memory, %s disk", decimal(cpus), one(cpus, "cpu"), size(memory), size(disk))
}

// one is a word in the number that a count wants.
func one(n float64, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// createDry says what creating would need, and refuses what it would.
func (c *cli) createDry(cmd *cobra.Command, specs []vm.Spec) error {
	node, r := c.node(), c.rehearse(cmd.Context())
	byName, names := specsByName(specs)
	err := c.each(cmd, names, func(name string) error {
		res, err := ask(cmd.Context(), c, node.Apply, &blixardv1.ApplyRequest{Spec: messages.SpecToProto(byName[name]), DryRun: true})
		if err != nil {
			return err
		}
		if res.GetVm() != nil {
			return &vm.Refusal{
				Code: vm.Exists, Why: fmt.Sprintf("a VM named %s exists already", name),
				Try: "another name, or change it with blixard apply",
			}
		}
		return c.printApplied(cmd, name, res, r)
	})
	return c.worse(cmd, err, r.together())
}

func specsByName(specs []vm.Spec) (byName map[string]vm.Spec, names []string) {
	byName, names = make(map[string]vm.Spec, len(specs)), make([]string, 0, len(specs))
	for _, s := range specs {
		byName[string(s.Name)] = s
		names = append(names, string(s.Name))
	}
	return byName, names
}
