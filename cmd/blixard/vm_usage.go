package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/messages/blixardv1"
)

// The cells of what a VM uses, beside what it holds.

func cpuCell(v *blixardv1.VM) string {
	if !measured(v) || v.Usage.CpuPercent == nil {
		return ""
	}
	return percent(v.GetUsage().GetCpuPercent())
}

func memoryCell(v *blixardv1.VM) string {
	if !measured(v) {
		return "-/" + size(v.GetReservation().GetMemoryBytes())
	}
	return size(memoryOf(v)) + "/" + size(v.GetReservation().GetMemoryBytes())
}

// memoryOf is what counts against the reservation; where nobody can tell, all
// that is resident.
func memoryOf(v *blixardv1.VM) int64 {
	if n := v.GetUsage().GetMemoryChargedBytes(); n != 0 {
		return n
	}
	return v.GetUsage().GetMemoryBytes()
}

func diskCell(v *blixardv1.VM) string {
	used, most := diskOf(v)
	if used < 0 {
		return "-/" + size(most)
	}
	return size(used) + "/" + size(most)
}

// diskOf is what a VM has on the disk, a saved guest too, and what it may grow
// to; used is below zero where nobody knows.
func diskOf(v *blixardv1.VM) (used, most int64) {
	u, saved := v.GetUsage(), v.GetSaved().GetBytes()
	most = max(u.GetDiskVirtualBytes(), v.GetReservation().GetDiskBytes())
	switch {
	case u != nil:
		return u.GetDiskBytes(), most
	case saved > 0: // its folder was not measured since its VMM ended
		return saved, max(most, saved)
	}
	return -1, most
}

func ioCell(v *blixardv1.VM) string {
	if !measured(v) || v.Usage.ReadRate == nil {
		return ""
	}
	return rate(v.GetUsage().GetReadRate() + v.GetUsage().GetWriteRate())
}

// measured says whether a VMM lives, and a sample was taken of it.
func measured(v *blixardv1.VM) bool { return v.GetUsage() != nil && v.GetPid() != 0 }

func rate(bytesInASecond float64) string { return size(int64(bytesInASecond)) + "/s" }

// usageLines tell what a VM uses beside what it may.
func (c *cli) usageLines(b *block, v *blixardv1.VM) {
	u := v.GetUsage()
	switch {
	case u == nil && v.GetPid() != 0:
		b.add("Usage", "not measured yet")
		return
	case u == nil:
		return
	case v.GetPid() == 0:
		b.addIf(u.GetDiskBytes() != 0, "Usage", "%s of %s disk", size(u.GetDiskBytes()), size(max(u.GetDiskVirtualBytes(), v.GetReservation().GetDiskBytes())))
		return
	}
	resident := ""
	if u.GetMemoryChargedBytes() != 0 {
		resident = fmt.Sprintf(" (%s resident with pages of files, %s at most)", size(u.GetMemoryBytes()), size(max(u.GetMemoryPeakBytes(), u.GetMemoryBytes())))
	}
	virtual := max(u.GetDiskVirtualBytes(), v.GetReservation().GetDiskBytes())
	cpu := "cpu not known yet"
	if u.CpuPercent != nil {
		cpu = percent(u.GetCpuPercent()) + " cpu"
	}
	b.add("Usage", "%s, %s of %s memory%s, %s of %s disk, %.1fs of processor time%s", cpu, size(memoryOf(v)),
		size(v.GetReservation().GetMemoryBytes()), resident, size(u.GetDiskBytes()), size(virtual), u.GetCpuSeconds(), c.looked(u))
	b.addIf(u.ReadRate != nil, "", "reads %s, writes %s, receives %s, sends %s", rate(u.GetReadRate()), rate(u.GetWriteRate()), rate(u.GetRxRate()), rate(u.GetTxRate()))
	if waited := waits(u); waited != "" {
		b.add("", "waited since its launch: %s", waited)
	}
	if guest := guestView(u); guest != "" {
		b.add("", "%s", guest)
	}
	b.addIf(u.GetIdleSince() != nil, "Idle", "for %s", or(c.since(u.GetIdleSince()), "0s"))
}

// stale is the age from which a look is told as one of then, not of now.
const stale = 3 * time.Second

// looked says how old a sample is, where it isn't new.
func (c *cli) looked(u *blixardv1.Usage) string {
	if at := u.GetAt(); at != nil && c.now().Sub(at.AsTime()) >= stale {
		return "; looked at " + c.since(at) + " ago"
	}
	return ""
}

