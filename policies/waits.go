package policies

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// WithSpec is the record as a new spec would leave it: what waits for the next
// start, and what is held until then. Nothing else of a turn is done.
func WithSpec(r vm.Record, s vm.Spec, need vm.Reservation) vm.Record {
	respec(&r, Turn{Spec: &s, Reservation: need})
	return r
}

// PrepareTime is how long making ready may take, until the VMM is launched. A
// saved guest is read before that, to see that it is whole.
func PrepareTime(r vm.Record) time.Duration {
	limit := max(prepareTimeout, r.Spec.Start.Timeout)
	if r.Spec.Boot.Flake != "" {
		limit = buildTimeout
	}
	if Loading(r.State) {
		limit += SaveTime(r.Spec)
	}
	return limit
}

// CrashKernelTime is how long a guest's own crash kernel may take to write its
// dump and to reset the machine: some GiB to a slow disk.
const CrashKernelTime = 5 * time.Minute
