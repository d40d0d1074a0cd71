package sim

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// Violation is a promise that did not hold, with who noticed.
type Violation struct {
	Checker string
	VM      vm.Name
	Why     string
}

// judge sees every durable turn, launch, kill, discard and answer.
type judge struct {
	mu        sync.Mutex
	story     *story
	durable   map[vm.ID]vm.Record // what the disk holds
	turns     map[vm.ID]vm.Record // and held before the last turn
	people    map[vm.Name]*wish
	ups       map[vm.ID]vm.Revision    // newest acknowledged start
	condemned map[vm.ID]vm.Incarnation // the last one whose kill was written
	damaged   map[vm.ID]bool
	deleted   map[vm.ID]bool    // a deletion was acknowledged
	specs     map[vm.ID]vm.Spec // as last written whole
	renewed   map[vm.ID]bool    // holds what an older spec wanted
	launches  map[vm.ID]vm.Spec // what the last incarnation was begun with
	boots     boots
	node      policies.BootPolicy
	room      room
	saved     func(before, after vm.Record, t persistence.Turn)
	well      func(ref vm.Ref) bool // its guest answers as long as it runs
	deaf      func(id vm.ID, n vm.Incarnation) bool
	found     []Violation
	telling   sync.Mutex // of found
	asks      int
}

// wish is what people asked of one VM, as far as it was answered.
type wish struct {
	rising map[int]bool  // starts under way: whether they act is not known
	down   vm.ID         // the VM of that name has to stay down; empty: it needn't
	falls  int           // stops that were asked for, and may not have acted yet
	before map[int]vm.ID // what down was when a resume was asked for, which may be refused
	unsure int           // asks up to this number may have been heard before a start that was refused, and that the disk may hold
}

func newJudge(s *story) *judge {
	return &judge{
		story: s, durable: map[vm.ID]vm.Record{}, turns: map[vm.ID]vm.Record{}, people: map[vm.Name]*wish{},
		ups: map[vm.ID]vm.Revision{}, condemned: map[vm.ID]vm.Incarnation{}, damaged: map[vm.ID]bool{}, deleted: map[vm.ID]bool{},
		specs: map[vm.ID]vm.Spec{}, renewed: map[vm.ID]bool{}, launches: map[vm.ID]vm.Spec{},
		boots: boots{calls: map[vm.ID]call{}, coming: map[vm.ID]bool{}, needless: map[vm.ID]time.Time{}},
	}
}

func (j *judge) broken(checker string, name vm.Name, format string, args ...any) {
	v := Violation{Checker: checker, VM: name, Why: fmt.Sprintf(format, args...)}
	j.telling.Lock()
	j.found = append(j.found, v)
	j.telling.Unlock()
	j.story.tell("%s %s broken: %s: %s", breach, checker, name, v.Why)
}

// brokenByWorld is told by the fake world, which notices some breaches itself. It
// holds its own lock meanwhile, which who holds j.mu may be waiting for.
func (j *judge) brokenByWorld(promise, why string) {
	j.broken("check"+promise, "", "%s", why)
}

func (j *judge) wish(name vm.Name) *wish {
	if j.people[name] == nil {
		j.people[name] = &wish{rising: map[int]bool{}, before: map[int]vm.ID{}}
	}
	return j.people[name]
}

// wrote is told of each turn in the order in which they became durable.
func (j *judge) wrote(t persistence.Turn) {
	j.mu.Lock()
	defer j.mu.Unlock()
	after, before := t.Record, j.durable[t.Record.ID]
	s := after.State
	j.story.tell("turn %s %s: %s → %s, incarnation %d, wanted %s, revision %d: %s", after.Spec.Name, t.Entry.Kind,
		before.State.Phase, s.Phase, s.Incarnation, s.Intent, s.Revision, t.Entry.Why)
	if t.Removed && before.State.Revision == 0 {
		return // deleted again, by an actor that was cut off before it could forget
	}
	j.checkP3turn(before, after)
	if t.Whole {
		j.specs[after.ID] = after.Spec
	}
	j.checkP5turn(before, after, t)
	j.checkP7turn(before, after, t.Entry.Kind)
	j.checkP5boot(before, after, t.Entry.Kind)
	j.checkBootTurn(before, after, t)
	j.checkP9turn(after)
	j.checkP12turn(before, after, t)
	if j.saved != nil {
		j.saved(before, after, t)
	}
	j.checkP10turn(before, after, t)
	j.checkP10probes(before, after, t.Entry.Kind)
	j.checkP16turn(after, t)
	j.checkDeaf(before, after, t)
	j.checkReclaim(before, after, t)
	if before.State.Revision == 0 {
		j.checkP13slots(after)
	}
	if s.Phase == vm.Killing {
		j.condemned[after.ID] = s.Incarnation
	}
	if t.Removed {
		delete(j.durable, after.ID)
		delete(j.boots.coming, after.ID)
		return
	}
	j.turns[after.ID], j.durable[after.ID] = before, after
}

