package actors

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// The journal's kinds of what the tracker tells of alerts.
const (
	alertRaised  = "AlertRaised"
	alertCleared = "AlertCleared"
)

// alertsKey is where the store keeps the alerts that hold, so that the next
// daemon goes on with them: none of them is raised twice, and each is cleared.
const alertsKey = "alerts"

// watched is what the tracker raised alerts for.
type watched struct {
	alerts []vm.Alert
	state  policies.AlertState
	store  *alertStore
}

// alertStore writes the newest alerts, whichever of its goroutines comes first.
type alertStore struct {
	newest atomic.Pointer[[]vm.Alert]
	mu     sync.Mutex
}

func (s *alertStore) write(e *env) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(*s.newest.Load())
	if err != nil {
		panic("actors: encode alerts: " + err.Error()) // plain values can't fail
	}
	if err := e.store.SetMeta(alertsKey, b); err != nil {
		e.log.Warn("which alerts hold was not written", zap.Error(err))
	}
}

// watchedIn goes on with the alerts of the last daemon. What can't be read is
// raised again.
func watchedIn(store persistence.Store, log *zap.Logger) watched {
	w := watched{store: &alertStore{}}
	b, err := store.Meta(alertsKey)
	if err != nil || b == nil {
		return w
	}
	var all []vm.Alert
	if err := json.Unmarshal(b, &all); err != nil {
		log.Warn("which alerts held can't be read, they are raised again", zap.Error(err))
		return w
	}
	for _, a := range all {
		if slices.Contains(vm.AlertKinds(), a.Kind) { // else it is another version's
			w.alerts = append(w.alerts, a)
		}
	}
	w.state.Active = w.alerts
	return w
}

// watch raises and clears alerts, after each sample.
func (t *tracker) watch(now time.Time) {
	facts, records := t.alertFacts()
	state, raised, cleared := policies.Alerts(now, t.watched.state, facts, t.conf.Alerts)
	t.watched.alerts, t.watched.state = state.Active, state
	if len(raised)+len(cleared) == 0 {
		return
	}
	env, store := t.env, t.watched.store
	store.newest.Store(&state.Active)
	go func() { // a store that stalls must not keep anything from being admitted
		for _, a := range raised {
			env.note(alertRaised, records[a.VM], string(a.Kind)+": "+a.Why)
		}
		for _, a := range cleared {
			env.note(alertCleared, records[a.VM], string(a.Kind)+" is over: "+a.Why)
		}
		store.write(env)
	}()
}

// alertFacts gathers what alerts are judged by, and the records of the VMs that
// alerts may name.
func (t *tracker) alertFacts() (f policies.AlertFacts, records map[vm.Name]vm.Record) {
	f.Strange = !t.samples.begun
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
