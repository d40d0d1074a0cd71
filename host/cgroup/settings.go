package cgroup

import (
	"strconv"

	"github.com/blixard/blixard/vm"
)

// setting is one file of a group.
type setting struct {
	file, value string
	optional    bool // a kernel may have been built without it
}

// period of a CPU quota, the kernel's default.
const period = 100_000 // microseconds

// settings are the files of a limit, in the order in which the kernel takes them.
func settings(k kind, v2 bool, l vm.Limits) []setting {
	switch {
	case k == memory && l.Memory > 0 && v2:
		return []setting{
			{"memory.max", number(int64(l.Memory)), false},
			{"memory.swap.max", "0", true},
			{"memory.oom.group", "1", true}, // a VMM without one of its processes is none
		}
	case k == memory && l.Memory > 0:
		return []setting{
			{"memory.limit_in_bytes", number(int64(l.Memory)), false},
			{"memory.memsw.limit_in_bytes", number(int64(l.Memory)), true}, // memory and swap together: never below the one above
			{"memory.swappiness", "0", true},
		}
	case k == cpu && v2:
		return append(quota(l, func(us string) setting { return setting{"cpu.max", us + " " + number(period), false} }),
			weight(l.CPUWeight, setting{file: "cpu.weight"})...)
	case k == cpu:
		return append(quota(l, func(us string) setting { return setting{"cpu.cfs_quota_us", us, false} }),
			weight(l.CPUWeight*1024/usual, setting{file: "cpu.shares"})...)
	case k == io && v2:
		return append(weight(l.IOWeight, setting{file: "io.weight", optional: true}),
			weight(bfq(l.IOWeight), setting{file: "io.bfq.weight", optional: true})...)
	case k == io:
		return append(weight(bfq(l.IOWeight), setting{file: "blkio.bfq.weight", optional: true}),
			weight(bfq(l.IOWeight), setting{file: "blkio.weight", optional: true})...) // kernels before 5.0
	case k == tasks && l.Tasks > 0:
		return []setting{{"pids.max", number(int64(l.Tasks)), false}}
	}
	return nil
}

func quota(l vm.Limits, as func(us string) setting) []setting {
	if l.CPUQuota <= 0 {
		return nil
	}
	return []setting{as(number(int64(l.CPUQuota) * period / 100))}
}

func weight(w int, s setting) []setting {
	if w <= 0 {
		return nil
	}
	s.value = number(int64(w))
	return []setting{s}
}

// usual is the weight of who asked for none.
const usual = 100

// bfq makes a weight of 1 to 1000, which BFQ takes, of one of 1 to 10000 with
// the same middle, as systemd does.
func bfq(w int) int {
	if w <= usual {
		return w
	}
	return usual + (w-usual)*(1000-usual)/(10000-usual)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
