package main

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// The moods of a fakeNode that is at work: busy has VMs that use what they hold
// and two alerts; overfull has promised more than it can keep by now.
const (
	busy     = "busy"
	overfull = "overfull"
)

const vmmNeeds = int64(26 * vm.MiB)

// use gives a VM what the mood busy tells of it.
func (n fakeNode) use(v *blixardv1.VM) *blixardv1.VM {
	if n.mood != busy && n.mood != overfull {
		return v
	}
	v.Limits = &blixardv1.Limits{MemoryBytes: int64(192 * vm.MiB), CpuQuota: 150, CpuWeight: 100, IoWeight: 100, Tasks: 64}
	v.Usage = &blixardv1.Usage{
		MemoryBytes: int64(61*vm.MiB + 300*vm.KiB), MemoryPeakBytes: int64(90 * vm.MiB), DiskBytes: int64(24 * vm.KiB), CpuSeconds: 4.25,
		At: ago(time.Second), DiskVirtualBytes: int64(vm.GiB), CpuPercent: new(0.3), IdleSince: ago(5 * time.Minute),
	}
	switch v.GetName() {
	case "web":
		v.Usage.MemoryChargedBytes = new(int64(58 * vm.MiB))
		v.Usage.IdleSince, v.Usage.CpuPercent, v.Usage.CpuWaited, v.Usage.IoWaited = nil, new(97.4), 1.5, 0.2
		v.Usage.ReadRate, v.Usage.WriteRate, v.Usage.RxRate, v.Usage.TxRate = new(3*1024*1024.0), new(12000.0), new(1500.0), new(800.0)
		v.Usage.BalloonBytes, v.Usage.GuestFreeBytes = new(int64(96*vm.MiB)), new(int64(40*vm.MiB))
		v.Spec.Reclaim = &blixardv1.Reclaim{
			Steps: []*blixardv1.ReclaimStep{{Do: "balloon", After: durationpb.New(10 * time.Minute)}, {Do: "suspend", After: durationpb.New(time.Hour)}},
			Keep:  50, Idle: &blixardv1.Idle{Cpu: 2, Packets: 10, IoBytes: 16384},
		}
		v.Limits.Missing = []string{"memory: no cgroup of this machine can be written", "cpu: no cgroup of this machine can be written", "io: cgroup v1 holds it for direct IO alone"}
	case "db":
		v.Phase, v.Reason, v.Deadline, v.Restarts.NextRetryAt = "suspended", "suspended by reclaim: idle for 1h", nil, nil
		v.Saved = &blixardv1.SavedState{Incarnation: 3, At: ago(40 * time.Minute), Bytes: int64(70 * vm.MiB)}
	case "bad":
		v.Phase, v.Reason = "paused", "its disk can't grow"
		v.Stalled = "disk data: no space left on the device"
	}
	return v
}

func fakeAlerts() []*blixardv1.Alert {
	return []*blixardv1.Alert{
		{
			Kind: "memory", Since: ago(3 * time.Minute), Why: "3.6GiB of 3.9GiB memory are in use",
			Try: "suspend or stop a VM: blixard top shows which uses most",
		},
		{
			Kind: "out-of-space", Vm: "bad", Since: ago(40 * time.Second), Why: "bad stands still, as its disk can't grow: data\x1b[2J",
			Try: "free space on the disk of the state folder; it goes on by itself then",
		},
	}
}

func amountOf(cpus float64, memory, disk vm.Bytes) *blixardv1.Amount {
	return &blixardv1.Amount{Cpus: cpus, MemoryBytes: int64(memory), DiskBytes: int64(disk)}
}

