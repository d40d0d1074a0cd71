// Package meter measures VMMs and the node from what the kernel tells in files:
// one pass over all VMMs, with few system calls for each and next to no memory.
//
//	/proc/PID     ──▶ open once, prove (start time), then read below it:
//	                  stat, status, io, cgroup, task/TID/stat of the vCPU threads
//	/proc/net/dev ──▶ all taps in one read
//	VM's folder   ──▶ what its files hold, and may grow to
//	cgroup        ──▶ limit and pressure, where the VMM has one of its own
//
// A guest can choose none of what is read but how much of it there is, and a
// VMM that a guest has taken over can choose its own name, files and threads:
// whatever a number is made of is bounded, and nothing is followed.
package meter

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Config says where to read.
type Config struct {
	Proc     string                        // a mounted /proc, or a folder that looks like one
	State    string                        // the state folder, whose filesystem counts as the node's disk
	BootID   vm.BootID                     // of this boot: a process of another one is gone
	Pressure func() (host.Pressure, error) // the node's; nil: nobody tells
	// Use is what the cgroups of VMMs hold of their limit, where one is below
	// what the machine has; zeros, or nil: none is.
	Use func() (used, of vm.Bytes)
}

// Meter is a host.Meter. It remembers, for each process, which of its threads
// are vCPUs, and opens nothing between two passes.
type Meter struct {
	conf   Config
	mounts mounts

	mu    sync.Mutex
	buf   []byte
	pass  uint64
	known map[name]*vmm
	links map[string]traffic // of this pass
}

var _ host.Meter = (*Meter)(nil)

// name is what a process is called in one boot, and no other ever is.
type name struct {
	pid   int
	start uint64
}

// New looks where the cgroups are mounted. A machine without any has none to tell of.
func New(c Config) *Meter {
	m := &Meter{conf: c, buf: make([]byte, 16<<10), known: map[name]*vmm{}, links: map[string]traffic{}}
	if b, err := m.whole(filepath.Join(c.Proc, "self/mountinfo")); err == nil {
		m.mounts = parseMounts(b)
	}
	return m
}

// Read measures every VMM that lives and is proved.
func (m *Meter) Read(ctx context.Context, of []vm.Metered) (map[vm.ID]vm.Counters, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass++
	m.readLinks(of)
	out := make(map[vm.ID]vm.Counters, len(of))
	for _, one := range of {
		if err := ctx.Err(); err != nil {
			return out, host.Fail(host.Transient, "measure the VMMs", err)
		}
		if c, ok := m.one(one); ok {
			out[one.Ref.VM] = c
		}
	}
	m.readCgroups(of, out)
	for k, v := range m.known {
		if v.pass != m.pass {
			delete(m.known, k)
		}
	}
	return out, nil
}

// one measures one VMM; false: it is gone, or another process has its pid.
func (m *Meter) one(of vm.Metered) (vm.Counters, bool) {
	p := of.Process
	if p.PID <= 0 || p.BootID != m.conf.BootID {
		return vm.Counters{}, false
	}
	// The folder stays that process's: once it is gone, nothing below it can be
	// read, whoever has the pid by then (P8).
	dir, err := unix.Open(filepath.Join(m.conf.Proc, strconv.Itoa(p.PID)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return vm.Counters{}, false
	}
	defer func() { _ = unix.Close(dir) }()
	c, ok := m.process(dir, p)
	if !ok {
		return vm.Counters{}, false
	}
	for _, link := range of.Links {
		t := m.links[link]
		// What the host sends into a tap, the guest receives.
		c.Received += vm.Bytes(t.sent)
		c.Sent += vm.Bytes(t.received)
		c.Packets += t.packets
	}
	if of.Folder != "" {
		c.Disk, c.DiskVirtual = m.disk(of.Folder)
	}
	return c, true
}

// process reads what /proc tells of a VMM.
func (m *Meter) process(dir int, p vm.Process) (vm.Counters, bool) {
	c := vm.Counters{At: time.Now()}
	b, err := m.file(dir, "stat")
	if err != nil {
		return c, false
	}
	s, ok := parseStat(b)
	if !ok || s.start != p.StartTime || s.ended() {
		return c, false
	}
	c.CPU = s.used
	v := m.vmm(name{p.PID, p.StartTime})
	if b, err = m.file(dir, "status"); err == nil {
		c.Memory, c.MemoryPeak = parseStatus(b)
		c.Charged = parseCharged(b)
	}
	if b, err = m.file(dir, "io"); err == nil { // refused to a daemon that may not trace the VMM
		c.Read, c.Written = parseIO(b)
	}
	if b, err = m.file(dir, "cgroup"); err == nil {
		v.settle(b, m.mounts)
	}
	c.VCPU = m.vcpus(dir, v)
	return c, true
}

// vmm is what is remembered of the process.
func (m *Meter) vmm(of name) *vmm {
	v := m.known[of]
	if v == nil {
		v = &vmm{threads: threads{main: of.pid}}
		m.known[of] = v
	}
	v.pass = m.pass
	return v
}

// vmm is what is remembered of one process from pass to pass.
type vmm struct {
	pass    uint64
	threads threads
	cgroup  []byte // as /proc had it, for the paths below
	limits  place
	stalls  place
}
