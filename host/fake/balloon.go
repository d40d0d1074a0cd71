package fake

import (
	"context"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Balloon has the guest give memory back at once. What it gives, its VMM holds
// no longer; see Load.
func (s *session) Balloon(ctx context.Context, leave vm.Bytes) error {
	return s.with(ctx, func(p *process) { p.left = leave })
}

// Left is the balloon's size.
func (s *session) Left(ctx context.Context) (left vm.Bytes, err error) {
	err = s.with(ctx, func(p *process) { left = p.left })
	return left, err
}

// Memory adds what the guest says by its load; see Load.
func (s *session) Memory(ctx context.Context) (m host.GuestMemory, err error) {
	err = s.with(ctx, func(p *process) {
		m = host.GuestMemory{Left: p.left, Available: p.busy.load.Free}
		p.asked++
	})
	return m, err
}

// Asked is how often the live guest of that name was asked of its memory.
func (w *World) Asked(name vm.Name) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[name] {
		return p.asked
	}
	return 0
}

// Left is what the balloon leaves to the live guest of that name; 0: all, or none lives.
func (w *World) Left(name vm.Name) vm.Bytes {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[name] {
		return p.left
	}
	return 0
}
