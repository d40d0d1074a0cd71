package fake

import (
	"context"
	"time"

	"github.com/blixard/blixard/host"
)

// stall is a host that has no processor for its VMMs.
type stall struct {
	over  chan struct{} // nil: there is none
	since time.Time
	sum   time.Duration // of those that are over
}

// Stall begins or ends a stall of the host: while it lasts no guest's agent
// answers, though the guests are well, and the kernel tells of threads that wait.
func (w *World) Stall(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on == (w.stall.over != nil) {
		return
	}
	w.story("the host stalls: %v", on)
	if on {
		w.stall.over, w.stall.since = make(chan struct{}), time.Now()
		return
	}
	w.stall.sum += time.Since(w.stall.since)
	close(w.stall.over)
	w.stall.over = nil
}

// waited is how long every VMM was kept from a processor; the world's lock is held.
func (w *World) waited() time.Duration {
	if w.stall.over == nil {
		return w.stall.sum
	}
	return w.stall.sum + time.Since(w.stall.since)
}

// goesOn returns once the host lets its VMMs run.
func (w *World) goesOn(ctx context.Context) error {
	for {
		w.mu.Lock()
		over := w.stall.over
		w.mu.Unlock()
		if over == nil {
			return nil
		}
		select {
		case <-over:
		case <-ctx.Done():
			return host.Fail(host.Transient, "wait for a processor", ctx.Err())
		}
	}
}
