package policies

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// AlertMark is the hysteresis of one measure: at Raise or beyond for as long as
// For, and an alert is raised; below Clear for as long as For, and it is cleared.
// Between the two nothing changes.
type AlertMark struct {
	Raise, Clear float64
	For          time.Duration
}

// AlertMarks are the thresholds of the node's alerts, in percent.
type AlertMarks struct {
	Memory, Disk         AlertMark     // used of what there is
	CPU, MemoryWait, IO  AlertMark     // pressure: time in which something waited
	FullWithin           time.Duration // at the pace of the last hour, the disk is full before that
	Unreleased, Overlong time.Duration // a reservation that no VM has, and too much reserved, for this long
}

// DefaultAlertMarks leave a person an hour or more to act. Pressure that comes
// with every boot of a guest is over within a minute.
var DefaultAlertMarks = AlertMarks{
	Memory:     AlertMark{Raise: 90, Clear: 85, For: 30 * time.Second},
	Disk:       AlertMark{Raise: 85, Clear: 80, For: 30 * time.Second},
	CPU:        AlertMark{Raise: 80, Clear: 60, For: 5 * time.Minute},
	MemoryWait: AlertMark{Raise: 20, Clear: 10, For: time.Minute},
	IO:         AlertMark{Raise: 60, Clear: 40, For: 5 * time.Minute},
	FullWithin: 12 * time.Hour,
	Unreleased: time.Minute,
	Overlong:   30 * time.Second,
}

// AlertFacts is what is known at one moment. The tracker gathers it.
type AlertFacts struct {
	Node       vm.NodeResources // Usage.At zero: nothing was measured, so no measure changes its alert
	Strange    bool             // the VMs aren't known yet, as just after a start: nothing of them changes an alert
	Unreleased []vm.Name        // reservations that no VM has now
	Stalled    []Stalled
}

// Stalled is a VM that stands still, as its disk can't grow.
type Stalled struct {
	VM    vm.Name
	Since time.Time
	Why   string
}

// maxVMAlerts bounds the alerts of one kind that VMs have: a full disk stops
// them all, and the first ones by name say all there is to say.
const maxVMAlerts = 100

// AlertState is what the next look has to know of the last ones. The zero value
// is the state of a node's first daemon; a later one begins with Active as the
// last one left it.
type AlertState struct {
	Active []vm.Alert // in the order of vm.AlertKinds, then by VM

	turning map[alertKey]time.Time // what is about to be raised or cleared, since when; never more than there are conditions and alerts
	pace    diskPace
}

type alertKey struct {
	kind vm.AlertKind
	vm   vm.Name
}

// condition is one thing that may be wrong, as it is seen now.
type condition struct {
	alertKey
	over, under bool // over: it is to be raised; under: it is to be cleared; neither: it stays what it is
	wait        time.Duration
	since       time.Time
	why, try    string
}

// Alerts is one look: which alerts hold now, and which of them came or went by
// it. What went says why, with the numbers of now.
func Alerts(now time.Time, before AlertState, f AlertFacts, m AlertMarks) (after AlertState, raised, cleared []vm.Alert) {
	after = AlertState{pace: before.pace.add(f.Node.Usage)}
	after.turning = make(map[alertKey]time.Time)
	active := make(map[alertKey]vm.Alert, len(before.Active))
	for _, a := range before.Active {
		active[alertKey{a.Kind, a.VM}] = a
	}
	was := maps.Clone(active)
	for _, c := range conditions(f, m, after.pace, before.Active) {
		a, on := active[c.alertKey]
		switch {
		case on: // its numbers are kept new
			a.Why = c.why
			active[c.alertKey], was[c.alertKey] = a, a
			if c.under && after.waited(now, before, c) {
				delete(active, c.alertKey)
			}
		case c.over && after.waited(now, before, c):
			active[c.alertKey] = vm.Alert{Kind: c.kind, VM: c.vm, Since: sinceOr(c.since, now), Why: c.why, Try: c.try}
		}
	}
	after.Active = inOrder(active)
	for _, a := range after.Active {
		if _, before := was[alertKey{a.Kind, a.VM}]; !before {
			raised = append(raised, a)
		}
	}
	for _, a := range before.Active {
		k := alertKey{a.Kind, a.VM}
		if _, still := active[k]; !still {
			cleared = append(cleared, was[k])
		}
	}
	return after, raised, cleared
}

