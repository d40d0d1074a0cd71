package vm

import "math"

// Capacity is what the daemon may use of the machine, as the kernel tells it now.
type Capacity struct {
	CPUs   float64 `json:"cpus"`   // processors by affinity, or the cgroup's quota where that is less
	Memory Bytes   `json:"memory"` // the machine's, or the cgroup's limit where that is less
	Disk   Bytes   `json:"disk"`   // what is free on the state folder's filesystem, and what our VMs hold of it already
}

// Overcommit says how much more is promised than is there. Zero values mean the defaults.
type Overcommit struct {
	CPU    float64 `json:"cpu"`    // 4: four vCPUs for each processor
	Memory float64 `json:"memory"` // 1
	Disk   float64 `json:"disk"`   // 1: a sparse disk counts with all that it may grow to
}

// Reserve is kept for the host itself, and promised to nobody.
type Reserve struct {
	CPUs   float64 `json:"cpus"`
	Memory Bytes   `json:"memory"`
	Disk   Bytes   `json:"disk"`
}

// Room is what can be promised in all: capacity × overcommit − reserve, never below zero.
func (c Capacity) Room(o Overcommit, r Reserve) Reserved {
	return Reserved{
		CPUs:   max(0, c.CPUs*o.CPU-r.CPUs),
		Memory: max(0, times(c.Memory, o.Memory)-r.Memory),
		Disk:   max(0, times(c.Disk, o.Disk)-r.Disk),
	}
}

// times stops short of what a size can't hold.
func times(b Bytes, ratio float64) Bytes {
	if scaled := float64(b) * ratio; scaled < math.MaxInt64/2 {
		return Bytes(scaled)
	}
	return math.MaxInt64 / 2
}

// Reserved is a sum of reservations, or room for them.
type Reserved struct {
	CPUs   float64 `json:"cpus"`
	Memory Bytes   `json:"memory"`
	Disk   Bytes   `json:"disk"`
}

// Plus adds a reservation.
func (r Reserved) Plus(one Reservation) Reserved {
	return Reserved{r.CPUs + float64(one.CPUs), r.Memory + one.Memory, r.Disk + one.Disk}
}

// Minus takes a reservation away.
func (r Reserved) Minus(one Reservation) Reserved {
	return Reserved{r.CPUs - float64(one.CPUs), r.Memory - one.Memory, r.Disk - one.Disk}
}
