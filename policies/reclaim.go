package policies

import (
	"fmt"
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// ReclaimRules say when the node is short of memory, and how fast it takes some back.
type ReclaimRules struct {
	Available float64       // percent of memory: below it the node is short
	Pressure  float64       // PSI memory, percent: from it on the node is short
	Between   time.Duration // between two steps for want of memory, so that the effect of the first shows
	Retry     time.Duration // after a step that could not be done
}

// DefaultReclaimRules act before the kernel has to: it reclaims hard from a few
// percent of available memory on.
var DefaultReclaimRules = ReclaimRules{Available: 10, Pressure: 10, Between: 30 * time.Second, Retry: 10 * time.Minute}

// reclaimAtOnce bounds the steps of one look: a hundred guests that are written
// to the disk at once would be slower, all of them, than one after another.
const reclaimAtOnce = 4

// Reclaimable is one VM as reclaiming sees it.
type Reclaimable struct {
	Name      vm.Name
	Rules     vm.Reclaim // without steps: never
	Phase     vm.Phase
	Health    vm.Health
	Wanted    bool         // people want it up, so that it may come back by itself
	Since     time.Time    // of the phase: a guest that was only just resumed was not idle before
	IdleSince time.Time    // zero: it isn't idle
	Taken     vm.ReclaimDo // the rung it stands on by our doing; empty: none
	Held      time.Time    // with Taken: since when it was idle as that was taken
	Tried     time.Time    // when it was last asked to take a step
	Failed    vm.ReclaimDo // the rung that could not be taken then; empty: it was
}

// Found is the VM on the rung where it is found, which may not be the one that
// it was left on. One that stands still by our doing is paused. One that runs
// though it was paused or suspended was resumed by a person, or its saving
// failed: it begins again, at its balloon where that is still filled.
func (v Reclaimable) Found(filled bool) Reclaimable {
	switch {
	case v.Phase == vm.Paused:
		v.Taken = vm.ReclaimPause
	case v.Taken.Rank() > vm.ReclaimBalloon.Rank():
		if v.Taken == vm.ReclaimSuspend {
			v.Failed = vm.ReclaimSuspend
		}
		v.Taken, v.Held = "", time.Time{}
		if filled {
			v.Taken = vm.ReclaimBalloon
		}
	}
	return v
}

// ReclaimStep is one thing to do to one VM.
type ReclaimStep struct {
	VM  vm.Name
	Do  vm.ReclaimDo
	Why string // a sentence, for the journal
}

// Reclaim is one look: what to take back, and what to give again. last is when
// it last took something.
func Reclaim(now, last time.Time, u vm.NodeUsage, vms []Reclaimable, rules ReclaimRules) []ReclaimStep {
	var back, due []ReclaimStep
	var idlest *Reclaimable
	var its vm.ReclaimStep
	for i := range vms {
		v := &vms[i]
		if why := v.giveBack(now, rules); why != "" {
			back = append(back, ReclaimStep{v.Name, vm.ReclaimGiveBack, why})
			continue
		}
		step, ok := v.next(now, rules)
		switch since := v.idleSince(rules); {
		case !ok || since.IsZero() || since.After(now):
		case now.Sub(since) >= step.After:
			due = append(due, ReclaimStep{v.Name, step.Do, "idle for " + vm.Span(now.Sub(since).Round(time.Second))})
		case idlest == nil || since.Before(idlest.idleSince(rules)):
			idlest, its = v, step
		}
	}
	if why := shortOfMemory(u, rules); why != "" && len(due) == 0 && idlest != nil && passed(now, last, rules.Between) {
		idle := now.Sub(idlest.idleSince(rules)).Round(time.Second)
		due = []ReclaimStep{{idlest.Name, its.Do, fmt.Sprintf("%s, and no VM that may give some back is idle for longer: %s", why, idle)}}
	}
	slices.SortStableFunc(due, func(a, b ReclaimStep) int { return a.Do.Rank() - b.Do.Rank() })
	return append(back, due[:min(len(due), reclaimAtOnce)]...)
}

// shortOfMemory says why the machine is, however much of it is promised; empty:
// it isn't.
func shortOfMemory(u vm.NodeUsage, r ReclaimRules) string {
	switch left := 100 - share(u.Memory, u.MemoryOf); {
	case u.At.IsZero():
		return ""
	case u.MemoryOf > 0 && left < r.Available:
		return fmt.Sprintf("%.0f %% of the node's memory are available", max(0, left))
	case u.MemoryWait >= r.Pressure:
		return fmt.Sprintf("work waited for memory in %.0f %% of the last ten seconds", u.MemoryWait)
	}
	return ""
}

// next is the rung above the one it stands on. A guest that starts, is unwell,
// is on its way down, or was paused by a person has none.
func (v *Reclaimable) next(now time.Time, r ReclaimRules) (vm.ReclaimStep, bool) {
	ripe := v.Phase == vm.Paused && v.Taken == vm.ReclaimPause ||
		v.Phase == vm.Running && (v.Health == vm.Healthy || v.Health == vm.HealthUnknown)
	if !v.Wanted || !ripe {
		return vm.ReclaimStep{}, false
	}
	for _, step := range v.Rules.Steps {
		failed := step.Do == v.Failed && !passed(now, v.Tried, r.Retry)
		if step.Do.Rank() > v.Taken.Rank() && !failed {
			return step, true
		}
	}
	return vm.ReclaimStep{}, false
}

// giveBack says why a balloon is to be deflated; empty: it isn't.
func (v *Reclaimable) giveBack(now time.Time, r ReclaimRules) string {
	asked := slices.ContainsFunc(v.Rules.Steps, func(s vm.ReclaimStep) bool { return s.Do == vm.ReclaimBalloon })
	switch {
	case v.Taken != vm.ReclaimBalloon || v.Phase != vm.Running:
	case v.Failed == vm.ReclaimGiveBack && !passed(now, v.Tried, r.Between):
	case !asked:
		return "its spec doesn't ask for a balloon any more"
	case v.IdleSince.IsZero() && passed(now, v.Tried, r.Between): // before, it is the balloon's own filling that keeps it busy
		return "it is no longer idle"
	}
	return ""
}

// idleSince is since when it counts as idle; zero: it doesn't.
func (v *Reclaimable) idleSince(r ReclaimRules) time.Time {
	switch {
	case v.Phase == vm.Paused && v.Taken == vm.ReclaimPause && !v.Held.IsZero():
		return v.Held // what stands still shows nothing new
	case v.Phase == vm.Paused:
		return v.Since
	case v.Taken == vm.ReclaimBalloon && !v.Held.IsZero() && v.IdleSince.Before(v.Tried.Add(r.Between)) && !v.IdleSince.IsZero():
		return v.Held // filling the balloon was our work, not the guest's
	case !v.IdleSince.IsZero() && v.IdleSince.Before(v.Since):
		return v.Since
	}
	return v.IdleSince
}

// passed says whether so much time lies between; a clock that was set back must
// not make it longer.
func passed(now, since time.Time, d time.Duration) bool {
	return since.IsZero() || since.After(now) || now.Sub(since) >= d
}

// leastSpare is what a guest keeps at hand below its balloon, of a small one's
// memory; a larger one keeps a tenth. With less a stock kernel thrashes at its
// next request, and answers no probe in time.
const leastSpare = 24 * vm.MiB

// Leaves is what a balloon leaves to the guest, in whole MiB: the percent that
// its spec keeps, and never less than what it uses, by its own word, and some to
// spare. available is 0 where the guest doesn't say.
func Leaves(s vm.Spec, available vm.Bytes) vm.Bytes {
	leave := s.Memory * vm.Bytes(s.Reclaim.Keep) / 100
	if available > 0 {
		leave = max(leave, s.Memory-available+max(leastSpare, s.Memory/10))
	}
	return min(s.Memory, max(vm.MiB, (leave+vm.MiB-1)/vm.MiB*vm.MiB))
}

// mark remembers whether it was the node itself that last had the VM stand still.
func mark(s *vm.State, t Turn) {
	switch {
	case t.Event == vm.SpecAsked || t.Event == vm.ResetAsked:
	case t.Event.Asked():
		s.Reclaimed = t.Reclaim
	case t.Event == vm.OutOfSpace:
		s.Reclaimed = false
	}
}
