package policies

import "github.com/blixard/blixard/vm"

// WithSpec is the record as a new spec would leave it: what waits for the next
// start, and what is held until then. Nothing else of a turn is done.
func WithSpec(r vm.Record, s vm.Spec, need vm.Reservation) vm.Record {
	respec(&r, Turn{Spec: &s, Reservation: need})
	return r
}
