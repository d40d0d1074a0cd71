package actors

// slots gives out the small numbers from which links and VMM users derive. A
// number is given again once its VM is gone.
type slots struct {
	taken map[uint32]struct{}
	low   uint32 // every number from 1 up to here is taken
}

// take marks a number that a record holds.
func (s *slots) take(n uint32) {
	if s.taken == nil {
		s.taken = map[uint32]struct{}{}
	}
	s.taken[n] = struct{}{}
}

// has says whether a number is taken.
func (s *slots) has(n uint32) bool {
	_, taken := s.taken[n]
	return taken || n == 0
}

// free is the lowest number that is free; take makes it taken.
func (s *slots) free() uint32 {
	for {
		if _, taken := s.taken[s.low+1]; !taken {
			return s.low + 1
		}
		s.low++
	}
}

// give returns a number.
func (s *slots) give(n uint32) {
	delete(s.taken, n)
	if n > 0 {
		s.low = min(s.low, n-1)
	}
}
