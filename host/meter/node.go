package meter

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Node measures the machine. Of its state folder it must know; without the rest
// it tells what it can.
func (m *Meter) Node(context.Context) (vm.NodeUsage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := vm.NodeUsage{At: time.Now()}
	if b, err := m.whole(filepath.Join(m.conf.Proc, "stat")); err == nil {
		u.Busy, u.CPUs = parseBusy(b), parseCPUs(b)
	}
	u.Memory, u.MemoryOf = m.memory()
	if m.conf.Pressure != nil {
		if p, err := m.conf.Pressure(); err == nil {
			u.CPU, u.MemoryWait, u.IO = p.CPU, p.Memory, p.IO
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(m.conf.State, &fs); err != nil {
		return u, host.Fail(host.Transient, fmt.Sprintf("look at the filesystem of %s", m.conf.State), err)
	}
	block := vm.Bytes(fs.Frsize)
	u.DiskUsed, u.DiskFree = amount(fs.Blocks-min(fs.Bfree, fs.Blocks), block), amount(fs.Bavail, block)
	return u, nil
}

// memory is the machine's, or that of the cgroups of VMMs where these have less
// left of their limit.
func (m *Meter) memory() (used, of vm.Bytes) {
	used, of = parseMeminfo(m.text(filepath.Join(m.conf.Proc, "meminfo")))
	if m.conf.Use == nil {
		return used, of
	}
	theirs, limit := m.conf.Use()
	if limit > 0 && (of <= 0 || float64(theirs)/float64(limit) > float64(used)/float64(of)) {
		return theirs, limit
	}
	return used, of
}
