package vm

// ReservationFor is what a spec needs of the node; overhead is what its VMM
// needs of memory besides the guest's RAM. A disk that exists already is not
// ours to count.
func ReservationFor(s Spec, overhead Bytes) Reservation {
	r := Reservation{CPUs: s.CPUs, Memory: s.Memory + overhead}
	for _, d := range s.Disks {
		r.Disk += d.Size
	}
	return r
}

// Max is the larger of both in each dimension.
func (r Reservation) Max(o Reservation) Reservation {
	return Reservation{CPUs: max(r.CPUs, o.CPUs), Memory: max(r.Memory, o.Memory), Disk: max(r.Disk, o.Disk)}
}
