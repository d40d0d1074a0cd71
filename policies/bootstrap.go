package policies

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// Candidate is a VM that waits for its turn, as far as its place in the order
// depends on it.
type Candidate struct {
	Name      vm.Name
	Priority  int
	DependsOn []vm.Dependency
	Health    vm.Health // when it was last up
	Failures  int       // charged ones within its budget's window
}

// CandidateOf is the candidate that a record is.
func CandidateOf(now time.Time, r vm.Record) Candidate {
	a := r.Spec.Autostart
	return Candidate{
		Name: r.Spec.Name, Priority: a.Priority, DependsOn: a.DependsOn, Health: lastHealth(r),
		Failures: inWindow(now, r.Spec.Restart, r.State),
	}
}

// Order is the order in which VMs come up: whoever others depend on before
// them, then by priority (a VM counts as urgent as the most urgent that depends
// on it), the healthy before the flapping, then by name. A cycle, which creation
// refuses, is cut at its most urgent member.
func Order(all []Candidate) []vm.Name {
	left := make(map[vm.Name]Candidate, len(all))
	for _, c := range all {
		left[c.Name] = c
	}
	urgent := urgency(all, left)
	sorted := slices.SortedFunc(slices.Values(all), func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(urgent[b.Name], urgent[a.Name]), cmp.Compare(unwell(a), unwell(b)),
			cmp.Compare(a.Failures, b.Failures), cmp.Compare(a.Name, b.Name),
		)
	})
	out := make([]vm.Name, 0, len(all))
	var place func(c Candidate)
	place = func(c Candidate) {
		if _, waits := left[c.Name]; !waits {
			return
		}
		delete(left, c.Name) // before its dependencies: that is what ends at a cycle
		for _, d := range c.DependsOn {
			if first, waits := left[d.VM]; waits {
				place(first)
			}
		}
		out = append(out, c.Name)
	}
	for _, c := range sorted {
		place(c)
	}
	return out
}

// unwell is 0 for those that were well or never judged otherwise, 1 for those
// that crashed lately or were not well.
func unwell(c Candidate) int {
	if c.Failures > 0 || c.Health == vm.Unhealthy || c.Health == vm.Degraded {
		return 1
	}
	return 0
}

// urgency hands each VM's priority down to all that it depends on.
func urgency(all []Candidate, byName map[vm.Name]Candidate) map[vm.Name]int {
	out := make(map[vm.Name]int, len(all))
	var raise func(name vm.Name, to int)
	raise = func(name vm.Name, to int) {
		c, known := byName[name]
		if was, seen := out[name]; !known || seen && was >= to {
			return
		}
		out[name] = to
		for _, d := range c.DependsOn {
			raise(d.VM, to)
		}
	}
	for _, c := range all {
		raise(c.Name, c.Priority)
	}
	return out
}

// Cycle returns the names along a cycle that the VM's dependencies would close,
// or nil. of is what every other VM depends on.
func Cycle(name vm.Name, deps []vm.Dependency, of func(vm.Name) []vm.Dependency) []vm.Name {
	seen := map[vm.Name]bool{}
	var walk func(at vm.Name, deps []vm.Dependency) []vm.Name
	walk = func(at vm.Name, deps []vm.Dependency) []vm.Name {
		for _, d := range deps {
			if d.VM == name {
				return []vm.Name{at, name}
			}
			if seen[d.VM] {
				continue
			}
			seen[d.VM] = true
			if rest := walk(d.VM, of(d.VM)); rest != nil {
				return append([]vm.Name{at}, rest...)
			}
		}
		return nil
	}
	return walk(name, deps)
}

// Standing is how another VM stands, for those who depend on it.
type Standing struct {
	Running bool // its guest has answered
	Healthy bool
	Coming  bool // it is up, on its way up, or waits for its turn
}

