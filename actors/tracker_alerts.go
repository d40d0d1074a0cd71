package actors

import (
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// The journal's kinds of what the tracker tells of alerts.
const (
	alertRaised  = "AlertRaised"
	alertCleared = "AlertCleared"
)

// watched is what the tracker raised alerts for. Nothing of it is stored: what
// still holds after a restart of the daemon is seen by the first look.
type watched struct {
	alerts []vm.Alert
	state  policies.AlertState
}

// watch raises and clears alerts, after each sample.
func (t *tracker) watch(now time.Time) {
	facts, records := t.alertFacts()
	state, raised, cleared := policies.Alerts(now, t.watched.state, facts, t.conf.Alerts)
	t.watched = watched{alerts: state.Active, state: state}
	if len(raised)+len(cleared) == 0 {
		return
	}
	env := t.env
	go func() { // a store that stalls must not keep anything from being admitted
		for _, a := range raised {
			env.note(alertRaised, records[a.VM], string(a.Kind)+": "+a.Why)
		}
		for _, a := range cleared {
			env.note(alertCleared, records[a.VM], string(a.Kind)+" is over: "+a.Why)
		}
	}()
}

// alertFacts gathers what alerts are judged by, and the records of the VMs that
// alerts may name.
func (t *tracker) alertFacts() (f policies.AlertFacts, records map[vm.Name]vm.Record) {
	f.Node = vm.NodeResources{Over: t.account().Over(), Usage: t.samples.node}
	records = map[vm.Name]vm.Record{}
	for _, one := range t.watched.alerts {
		if v, ok := t.env.views.get(one.VM); ok {
			records[one.VM] = v.rec
		}
	}
	there := map[vm.ID]bool{}
	for _, b := range t.broken {
		there[b.ID] = true // its record can't be read, and its VM may run
	}
	for _, v := range t.env.views.list() {
		s := v.rec.State
		there[v.rec.ID] = true
		if s.Phase == vm.Paused && s.Stalled != "" {
			f.Stalled = append(f.Stalled, policies.Stalled{VM: v.rec.Spec.Name, Since: s.PhaseSince, Why: s.Stalled})
			records[v.rec.Spec.Name] = v.rec
		}
	}
	for _, id := range t.book.Promised() {
		if !there[id] {
			f.Unreleased = append(f.Unreleased, vm.Name(id)) // nobody knows its name any more
		}
	}
	return f, records
}

// alerts are those that hold, by the last look.
func (n *Node) alerts() []vm.Alert {
	if r := n.env.resources.Load(); r != nil { // else the tracker has only just begun
		return r.Alerts
	}
	return nil
}
