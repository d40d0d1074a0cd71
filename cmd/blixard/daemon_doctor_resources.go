package main

import (
	"fmt"
	"strings"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// checkResources holds what the configuration says of the machine against what
// the machine says of itself.
func (d *daemon) checkResources() gateway.Finding {
	has, held, err := d.ports.Machine.Capacity()
	if err != nil {
		return gateway.Finding{Check: "resources", State: "warn", Why: err.Error(), Try: "say what the node has: resources.cpus, .memory and .disk in the daemon's configuration"}
	}
	return judgeTerms(d.conf.shares.Terms, has, held)
}

func judgeTerms(t policies.Terms, has vm.Capacity, held vm.Bytes) gateway.Finding {
	var wrong []string
	more := func(key string, says, has any) {
		wrong = append(wrong, fmt.Sprintf("resources.%s is %v, and the machine has %v", key, says, has))
	}
	if t.Override.CPUs > has.CPUs {
		more("cpus", t.Override.CPUs, has.CPUs)
	}
	if t.Override.Memory > has.Memory {
		more("memory", t.Override.Memory, has.Memory.Rounded())
	}
	if t.Override.Disk > has.Disk {
		more("disk", t.Override.Disk, has.Disk.Rounded()+" for VMs")
	}
	room := t.Account(has, held, vm.Reserved{}, 0).Room()
	for _, one := range []struct {
		key  string
		none bool
	}{{"cpus", room.CPUs <= 0}, {"memory", room.Memory <= 0}, {"disk", room.Disk <= 0}} {
		if one.none {
			wrong = append(wrong, fmt.Sprintf("resources.reserve.%s is all that there is or more, so no VM can be created", one.key))
		}
	}
	if len(wrong) > 0 {
		return gateway.Finding{
			Check: "resources", State: "warn", Why: strings.Join(wrong, "; "),
			Try: "mend it in the daemon's configuration and restart the daemon; to promise more than there is, use resources.overcommit",
		}
	}
	return ok("resources", fmt.Sprintf("what VMs may be promised of it: %.4g processors, %s of memory, %s of disk", room.CPUs, room.Memory.Rounded(), room.Disk.Rounded()))
}
