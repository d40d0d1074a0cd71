package procfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/blixard/blixard/vm"
)

// Memory is what a process holds of the node's memory.
type Memory struct {
	Resident vm.Bytes // pages in RAM, shared ones too
	Private  vm.Bytes // what its end would give back; 0 where Exact was not asked for
	Swapped  vm.Bytes // likewise
}

// Resident reads the resident size from /proc/PID/statm: cheap, a page of text.
func (f FS) Resident(pid int) (Memory, error) {
	b, err := f.read(pid, "statm", 256)
	if err != nil {
		return Memory{}, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return Memory{}, fmt.Errorf("statm with %d fields", len(fields))
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil || pages < 0 {
		return Memory{}, fmt.Errorf("statm: %q pages", fields[1])
	}
	return Memory{Resident: vm.Bytes(pages) * vm.Bytes(os.Getpagesize())}, nil
}

// Exact reads /proc/PID/smaps_rollup: the kernel walks the page tables for it,
// about 1 ms for each GiB, so it is not for a loop over all VMs.
func (f FS) Exact(pid int) (Memory, error) {
	b, err := f.read(pid, "smaps_rollup", 4096)
	if err != nil {
		return Memory{}, err
	}
	kib := map[string]vm.Bytes{}
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[2]) != "kB" {
			continue
		}
		if n, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil && n >= 0 {
			kib[string(fields[0])] = vm.Bytes(n) * vm.KiB
		}
	}
	if _, ok := kib["Rss:"]; !ok {
		return Memory{}, fmt.Errorf("smaps_rollup without Rss: %.40q", b)
	}
	return Memory{
		Resident: kib["Rss:"],
		Private:  kib["Private_Clean:"] + kib["Private_Dirty:"],
		Swapped:  kib["Swap:"],
	}, nil
}

// TSCkHz is the rate of the time stamp counter in kHz. The kernel doesn't
// export it; on x86 it calibrates its delay loop by the counter, so that
// bogomips is twice the rate in MHz. A guest that is told it need not measure.
func (f FS) TSCkHz() (int, error) {
	b, err := readFile(filepath.Join(f.Root, "cpuinfo"), 64<<10)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || string(bytes.TrimSpace(name)) != "bogomips" {
			continue
		}
		rate, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		if err != nil || rate < 1 || rate > 1e6 {
			return 0, fmt.Errorf("cpuinfo: bogomips %q", bytes.TrimSpace(value))
		}
		return int(rate * 500), nil
	}
	return 0, fmt.Errorf("cpuinfo tells no bogomips")
}
