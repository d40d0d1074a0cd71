package vm

import "time"

// Metered names what is measured of one VM.
type Metered struct {
	Ref     Ref
	Process Process
	Folder  string   // durable folder: what it holds on the disk counts
	Links   []string // taps; empty for user-mode NICs, whose traffic nobody counts
}

// Counters are what one VM has used since its VMM was launched. Zero where
// nobody can tell.
type Counters struct {
	At          time.Time
	CPU         time.Duration // of all threads
	VCPU        time.Duration // of the vCPU threads alone
	Memory      Bytes         // resident
	MemoryPeak  Bytes         // the highest resident so far
	Charged     Bytes         // of Memory, what a limit counts and the kernel can't drop: no pages of files; and its page tables
	Limit       Bytes         // memory limit that holds; 0: none does
	Disk        Bytes         // allocated below the folder
	DiskVirtual Bytes         // what the disks may grow to
	Read        Bytes         // from storage
	Written     Bytes
	Received    Bytes // by the guest, over its taps
	Sent        Bytes
	Packets     uint64 // both ways
	Stalled     Stalls
}

// Stalls is the time, since the start, in which something waited (PSI, "some").
type Stalls struct {
	CPU, Memory, IO time.Duration
}

// Usage is what one VM uses now: its counters, and what they grew by between the
// last two samples.
type Usage struct {
	Counters
	Over       time.Duration // between the samples; 0: there was one only, and no rate is known
	CPUPercent float64       // of one processor
	VCPU       float64       // the same, of the vCPU threads
	ReadRate   float64       // bytes in a second
	WriteRate  float64
	RxRate     float64
	TxRate     float64
	PacketRate float64
	Balloon    Bytes     // what the balloon leaves to the guest; 0: it has none
	GuestFree  Bytes     // free by the guest's own word; 0: it doesn't say
	IdleSince  time.Time // zero: it isn't idle by its spec's measure
}

// NodeUsage is what the whole node uses now.
type NodeUsage struct {
	At         time.Time
	Busy       time.Duration // of all processors together, since the machine was switched on
	CPUPercent float64       // the same between the last two samples, 100 for each processor
	CPUs       float64       // that Busy is of: the machine's
	Memory     Bytes         // not available to new work
	MemoryOf   Bytes         // that Memory is of: the machine's, or a cgroup's limit where that is nearer; no override
	DiskUsed   Bytes         // of the state folder's filesystem, by anybody
	DiskFree   Bytes
	CPU        float64 // pressure: share of the last ten seconds in which something waited, in percent
	MemoryWait float64
	IO         float64
}

// NodeResources is the tracker's whole knowledge at one moment.
type NodeResources struct {
	Capacity   Capacity
	Overcommit Overcommit
	Reserve    Reserve
	Room       Reserved // capacity × overcommit − reserve
	Reserved   Reserved // by the VMs that exist, and those that are being made
	VMs        int
	Over       []string // why nothing more is admitted: "memory: 5.2 GiB reserved of 4 GiB"; empty: it is
	Usage      NodeUsage
	Alerts     []Alert
}
