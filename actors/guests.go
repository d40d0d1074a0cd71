package actors

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const (
	// guestsAtOnce bounds how many guests are asked of their memory with one
	// sample: each takes some ten calls of its VMM and wakes the guest, so that a
	// hundred of them would cost a percent of a core.
	guestsAtOnce = 10
	// rarestAsk is how often the wait for a guest that says nothing doubles, from
	// a sample's distance: 85 minutes.
	rarestAsk = 9
)

// memoryAsked: tracker → vm/<name> → run-<n>. May come twice. The answer is kept
// in env.guests; there may be none.
type memoryAsked struct{}

// guests is what guests say of their memory, each in its turn.
type guests struct {
	mu    sync.Mutex
	words map[vm.ID]guestWord
}

// guestWord is the last word of one guest.
type guestWord struct {
	incarnation vm.Incarnation
	asked       time.Time
	silent      int // asks in a row that nothing was heard of
	memory      host.GuestMemory
}

// due picks whom to ask now, those who waited longest first, and counts them as asked.
func (g *guests) due(now time.Time, all []*view) []*view {
	g.mu.Lock()
	defer g.mu.Unlock()
	words := make(map[vm.ID]guestWord, len(g.words))
	var due []*view
	for _, v := range all {
		s := v.rec.State
		if s.Phase != vm.Running || v.pid == nil || v.rec.Spec.Boot.Built() { // a runner's VMM may speak no QMP
			continue
		}
		word := g.words[v.rec.ID]
		if word.incarnation != s.Incarnation {
			word = guestWord{incarnation: s.Incarnation}
		}
		words[v.rec.ID] = word
		if word.asked.IsZero() || now.Sub(word.asked).Abs() >= usualSample<<min(word.silent, rarestAsk)-freshFor {
			due = append(due, v)
		}
	}
	slices.SortStableFunc(due, func(a, b *view) int { return words[a.rec.ID].asked.Compare(words[b.rec.ID].asked) })
	due = due[:min(len(due), guestsAtOnce)]
	for _, v := range due {
		word := words[v.rec.ID]
		word.asked = now
		if word.silent++; word.silent > 2 {
			word.memory = host.GuestMemory{} // it is too old by now
		}
		words[v.rec.ID] = word
	}
	g.words = words
	return due
}

// hear takes in an answer; one of an earlier incarnation comes too late.
func (g *guests) hear(ref vm.Ref, m host.GuestMemory) {
	g.mu.Lock()
	defer g.mu.Unlock()
	word, ok := g.words[ref.VM]
	if !ok || word.incarnation != ref.Incarnation {
		return
	}
	word.memory = m
	if m.Free > 0 || m.Available > 0 {
		word.silent = 0
	}
	g.words[ref.VM] = word
}

// of is the last word of that guest. It may lie, but not beyond all that it has.
func (g *guests) of(ref vm.Ref, whole vm.Bytes) (left, free vm.Bytes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	word := g.words[ref.VM]
	if word.incarnation != ref.Incarnation {
		return 0, 0
	}
	free = word.memory.Available
	if free == 0 { // an old driver tells of free memory alone
		free = word.memory.Free
	}
	return min(word.memory.Left, whole), min(free, whole)
}

// askGuests asks some of the guests; what they say is in the samples to come.
func (e *env) askGuests() {
	for _, v := range e.guests.due(e.ports.Clock.Now(), e.views.list()) {
		e.tell(v.pid, memoryAsked{})
	}
}

// askMemory passes the question on while there is somebody to ask.
func (v *vmActor) askMemory(m memoryAsked) {
	if v.rec.State.Phase == vm.Running && v.run != nil {
		v.env.tell(v.run, m)
	}
}

// askMemory asks the guest. That it says nothing is no failure.
func (r *runActor) askMemory() {
	session, env, ref := r.session, r.env, r.ref
	if session == nil || r.off {
		return
	}
	r.background(effectTimeout, func(ctx context.Context) any {
		if m, err := session.Memory(ctx); err == nil {
			env.guests.hear(ref, m)
		}
		return sessionFailed{"ask the guest of its memory", nil} // a machine without a balloon has nothing to tell
	})
}
