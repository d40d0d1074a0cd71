package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/vm"
)

// stood: vm/<name> → bootstrap, shutdown: the record after a durable turn.
type stood struct{ rec vm.Record }

// relay passes turns on to the actors that wait for VMs, while they do.
type relay struct {
	mu sync.RWMutex
	to map[string]*actor.PID
}

func newRelay() *relay { return &relay{to: map[string]*actor.PID{}} }

func (r *relay) pass(e *env, rec vm.Record) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, pid := range r.to {
		e.tell(pid, stood{rec})
	}
}

func (r *relay) join(pid *actor.PID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to[pid.Id] = pid
}

func (r *relay) leave(pid *actor.PID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.to, pid.Id)
}

// awakening says when each VM that the store held has met its record, or was
// parked: only then is it known who waits for a turn.
type awakening struct {
	mu   sync.Mutex
	left map[vm.Name]bool
	done chan struct{}
}

func newAwakening(records []vm.Record) *awakening {
	a := &awakening{left: make(map[vm.Name]bool, len(records)), done: make(chan struct{})}
	for _, r := range records {
		a.left[r.Spec.Name] = true
	}
	if len(a.left) == 0 {
		close(a.done)
	}
	return a
}

// waits says whether a VM that the store held has not met its record yet. One
// that was created since has no boot to meet.
func (a *awakening) waits(name vm.Name) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.left[name]
}

func (a *awakening) met(name vm.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.left[name] {
		return
	}
	delete(a.left, name)
	if len(a.left) == 0 {
		close(a.done)
	}
}
