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

// Memory adds nothing to it: this guest says nothing of its own.
func (s *session) Memory(ctx context.Context) (host.GuestMemory, error) {
	left, err := s.Left(ctx)
	return host.GuestMemory{Left: left}, err
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
