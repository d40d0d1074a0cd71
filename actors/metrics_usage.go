package actors

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/blixard/blixard/vm"
)

// consumption shows what the VMs and the node use beside what is promised of
// it, as of the last sample: a scrape looks at nothing.
type consumption struct{ node *Node }

// vmMetric is one number of a VM's usage. One that nobody can tell, as the
// pressure of a VMM without a cgroup of its own, is not shown.
type vmMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(vm.Usage) float64
	known bool // zero is a number too
}

func ofVM(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("blixard_vm_"+name, help, []string{"vm"}, nil)
}

func ofNode(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("blixard_node_"+name, help, labels, nil)
}

var vmMetrics = []vmMetric{
	{ofVM("cpu_seconds_total", "Processor time of the VMM, since its launch."), prometheus.CounterValue, func(u vm.Usage) float64 { return u.CPU.Seconds() }, true},
	{ofVM("vcpu_seconds_total", "Processor time of the vCPUs alone, since the launch of the VMM."), prometheus.CounterValue, func(u vm.Usage) float64 { return u.Counters.VCPU.Seconds() }, false},
	{ofVM("memory_bytes", "Memory of the VMM that is resident."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.Memory) }, true},
	{ofVM("memory_charged_bytes", "Memory of the VMM that counts against its reservation and its limit: without pages of files; absent: it is not known."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.Charged) }, false},
	{ofVM("memory_peak_bytes", "The highest resident memory of the VMM since its launch."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.MemoryPeak) }, true},
	{ofVM("memory_limit_bytes", "Memory limit of the VMM's cgroup; absent: none holds."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.Limit) }, false},
	{ofVM("balloon_bytes", "Memory that the balloon leaves to the guest; absent: it is not known."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.Balloon) }, false},
	{ofVM("guest_free_bytes", "Memory that is free by the guest's own word; absent: it says nothing."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.GuestFree) }, false},
	{ofVM("disk_bytes", "Disk that the files of the VM hold."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.Disk) }, true},
	{ofVM("disk_virtual_bytes", "Disk that the files of the VM may grow to."), prometheus.GaugeValue, func(u vm.Usage) float64 { return float64(u.DiskVirtual) }, true},
	{ofVM("storage_read_bytes_total", "Read from storage by the VMM, since its launch."), prometheus.CounterValue, func(u vm.Usage) float64 { return float64(u.Read) }, true},
	{ofVM("storage_written_bytes_total", "Written to storage by the VMM, since its launch."), prometheus.CounterValue, func(u vm.Usage) float64 { return float64(u.Written) }, true},
	{ofVM("network_received_bytes_total", "Received by the guest over its taps."), prometheus.CounterValue, func(u vm.Usage) float64 { return float64(u.Received) }, true},
	{ofVM("network_sent_bytes_total", "Sent by the guest over its taps."), prometheus.CounterValue, func(u vm.Usage) float64 { return float64(u.Sent) }, true},
	{ofVM("network_packets_total", "Packets over the guest's taps, both ways."), prometheus.CounterValue, func(u vm.Usage) float64 { return float64(u.Packets) }, true},
	{ofVM("cpu_waiting_seconds_total", "Time in which something of the VMM waited for a processor; absent: it has no cgroup of its own."), prometheus.CounterValue, func(u vm.Usage) float64 { return u.Stalled.CPU.Seconds() }, false},
	{ofVM("memory_waiting_seconds_total", "Time in which something of the VMM waited for memory."), prometheus.CounterValue, func(u vm.Usage) float64 { return u.Stalled.Memory.Seconds() }, false},
	{ofVM("io_waiting_seconds_total", "Time in which something of the VMM waited for storage."), prometheus.CounterValue, func(u vm.Usage) float64 { return u.Stalled.IO.Seconds() }, false},
}

// The reservations of all VMs, also of those that are down, and how long one is idle.
var (
	vmReservedCPUs   = ofVM("reserved_cpus", "Processors that are promised to the VM.")
	vmReservedMemory = ofVM("reserved_memory_bytes", "Memory that is promised to the VM, with what its VMM takes.")
	vmReservedDisk   = ofVM("reserved_disk_bytes", "Disk that is promised to the VM.")
	vmIdle           = ofVM("idle_seconds", "Time for which the VM is idle by its spec's measure; 0: it isn't.")
)

// amounts are one quantity of the node in each of its dimensions.
type amounts struct{ cpus, memory, disk *prometheus.Desc }

func amountsOf(name, help string) amounts {
	return amounts{
		cpus:   ofNode(name+"_cpus", "Processors: "+help),
		memory: ofNode(name+"_memory_bytes", "Memory: "+help),
		disk:   ofNode(name+"_disk_bytes", "Disk of the state folder: "+help),
	}
}

