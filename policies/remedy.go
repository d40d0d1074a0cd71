package policies

import (
	"fmt"
	"slices"

	"github.com/blixard/blixard/vm"
)

// The rules that a ladder of remedies adds to supervision's.
const (
	ruleRestore = "remedy-restore" // it is killed, and its known-good state is loaded
	ruleReset   = "remedy-reset"   // the machine is reset in place, and its incarnation goes on
	ruleHold    = "remedy-hold"    // it is killed and held, before its budget is spent
)

// Remedied is the turn of a sick guest as its VM's ladder has it: supervision
// says whether it comes up again, and when, and the first rung that fits and
// isn't used up says how. Where supervision gives up, or no rung is left, the
// turn comes back as it was, and so does every other turn.
//
// What a rung can't do with what is left of the VMM, a kill does in its stead,
// and the rung counts as used: so the ladder always leads on. A restore whose file
// somebody took from the disk is the exception.
//
// A start after a reset in place whose time is up is a sick guest as well.
//
// A reset waits for no delay, as a guest that hangs gains nothing by it. It may
// not turn fast either: where supervision would delay, only a guest that had
// answered since it last booted is reset; any other is killed, and waits. A
// restore waits for that delay where the guest had not answered.
func Remedied(rec vm.Record, t Turn) Turn {
	t = healedInVain(rec.State, t)
	loseGood(&rec.State, t.Failure)
	s, ladder := rec.State, rec.Spec.Remedies
	if t.Event != vm.GuestSick || t.Decision != nil || s.Phase&(vm.Starting|vm.Running) == 0 || s.Intent != vm.WantRunning || s.Saved != nil || Loading(s) {
		return t
	}
	f := failureOf(s, t)
	d := Supervise(t.At, rec.Spec.Restart, s, f, t.Spread)
	if d.Do != vm.RestartNow && d.Do != vm.BackOff {
		return t // a spent budget, and a guest's own will, stand above every remedy
	}
	used := RungsUsed(t.At, rec)
	i := nextRung(ladder, used, f.Cause, d.Charged, restoredInVain(s))
	if i < 0 {
		return t
	}
	if !spared(ladder[i], s) {
		used[i] = counted(used[i])
	}
	t.Rungs = used
	return byRung(rec, t, f, d, i)
}

// healedInVain is the turn of a start whose time is up: where its machine was
// reset in place, or its known-good state is loaded, its VMM has served a guest
// before, so it is the guest that fails, and the next rung is its remedy. Every
// other turn comes back as it was.
func healedInVain(s vm.State, t Turn) Turn {
	by := "reset"
	if WasRestored(s) {
		by = "restore"
	}
	if t.Event != vm.DeadlinePassed || s.Phase != vm.Starting || Loading(s) || !WasReset(s) && !WasRestored(s) {
		return t
	}
	since := lasted(t.At.Sub(s.PhaseSince))
	f := vm.Failure{
		Cause: vm.CauseHealthFailed, Confidence: vm.Likely, Alive: true, Silent: s.ResetDue,
		Evidence: with(fmt.Sprintf("the guest did not answer within %s of its %s", since, by), s.HealthWhy),
	}
	if s.ResetDue {
		f.Evidence = fmt.Sprintf("it could not be reset within %s", since)
	}
	t.Event, t.Failure = vm.GuestSick, &f
	return t
}

// nextRung is the first rung that fits a cause and isn't used up; below zero: none
// is left. What was restored in vain is not restored again.
func nextRung(ladder []vm.Rung, used []int, c vm.Cause, charged, vain bool) int {
	for i, rung := range ladder {
		if vain && rung.Do == vm.RemedyRestore {
			continue
		}
		if fits(rung, c, charged) && (rung.Times <= 0 || used[i] < rung.Times) {
			return i
		}
	}
	return -1
}

// fits says whether a rung is for a cause. Where it names none, it is for what
// the guest did itself: what the host did is not mended by a remedy, and has no
// limit that could be used up.
func fits(r vm.Rung, c vm.Cause, charged bool) bool {
	if len(r.For) == 0 {
		return charged
	}
	return slices.Contains(r.For, c)
}