// Unmet says why a VM can't be called up yet; empty: it can. since is when it
// could have been, but for its dependencies. What doesn't come is not waited for:
// keeping the rest alive matters more than an order that can't be had.
func Unmet(now, since time.Time, deps []vm.Dependency, standing func(vm.Name) (Standing, bool)) (why string, until time.Time) {
	for _, d := range deps {
		s, known := standing(d.VM)
		met := s.Running && (d.Is == vm.IsRunning || s.Healthy)
		if met || !known || !s.Coming || !now.Before(since.Add(d.Timeout)) {
			continue
		}
		if end := since.Add(d.Timeout); until.IsZero() || end.Before(until) {
			until = end
		}
		if why == "" {
			why = fmt.Sprintf("waits until %s is %s", d.VM, d.Is)
		}
	}
	return why, until
}

// Pace is how many VMs may be on their way up at once. It begins at the number of
// processors and grows to twice that: a boot is bound by them, but has pauses
// that another one fills. Measured with 20 guests on 2 processors that others used
// too: 26 s by a loop of two at a time, 21 s of three, 19 s of four. It halves when
// a start takes too long, and grows with each that doesn't.
type Pace struct {
	Limit int
	Most  int
}

// NewPace is the pace on that many processors; fixed, if not 0, is what the
// configuration wants as the most.
func NewPace(cores, fixed int) Pace {
	p := Pace{Limit: max(1, cores), Most: max(2, 2*cores)}
	if fixed > 0 {
		p = Pace{Limit: min(p.Limit, fixed), Most: fixed}
	}
	return p
}

// Came is the pace after a VM came up, with the host at ease or not.
func (p Pace) Came(atEase bool) Pace {
	if atEase {
		p.Limit = min(p.Most, p.Limit+1)
	}
	return p
}

// TookTooLong is the pace after a start that did not end in its time.
func (p Pace) TookTooLong() Pace {
	p.Limit = max(1, p.Limit/2)
	return p
}

// Strain is how much pressure the bootstrap accepts, in percent of PSI's "some"
// over ten seconds. Guests that boot use the processors fully, which is what the
// pace is for, so by default no CPU pressure holds them; memory that is waited
// for means that the node swaps or reclaims, and one more guest makes that worse
// for all.
type Strain struct {
	CPU, Memory, IO float64
}

// DefaultStrain is what the bootstrap accepts where nothing is configured.
var DefaultStrain = Strain{CPU: 100, Memory: 20, IO: 60}

// Strained says why nothing more should be started now; empty: something may.
func (s Strain) Strained(cpu, memory, io float64) string {
	switch {
	case memory > s.Memory:
		return fmt.Sprintf("memory pressure is %.0f %%, over %.0f %%", memory, s.Memory)
	case cpu > s.CPU:
		return fmt.Sprintf("CPU pressure is %.0f %%, over %.0f %%", cpu, s.CPU)
	case io > s.IO:
		return fmt.Sprintf("I/O pressure is %.0f %%, over %.0f %%", io, s.IO)
	}
	return ""
}

// MayEnd is which of the VMs that are up may be stopped now, when the node goes
// down: the reverse of the order in which they come up, so whoever nobody that
// is up depends on, the least urgent first. Where nobody is free, all are: a
// cycle must not hold the node.
func MayEnd(up []Candidate) []vm.Name {
	byName := make(map[vm.Name]Candidate, len(up))
	for _, c := range up {
		byName[c.Name] = c
	}
	urgent, needed := urgency(up, byName), map[vm.Name]bool{}
	for _, c := range up {
		for _, d := range c.DependsOn {
			needed[d.VM] = true
		}
	}
	var free, all []vm.Name
	least := 0
	for _, c := range up {
		all = append(all, c.Name)
		if needed[c.Name] {
			continue
		}
		if len(free) == 0 || urgent[c.Name] < least {
			free, least = nil, urgent[c.Name]
		}
		if urgent[c.Name] == least {
			free = append(free, c.Name)
		}
	}
	if len(free) == 0 {
		return all
	}
	return free
}