var (
	nodeCapacity = amountsOf("capacity", "what the daemon may use of the machine.")
	nodeReserve  = amountsOf("reserve", "what is kept for the host.")
	nodeRoom     = amountsOf("room", "what can be promised in all, capacity times overcommit less the reserve.")
	nodeReserved = amountsOf("reserved", "what is promised to VMs.")
	nodeUsed     = amountsOf("used", "what is used now, by anybody.")
	nodeMachine  = amountsOf("machine", "what there is in all, which used is of, whatever the configuration says.")
	nodeFree     = ofNode("free_disk_bytes", "Disk of the state folder that is free.")
	nodeRatio    = ofNode("overcommit_ratio", "How much more is promised than is there, by resource: cpu, memory, disk.", "resource")
	nodeOver     = ofNode("overcommitted", "Whether more is promised than there is room for, so that nothing that grows is admitted.")
	nodeBusy     = ofNode("cpu_busy_seconds_total", "Time that the processors were busy, all together.")
	nodePressure = ofNode("pressure_ratio", "Share of the last ten seconds in which something waited, by resource: cpu, memory, io.", "resource")
	nodeSampled  = ofNode("sample_timestamp_seconds", "When the node was last sampled.")
)

// Describe tells which metrics there are.
func (c consumption) Describe(to chan<- *prometheus.Desc) {
	for _, m := range vmMetrics {
		to <- m.desc
	}
	for _, a := range []amounts{nodeCapacity, nodeReserve, nodeRoom, nodeReserved, nodeUsed, nodeMachine} {
		to <- a.cpus
		to <- a.memory
		to <- a.disk
	}
	for _, d := range []*prometheus.Desc{
		vmReservedCPUs, vmReservedMemory, vmReservedDisk, vmIdle, nodeFree, nodeRatio, nodeOver, nodeBusy, nodePressure, nodeSampled,
	} {
		to <- d
	}
}

// Collect shows the last sample.
func (c consumption) Collect(to chan<- prometheus.Metric) {
	for _, v := range c.node.env.views.list() {
		c.vm(to, v.rec)
	}
	if r := c.node.env.resources.Load(); r != nil {
		c.machine(to, *r)
	}
}

func (c consumption) vm(to chan<- prometheus.Metric, rec vm.Record) {
	name := string(rec.Spec.Name)
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, name)
	}
	holds := rec.Holds()
	gauge(vmReservedCPUs, float64(holds.CPUs))
	gauge(vmReservedMemory, float64(holds.Memory))
	gauge(vmReservedDisk, float64(holds.Disk))
	u := c.node.env.usage(rec.ID, rec.State.Process)
	if u.At.IsZero() {
		return
	}
	for _, m := range vmMetrics {
		if value := m.value(u); value != 0 || m.known {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, value, name)
		}
	}
	idle := 0.0
	if !u.IdleSince.IsZero() {
		idle = max(0, u.At.Sub(u.IdleSince).Seconds())
	}
	gauge(vmIdle, idle)
}

func (c consumption) machine(to chan<- prometheus.Metric, r vm.NodeResources) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	show := func(a amounts, cpus float64, memory, disk vm.Bytes) {
		gauge(a.cpus, cpus)
		gauge(a.memory, float64(memory))
		gauge(a.disk, float64(disk))
	}
	show(nodeCapacity, r.Capacity.CPUs, r.Capacity.Memory, r.Capacity.Disk)
	show(nodeReserve, r.Reserve.CPUs, r.Reserve.Memory, r.Reserve.Disk)
	show(nodeRoom, r.Room.CPUs, r.Room.Memory, r.Room.Disk)
	show(nodeReserved, r.Reserved.CPUs, r.Reserved.Memory, r.Reserved.Disk)
	gauge(nodeRatio, r.Overcommit.CPU, "cpu")
	gauge(nodeRatio, r.Overcommit.Memory, "memory")
	gauge(nodeRatio, r.Overcommit.Disk, "disk")
	gauge(nodeOver, truth(len(r.Over) > 0))
	u := r.Usage
	if u.At.IsZero() {
		return
	}
	show(nodeUsed, u.CPUPercent/100, u.Memory, u.DiskUsed)
	show(nodeMachine, u.CPUs, u.MemoryOf, u.DiskUsed+u.DiskFree)
	gauge(nodeFree, float64(u.DiskFree))
	to <- prometheus.MustNewConstMetric(nodeBusy, prometheus.CounterValue, u.Busy.Seconds())
	gauge(nodePressure, u.CPU/100, "cpu")
	gauge(nodePressure, u.MemoryWait/100, "memory")
	gauge(nodePressure, u.IO/100, "io")
	gauge(nodeSampled, float64(u.At.UnixMilli())/1000)
}
