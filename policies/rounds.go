package policies

import (
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// mostRounds is how many rounds of all checks a bundle tells of.
const mostRounds = 64

// Rounds are the last rounds of one guest's checks. Each VM has its own, full
// most of the time, and most rounds saw what the one before saw: that is kept once.
type Rounds struct{ kept []kept }

type kept struct {
	at   time.Time
	took time.Duration
	saw  *vm.Round // what it has in common with others; nobody changes it
}

// Keep adds a round to those of a guest with so many checks. Each check has the
// same room, so that one which is asked often doesn't drive out what the others
// saw.
func (r *Rounds) Keep(one vm.Round, checks int) {
	each, of := mostRounds/max(1, min(checks, mostRounds)), 0
	for _, k := range r.kept {
		if k.saw.Check == one.Check {
			of++
		}
	}
	now := kept{one.At, one.Took, r.seen(one)}
	for ; of >= each; of-- {
		first := slices.IndexFunc(r.kept, func(k kept) bool { return k.saw.Check == one.Check })
		r.kept = slices.Delete(r.kept, first, first+1)
	}
	if over := len(r.kept) + 1 - mostRounds; over > 0 {
		r.kept = slices.Delete(r.kept, 0, over)
	}
	at := len(r.kept)
	for at > 0 && r.kept[at-1].at.After(one.At) { // a round that began earlier may end later
		at--
	}
	r.kept = slices.Insert(r.kept, at, now)
}

// seen is a round without its times, shared with those that saw the same.
func (r *Rounds) seen(one vm.Round) *vm.Round {
	one.At, one.Took = time.Time{}, 0
	for _, k := range slices.Backward(r.kept) {
		if *k.saw == one {
			return k.saw
		}
	}
	fresh := one // or each call would put it on the heap
	return &fresh
}

// All are the rounds that are kept, oldest first.
func (r *Rounds) All() []vm.Round {
	if len(r.kept) == 0 {
		return nil
	}
	all := make([]vm.Round, len(r.kept))
	for i, k := range r.kept {
		all[i] = *k.saw
		all[i].At, all[i].Took = k.at, k.took
	}
	return all
}
