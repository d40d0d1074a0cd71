package policies

import (
	"math"
	"strconv"
	"time"

	"github.com/blixard/blixard/vm"
)

// The rules that can decide. The crash record, `vm explain` and the goldens name them.
const (
	ruleBudget    = "budget"          // charged failures are followed by a delay until the budget is spent
	ruleSpared    = "not-charged"     // the host or a person ended it: again, ever slower, without end
	ruleAlways    = "policy-always"   // a guest that powered itself off comes back
	rulePoweroff  = "guest-poweroff"  // a guest that powered itself off stays off
	ruleNever     = "policy-never"    // nothing is tried again
	rulePermanent = "start-permanent" // trying again would change nothing
	ruleUnwanted  = "not-wanted"      // it was asked down before its end came: Supervise is not asked
)

// Supervise decides what follows a failure. spread is random in [0,1) and
// moves the delay inside its jitter, nothing else. s is the state in which the
// failure was met, before Charge.
//
// In this order, the first rule that fits:
//
//	start-permanent  give up at once
//	guest-poweroff   stay down, unless the policy is always: the guest's will
//	policy-never     give up, aloud (P4): a VM that is wanted up may not lie silent
//	budget           for charged failures: Attempts of them within Window are
//	                 followed by another try, the next one gives up
//	not-charged      restart; a loop of these slows down by the same curve and
//	                 never ends in giving up
func Supervise(now time.Time, r vm.Restart, s vm.State, f vm.Failure, spread float64) vm.Decision {
	d := vm.Decision{Do: vm.GiveUp, Charged: charged(s, f)}
	off := f.Cause == vm.CauseGuestPoweroff
	switch {
	case f.Cause == vm.CauseStartPermanent:
		d.Rule, d.Why = rulePermanent, string(f.Cause)+": trying again would change nothing"
	case off && r.Policy != vm.RestartAlways:
		d.Do, d.Charged, d.Rule = vm.StayDown, false, rulePoweroff
		d.Why = "the guest powered itself off, and restart.policy is " + string(r.Policy)
	case r.Policy == vm.RestartNever:
		d.Rule, d.Why = ruleNever, string(f.Cause)+": restart.policy is never"
	case d.Charged:
		d.Rule = ruleBudget
		spend(&d, now, r, s, f, spread)
	default:
		d.Rule = ruleSpared
		if off {
			d.Rule = ruleAlways
		}
		again(&d, now, r, s, f, spread)
	}
	return d
}

// charged says whether a failure counts against the budget: only what the
// guest or its VMM did itself. A host that reboots, fails its disks or runs out
// of memory, and a person's kill, say nothing about the guest. What can't be
// told apart is charged: an unknown end that costs nothing could loop for ever.
func charged(s vm.State, f vm.Failure) bool {
	switch f.Cause {
	case vm.CauseGuestPanic, vm.CauseVMMCrash, vm.CauseOOMCgroup, vm.CauseHealthFailed:
		return true
	case vm.CauseGuestReset, vm.CauseGuestPoweroff:
		return !f.Ready // a guest that ends before it answers can't boot; afterwards it is its own will
	case vm.CauseStartTransient:
		return !s.LaunchedAt.IsZero() // launched: the guest had its time. Before: the host could not
	case vm.CauseStartPermanent, vm.CauseHostReboot, vm.CauseLinkLost, vm.CauseSavedState, vm.CauseOperator, vm.CauseUs, vm.CauseOOMHost, vm.CauseIOError:
		return false
	case vm.CauseUnknown:
	}
	return true
}

// spend takes one failure from the budget.
func spend(d *vm.Decision, now time.Time, r vm.Restart, s vm.State, f vm.Failure, spread float64) {
	tries, n := s.Tries, inWindow(now, r, s)+1
	if forgiven(now, r, s) {
		tries, n = 0, 1
	}
	var room [160]byte
	b := append(room[:0], f.Cause...)
	b = append(b, ": crash "...)
	b = strconv.AppendInt(b, int64(n), 10)
	if n > r.Budget.Attempts {
		b = append(b, " in "...)
		b = vm.AppendSpan(b, r.Budget.Window)
		b = append(b, ", the budget allows "...)
		b = strconv.AppendInt(b, int64(r.Budget.Attempts), 10)
		d.Why = string(b)
		return
	}
	b = append(b, " of "...)
	b = strconv.AppendInt(b, int64(r.Budget.Attempts), 10)
	b = append(b, " in "...)
	b = vm.AppendSpan(b, r.Budget.Window)
	retry(d, b, delay(r, tries, spread))
}

// again restarts what is not charged: at once the first time, unless the host
// itself failed and would most likely fail again.
func again(d *vm.Decision, now time.Time, r vm.Restart, s vm.State, f vm.Failure, spread float64) {
	before := s.Spared
	if forgiven(now, r, s) {
		before = 0
	}
	var after time.Duration
	if hostFailed(f.Cause) {
		after = delay(r, before, spread)
	} else if before > 0 {
		after = delay(r, before-1, spread)
	}
	if before >= sparedAtOnce {
		after = max(after, sparedFloor)
	}
	var room [160]byte
	b := append(room[:0], f.Cause...)
	b = append(b, ": not charged"...)
	if before > 0 {
		b = append(b, ", "...)
		b = strconv.AppendInt(b, int64(before)+1, 10)
		b = append(b, " in a row"...)
	}
	retry(d, b, after)
}

// What no budget ends must not turn as fast as the machine can, whatever the
// spec says of delays: a start that the host refuses would burn a core.
const (
	sparedAtOnce = 3
	sparedFloor  = time.Second
)

func hostFailed(c vm.Cause) bool {
	return c == vm.CauseStartTransient || c == vm.CauseIOError || c == vm.CauseOOMHost
}

func retry(d *vm.Decision, why []byte, after time.Duration) {
	d.After = after
	if after <= 0 {
		d.Do, d.Why = vm.RestartNow, string(append(why, ", restarting now"...))
		return
	}
	d.Do = vm.BackOff
	why = append(why, ", next try in "...)
	if after > time.Millisecond {
		after = after.Round(time.Millisecond)
	}
	d.Why = string(vm.AppendSpan(why, after))
}

// delay is how long to wait before the next try after n earlier failures. A
// list is taken as it stands; a curve is spread evenly over what its jitter
// leaves inside Max, so that at the cap VMs don't come back together.
func delay(r vm.Restart, n int, spread float64) time.Duration {
	n = max(n, 0)
	if len(r.Delays) > 0 {
		return max(0, r.Delays[min(n, len(r.Delays)-1)])
	}
	if r.Delay.Initial <= 0 {
		return 0
	}
	top := float64(max(0, r.Delay.Max))
	base := min(top, float64(r.Delay.Initial)*math.Pow(max(1, r.Delay.Factor), float64(n))) // an overflow is +Inf
	jitter := inside(r.Delay.Jitter, 0, 1)
	low, high := base*(1-jitter), min(base*(1+jitter), top)
	return time.Duration(low + (high-low)*inside(spread, 0, 1))
}

// inside keeps a number within bounds; a NaN becomes the lower one.
func inside(v, low, high float64) float64 {
	if !(v > low) {
		return low
	}
	return min(v, high)
}
