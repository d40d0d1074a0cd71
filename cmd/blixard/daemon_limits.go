package main

import (
	"strings"

	"github.com/blixard/blixard/actors/gateway"
)

// checkLimits tells which limits of VMs are words without effect here.
func (d *daemon) checkLimits() gateway.Finding {
	h := d.ports.Launcher.Holding()
	var missing []string
	for _, one := range []struct{ what, why string }{
		{"memory", h.Memory}, {"CPU", h.CPU}, {"IO weight", h.IO}, {"tasks", h.Tasks},
	} {
		if one.why != "" {
			missing = append(missing, one.what+" ("+one.why+")")
		}
	}
	if len(missing) == 0 {
		return ok("limits", "memory, CPU, IO weight and tasks of each VMM are held by cgroups")
	}
	if len(missing) == 1 && h.IO != "" { // as on most machines; nothing else depends on it
		return ok("limits", "memory, CPU and tasks of each VMM are held by cgroups; not its "+missing[0])
	}
	return gateway.Finding{
		Check: "limits", State: "warn", Why: "not held: " + strings.Join(missing, "; "),
		Try: "mount cgroups writable and start the daemon in a cgroup that may have children; or live with VMs that can take more than their share",
	}
}
