package main

import (
	"context"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// warnOfStrangers tells of dependencies on VMs that don't exist: that is allowed,
// as they may come later, and it may be a slip of the pen. Specs of the same run
// count as existing, so that the order of the files doesn't matter.
func (c *cli) warnOfStrangers(ctx context.Context, specs []vm.Spec) {
	known, depends := map[vm.Name]bool{}, false
	for _, s := range specs {
		known[s.Name] = true
		depends = depends || len(s.Autostart.DependsOn) > 0
	}
	if !depends {
		return
	}
	list, err := ask(ctx, c, c.node().ListVMs, &blixardv1.ListVMsRequest{})
	if err != nil {
		return // what was asked for is done; this is a courtesy
	}
	for _, v := range list.GetVms() {
		known[vm.Name(v.GetName())] = true
	}
	for _, s := range specs {
		for _, d := range s.Autostart.DependsOn {
			if !known[d.VM] {
				c.tell("%s depends on %s, and there is no VM of that name yet; without it, %s doesn't wait at a boot of the node", s.Name, d.VM, s.Name)
			}
		}
	}
}
