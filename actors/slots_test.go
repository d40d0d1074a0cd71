package actors

import "testing"

// TestSlotsAreLowestFirst holds that a number is given again only once it was
// returned, and that a damaged record's huge one costs nothing (P13).
func TestSlotsAreLowestFirst(t *testing.T) {
	var s slots
	for _, n := range []uint32{0, 2, 1, 5, 1<<32 - 1} {
		s.take(n)
	}
	want := func(n uint32) {
		t.Helper()
		if got := s.free(); got != n {
			t.Fatalf("free is %d, want %d", got, n)
		}
		s.take(n)
	}
	want(3)
	want(4)
	want(6)
	s.give(5)
	s.give(2)
	want(2)
	want(5)
	want(7)
}
