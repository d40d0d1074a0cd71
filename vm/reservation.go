package vm

// VMMOverhead is the VMM's own memory beside the guest's RAM: QEMU 7.2 with a
// bounded translation cache was measured at 30 to 65 MiB.
const VMMOverhead = 64 * MiB

// ReservationFor is what a spec needs of the node. A disk that exists already
// is not ours to count.
func ReservationFor(s Spec) Reservation {
	r := Reservation{CPUs: s.CPUs, Memory: s.Memory + VMMOverhead}
	for _, d := range s.Disks {
		r.Disk += d.Size
	}
	return r
}
