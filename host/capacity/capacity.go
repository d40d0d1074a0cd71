// Package capacity tells what the daemon may use of this machine: processors
// by affinity and quota, memory by the machine's and the cgroups' limits, disk
// by the filesystem of the state folder.
package capacity

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Reader reads the capacity of a machine.
type Reader struct {
	State string // the state folder
}

// Capacity is read anew at each call.
func (r Reader) Capacity() (vm.Capacity, error) {
	var m unix.Sysinfo_t
	if err := unix.Sysinfo(&m); err != nil {
		return vm.Capacity{}, host.Fail(host.Broken, "read the size of memory", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(r.State, &fs); err != nil {
		return vm.Capacity{}, host.Fail(host.Transient, "read the size of the state folder's disk", err)
	}
	return vm.Capacity{
		CPUs: float64(runtime.NumCPU()), Memory: vm.Bytes(m.Totalram) * vm.Bytes(m.Unit), Disk: vm.Bytes(fs.Bavail) * vm.Bytes(fs.Bsize),
	}, nil
}
