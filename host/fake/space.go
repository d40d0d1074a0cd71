package fake

import (
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Fill takes the room of the disk under all VMs, or gives it back. A guest that
// writes is halted by its VMM, and goes on when it is resumed and has room.
func (w *World) Fill(full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = full
	w.story("the disk is full: %v", full)
	for _, p := range w.live {
		p.write()
	}
}

// write halts a guest that has no room for what it writes.
func (p *process) write() {
	if p.world.full && p.guest.Writes && p.state == host.GuestRuns && !p.silent {
		p.stand(host.GuestNoSpace, host.NoticeNoSpace)
	}
}

// roomAgain lets a guest try its write again.
func (p *process) roomAgain() {
	if p.state == host.GuestNoSpace {
		p.state, p.silent = host.GuestRuns, false
		p.write()
	}
}

// Room is none while the disk is full.
func (m machine) Room(string) (vm.Bytes, error) {
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	if m.d.world.full {
		return 0, nil
	}
	return vm.GiB, nil
}
