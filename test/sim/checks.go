package sim

import (
	"slices"
	"time"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// The checks of this file hold at every moment; all are called under the
// judge's lock. P1 and P7 at the moment of a launch or a release are seen by
// the fake world, which knows what lives.

// checkP2: what is launched is on disk, as this incarnation, in a phase whose
// launch may be under way.
func (j *judge) checkP2(ref vm.Ref) {
	rec, ok := j.durable[ref.VM]
	s := rec.State
	switch {
	case !ok:
		j.broken("checkP2", ref.Name, "incarnation %d launched, and the disk has no record", ref.Incarnation)
	case s.Incarnation != ref.Incarnation || s.BootID != ref.BootID:
		j.broken("checkP2", ref.Name, "incarnation %d launched, the disk knows %d", ref.Incarnation, s.Incarnation)
	case s.Phase&(vm.Preparing|vm.Killing|vm.Adopting) == 0:
		j.broken("checkP2", ref.Name, "incarnation %d launched, the disk says %s", ref.Incarnation, s.Phase)
	}
}

// checkP3turn: the turns of one VM follow each other without a hole.
func (j *judge) checkP3turn(before, after vm.Record) {
	if after.State.Revision != before.State.Revision+1 {
		j.broken("checkP3", after.Spec.Name, "revision %d was written after %d", after.State.Revision, before.State.Revision)
	}
}

// checkP3answer: what is acknowledged is on disk by then.
func (j *judge) checkP3answer(rec vm.Record, e vm.Event) {
	now, ok := j.durable[rec.ID]
	if !ok && rec.State.Intent != vm.WantRemoved && !j.deleted[rec.ID] && !j.removing(rec) {
		j.broken("checkP3", rec.Spec.Name, "%s was acknowledged, and the disk has no record", e)
	}
	if ok && now.State.Revision < rec.State.Revision {
		j.broken("checkP3", rec.Spec.Name, "%s was acknowledged at revision %d, the disk has %d", e, rec.State.Revision, now.State.Revision)
	}
}

// removing: the VM went, after this answer was given, by a deletion whose own
// answer is still on its way.
func (j *judge) removing(rec vm.Record) bool {
	return j.turns[rec.ID].State.Intent == vm.WantRemoved || j.turns[rec.ID].State.Revision >= rec.State.Revision
}

// checkP3load: what the next daemon finds is what was written.
func (j *judge) checkP3load(found []vm.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	seen := map[vm.ID]bool{}
	for _, r := range found {
		seen[r.ID] = true
		want, ok := j.durable[r.ID]
		if !ok {
			j.broken("checkP3", r.Spec.Name, "it is back after its removal was durable")
			continue
		}
		w, s := want.State, r.State
		if w.Revision != s.Revision || w.Phase != s.Phase || w.Intent != s.Intent || w.Incarnation != s.Incarnation {
			j.broken("checkP3", r.Spec.Name, "written %s wanted %s at revision %d, found %s wanted %s at %d",
				w.Phase, w.Intent, w.Revision, s.Phase, s.Intent, s.Revision)
		}
		j.checkP10kept(want, r, "the daemon's end")
		j.checkP10counted(want, r, "the daemon's end")
		if w.LastHealth != s.LastHealth {
			j.broken("checkP10", r.Spec.Name, "its last health %s became %s by the daemon's end", w.LastHealth, s.LastHealth)
		}
	}
	for id, r := range j.durable {
		if !seen[id] && !j.damaged[id] {
			j.broken("checkP3", r.Spec.Name, "its record is lost")
		}
	}
}

// checkP5turn: nothing but a person's word brings a stopped VM up, and nothing
// but a person's word, or its guest's, takes it down for good.
func (j *judge) checkP5turn(before, after vm.Record, t persistence.Turn) {
	name, kind := after.Spec.Name, t.Entry.Kind
	begun := after.State.Incarnation > before.State.Incarnation
	if begun && j.wish(name).down == after.ID {
		j.broken("checkP5", name, "it was asked down, and incarnation %d begins by %s", after.State.Incarnation, kind)
	}
	if begun && after.State.Intent != vm.WantRunning {
		j.broken("checkP5", name, "incarnation %d begins while it is wanted %s", after.State.Incarnation, after.State.Intent)
	}
	if before.State.Revision == 0 || before.State.Intent == after.State.Intent {
		return
	}
	allowed := map[vm.Intent][]string{
		vm.WantRunning:   {vm.StartAsked.String(), vm.RestartAsked.String(), vm.ResumeAsked.String()},
		vm.WantStopped:   {vm.StopAsked.String(), vm.KillAsked.String()},
		vm.WantRemoved:   {vm.DeleteAsked.String(), vm.ForceDeleteAsked.String()},
		vm.WantSuspended: {vm.SuspendAsked.String(), vm.StopAsked.String()},
	}[after.State.Intent]
	if before.State.Phase == vm.Suspending {
		allowed = append(allowed, vm.SaveFailed.String(), vm.DeadlinePassed.String()) // what can't be saved goes on
	}
	rested := t.Crash != nil && t.Crash.Decision.Do == vm.StayDown || leftByBoot(kind, after.Spec.Autostart.Policy, j.node)
	if kind == vm.Enlisted.String() {
		return // checkP5boot
	}
	if !slices.Contains(allowed, kind) && !rested {
		j.broken("checkP5", name, "%s changed what is wanted from %s to %s", kind, before.State.Intent, after.State.Intent)
	}
}

// checkP7turn: what an old spec wanted is released before an incarnation of the
// new one begins. Where the daemon ends in Preparing, the next rest releases it.
func (j *judge) checkP7turn(before, after vm.Record, kind string) {
	const released = vm.AtRest | vm.Reaping | vm.Removing
	begun := after.State.Incarnation > before.State.Incarnation
	switch {
	case after.State.Phase&released != 0:
		delete(j.renewed, after.ID)
	case begun && j.renewed[after.ID] && kind != vm.Woke.String():
		j.broken("checkP7", after.Spec.Name, "incarnation %d begins by %s with what an older spec wanted", after.State.Incarnation, kind)
	}
	switch {
	case begun:
		delete(j.renewed, after.ID)
		j.launches[after.ID] = after.Spec
	case kind == vm.SpecAsked.String() && before.State.Phase&released == 0:
		j.renewed[after.ID] = !after.Spec.Launches(j.launches[after.ID])
	}
}

// checkP6kill: a VMM is killed only while the disk says so (P6), and never one
// whose end nobody ever decided, such as that of a neighbour or a successor (P8).
func (j *judge) checkP6kill(ref vm.Ref, alive bool) {
	if !alive {
		return
	}
	if rec, ok := j.durable[ref.VM]; !ok || rec.State.Phase != vm.Killing {
		j.broken("checkP6", ref.Name, "incarnation %d is killed, the disk says %q", ref.Incarnation, rec.State.Phase)
	}
	if j.condemned[ref.VM] != ref.Incarnation {
		j.broken("checkP8", ref.Name, "incarnation %d is killed, and nothing that was written ever meant it", ref.Incarnation)
	}
}

// checkP9turn: whoever waits has a deadline.
func (j *judge) checkP9turn(after vm.Record) {
	if after.State.Phase&waiting != 0 && after.State.Deadline.IsZero() {
		j.broken("checkP9", after.Spec.Name, "%s without a deadline", after.State.Phase)
	}
}

// checkP10turn: no turn forgets deaths, tries or the next retry but by a death
// (the window moves), a reset or a new spec.
func (j *judge) checkP10turn(before, after vm.Record, t persistence.Turn) {
	kind := t.Entry.Kind
	if before.State.Revision == 0 || t.Crash != nil || kind == vm.ResetAsked.String() || kind == vm.SpecAsked.String() {
		return
	}
	j.checkP10kept(before, after, kind)
	b, a := before.State, after.State
	if b.Phase&(vm.Running|vm.Paused) == 0 && a.LastHealth != b.LastHealth {
		j.broken("checkP10", after.Spec.Name, "its last health %s became %s by %s", b.LastHealth, a.LastHealth, kind)
	}
	if kind == vm.Woke.String() && b.Phase == vm.Backoff && !b.Deadline.Equal(a.Deadline) {
		j.broken("checkP10", after.Spec.Name, "its next try moved from %s to %s by a restart", b.Deadline, a.Deadline)
	}
	adopted := kind == vm.FoundReady.String()
	if adopted && (a.Health != b.Health || !a.ReadyAt.Equal(b.ReadyAt)) {
		j.broken("checkP10", after.Spec.Name, "health %s became %s by an adoption", b.Health, a.Health)
	}
}

func (j *judge) checkP10kept(before, after vm.Record, by string) {
	b, a := before.State, after.State
	same := slices.EqualFunc(b.Ledger, a.Ledger, time.Time.Equal)
	if !same || b.Tries != a.Tries || b.Spared != a.Spared || b.Crashes != a.Crashes || a.Restarts < b.Restarts {
		j.broken("checkP10", after.Spec.Name, "%s: ledger %d→%d, tries %d→%d, spared %d→%d, crashes %d→%d, restarts %d→%d", by,
			len(b.Ledger), len(a.Ledger), b.Tries, a.Tries, b.Spared, a.Spared, b.Crashes, a.Crashes, b.Restarts, a.Restarts)
	}
	if b.LastExit != nil && a.LastExit == nil {
		j.broken("checkP10", after.Spec.Name, "%s: its last exit is forgotten", by)
	}
}

// checkP13slots: no two VMs share the number from which links and users derive,
// also where the record of one can't be read.
func (j *judge) checkP13slots(after vm.Record) {
	for id, r := range j.durable {
		if id != after.ID && r.Slot == after.Slot {
			j.broken("checkP13", after.Spec.Name, "it shares slot %d with %s", r.Slot, r.Spec.Name)
		}
		if id != after.ID && r.Spec.Name == after.Spec.Name {
			j.broken("checkP13", after.Spec.Name, "two VMs have that name: %s and %s", id, after.ID)
		}
	}
}

// checkP14: a folder goes only while the disk says that its VM is removed.
func (j *judge) checkP14(ref vm.Ref) {
	rec, ok := j.durable[ref.VM]
	if ok && rec.State.Intent != vm.WantRemoved {
		j.broken("checkP14", ref.Name, "its folder is deleted, the disk says wanted %s", rec.State.Intent)
	}
}
