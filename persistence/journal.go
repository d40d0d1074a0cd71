package persistence

import (
	"sync"
	"sync/atomic"
)

// journal knows how far the events are durable, and tells who waits for more.
type journal struct {
	last    atomic.Uint64
	mu      sync.Mutex
	changed chan struct{} // nil while nobody asked since the last growth
}

// reached says that all events up to sequence are durable. It may be called
// late and out of order.
func (j *journal) reached(sequence uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if sequence <= j.last.Load() {
		return
	}
	j.last.Store(sequence)
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// LastEvent implements Store.
func (j *journal) LastEvent() uint64 { return j.last.Load() }

// Changed implements Store.
func (j *journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}
