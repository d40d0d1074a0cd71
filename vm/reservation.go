package vm

// VMMOverhead is an allowance for the VMM's own memory beside the guest's RAM.
// One QEMU 7.2 under TCG with a guest of 128 MiB had a proportional set of 178
// MiB, and a resident one of 218 MiB that counts pages shared with others.
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
