package policies

import (
	"fmt"
	"time"

	"github.com/blixard/blixard/vm"
)

// Probe is the state of one check: a plain value, made anew for each
// incarnation. A probe that fell into a stall of the host is not given to Took
// at all (P16).
type Probe struct {
	Check  vm.Check
	Health vm.Health
	Streak int       // results of the same kind in a row: above 0 successes, below 0 failures
	Since  time.Time // when Health became what it is
	Why    string    // what decided it
}

// NewProbe begins a check. Until the first success it is starting, and no
// failure counts: how long that may last is the start's timeout to say. A
// console check that only knows what is unhealthy has nothing to wait for.
func NewProbe(c vm.Check, at time.Time) Probe {
	if c.Type == vm.CheckConsole && c.Healthy == "" {
		return Probe{Check: c, Health: vm.Healthy, Since: at, Why: "nothing unhealthy seen"}
	}
	why := "no answer yet"
	if c.Type == vm.CheckConsole {
		why = fmt.Sprintf("%q not seen yet", c.Healthy)
	}
	return Probe{Check: c, Health: vm.HealthStarting, Since: at, Why: why}
}

// Took returns the probe after one result: detail says what was seen, where
// there is something to say. Failures below the threshold make it degraded.
func (p Probe) Took(ok bool, at time.Time, detail string) Probe {
	detail = oneLine(detail)
	if ok {
		return p.passed(at, detail)
	}
	if p.Health == vm.HealthStarting {
		p.Why = with("no answer yet", detail)
		return p
	}
	p.Streak = min(p.Streak, 0) - 1
	n, most := -p.Streak, max(1, p.Check.Failures)
	why := with(fmt.Sprintf("%d of %d failures in a row", min(n, most), most), detail)
	if n >= most {
		return p.becomes(vm.Unhealthy, at, why)
	}
	if p.Health == vm.Healthy {
		p = p.becomes(vm.Degraded, at, why)
	}
	p.Why = why
	return p
}

func (p Probe) passed(at time.Time, detail string) Probe {
	p.Streak = max(p.Streak, 0) + 1
	need := max(1, p.Check.Successes)
	if p.Health == vm.HealthStarting || p.Streak >= need { // the first success ends the start, as the kubelet has it
		return p.becomes(vm.Healthy, at, firstOf(detail, "answers"))
	}
	if p.Health != vm.Healthy {
		p.Why = with(fmt.Sprintf("%d of %d successes in a row", p.Streak, need), detail)
	}
	return p
}

// Condemned returns the probe after a sign that leaves no doubt, such as a
// console's unhealthy pattern: thresholds are for doubts.
func (p Probe) Condemned(at time.Time, detail string) Probe {
	p.Streak = min(p.Streak, 0) - 1
	return p.becomes(vm.Unhealthy, at, oneLine(detail))
}

// becomes keeps the time of the first sight: the same health twice is one.
func (p Probe) becomes(h vm.Health, at time.Time, why string) Probe {
	if p.Health != h {
		p.Since = at
	}
	p.Health, p.Why = h, why
	return p
}

// worst first: what decides the judgement of several probes.
var worst = [...]vm.Health{vm.Unhealthy, vm.HealthStarting, vm.Degraded, vm.Healthy}

// Judge folds the probes into one verdict and names the probe that decided.
// One that still starts holds the others' doubts off, but not a certain end.
// Without probes nothing is known.
func Judge(probes []Probe) (vm.Health, string) {
	for _, h := range worst {
		for _, p := range probes {
			if p.Health == h {
				return h, with(string(p.Check.Type), p.Why)
			}
		}
	}
	return vm.HealthUnknown, "no check is set"
}
