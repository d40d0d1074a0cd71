package main

import (
	"context"
	"fmt"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/vm"
)

// checkBundles tells what the evidence of deaths holds beside its quota. That it
// is full is no fault: the oldest goes for the newest.
func (d *daemon) checkBundles(ctx context.Context) gateway.Finding {
	if d.ports.Bundles == nil {
		return ok("bundles", "none are kept of deaths")
	}
	held, err := d.ports.Bundles.Held(ctx)
	return judgeBundles(held, d.node.BundleQuota(), err)
}

func judgeBundles(held map[vm.Name]vm.Bytes, q vm.BundleQuota, err error) gateway.Finding {
	if err != nil {
		return gateway.Finding{Check: "bundles", State: "warn", Why: err.Error(), Try: "mend the folder vms in the state folder: nothing can be kept of a death"}
	}
	sum, most, whose := vm.HeldByAll(held), vm.Bytes(0), vm.Name("")
	for name, b := range held {
		if b > most || b == most && name < whose {
			most, whose = b, name
		}
	}
	why := fmt.Sprintf("the evidence of deaths holds %s of at most %s", sum.Rounded(), q.Node.Rounded())
	if len(held) > 1 {
		why += fmt.Sprintf(", most of it of %s: %s of at most %s", whose, most.Rounded(), q.VM.Rounded())
	}
	if q.Node > 0 && sum > q.Node {
		return gateway.Finding{Check: "bundles", State: "warn", Why: why, Try: "blixard vm crashes --all --prune --older-than 7d, or raise crashes.node in the daemon's configuration"}
	}
	return ok("bundles", why)
}
