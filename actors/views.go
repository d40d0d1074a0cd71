package actors

import (
	"slices"
	"strings"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/vm"
)

// views holds the last durable record of each VM, so that status is answered
// without waiting for any actor, store or host (P11).
type views struct {
	mu      sync.RWMutex
	byName  map[vm.Name]*view         // none is changed in place: whoever has it reads it as it was
	waiters map[vm.Name]chan struct{} // only where somebody waits
}

type view struct {
	rec    vm.Record
	pid    *actor.PID
	parked string // why its actor is not running: over its budget of bugs
	bugs   int
	doubt  bool // its last write failed, which doesn't mean that nothing was written
}

func newViews() *views {
	return &views{byName: map[vm.Name]*view{}, waiters: map[vm.Name]chan struct{}{}}
}

// update changes one VM's view and wakes who waits for a change.
func (v *views) update(name vm.Name, f func(*view)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := view{}
	if before, ok := v.byName[name]; ok {
		one = *before
	}
	f(&one)
	v.byName[name] = &one
	v.wake(name)
}

// mark changes a view that is there: one of a VM that was deleted must not come back.
func (v *views) mark(name vm.Name, f func(*view)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, ok := v.byName[name]; ok {
		one := *before
		f(&one)
		v.byName[name] = &one
		v.wake(name)
	}
}

func (v *views) remove(name vm.Name) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byName, name)
	v.wake(name)
}

// wake tells who waits for this VM, and nobody else: a thousand waits for a
// thousand VMs must not wake each other.
func (v *views) wake(name vm.Name) {
	if c, ok := v.waiters[name]; ok {
		close(c)
		delete(v.waiters, name)
	}
}

func (v *views) get(name vm.Name) (view, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	one, ok := v.byName[name]
	if !ok {
		return view{}, false
	}
	return *one, true
}

// list is all views by name: thousands of VMs are listed several times with each
// sample, and nothing of them is copied.
func (v *views) list() []*view {
	v.mu.RLock()
	out := make([]*view, 0, len(v.byName))
	for _, one := range v.byName {
		out = append(out, one)
	}
	v.mu.RUnlock()
	slices.SortFunc(out, func(a, b *view) int { return strings.Compare(string(a.rec.Spec.Name), string(b.rec.Spec.Name)) })
	return out
}

// next is closed at the next change of that VM, and closed already for a name
// that no VM has: whoever asks looks again, and nothing is kept for him.
func (v *views) next(name vm.Name) <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, there := v.byName[name]; !there {
		c := make(chan struct{})
		close(c)
		return c
	}
	c, ok := v.waiters[name]
	if !ok {
		c = make(chan struct{})
		v.waiters[name] = c
	}
	return c
}