// lookNow has the daemon take a sample, so that use is told as it is; where that
// fails or takes long, the last one is told, with its age.
func (c *cli) lookNow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	_, _ = ask(ctx, c, c.node().NodeResources, &blixardv1.NodeResourcesRequest{Fresh: true})
}

// lookPatience is for a machine at its end: a look takes milliseconds.
const lookPatience = 2 * time.Second

// waits is what the VMM waited for, where the kernel tells.
func waits(u *blixardv1.Usage) string {
	var out []string
	for _, one := range []struct {
		what    string
		seconds float64
	}{{"a processor", u.GetCpuWaited()}, {"memory", u.GetMemoryWaited()}, {"storage", u.GetIoWaited()}} {
		if one.seconds > 0 {
			out = append(out, fmt.Sprintf("%.1fs for %s", one.seconds, one.what))
		}
	}
	return strings.Join(out, ", ")
}

// guestView is what balloon and guest say of its memory.
func guestView(u *blixardv1.Usage) string {
	var out []string
	if n := u.GetBalloonBytes(); n != 0 {
		out = append(out, "its balloon leaves it "+size(n))
	}
	if n := u.GetGuestFreeBytes(); n != 0 {
		out = append(out, "the guest says that "+size(n)+" are free")
	}
	return strings.Join(out, ", ")
}

// limitLines tell what a VMM is held to, and what it isn't although its spec
// asks for it.
func limitLines(b *block, l *blixardv1.Limits) {
	if l == nil {
		return
	}
	var out []string
	if n := l.GetMemoryBytes(); n != 0 {
		out = append(out, size(n)+" memory without swap")
	}
	if n := l.GetCpuQuota(); n != 0 {
		out = append(out, fmt.Sprintf("%d%% of a processor", n))
	}
	for _, one := range []struct {
		what string
		n    int32
	}{{"cpu weight", l.GetCpuWeight()}, {"io weight", l.GetIoWeight()}, {"tasks", l.GetTasks()}} {
		if one.n != 0 {
			out = append(out, fmt.Sprintf("%s %d", one.what, one.n))
		}
	}
	b.add("Limits", "%s", or(strings.Join(out, ", "), "none"))
	for _, why := range sameReason(l.GetMissing()) {
		b.add("", "not held here: %s", why)
	}
}

// sameReason joins "memory: why" and "cpu: why" to "memory, cpu: why".
func sameReason(missing []string) []string {
	var whys []string
	what := map[string]string{}
	for _, one := range missing {
		kind, why, _ := strings.Cut(one, ": ")
		if !slices.Contains(whys, why) {
			whys, what[why] = append(whys, why), kind
			continue
		}
		what[why] += ", " + kind
	}
	for i, why := range whys {
		whys[i] = what[why] + ": " + why
	}
	return whys
}

// reclaimWords say what the node may take back of an idle VM, and what counts as idle.
func reclaimWords(r *blixardv1.Reclaim) string {
	if len(r.GetSteps()) == 0 {
		return "never"
	}
	var steps []string
	for _, s := range r.GetSteps() {
		do := s.GetDo()
		if do == "balloon" {
			do += fmt.Sprintf(" down to %d%%", r.GetKeep())
		}
		steps = append(steps, do+" after "+span(s.GetAfter()))
	}
	return fmt.Sprintf("when idle: %s; idle is below %s cpu, %s packets/s, %s/s", strings.Join(steps, ", "),
		percent(r.GetIdle().GetCpu()), decimal(r.GetIdle().GetPackets()), size(r.GetIdle().GetIoBytes()))
}

// stillLines tell of a guest that stands still: saved on the disk, or halted as
// its disk can't grow; and of the state that one which runs can go back to.
func (c *cli) stillLines(b *block, v *blixardv1.VM) {
	if why := v.GetStalled(); why != "" {
		b.add(stalled, "%s", why)
		b.add("", "It goes on by itself when there is room on the disk of the state folder: df -h, blixard node status")
	}
	if s := v.GetSaved(); s != nil {
		brings := "it is being loaded"
		if v.GetPhase() == "suspended" {
			brings = "blixard vm resume " + v.GetName() + " brings it back"
		}
		b.add("Saved", "the guest of incarnation %d, %s on the disk, %s: %s", s.GetIncarnation(), size(s.GetBytes()), c.moment(s.GetAt()), brings)
	}
	if g := v.GetGood(); g != nil {
		b.add("Known good", "the guest of incarnation %d, %s on the disk, %s: a remedy of its restores it", g.GetIncarnation(), size(g.GetBytes()), c.moment(g.GetAt()))
	}
}

const stalled = "STALLED"
