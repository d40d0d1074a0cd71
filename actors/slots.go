package actors

import "slices"

// slots gives out the small numbers from which links and VMM users derive. A
// number is given again once its VM is gone.
type slots struct {
	last  uint32   // the highest number ever taken
	freed []uint32 // below last, descending
}

// take marks a number that a record holds.
func (s *slots) take(n uint32) {
	for s.last < n {
		s.last++
		s.give(s.last)
	}
	s.freed = slices.DeleteFunc(s.freed, func(f uint32) bool { return f == n })
}

// free is the lowest number that is free; take makes it taken.
func (s *slots) free() uint32 {
	if len(s.freed) > 0 {
		return s.freed[len(s.freed)-1]
	}
	return s.last + 1
}

// give returns a number.
func (s *slots) give(n uint32) {
	at, _ := slices.BinarySearchFunc(s.freed, n, func(a, b uint32) int { return int(b) - int(a) })
	s.freed = slices.Insert(s.freed, at, n)
}
