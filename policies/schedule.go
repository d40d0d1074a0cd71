package policies

import (
	"reflect"
	"time"

	"github.com/blixard/blixard/vm"
)

// Where a check stands when its rounds begin, whether it is asked, when, and for
// how long.

// FirstProbe is a check of an incarnation that this daemon has not looked at
// before, whose guest had answered or not. What was proved before an adoption
// isn't doubted again, and what was counted is counted on (P10).
func FirstProbe(c vm.Check, s vm.State, answered bool, at time.Time) Probe {
	for _, known := range s.Probes {
		if known.Check == Title(c) {
			p := KnownProbe(c, known)
			if s.Phase&(vm.Paused|vm.Suspending) != 0 {
				p = p.Resumed(at)
			}
			return p
		}
	}
	if answered && len(s.Probes) == 0 && c.Critical() { // an older daemon wrote none; but the guest had answered
		return KnownProbe(c, vm.Probed{
			Health: max(s.Health, vm.Healthy), Since: s.HealthSince, At: s.HealthSince, Why: "as before the daemon's restart",
		})
	}
	return begunProbe(c, answered, at)
}

// ProbeAgain is a check of a guest that stood still, or boots once more, with
// the probes that it had.
func ProbeAgain(c vm.Check, before []Probe, answered bool, at time.Time) Probe {
	if p, ok := probeOf(c, before); ok && answered {
		return p.Resumed(at)
	}
	return begunProbe(c, answered, at)
}

// RespecifiedProbe is a check of a new spec for a running guest: one that is as
// it was goes on.
func RespecifiedProbe(c vm.Check, before []Probe, answered bool, at time.Time) Probe {
	if p, ok := probeOf(c, before); ok {
		return p
	}
	return begunProbe(c, answered, at)
}

func begunProbe(c vm.Check, answered bool, at time.Time) Probe {
	if answered {
		return LateProbe(c, at)
	}
	return NewProbe(c, at)
}

// probeOf is the probe of exactly that check.
func probeOf(c vm.Check, all []Probe) (Probe, bool) {
	c = spelt(c)
	for i := range all {
		if reflect.DeepEqual(spelt(all[i].Check), c) {
			return all[i], true
		}
	}
	return Probe{}, false
}

// spelt is a check with the name and the role that an older record leaves out.
func spelt(c vm.Check) vm.Check {
	c.Name = Title(c)
	if c.Role == "" {
		c.Role = vm.RoleLiveness
	}
	return c
}

// On says whether a check is asked now: a startup check holds the others off and
// is over once it has passed, and nobody asks whether a guest serves that hasn't
// answered. A console is heard all the same.
func On(p Probe, all []Probe, answered bool) bool {
	off := HeldOff(p.Check, all) || p.Check.Role == vm.RoleReadiness && !answered
	return !p.Over() && (!off || p.Check.Type == vm.CheckConsole)
}

// startingPoll is how often is asked what has nothing to wait in, while the guest starts.
const startingPoll = time.Second

// NextRound is how long after the begin of a round, counted from 1, the next one
// comes: by the interval. The second one is moved by a random part of it, so
// that a hundred VMs that were found at once don't go on in step. answered: the
// guest had answered by then, or did in this round.
func NextRound(c vm.Check, round int, answered bool, spread float64) time.Duration {
	next := c.Interval
	if round == 1 {
		next = c.Interval/2 + time.Duration(spread*float64(c.Interval/2))
	}
	if !answered {
		next = min(next, startingPoll)
	}
	return next
}

// RoundTime is how long one round may last. Before the guest has answered, what
// waits inside it lasts as long as the start may: it is answered the moment that
// the guest is up, and nothing polls.
func RoundTime(c vm.Check, answered bool, start time.Duration) time.Duration {
	if !answered && waitsInside(c.Type) {
		return start
	}
	return c.Timeout
}

// waitsInside says whether an early question is answered as soon as the guest is up.
func waitsInside(t vm.CheckType) bool {
	return t == vm.CheckAgent || t == vm.CheckVMM || t == vm.CheckExec || t == vm.CheckGuestProcess
}
