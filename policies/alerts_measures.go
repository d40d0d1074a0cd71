package policies

import (
	"fmt"
	"time"

	"github.com/blixard/blixard/vm"
)

// measures are the node's levels against their marks: those of the machine, whatever
// the configuration lets be promised of it.
func measures(u vm.NodeUsage, m AlertMarks) []condition {
	level := func(kind vm.AlertKind, value float64, mark AlertMark, why, try string) condition {
		return condition{
			alertKey: alertKey{kind: kind}, over: value >= mark.Raise, under: value < mark.Clear, wait: mark.For,
			why: why, try: try,
		}
	}
	disk := u.DiskUsed + u.DiskFree
	return []condition{
		level(vm.AlertMemory, share(u.Memory, u.MemoryOf), m.Memory,
			fmt.Sprintf("%s of %s memory are in use", showBytes(float64(u.Memory)), showBytes(float64(u.MemoryOf))),
			"suspend or stop a VM: blixard top shows which uses most"),
		level(vm.AlertDisk, share(u.DiskUsed, disk), m.Disk,
			fmt.Sprintf("%s of %s on the state folder's disk are in use, %s are free", showBytes(float64(u.DiskUsed)), showBytes(float64(disk)), showBytes(float64(u.DiskFree))),
			"free space, or grow the disk: blixard top shows which VM holds most"),
		level(vm.AlertCPUPressure, u.CPU, m.CPU, waits(u.CPU, "a processor"),
			"give the VMs fewer vCPUs or a cpuQuota, or move some away"),
		level(vm.AlertMemoryPressure, u.MemoryWait, m.MemoryWait, waits(u.MemoryWait, "memory"),
			"suspend or stop a VM, or let idle ones give memory back: reclaim in their specs"),
		level(vm.AlertIOPressure, u.IO, m.IO, waits(u.IO, "storage"),
			"give the VMs that write most a lower ioWeight: blixard top shows them"),
	}
}

func waits(percent float64, what string) string {
	return fmt.Sprintf("work waited for %s in %.0f %% of the last ten seconds", what, percent)
}

// growth is the disk's time until it is full. It clears at twice the time that
// raises it, so that a pace that wavers doesn't.
func growth(u vm.NodeUsage, m AlertMarks, pace diskPace) []condition {
	left, known := pace.untilFull(u.DiskFree)
	if m.FullWithin == 0 {
		left, known = 0, false
	}
	why := fmt.Sprintf("the state folder's disk isn't seen to fill, %s are free", showBytes(float64(u.DiskFree)))
	if known {
		why = fmt.Sprintf("the state folder's disk is full in %s at the pace of the last hour, %s are free", left.Round(time.Minute), showBytes(float64(u.DiskFree)))
	}
	return []condition{{
		alertKey: alertKey{kind: vm.AlertDiskGrowth}, over: known && left <= m.FullWithin, under: !known || left > 2*m.FullWithin,
		wait: time.Minute, why: why,
		try: "free space, or grow the disk: blixard top shows which VM writes most",
	}}
}

func share(part, whole vm.Bytes) float64 {
	if whole <= 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// The disk's pace: one sample a minute, for an hour.
const (
	paceEvery = time.Minute
	paceKept  = 61
	paceLeast = 15 * time.Minute // a shorter history says more of one copy than of the disk
)

// diskPace is how full the disk was in the last hour. Its array is never written twice.
type diskPace struct{ samples []diskSample }

type diskSample struct {
	at   time.Time
	used vm.Bytes
}

// add keeps a sample that is a minute younger than the last one. After a clock
// that was set back the history begins anew.
func (p diskPace) add(u vm.NodeUsage) diskPace {
	if u.At.IsZero() {
		return p
	}
	n := len(p.samples)
	if n > 0 && u.At.Before(p.samples[n-1].at) {
		return diskPace{[]diskSample{{u.At, u.DiskUsed}}}
	}
	if n > 0 && u.At.Sub(p.samples[n-1].at) < paceEvery {
		return p
	}
	from := max(0, n+1-paceKept)
	for from < n && u.At.Sub(p.samples[from].at) > paceKept*paceEvery {
		from++
	}
	out := make([]diskSample, 0, n+1-from)
	return diskPace{append(append(out, p.samples[from:]...), diskSample{u.At, u.DiskUsed})}
}

// untilFull is free over the slope of the line through the samples (least
// squares); false: there are too few, or the disk doesn't fill.
func (p diskPace) untilFull(free vm.Bytes) (time.Duration, bool) {
	n := len(p.samples)
	if n < 2 || p.samples[n-1].at.Sub(p.samples[0].at) < paceLeast {
		return 0, false
	}
	var sx, sy, sxx, sxy float64
	for _, s := range p.samples {
		x, y := s.at.Sub(p.samples[0].at).Seconds(), float64(s.used-p.samples[0].used)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope := (float64(n)*sxy - sx*sy) / (float64(n)*sxx - sx*sx) // bytes a second
	if slope <= 0 {
		return 0, false
	}
	seconds := float64(free) / slope
	if most := float64(30 * 24 * 3600); !(seconds < most) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
