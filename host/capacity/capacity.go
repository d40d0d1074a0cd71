// Package capacity tells what the daemon may use of this machine.
//
//	processors  affinity, and the quota of each cgroup that VMMs are in
//	memory      the machine's without its huge pages, and the limit of each cgroup
//	disk        what is free on the filesystem of the state folder, and what the
//	            disks of our VMs hold of it already
package capacity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Reader reads the capacity of a machine.
type Reader struct {
	State string // the state folder
	// Slice is the cgroup that holds the VMMs, from the root of the hierarchy;
	// empty: they are where we are. One that isn't there yet limits nothing.
	Slice string
	Root  string // what /proc and the paths in it begin with; empty: the machine's own
}

// Capacity is read anew at each call, of some files and of each disk that we
// made; held is what those disks hold of has.Disk.
func (r Reader) Capacity() (has vm.Capacity, held vm.Bytes, err error) {
	if has.CPUs, err = r.processors(); err != nil {
		return has, 0, host.Fail(host.Broken, "count the processors that may be used", err)
	}
	if has.Memory, err = r.memory(); err != nil {
		return has, 0, host.Fail(host.Broken, "read the size of memory", err)
	}
	for _, g := range r.groups() {
		has.CPUs = min(has.CPUs, g.quota())
		has.Memory = min(has.Memory, g.memory())
	}
	free, err := r.Room(r.State)
	if err != nil {
		return has, 0, err
	}
	if held, err = r.held(); err != nil {
		return has, 0, host.Fail(host.Transient, "read what the disks of VMs hold", err)
	}
	has.Disk = free + held
	return has, held, nil
}

// processors are those of the affinity, which follows any cpuset.
func (r Reader) processors() (float64, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, err
	}
	return float64(set.Count()), nil
}

// memory is the machine's, without what is set aside as huge pages: no guest of
// ours is in them.
func (r Reader) memory() (vm.Bytes, error) {
	b, err := r.read("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	total, ok := meminfo(b, "MemTotal:")
	if !ok {
		return 0, fmt.Errorf("no MemTotal in %.80q", b)
	}
	huge, _ := meminfo(b, "Hugetlb:") // kernels before 4.16 don't tell
	return max(0, total-huge), nil
}

// meminfo reads "MemTotal:       24684084 kB".
func meminfo(b []byte, name string) (vm.Bytes, bool) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == name && string(f[2]) == "kB" {
			v, err := strconv.ParseInt(string(f[1]), 10, 44) // KiB: more than any machine has
			return vm.Bytes(v) * vm.KiB, err == nil && v >= 0
		}
	}
	return 0, false
}

// held is what is allocated to the disks that were made for VMs. A disk that
// goes meanwhile holds nothing.
func (r Reader) held() (vm.Bytes, error) {
	disks, err := filepath.Glob(filepath.Join(r.State, "vms", "*", "disks", "*"))
	if err != nil {
		return 0, err
	}
	var sum vm.Bytes
	for _, path := range disks {
		var s unix.Stat_t
		switch err := unix.Lstat(path, &s); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
		case s.Mode&unix.S_IFMT == unix.S_IFREG:
			sum += vm.Bytes(min(s.Blocks*512, s.Size)) // what the filesystem adds for itself is not to be promised
		}
	}
	return sum, nil
}

func (r Reader) read(path string) ([]byte, error) { return readFile(r.Root + path) }

// most bounds what is read of a file of the kernel.
const most = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // of the kernel's own folders
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
