package vm

import (
	"bytes"
	"encoding/json"
)

// Began is what an incarnation was begun with, where a newer spec waits for
// the next start.
type Began struct {
	Spec        Spec        `json:"spec"`
	Reservation Reservation `json:"reservation"`
}

// Launches says whether a launch by either spec makes the same incarnation. What
// supervision, boot, probes and reclaiming ask for is read anew each time, so that a
// change of it takes effect at once.
func (s Spec) Launches(other Spec) bool { return bytes.Equal(s.launch(), other.launch()) }

func (s Spec) launch() []byte {
	s = s.Filled() // an older daemon wrote it without a default that is new
	s.Restart, s.Autostart, s.Reclaim, s.Remedies, s.Dump = Restart{}, Autostart{}, Reclaim{}, nil, Dump{Core: s.Dump.Core}
	s.Health = nil // the probes of what runs are exchanged
	b, err := json.Marshal(s)
	if err != nil {
		panic("vm: " + err.Error()) // plain values can't fail
	}
	return b
}

// Runs is what the VM's VMM was launched with: the spec, unless a newer one waits.
func (r *Record) Runs() Began {
	if r.State.Runs != nil {
		return *r.State.Runs
	}
	return Began{Spec: r.Spec, Reservation: r.Reservation}
}

// Holds is what admission counts the VM with: the larger of what its spec needs
// and what its VMM was launched with, until that has ended (P12).
func (r *Record) Holds() Reservation { return r.Reservation.Max(r.Runs().Reservation) }
