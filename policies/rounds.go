package policies

import (
	"slices"

	"github.com/blixard/blixard/vm"
)

// mostRounds is how many rounds of all checks a bundle tells of.
const mostRounds = 64

// KeepRound adds a round to those that are kept of a guest with so many checks,
// oldest first. Each check has the same room, so that one which is asked often
// doesn't drive out what the others saw.
func KeepRound(kept []vm.Round, one vm.Round, checks int) []vm.Round {
	each, of := mostRounds/max(1, min(checks, mostRounds)), 0
	for i := range kept {
		if kept[i].Check == one.Check {
			of++
		}
	}
	for ; of >= each; of-- {
		first := slices.IndexFunc(kept, func(r vm.Round) bool { return r.Check == one.Check })
		kept = slices.Delete(kept, first, first+1)
	}
	if over := len(kept) + 1 - mostRounds; over > 0 {
		kept = slices.Delete(kept, 0, over)
	}
	at := len(kept)
	for at > 0 && kept[at-1].At.After(one.At) { // a round that began earlier may end later
		at--
	}
	return slices.Insert(kept, at, one)
}
