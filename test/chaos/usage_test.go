package chaos

import (
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// What a real guest does is seen in its usage, and in nobody else's: processor,
// memory by the host's and by its own word, disk; also by the next daemon.
func TestUsageOfRealGuestsIsTheirOwn(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{Config: "resources: {sample: 1s, overcommit: {cpu: 1000}}\n"})
	spec := node.Builtin("worker", "")
	spec.Disks = []*v1.Disk{{Name: "data", SizeBytes: 64 << 20}}
	vm := w.up(spec)
	idle := w.up(w.pvh("idle"))

	usage := func(name string) *v1.Usage {
		seen, err := w.Get(w.ctx, name)
		w.must(err)
		return seen.GetUsage()
	}
	w.eventually("the guest says what it has free, by its balloon, and its neighbour is measured, too", boot, func() bool {
		u := usage("worker")
		return usage("idle").GetMemoryBytes() > 0 && u.GetGuestFreeBytes() > 0 && u.GetGuestFreeBytes() < 128<<20 && u.GetBalloonBytes() > 0
	})
	before, quiet := usage("worker"), usage("idle")
	if before.GetMemoryBytes() < 16<<20 || before.GetMemoryPeakBytes() < before.GetMemoryBytes() || before.GetDiskVirtualBytes() < 64<<20 {
		t.Errorf("a guest that is up: %v", before)
	}
	w.ctl(0, "vm", "exec", "worker", "--", "fill", "32", "/dev/vda")
	w.eventually("what it wrote is seen", soon, func() bool {
		u := usage("worker")
		return u.GetDiskBytes() >= before.GetDiskBytes()+30<<20 && u.GetCpuSeconds() > before.GetCpuSeconds()
	})
	if u := usage("idle"); u.GetDiskBytes() > quiet.GetDiskBytes()+1<<20 || u.GetCpuSeconds() > quiet.GetCpuSeconds()+1 {
		t.Errorf("its neighbour sleeps: %v, before %v", u, quiet)
	}
	w.must(w.Kill())
	w.start()
	w.eventually("the next daemon measures the same VMM, with rates", time.Minute, func() bool {
		u := usage("worker")
		return u.GetDiskBytes() >= before.GetDiskBytes()+30<<20 && u.GetCpuSeconds() > before.GetCpuSeconds() && u.GetCpuPercent() > 0
	})
	w.only(vm.GetPid(), idle.GetPid())
	w.strike(vm)
	w.eventually("its peak is known, though it was another daemon's child", soon, func() bool {
		seen, err := w.Get(w.ctx, "worker")
		return err == nil && seen.GetLastExit().GetMemoryPeakBytes() >= 16<<20
	})
	w.ctl(0, "vm", "stop", "--force", "idle")
	w.eventually("a VM that is down uses nothing", soon, func() bool { return usage("idle").GetAt() == nil })
}
