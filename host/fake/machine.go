package fake

import (
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Strain sets the pressure that the machine tells of from now on.
func (w *World) Strain(p host.Pressure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pressure = p
}

type machine struct{ d *Daemon }

func (m machine) Pressure() (host.Pressure, error) {
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	return m.d.world.pressure, nil
}

// Cores is two, as on the machines that the tests run on.
func (m machine) Cores() int { return 2 }

// Grow sets what the machine has from now on; at first it has room for whatever
// the tests want.
func (w *World) Grow(c vm.Capacity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.capacity = c
}

// Capacity is what Grow said.
func (m machine) Capacity() (vm.Capacity, vm.Bytes, error) {
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	return m.d.world.capacity, 0, nil
}
