package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// rehearsal is a dry run of several VMs: each is asked for alone, as nothing is
// held for the ones before, so what they need together is summed up here.
type rehearsal struct {
	free  *blixardv1.Amount // what would be left; nil: the daemon didn't tell
	short []string          // what there is too little of for all of them
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
func (r *rehearsal) take(res *blixardv1.ApplyResponse) string {
	needs, held := res.GetNeeds(), res.GetVm().GetReservation()
	if needs == nil {
		return ""
	}
	out := "needs " + portions(float64(needs.GetCpus()), needs.GetMemoryBytes(), needs.GetDiskBytes())
	if r.free == nil {
		return out
	}
	r.told++
	r.free.Cpus -= float64(needs.GetCpus() - held.GetCpus())
	r.free.MemoryBytes -= needs.GetMemoryBytes() - held.GetMemoryBytes()
	r.free.DiskBytes -= needs.GetDiskBytes() - held.GetDiskBytes()
	if short := r.lacking(needs, held); len(short) > 0 {
		r.short = short
		return out + "; with those before it, that is more than is free"
	}
	return out + "; would leave " + portions(r.free.GetCpus(), r.free.GetMemoryBytes(), r.free.GetDiskBytes())
}

// lacking is what would be overdrawn by a VM that grows in it.
func (r *rehearsal) lacking(needs, held *blixardv1.Reservation) []string {
	var out []string
	if r.free.GetCpus() < 0 && needs.GetCpus() > held.GetCpus() {
		out = append(out, decimal(-r.free.GetCpus())+" processors")
	}
	if n := r.free.GetMemoryBytes(); n < 0 && needs.GetMemoryBytes() > held.GetMemoryBytes() {
		out = append(out, size(-n)+" of memory")
	}
	if n := r.free.GetDiskBytes(); n < 0 && needs.GetDiskBytes() > held.GetDiskBytes() {
		out = append(out, size(-n)+" of disk")
	}
	return out
}

// together refuses what fits one by one, and not all at once.
func (r *rehearsal) together() error {
	if len(r.short) == 0 {
		return nil
	}
	return &vm.Refusal{
		Code: vm.NoRoom, Why: fmt.Sprintf("each of these %d VMs fits, but not all of them together: %s are missing", r.told, strings.Join(r.short, " and ")),
		Try: "fewer of them, or smaller ones: blixard node resources",
	}
}

func portions(cpus float64, memory, disk int64) string {
	return fmt.Sprintf("%s cpus, %s memory, %s disk", decimal(cpus), signed(memory), signed(disk))
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
	if short := r.together(); short != nil {
		return c.worse(cmd, err, short)
	}
	return err
}

func specsByName(specs []vm.Spec) (byName map[string]vm.Spec, names []string) {
	byName, names = make(map[string]vm.Spec, len(specs)), make([]string, 0, len(specs))
	for _, s := range specs {
		byName[string(s.Name)] = s
		names = append(names, string(s.Name))
	}
	return byName, names
}
