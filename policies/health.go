package policies

import (
	"fmt"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

// Probe is where one check stands: a plain value. A failure that fell into a
// stall of the host is given to Dropped instead of Took (P16).
//
// Health is HealthStarting until the first success while the guest starts, and
// HealthUnknown where the check began on a guest that had answered already.
type Probe struct {
	Check  vm.Check
	Health vm.Health
	Streak int       // results of the same kind in a row: above 0 successes, below 0 failures; no further than what they decide
	Since  time.Time // when Health became what it is
	Why    string    // what decided it
	At     time.Time // of the last result that changed anything
}

// restated is how often a probe says anew why it is as it is. What a guest
// makes a check say could be another text each time, and each is a write.
const restated = time.Minute

// NewProbe begins a check of a guest that boots. Until the first success it is
// starting, and no failure of a critical one counts: how long that may last is
// the start's timeout to say. A console check that only knows what is unhealthy
// has nothing to wait for.
func NewProbe(c vm.Check, at time.Time) Probe {
	p := Probe{Check: c, Health: vm.HealthStarting, Since: at, Why: "no answer yet"}
	switch {
	case waitsForNothing(c):
		p.Health, p.Why = vm.Healthy, "nothing unhealthy seen"
	case c.Type == vm.CheckConsole:
		p.Why = fmt.Sprintf("%q not seen yet", c.Healthy)
	case c.StartPeriod > 0:
		p.Why = notAsked
	}
	return p
}

const notAsked = "not asked yet" // its start period is not over

// Asked returns the probe after its first question was sent.
func (p Probe) Asked() Probe {
	if p.Why == notAsked {
		p.Why = "no answer yet"
	}
	return p
}

// waitsForNothing says whether a check has nothing to pass before it is healthy.
func waitsForNothing(c vm.Check) bool { return c.Type == vm.CheckConsole && c.Healthy == "" }

// LateProbe begins a check that came to a guest which had answered by then: no
// start's timeout bounds it, so its failures count from the first on.
func LateProbe(c vm.Check, at time.Time) Probe {
	p := NewProbe(c, at)
	if p.Health == vm.HealthStarting {
		p.Health = vm.HealthUnknown
	}
	return p
}

// KnownProbe goes on with a check where the last daemon left it: what was
// proved isn't doubted, and what was doubted isn't forgotten (P10). A verdict
// that would end the guest is old by now, so it takes one more failure; but
// what a console has said is said once.
func KnownProbe(c vm.Check, known vm.Probed) Probe {
	p := Probe{Check: c, Health: known.Health, Streak: known.Streak, Since: known.Since, Why: known.Why, At: known.At}
	if p.Health == vm.Unhealthy && c.Critical() && c.Type != vm.CheckConsole {
		p.Health, p.Streak = vm.Degraded, 1-max(1, c.Failures)
	}
	return p
}

// Probed is the probe as it is written down.
func (p Probe) Probed() vm.Probed {
	return vm.Probed{Check: Title(p.Check), Health: p.Health, Since: p.Since, Streak: p.Streak, Why: p.Why, At: p.At}
}

// Title is the check's name; older records have none.
func Title(c vm.Check) string { return firstOf(c.Name, string(c.Type)) }

// Took returns the probe after one result: detail says what was seen, where
// there is something to say. Failures below the threshold make it degraded. It
// is the same value where nothing has changed.
func (p Probe) Took(ok bool, at time.Time, detail string) Probe {
	detail = oneLine(detail)
	if ok {
		return p.passed(at, detail)
	}
	if p.Health == vm.HealthStarting && p.Check.Critical() {
		return p.says(at, notYet(detail))
	}
	most := max(1, p.Check.Failures)
	if p.Health == vm.Unhealthy && p.Streak <= -most {
		return p.says(at, with(fmt.Sprintf("%d of %d failures in a row", most, most), detail))
	}
	p.Streak = max(min(p.Streak, 0)-1, -most)
	why := with(fmt.Sprintf("%d of %d failures in a row", -p.Streak, most), detail)
	h := p.Health
	switch {
	case p.Streak == -most:
		h = vm.Unhealthy
	case h == vm.Healthy:
		h = vm.Degraded
	}
	return p.becomes(h, at, why)
}

// notYet is why a check that has never passed hasn't.
func notYet(detail string) string {
	if strings.HasPrefix(detail, "no answer") { // it says so itself, and in how long
		return detail
	}
	return with("no answer yet", detail)
}

func (p Probe) passed(at time.Time, detail string) Probe {
	need := max(1, p.Check.Successes)
	p.Streak = min(max(p.Streak, 0)+1, need)
	first := p.Health == vm.HealthStarting || p.Health == vm.HealthUnknown // which is enough, as the kubelet has it
	switch {
	case first || p.Streak == need && p.Health != vm.Healthy:
		p.Streak = need
		return p.becomes(vm.Healthy, at, firstOf(detail, "answers"))
	case p.Health != vm.Healthy:
		return p.becomes(p.Health, at, with(fmt.Sprintf("%d of %d successes in a row", p.Streak, need), detail))
	}
	p.Streak = need
	return p.says(at, firstOf(detail, "answers"))
}

const notJudged = "not judged"

// Dropped returns the probe after a failure that doesn't count: it only says so.
func (p Probe) Dropped(at time.Time, why string) Probe {
	if strings.HasPrefix(p.Why, notJudged) { // the numbers in it are others each time
		return p
	}
	return p.says(at, with(notJudged, oneLine(why)))
}

// says gives a reason that changes nothing, not oftener than is worth a write.
func (p Probe) says(at time.Time, why string) Probe {
	if p.Why != why && at.Sub(p.At).Abs() >= restated {
		p.Why, p.At = why, at
	}
	return p
}

// Condemned returns the probe after a sign that leaves no doubt, such as a
// console's unhealthy pattern: thresholds are for doubts.
func (p Probe) Condemned(at time.Time, detail string) Probe {
	p.Streak = -max(1, p.Check.Failures)
	return p.becomes(vm.Unhealthy, at, oneLine(detail))
}

// Resumed returns the probe of a guest that stood still: its doubts are of
// before, and say nothing any more.
func (p Probe) Resumed(at time.Time) Probe {
	if p.Streak >= 0 || p.Health == vm.HealthStarting {
		return p
	}
	p.Streak = 0
	if p.Health == vm.Degraded {
		return p.becomes(vm.Healthy, at, "as before it stood still")
	}
	return p
}

// becomes keeps the time of the first sight: the same health twice is one.
func (p Probe) becomes(h vm.Health, at time.Time, why string) Probe {
	if p.Health != h {
		p.Since = at
	}
	p.Health, p.Why, p.At = h, why, at
	return p
}

// Judgement is what all probes of a guest say together.
type Judgement struct {
	Health  vm.Health
	Why     string // the probe that decided, and why
	Ready   bool   // every critical check has passed once: the guest has answered
	Condemn bool   // a critical check failed: the incarnation is to end
}

// Judge folds the probes into one verdict and names the one that decided.
//
//	unhealthy  a critical check failed
//	starting   one has not passed yet; this holds doubts off, but no certain end.
//	           Of several it names a critical one that has failed, then one that
//	           has not answered, and only then one that nobody has asked
//	degraded   a critical check is in doubt, or an advisory one failed
//	healthy    all others
//	unknown    nothing was asked yet, or no check is set
//
// A readiness check never condemns, and doesn't hold the guest's answer off.
func Judge(probes []Probe) Judgement {
	j := Judgement{Health: vm.HealthUnknown, Why: "no check is set", Ready: true}
	rank := place(vm.HealthUnknown) + 1
	for i := range probes {
		p := &probes[i]
		h := p.Health
		if p.Check.Critical() {
			j.Ready = j.Ready && h != vm.HealthStarting
			j.Condemn = j.Condemn || h == vm.Unhealthy
		} else if h == vm.Unhealthy {
			h = vm.Degraded
		}
		if h == vm.HealthStarting && HeldOff(p.Check, probes) {
			h = vm.HealthUnknown // what holds it off says more
		}
		at := place(h)
		if h == vm.HealthStarting {
			at += p.awaited()
		}
		if at < rank {
			rank, j.Health, j.Why = at, h, with(Title(p.Check), p.Why)
		}
	}
	j.Ready = j.Ready && !j.Condemn
	return j
}

// BegunHealth judges a guest that is about to boot: no check has asked it anything yet.
func BegunHealth(checks []vm.Check, at time.Time) Judgement {
	probes := make([]Probe, len(checks))
	for i, c := range checks {
		probes[i] = NewProbe(c, at)
	}
	return Judge(probes)
}

// worst first: what decides the judgement of several probes.
var worst = [...]vm.Health{vm.Unhealthy, vm.HealthStarting, vm.Degraded, vm.Healthy, vm.HealthUnknown}

// ranks are how many places Probe.awaited tells apart.
const ranks = 4

// place is where a health stands among the worst, with room for them between two.
func place(h vm.Health) int {
	for i, one := range worst {
		if one == h {
			return ranks * i
		}
	}
	return ranks * len(worst)
}

// awaited ranks a probe among those that hold a start: the lowest says most.
func (p Probe) awaited() int {
	switch {
	case !p.Check.Critical():
		return ranks - 1 // it holds nothing, and is not asked before the guest has answered
	case p.Why == notAsked:
		return 2
	case p.At.IsZero() || strings.HasPrefix(p.Why, notJudged):
		return 1
	}
	return 0
}

// HeldOff says whether a check waits for the startup checks: until they have
// all passed, the others are off. A console is heard all the same, for it says
// what it says only once.
func HeldOff(c vm.Check, probes []Probe) bool {
	if c.Role == vm.RoleStartup {
		return false
	}
	for i := range probes {
		if probes[i].Check.Role == vm.RoleStartup && probes[i].Health == vm.HealthStarting {
			return true
		}
	}
	return false
}

// Over says whether a check has done its work: a startup check that has passed.
func (p Probe) Over() bool { return p.Check.Role == vm.RoleStartup && p.Health == vm.Healthy }