// launching holds each launch against what is durable (P2, P5).
func (j *judge) launching(ref vm.Ref) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.checkP2(ref)
}

// killing holds each kill against what is durable (P6, P8).
func (j *judge) killing(ref vm.Ref, alive bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.story.tell("kill %s/%d, alive %v", ref.Name, ref.Incarnation, alive)
	j.checkP6kill(ref, alive)
}

func (j *judge) discarded(ref vm.Ref) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.checkP14(ref)
}

// ask tells that somebody asks; the number names the ask in answered.
func (j *judge) ask(name vm.Name, e vm.Event, by string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asks++
	j.story.tell("ask #%d %s: %s by %s", j.asks, name, e, by)
	if raises(e) {
		w := j.wish(name)
		if e == vm.ResumeAsked {
			w.before[j.asks] = w.down
		} else {
			clear(w.before) // nobody has to stay down any more, whatever comes of the resumes
		}
		w.rising[j.asks], w.down = true, ""
	}
	if e == vm.StopAsked || e == vm.KillAsked {
		j.wish(name).falls++
	}
	return j.asks
}

// raises says whether an ask may bring a VM up.
func raises(e vm.Event) bool {
	return e == vm.StartAsked || e == vm.RestartAsked || e == vm.ResumeAsked
}

// answered tells what came back. late: the asker gave up waiting, or its daemon died.
func (j *judge) answered(n int, name vm.Name, e vm.Event, rec vm.Record, err error, late bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if late {
		j.story.tell("ask #%d %s %s: no answer", n, name, e)
		return // a start that nobody heard of may still act in this life
	}
	w := j.wish(name)
	delete(w.rising, n)
	down := w.before[n]
	delete(w.before, n)
	if err != nil {
		j.story.tell("ask #%d %s %s refused: %v", n, name, e, err)
		if r, _ := errors.AsType[*vm.Refusal](err); r != nil && r.Code == vm.Unavailable && raises(e) {
			w.unsure = j.asks // the disk may hold it all the same
		} else if r != nil && r.Code == vm.WrongPhase && w.down == "" && len(w.rising) == 0 {
			w.down = down // only what was suspended could have come up by this
		}
		return
	}
	j.story.tell("ask #%d %s %s done at revision %d", n, name, e, rec.State.Revision)
	j.checkP3answer(rec, e)
	j.remember(n, w, rec, e)
}

// remember keeps what an acknowledged ask promises from now on.
func (j *judge) remember(n int, w *wish, rec vm.Record, e vm.Event) {
	switch e {
	case vm.StartAsked, vm.RestartAsked, vm.ResumeAsked:
		j.ups[rec.ID] = max(j.ups[rec.ID], rec.State.Revision)
	case vm.StopAsked, vm.KillAsked:
		if len(w.rising) == 0 && n > w.unsure && rec.State.Revision > j.ups[rec.ID] {
			w.down = rec.ID
		}
	case vm.DeleteAsked, vm.ForceDeleteAsked:
		j.deleted[rec.ID] = true
	}
}

// lifeEnded: no ask that is still unanswered can act any more.
func (j *judge) lifeEnded() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, w := range j.people {
		clear(w.rising)
	}
}

func (j *judge) violations() []Violation {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.telling.Lock()
	defer j.telling.Unlock()
	return append([]Violation(nil), j.found...)
}

func (j *judge) records() map[vm.ID]vm.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make(map[vm.ID]vm.Record, len(j.durable))
	for id, r := range j.durable {
		if !j.damaged[id] {
			out[id] = r
		}
	}
	return out
}

func (j *judge) damage(id vm.ID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.damaged[id] = true
	j.story.tell("the record of %s becomes unreadable", j.durable[id].Spec.Name)
}

var waiting = vm.Preparing | vm.Starting | vm.Stopping | vm.Killing | vm.Reaping | vm.Adopting | vm.Removing | vm.Backoff