// waited says whether a condition has turned for long enough, and remembers
// since when. A clock that was set back begins anew.
func (s *AlertState) waited(now time.Time, before AlertState, c condition) bool {
	since, turns := before.turning[c.alertKey]
	if !turns || since.After(now) {
		since = now
	}
	s.turning[c.alertKey] = since
	if now.Sub(since) < c.wait {
		return false
	}
	delete(s.turning, c.alertKey)
	return true
}

func sinceOr(since, now time.Time) time.Time {
	if since.IsZero() || since.After(now) {
		return now
	}
	return since
}

func inOrder(active map[alertKey]vm.Alert) []vm.Alert {
	rank := make(map[vm.AlertKind]int, len(vm.AlertKinds()))
	for i, k := range vm.AlertKinds() {
		rank[k] = i
	}
	return slices.SortedFunc(maps.Values(active), func(a, b vm.Alert) int {
		if d := rank[a.Kind] - rank[b.Kind]; d != 0 {
			return d
		}
		switch {
		case a.VM < b.VM:
			return -1
		case a.VM > b.VM:
			return 1
		}
		return 0
	})
}

// conditions are all that can be told of now, and those of the alerts that hold
// and are told of by nobody any more, which are over.
func conditions(f AlertFacts, m AlertMarks, pace diskPace, active []vm.Alert) []condition {
	var out []condition
	if u := f.Node.Usage; !u.At.IsZero() {
		out = append(out, measures(u, m)...)
		out = append(out, growth(u, m, pace)...)
	}
	over := condition{
		alertKey: alertKey{kind: vm.AlertOvercommit}, wait: m.Overlong, over: len(f.Node.Over) > 0, under: len(f.Node.Over) == 0,
		why: "what is reserved fits into the node again", try: "delete VMs or make them smaller, or give the node more: blixard node resources",
	}
	if over.over {
		over.why = "nothing that grows is admitted: " + f.Node.Over[0]
	}
	out = append(out, over)
	if f.Strange {
		return out
	}
	out = append(out, unreleased(f.Unreleased, m)...)
	out = append(out, stalled(f.Stalled)...)
	told := make(map[alertKey]bool, len(out))
	for _, c := range out {
		told[c.alertKey] = true
	}
	for _, a := range active {
		if k := (alertKey{a.Kind, a.VM}); a.VM != "" && !told[k] {
			out = append(out, condition{alertKey: k, under: true, why: goneFor(a)})
		}
	}
	return out
}

// goneFor says why an alert of a VM is over.
func goneFor(a vm.Alert) string {
	if a.Kind == vm.AlertUnreleased {
		return fmt.Sprintf("nothing is held for %s any more", a.VM)
	}
	return fmt.Sprintf("%s doesn't stand still for want of disk any more", a.VM)
}

func unreleased(names []vm.Name, m AlertMarks) []condition {
	var out []condition
	for _, name := range firstByName(names, func(n vm.Name) vm.Name { return n }) {
		out = append(out, condition{
			alertKey: alertKey{vm.AlertUnreleased, name}, over: true, wait: m.Unreleased,
			why: fmt.Sprintf("a reservation for %s is held, and no VM has it", name),
			try: "restart the daemon, which counts the reservations anew; no guest notices",
		})
	}
	return out
}

func stalled(of []Stalled) []condition {
	var out []condition
	for _, s := range firstByName(of, func(s Stalled) vm.Name { return s.VM }) {
		out = append(out, condition{
			alertKey: alertKey{vm.AlertOutOfSpace, s.VM}, over: true, since: s.Since,
			why: fmt.Sprintf("%s stands still, as its disk can't grow: %s", s.VM, s.Why),
			try: "free space on the disk of the state folder; it goes on by itself then",
		})
	}
	return out
}

func firstByName[T any](all []T, name func(T) vm.Name) []T {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b T) int {
		switch na, nb := name(a), name(b); {
		case na < nb:
			return -1
		case na > nb:
			return 1
		}
		return 0
	})
	return sorted[:min(len(sorted), maxVMAlerts)]
}
