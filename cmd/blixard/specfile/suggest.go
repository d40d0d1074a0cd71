package specfile

import (
	"maps"
	"slices"
	"strings"
)

// elsewhere is what people write by the habit of other tools, and fields that
// are written one level too high. Keys are in lower case.
var elsewhere = map[string]string{
	"ram": "memory", "mem": "memory", "vcpu": "cpus", "vcpus": "cpus", "cores": "cpus",
	"image": "boot.image", "kernel": "boot.kernel", "initrd": "boot.initrd", "cmdline": "boot.cmdline",
	"runner": "boot.runner", "flake": "boot.flake", "bridge": "networks", "tap": "bridge", "disk": "disks", "volumes": "disks", "nics": "networks", "network": "networks",
	"healthcheck": "health", "checks": "health", "probes": "health", "policy": "restart.policy",
	"budget": "restart.budget", "delay": "restart.delay", "delays": "restart.delays",
	"cpuquota": "resources.cpuQuota", "cpuweight": "resources.cpuWeight", "ioweight": "resources.ioWeight",
	"dependson": "autostart.dependsOn", "depends": "autostart.dependsOn", "after": "autostart.dependsOn", "priority": "autostart.priority",
	"memorybytes": "memory", "sizebytes": "size", "file": "path", "attempts": "budget.attempts",
	"remedy": "remedies", "ladder": "remedies", "cloudinit": "seed", "hostname": "seed.hostname", "sshkeys": "seed.sshKeys", "userdata": "seed.userData",
	"period": "interval", "initialdelay": "startPeriod", "threshold": "failures", "retries": "failures", "port": "address", "cmd": "command",
}

// suggest is the field that was probably meant, or else the fields that there are.
func suggest(key, path string, known fields) (meant, try string) {
	if other, ok := elsewhere[strings.ToLower(key)]; ok {
		_, here := known[other]
		if here || path == "" {
			return other, "write " + other
		}
	}
	names := slices.Sorted(maps.Keys(known))
	best, least := "", 1+len(key)/3
	for _, name := range names {
		if d := distance(strings.ToLower(key), strings.ToLower(name)); d <= least {
			best, least = name, d-1
		}
	}
	if best != "" {
		return best, "write " + best
	}
	return "", "one of " + strings.Join(names, ", ")
}

// distance is how many letters were added, dropped, changed or swapped with
// their neighbour; a long text is far from everything.
func distance(a, b string) int {
	const most = 24
	if len(a) > most || len(b) > most {
		return most
	}
	var d [most + 1][most + 1]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