func (n fakeNode) NodeResources(
	context.Context, *connect.Request[blixardv1.NodeResourcesRequest],
) (*connect.Response[blixardv1.NodeResourcesResponse], error) {
	r := &blixardv1.NodeResourcesResponse{
		Capacity: amountOf(2, 4000*vm.MiB, 20*vm.GiB), Overcommit: &blixardv1.Ratios{Cpu: 4, Memory: 1, Disk: 1},
		Reserve: amountOf(0.5, 512*vm.MiB, vm.GiB), Room: amountOf(7.5, 3488*vm.MiB, 19*vm.GiB), Reserved: amountOf(4, 768*vm.MiB, 4*vm.GiB),
		Free: amountOf(3.5, 2720*vm.MiB, 15*vm.GiB), Used: amountOf(0.62, 1300*vm.MiB, 8*vm.GiB+100*vm.MiB), Vms: 4,
		Machine:  amountOf(2, 4000*vm.MiB, 30*vm.GiB),
		Pressure: &blixardv1.NodePressure{Cpu: 1.24, Io: 0.5}, At: ago(time.Second),
		Bundles: &blixardv1.BundlesHeld{Bytes: int64(40 * vm.MiB), QuotaBytes: int64(vm.GiB)},
	}
	switch n.mood {
	case busy:
		r.Used, r.Pressure, r.Alerts = amountOf(1.93, 3690*vm.MiB, 8*vm.GiB), &blixardv1.NodePressure{Cpu: 88, Memory: 21.5, Io: 3}, fakeAlerts()
	case overfull:
		r.Capacity, r.Room, r.Free = amountOf(2, 1024*vm.MiB, 20*vm.GiB), amountOf(7.5, 512*vm.MiB, 19*vm.GiB), amountOf(3.5, -256*vm.MiB, 15*vm.GiB)
		r.Over = []string{"memory: 768MiB reserved of 512MiB"}
		r.Alerts = []*blixardv1.Alert{{Kind: "overcommit", Since: ago(time.Minute), Why: "nothing that grows is admitted: " + r.Over[0]}}
	case booting:
		r.At, r.Used, r.Pressure = nil, nil, nil
	}
	return connect.NewResponse(r), nil
}

// fakeNeeds is what a dry run says of a spec: a refusal where there is no room.
func (n fakeNode) fakeNeeds(s *blixardv1.VMSpec) (*blixardv1.Reservation, error) {
	needs := &blixardv1.Reservation{Cpus: max(s.GetCpus(), 1), MemoryBytes: max(s.GetMemoryBytes(), int64(128*vm.MiB)) + vmmNeeds}
	for _, d := range s.GetDisks() {
		needs.DiskBytes += d.GetSizeBytes()
	}
	if n.mood == overfull {
		return nil, refuse(vm.NoRoom, "delete VMs (blixard vm delete --wait) or lower what they have until that fits: blixard node resources",
			"%s was not admitted, as the node is overcommitted: memory: 768MiB reserved of 512MiB", s.GetName())
	}
	if needs.GetMemoryBytes() > int64(2720*vm.MiB) {
		return nil, refuse(vm.NoRoom, "lower memory to at most 2694MiB, delete VMs (blixard vm delete --wait), or raise resources.overcommit.memory (1 now) in the daemon's configuration and restart the daemon",
			"%s needs 4GiB of memory (4GiB and 26MiB for its VMM), and 2.7GiB of 3.4GiB is free: 768MiB is reserved by 4 VMs, of 3.9GiB × 1 − 512MiB for the host", s.GetName())
	}
	return needs, nil
}

// fakeRaised is what a journal tells of resources.
func fakeRaised() []*blixardv1.Event {
	return []*blixardv1.Event{
		{Sequence: 4, At: ago(39 * time.Second), Kind: "AlertRaised", Why: "memory: 3.6GiB of 3.9GiB memory are in use"},
		{Sequence: 5, At: ago(38 * time.Second), Vm: "bad", Kind: "OutOfSpace", From: "running", To: "paused", Why: "disk data: no space left on the device"},
		{Sequence: 6, At: ago(37 * time.Second), Vm: "bad", Kind: "AlertRaised", Why: "out-of-space: bad stands still, as its disk can't grow"},
		{Sequence: 7, At: ago(36 * time.Second), Vm: "db", Kind: "SuspendAsked", From: "running", To: "suspending", Why: "idle for 1h", By: "reclaim"},
		{Sequence: 8, At: ago(35 * time.Second), Vm: "db", Kind: "GuestSaved", From: "suspending", To: "killing", Why: "saved, 70MiB"},
		{Sequence: 9, At: ago(30 * time.Second), Kind: "AlertCleared", Why: "memory is over: 3.1GiB of 3.9GiB memory are in use"},
	}
}
