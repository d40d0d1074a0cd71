package fake

import (
	"context"
	"sync"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// sockets are the control sockets that somebody deleted. They have a lock of
// their own, so that a checker may ask while the world waits for it.
type sockets struct {
	mu       sync.Mutex
	lost     map[vm.ID]vm.Incarnation
	hindered map[vm.ID]vm.Incarnation // whom a fault kept from being found deaf
}

// LoseSocket deletes the control socket of a live VMM, and with agent its
// agent's. What is connected goes on. False: none lives.
func (w *World) LoseSocket(id vm.ID, agent bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.live {
		if p.ref.VM != id {
			continue
		}
		p.nameless, p.agentless = true, p.agentless || agent
		w.sockets.mark(&w.sockets.lost, p.ref)
		w.story("the control socket of %s/%d is deleted, its agent's: %v", p.ref.Name, p.ref.Incarnation, agent)
		return true
	}
	return false
}

// Lost says whether the control socket of an incarnation was deleted.
func (w *World) Lost(id vm.ID, n vm.Incarnation) bool {
	w.sockets.mu.Lock()
	defer w.sockets.mu.Unlock()
	return w.sockets.lost[id] == n
}

// Deaf is Lost, where nothing else has gone wrong that a daemon could take for
// a VMM which doesn't answer.
func (w *World) Deaf(id vm.ID, n vm.Incarnation) bool {
	w.sockets.mu.Lock()
	defer w.sockets.mu.Unlock()
	return w.sockets.lost[id] == n && w.sockets.hindered[id] != n
}

func (s *sockets) mark(in *map[vm.ID]vm.Incarnation, ref vm.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *in == nil {
		*in = map[vm.ID]vm.Incarnation{}
	}
	(*in)[ref.VM] = ref.Incarnation
}

// hinder is a call about a VMM that failed by a fault.
func (w *World) hinder(ref vm.Ref) { w.sockets.mark(&w.sockets.hindered, ref) }

// hinderAt is hinder of the VMM whose sockets stand at these paths.
func (w *World) hinderAt(f host.Paths) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.at(f); p != nil {
		w.hinder(p.ref)
	}
}

// Terminate has the VMM flush and end, whatever its guest does.
func (l launcher) Terminate(ctx context.Context, ref vm.Ref, _ *vm.Process) error {
	if err := l.d.call(ctx, "terminate "+string(ref.Name), l.d.faults().Kill); err != nil {
		return err
	}
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.find(ref); p != nil && !l.d.dead() {
		p.end(vm.Exit{Known: true}, true)
	}
	return nil
}
