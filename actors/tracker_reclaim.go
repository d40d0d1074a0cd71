package actors

import (
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// reclaimer is who asks when the node takes something back by itself.
const reclaimer = "reclaim"

// The journal's kinds of what is taken of an idle VM and given again.
const (
	noteReclaimed     = "Reclaimed"
	noteGivenBack     = "GivenBack"
	noteReclaimFailed = "ReclaimFailed"
)

// reclaiming is what the tracker took of which VM. Of a pause the record knows
// (State.Reclaimed), and of a balloon the VMM: a new daemon learns both.
type reclaiming struct {
	last time.Time // when something was last taken
	of   map[vm.ID]reclaimed
}

// reclaimed is one VM's place on its ladder.
type reclaimed struct {
	incarnation vm.Incarnation
	taken       vm.ReclaimDo // empty: nothing
	held        time.Time    // since when it was idle, as that was taken
	tried       time.Time
	failed      vm.ReclaimDo
	asked       vm.ReclaimDo // on its way: one step of a VM at a time
}

// reclaimAsked: tracker → vm/<name>. Take one step, unless something has
// changed since that was decided.
type reclaimAsked struct {
	policies.ReclaimStep
	id       vm.ID
	revision vm.Revision
}

// reclaimDone: vm/<name> or its run actor → tracker, once for each reclaimAsked
// that reached one; and after an adoption, by the VMM's own word.
type reclaimDone struct {
	id          vm.ID
	incarnation vm.Incarnation
	do          vm.ReclaimDo
	why         string // of the step
	failed      string // why it could not be done; empty: it was
	left        vm.Bytes
}

// reclaimPatience is how long the answer to a step may take; a VM's actor that
// failed by a bug meanwhile never gives one.
const reclaimPatience = time.Minute

// reclaim takes back what idle VMs hold, after each sample.
func (t *tracker) reclaim(now time.Time) {
	if t.env.safe != "" {
		return
	}
	views := t.env.views.list()
	t.reclaiming.keep(views, &t.env.balloons)
	var able []policies.Reclaimable
	byName := map[vm.Name]*view{}
	for _, v := range views {
		if one, ok := t.reclaimable(now, v); ok {
			able = append(able, one)
			byName[one.Name] = v
		}
	}
	if len(able) == 0 {
		return
	}
	for _, step := range policies.Reclaim(now, t.reclaiming.last, t.samples.node, able, t.conf.Reclaim) {
		v := byName[step.VM]
		one := t.reclaiming.of[v.rec.ID]
		one.incarnation, one.tried, one.asked, one.failed = v.rec.State.Incarnation, now, step.Do, ""
		if step.Do != vm.ReclaimGiveBack {
			t.reclaiming.last = now
			if one.taken == "" {
				one.held = t.env.usage(v.rec.ID, v.rec.State.Process).IdleSince
			}
		}
		t.reclaiming.of[v.rec.ID] = one
		t.env.tell(v.pid, reclaimAsked{ReclaimStep: step, id: v.rec.ID, revision: v.rec.State.Revision})
	}
}

// keep forgets what was taken of incarnations that are over.
func (r *reclaiming) keep(views []*view, b *balloons) {
	if r.of == nil {
		r.of = map[vm.ID]reclaimed{}
	}
	if len(r.of) == 0 {
		return
	}
	live := make(map[vm.ID]vm.Incarnation, len(views))
	for _, v := range views {
		live[v.rec.ID] = v.rec.State.Incarnation
	}
	for id, one := range r.of {
		if n, ok := live[id]; !ok || n != one.incarnation {
			delete(r.of, id)
		}
	}
	b.keep(live)
}

// reclaimable is a VM as the policy sees it; false: nothing is to be decided of it.
func (t *tracker) reclaimable(now time.Time, v *view) (policies.Reclaimable, bool) {
	s, spec, one := v.rec.State, v.rec.Spec, t.reclaiming.of[v.rec.ID]
	pausedByUs := s.Phase == vm.Paused && s.Reclaimed && s.Stalled == ""
	waits := one.asked != "" && now.Sub(one.tried).Abs() < reclaimPatience
	if v.parked != "" || v.doubt || waits || len(spec.Reclaim.Steps) == 0 && one.taken == "" || s.Phase != vm.Running && !pausedByUs {
		return policies.Reclaimable{}, false
	}
	left, filled := t.env.balloons.of(v.rec.ID, s.Incarnation)
	able := policies.Reclaimable{
		Name: spec.Name, Rules: spec.Reclaim, Phase: s.Phase, Health: s.Health, Wanted: s.Intent == vm.WantRunning,
		Since: s.PhaseSince, IdleSince: t.env.usage(v.rec.ID, s.Process).IdleSince,
		Taken: one.taken, Held: one.held, Tried: one.tried, Failed: one.failed,
	}.Found(filled && left < spec.Memory)
	if one.taken != able.Taken && !pausedByUs {
		one.taken, one.held, one.failed = able.Taken, able.Held, able.Failed
		t.reclaiming.of[v.rec.ID] = one
	}
	return able, true
}

// reclaimed takes in how a step ended.
func (t *tracker) reclaimed(m reclaimDone) {
	one := t.reclaiming.of[m.id]
	if one.incarnation != m.incarnation {
		one = reclaimed{incarnation: m.incarnation}
	}
	one.asked = ""
	if m.left > 0 {
		t.env.balloons.set(m.id, m.incarnation, m.left)
	}
	switch {
	case m.failed != "":
		one.failed = m.do
	case m.do == vm.ReclaimGiveBack:
		one.taken, one.held = "", time.Time{}
	default:
		one.taken = m.do
	}
	if t.reclaiming.of == nil {
		t.reclaiming.of = map[vm.ID]reclaimed{}
	}
	t.reclaiming.of[m.id] = one
	if m.why != "" {
		t.noteReclaim(m)
	}
}

func (t *tracker) noteReclaim(m reclaimDone) {
	kind, why := noteReclaimed, string(m.do)+": "+m.why
	if m.do == vm.ReclaimGiveBack {
		kind, why = noteGivenBack, m.why
	}
	if m.failed != "" {
		kind, why = noteReclaimFailed, string(m.do)+": "+m.failed
	}
	env := t.env
	env.log.Info("reclaim", zap.String("id", string(m.id)), zap.String("kind", kind), zap.String("why", why))
	for _, v := range env.views.list() {
		if v.rec.ID == m.id {
			go env.noteBy(kind, v.rec, why, reclaimer)
			return
		}
	}
}
