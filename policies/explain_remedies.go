package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

// RungsUsed is how often each of a VM's remedies was taken since its crashes
// were forgiven last; there is one for each rung of its ladder.
func RungsUsed(now time.Time, r vm.Record) []int {
	used := make([]int, len(r.Spec.Remedies))
	if !forgiven(now, r.Spec.Restart, r.State) {
		copy(used, r.State.Rungs)
	}
	return used
}

// usedUp tells how far a VM is on its ladder; empty: it has none.
func usedUp(now time.Time, r vm.Record) string {
	var out []string
	for i, n := range RungsUsed(now, r) {
		out = append(out, string(r.Spec.Remedies[i].Do)+UsedOf(n, r.Spec.Remedies[i].Times))
	}
	return strings.Join(out, ", ")
}

// UsedOf is " 1 of 3 used"; without a limit " 1 used", and nothing before.
func UsedOf(n, most int) string {
	switch {
	case most > 0:
		return fmt.Sprintf(" %d of %d used", n, most)
	case n > 0:
		return fmt.Sprintf(" %d used", n)
	}
	return ""
}

// ifSick tells what meets a guest that is up and gets sick: the next remedy, or
// that its budget is spent. It is empty where nothing but supervision would.
func ifSick(now time.Time, r vm.Record) string {
	if _, _, left := Budget(now, r.Spec.Restart, r.State); left == 0 && r.Spec.Restart.Policy != vm.RestartNever {
		return "the next failure that is charged gives it up"
	}
	ladder, used := r.Spec.Remedies, RungsUsed(now, r)
	if len(ladder) == 0 {
		return ""
	}
	hangs, panics := remedyFor(r, used, vm.CauseHealthFailed), remedyFor(r, used, vm.CauseGuestPanic)
	if hangs == panics {
		return "if it gets sick, " + hangs
	}
	return fmt.Sprintf("if its health fails, %s; if it panics, %s", hangs, panics)
}

// remedyFor is the next remedy of a cause that is charged, in words.
func remedyFor(r vm.Record, used []int, c vm.Cause) string {
	ladder := r.Spec.Remedies
	i := nextRung(ladder, used, c, true, restoredInVain(r.State))
	if i < 0 {
		return "it is killed and started, as no remedy is left"
	}
	if why := noGood(r); ladder[i].Do == vm.RemedyRestore && why != "" {
		return fmt.Sprintf("it is killed and started, as %s, %s", why, uses(used[i]+1, ladder[i].Times))
	}
	return fmt.Sprintf("%s, %s", remedyWords[ladder[i].Do], uses(used[i]+1, ladder[i].Times))
}

var remedyWords = map[vm.Remedy]string{
	vm.RemedyReset:   "it is reset in place",
	vm.RemedyRestore: "its known-good state is restored",
	vm.RemedyRestart: "it is asked to power off and started",
	vm.RemedyKill:    "it is killed and started",
	vm.RemedyHold:    "it is killed and held",
}

// afterReset tells of a machine that is reset in place, and what comes when the
// time is up.
func afterReset(e *Explanation, now time.Time, r vm.Record) (late string) {
	s := r.State
	is, late := "its machine was reset in place, the guest has not answered yet", "the guest counts as sick"
	if s.ResetDue {
		is, late, e.Next = "its machine is reset in place", "it is killed", "the reset is done, and the guest boots"
	}
	e.State = fmt.Sprintf("%s: %s; wanted %s, health %s", s.Phase, is, s.Intent, s.Health)
	if sick := ifSick(now, r); sick != "" && !s.ResetDue {
		late += ": " + strings.TrimPrefix(sick, "if it gets sick, ")
	}
	return late
}

const forgives = "reset {name} # forgets its failures"

// remembers are the commands for a VM that is up, and has failures behind it.
func remembers(now time.Time, r vm.Record) []string {
	var out []string
	if r.State.Crashes > 0 {
		out = append(out, "crashes {name}")
	}
	if Remembers(now, r) {
		out = append(out, forgives)
	}
	return out
}

// Remembers says whether there is anything to forgive: a failure that the budget
// counts, or a remedy that was used.
func Remembers(now time.Time, r vm.Record) bool {
	_, charged, _ := Budget(now, r.Spec.Restart, r.State)
	return charged > 0 || slices.Max(append(RungsUsed(now, r), 0)) > 0
}

// Verdict is what was decided of a death, in a word: the remedy where one was
// taken, with its delay where the next start waits.
func Verdict(d vm.Decision) string {
	switch {
	case d.Remedy == "" || d.Do == vm.GiveUp && d.Remedy != vm.RemedyHold:
		return string(d.Do)
	case d.Do == vm.BackOff && d.After > 0:
		return fmt.Sprintf("%s, in %s", d.Remedy, lasted(d.After))
	}
	return string(d.Remedy)
}

// joined are the sentences that say something.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}
