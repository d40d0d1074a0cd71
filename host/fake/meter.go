package fake

import (
	"context"
	"errors"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Load is what a guest makes its VMM use from now on.
type Load struct {
	CPU     float64  // processors that its vCPUs keep busy
	Memory  vm.Bytes // resident
	Free    vm.Bytes // of the guest's memory, by its own word; 0: it says nothing
	Disk    vm.Bytes // allocated
	IO      float64  // bytes written in a second
	Packets float64  // in a second, of a hundred bytes, received
}

// busy is what a VMM has used up to its last change of load.
type busy struct {
	load  Load
	since time.Time
	used  vm.Counters
}

// Load sets what the live VMM of that name uses from now on; false: none lives.
// At first a VMM uses nothing.
func (w *World) Load(name vm.Name, l Load) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[name] {
		p.busy = busy{load: l, since: time.Now(), used: p.counters()}
		return true
	}
	return false
}

// Spend sets what the whole machine uses, as far as the meter tells it; without
// MemoryOf, of the memory that the world has.
func (w *World) Spend(u vm.NodeUsage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spent = u
}

// counters is what the process has used by now; the world's lock is held.
func (p *process) counters() vm.Counters {
	c, l := p.busy.used, p.busy.load
	if !p.busy.since.IsZero() {
		over := time.Since(p.busy.since)
		c.VCPU += time.Duration(l.CPU * float64(over))
		c.CPU += time.Duration(l.CPU * float64(over))
		c.Written += vm.Bytes(l.IO * over.Seconds())
		c.Packets += uint64(l.Packets * over.Seconds())
		c.Received += vm.Bytes(100 * l.Packets * over.Seconds())
	}
	c.At, c.Memory, c.Disk, c.DiskVirtual = time.Now(), l.Memory, l.Disk, l.Disk
	c.MemoryPeak = max(c.MemoryPeak, l.Memory)
	return c
}

type meter struct{ d *Daemon }

// Read tells of those that live, as the real one does.
func (m meter) Read(ctx context.Context, of []vm.Metered) (map[vm.ID]vm.Counters, error) {
	if err := m.d.call(ctx, "measure", m.d.faults().Measure); err != nil {
		return nil, err
	}
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	out := map[vm.ID]vm.Counters{}
	for _, one := range of {
		if p := m.d.world.live[one.Process.PID]; p != nil && p.process == one.Process {
			out[one.Ref.VM] = p.counters()
		}
	}
	return out, nil
}

// Node is what Spend said.
func (m meter) Node(ctx context.Context) (vm.NodeUsage, error) {
	if err := m.d.call(ctx, "measure node", m.d.faults().Measure); err != nil {
		return vm.NodeUsage{}, err
	}
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	u := m.d.world.spent
	if u.MemoryOf == 0 {
		u.MemoryOf = m.d.world.capacity.Memory
	}
	p := m.d.world.pressure
	u.At, u.CPU, u.MemoryWait, u.IO = time.Now(), p.CPU, p.Memory, p.IO
	return u, nil
}

// Look sees a VMM that waits for nothing, unless World.Glances says otherwise.
func (m meter) Look(p vm.Process) (vm.Glance, error) {
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	live := m.d.world.live[p.PID]
	if live == nil || live.process != p {
		return vm.Glance{}, host.Fail(host.Gone, "look at the VMM's process", errors.New("that process is gone"))
	}
	g := live.glance
	if g.State == "" {
		g.State, g.Threads = vm.ProcessSleeping, 3
	}
	g.Waited += m.d.world.waited()
	g.Ran += live.counters().CPU
	return g, nil
}

// vcpu is the one processor of a guest that nobody has said more of; the world's
// lock is held.
func (p *process) vcpu() vm.VCPU {
	return vm.VCPU{Thread: p.process.PID*10 + 1, Began: p.process.StartTime, State: vm.ProcessSleeping, Ran: p.counters().VCPU}
}

// VCPUs sees a processor that sleeps and uses what the guest's load says, unless
// World.VCPUs says otherwise.
func (m meter) VCPUs(p vm.Process, threads []int) ([]vm.VCPU, error) {
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	live := m.d.world.live[p.PID]
	if live == nil || live.process != p {
		return nil, host.Fail(host.Gone, "look at the VMM's vCPUs", errors.New("that process is gone"))
	}
	there := live.vcpus
	if there == nil {
		there = []vm.VCPU{live.vcpu()}
	}
	out := make([]vm.VCPU, len(threads))
	for i, id := range threads {
		out[i].Thread = id
		for _, c := range there {
			if c.Thread == id {
				out[i] = c
			}
		}
	}
	return out, nil
}

// VCPUs sets which threads the live VMM of that name tells of as its guest's
// processors from now on, and what a look at its threads sees; false: none lives.
func (w *World) VCPUs(name vm.Name, told []int, there []vm.VCPU) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[name] {
		p.threads, p.vcpus = told, there
		return true
	}
	return false
}

// Argv is what was launched.
func (m meter) Argv(p vm.Process) ([]string, error) {
	m.d.world.mu.Lock()
	defer m.d.world.mu.Unlock()
	live := m.d.world.live[p.PID]
	if live == nil || live.process != p {
		return nil, host.Fail(host.Gone, "read the VMM's command line", errors.New("that process is gone"))
	}
	return live.argv, nil
}

// Glances sets what a look at the live VMM of that name sees from now on, its
// load's processor time aside; false: none lives.
func (w *World) Glances(name vm.Name, g vm.Glance) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[name] {
		p.glance = g
		return true
	}
	return false
}

var _ host.Meter = meter{}