// byRung is the turn by one rung, whose use t.Rungs counts already.
func byRung(rec vm.Record, t Turn, f vm.Failure, d vm.Decision, i int) Turn {
	rung := rec.Spec.Remedies[i]
	count := uses(t.Rungs[i], rung.Times)
	if spared(rung, rec.State) {
		count = "not counted"
	}
	which := fmt.Sprintf("remedy %d of %d: %s, %s", i+1, len(t.Rungs), rung.Do, count)
	cant := hinders(rung.Do, rec, f, d)
	switch {
	case rung.Do == vm.RemedyHold:
		d.Do, d.After, d.Rule = vm.GiveUp, 0, ruleHold
		d.Why = fmt.Sprintf("%s, held until a person decides (%s)", met(rec, t, f, d), which)
	case cant != "":
		rung.Do = vm.RemedyKill
		d.Why = fmt.Sprintf("%s; killed, as %s (%s)", d.Why, cant, which)
	case rung.Do == vm.RemedyReset:
		t.Event = vm.GuestToReset
		d.Do, d.After, d.Rule = vm.RestartNow, 0, ruleReset
		d.Why = fmt.Sprintf("%s, reset in place (%s)", met(rec, t, f, d), which)
	case rung.Do == vm.RemedyRestore:
		d.Rule = ruleRestore
		d.Why = fmt.Sprintf("%s; killed, and %s is restored then (%s)", d.Why, goodOf(t.At, *rec.State.Good), which)
		if !rec.State.ReadyAt.IsZero() {
			d.Do, d.After = vm.RestartNow, 0
			d.Why = fmt.Sprintf("%s, killed, and %s is restored (%s)", met(rec, t, f, d), goodOf(t.At, *rec.State.Good), which)
		}
	case rung.Do == vm.RemedyRestart:
		t.Event = vm.GuestToRestart
		d.Why = fmt.Sprintf("%s; asked to power off before (%s)", d.Why, which)
	default:
		d.Why = fmt.Sprintf("%s; killed (%s)", d.Why, which)
	}
	d.Remedy = rung.Do
	t.Decision = &d
	return t
}

// spared says whether a rung is not used up by being met: what was to be restored
// was taken from the disk, and the next incarnation leaves it anew.
func spared(rung vm.Rung, s vm.State) bool {
	return rung.Do == vm.RemedyRestore && s.Good == nil && s.GoodWhy == goodLost
}

// hinders is why a rung can't be done, or empty.
func hinders(do vm.Remedy, r vm.Record, f vm.Failure, d vm.Decision) string {
	stands := f.Cause == vm.CauseGuestPanic || f.Cause == vm.CauseGuestReset
	switch {
	case do == vm.RemedyKill || do == vm.RemedyHold:
		return ""
	case do == vm.RemedyRestore:
		return noGood(r)
	case f.Silent:
		return "its VMM does not answer"
	case do == vm.RemedyRestart && stands:
		return "it can't be asked to power off any more"
	case do == vm.RemedyRestart:
		return ""
	case !d.Charged || f.Cause != vm.CauseHealthFailed && !stands:
		return "no reset mends " + string(f.Cause)
	case d.Do == vm.BackOff && r.State.ReadyAt.IsZero():
		return "it had not answered since it booted"
	}
	return ""
}

// Silent says whether a VMM doesn't answer, by what its own checks say: no remedy
// reaches it but a kill.
func Silent(probes []Probe) bool {
	return slices.ContainsFunc(probes, func(p Probe) bool {
		return (p.Check.Type == vm.CheckVMM || p.Check.Type == vm.CheckProcess) && p.Health == vm.Unhealthy
	})
}

// met tells of a failure and of what is charged for it.
func met(rec vm.Record, t Turn, f vm.Failure, d vm.Decision) string {
	if !d.Charged {
		return string(f.Cause) + ": not charged"
	}
	_, before, _ := Budget(t.At, rec.Spec.Restart, rec.State)
	b := rec.Spec.Restart.Budget
	return fmt.Sprintf("%s: crash %d of %d in %s", f.Cause, before+1, b.Attempts, vm.Span(b.Window))
}

// uses tells how often a rung was taken, and of how many times.
func uses(n, most int) string {
	if most == 0 {
		return fmt.Sprintf("time %d", n)
	}
	return fmt.Sprintf("time %d of %d", n, most)
}
