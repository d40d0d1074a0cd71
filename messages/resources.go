package messages

import (
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// UsageToProto is nil where no sample was taken.
func UsageToProto(u vm.Usage) *blixardv1.Usage {
	if u.At.IsZero() {
		return nil
	}
	out := &blixardv1.Usage{
		MemoryBytes: int64(u.Memory), DiskBytes: int64(u.Disk), CpuSeconds: u.CPU.Seconds(), At: Stamp(u.At),
		MemoryPeakBytes: int64(u.MemoryPeak), DiskVirtualBytes: int64(u.DiskVirtual), IdleSince: Stamp(u.IdleSince),
		CpuWaited: u.Stalled.CPU.Seconds(), MemoryWaited: u.Stalled.Memory.Seconds(), IoWaited: u.Stalled.IO.Seconds(),
		BalloonBytes: told(u.Balloon), GuestFreeBytes: told(u.GuestFree), MemoryChargedBytes: told(u.Charged),
	}
	if u.Over > 0 {
		out.CpuPercent, out.ReadRate, out.WriteRate = &u.CPUPercent, &u.ReadRate, &u.WriteRate
		out.RxRate, out.TxRate = &u.RxRate, &u.TxRate
	}
	return out
}

// told is absent where zero stands for what nobody said.
func told(b vm.Bytes) *int64 {
	if b == 0 {
		return nil
	}
	return (*int64)(&b)
}

// LimitsToProto tells also of the limits that this machine can't hold.
func LimitsToProto(l vm.Limits, h vm.Holding) *blixardv1.Limits {
	out := &blixardv1.Limits{
		MemoryBytes: int64(l.Memory), CpuQuota: int32(l.CPUQuota), CpuWeight: int32(l.CPUWeight), IoWeight: int32(l.IOWeight),
		Tasks: int32(l.Tasks),
	}
	for _, one := range []struct{ what, why string }{{"memory", h.Memory}, {"cpu", h.CPU}, {"io", h.IO}, {"tasks", h.Tasks}} {
		if one.why != "" {
			out.Missing = append(out.Missing, one.what+": "+Text(one.why))
		}
	}
	return out
}

// AlertsToProto keeps their order.
func AlertsToProto(alerts []vm.Alert) []*blixardv1.Alert {
	var out []*blixardv1.Alert
	for _, a := range alerts {
		out = append(out, &blixardv1.Alert{Kind: string(a.Kind), Vm: Text(string(a.VM)), Since: Stamp(a.Since), Why: Text(a.Why), Try: Text(a.Try)})
	}
	return out
}

// ReservationToProto is what a VM holds of the node.
func ReservationToProto(r vm.Reservation) *blixardv1.Reservation {
	return &blixardv1.Reservation{Cpus: int32(r.CPUs), MemoryBytes: int64(r.Memory), DiskBytes: int64(r.Disk)}
}

// ResourcesToProto is the tracker's whole knowledge.
func ResourcesToProto(r vm.NodeResources) *blixardv1.NodeResourcesResponse {
	out := &blixardv1.NodeResourcesResponse{
		Capacity:   amount(r.Capacity.CPUs, r.Capacity.Memory, r.Capacity.Disk),
		Overcommit: &blixardv1.Ratios{Cpu: r.Overcommit.CPU, Memory: r.Overcommit.Memory, Disk: r.Overcommit.Disk},
		Reserve:    amount(r.Reserve.CPUs, r.Reserve.Memory, r.Reserve.Disk),
		Room:       amount(r.Room.CPUs, r.Room.Memory, r.Room.Disk),
		Reserved:   amount(r.Reserved.CPUs, r.Reserved.Memory, r.Reserved.Disk),
		Free:       amount(r.Room.CPUs-r.Reserved.CPUs, r.Room.Memory-r.Reserved.Memory, r.Room.Disk-r.Reserved.Disk),
		Machine:    amount(r.Usage.CPUs, r.Usage.MemoryOf, r.Usage.DiskUsed+r.Usage.DiskFree),
		Used:       amount(r.Usage.CPUPercent/100, r.Usage.Memory, r.Usage.DiskUsed),
		Vms:        int32(r.VMs),
		Pressure:   &blixardv1.NodePressure{Cpu: r.Usage.CPU, Memory: r.Usage.MemoryWait, Io: r.Usage.IO},
		Alerts:     AlertsToProto(r.Alerts),
		At:         Stamp(r.Usage.At),
	}
	for _, why := range r.Over {
		out.Over = append(out.Over, Text(why))
	}
	return out
}

func amount(cpus float64, memory, disk vm.Bytes) *blixardv1.Amount {
	return &blixardv1.Amount{Cpus: cpus, MemoryBytes: int64(memory), DiskBytes: int64(disk)}
}
