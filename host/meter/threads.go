package meter

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxVCPUs   = 1024 // no VMM has more
	rarest     = 6    // 2^6 passes between two looks for vCPUs, where there were none
	maxThreads = 4096 // entries that are looked at: a VMM may make as many as its limit lets it
)

// threads is which threads of a process are vCPUs.
type threads struct {
	main  int
	paths []string // task/TID/stat
	alike int      // looks in succession that found the same
	skip  int      // passes until the next look
	tries int
}

// vcpus is what the vCPU threads have used. A VMM that was just launched has
// not all of them yet, so they are settled when two looks have found the same;
// where there are none, the looks get rarer.
func (m *Meter) vcpus(dir int, v *vmm) time.Duration {
	t := &v.threads
	if t.alike < 2 {
		if t.skip > 0 {
			t.skip--
			return 0
		}
		m.look(dir, t)
	}
	used, ok := m.used(dir, t.paths)
	if !ok { // one ended, as when a vCPU is unplugged
		*t = threads{main: t.main}
		m.look(dir, t)
		used, _ = m.used(dir, t.paths)
	}
	return used
}

// used is what the threads have used; false: one of them is no vCPU any more.
func (m *Meter) used(dir int, paths []string) (used time.Duration, ok bool) {
	ok = true
	for _, path := range paths {
		b, err := m.file(dir, path)
		s, is := parseStat(b)
		if err != nil || !is || !isVCPU(s.name) {
			ok = false
			continue
		}
		used += s.used
	}
	return used, ok
}

// look reads the names of all threads.
func (m *Meter) look(dir int, t *threads) {
	found := m.named(dir, t.main)
	switch {
	case len(found) == 0:
		t.tries = min(t.tries+1, rarest)
		t.skip = 1<<t.tries - 1
		t.alike = 0
	case slices.Equal(found, t.paths):
		t.alike++
	default:
		t.alike = 1
	}
	t.paths = found
}

// named are the threads that have a vCPU's name.
func (m *Meter) named(dir, main int) []string {
	fd, err := open(dir, "task", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	var out []string
	for _, name := range names(fd, maxThreads) {
		tid, err := strconv.Atoi(name)
		if err != nil || tid <= 0 || tid == main { // the first thread has the VM's name
			continue
		}
		b, err := m.file(fd, filepath.Join(name, "comm"))
		if err == nil && isVCPU(bytes.TrimSuffix(b, []byte{'\n'})) && len(out) < maxVCPUs {
			out = append(out, filepath.Join("task", name, "stat"))
		}
	}
	slices.Sort(out)
	return out
}

// isVCPU knows the names that VMMs give to their vCPUs: QEMU "CPU 0/KVM", and
// "ALL CPUs/TCG" where one thread takes turns, cloud-hypervisor "vcpu0", crosvm
// "crosvm_vcpu0", firecracker "fc_vcpu 0", kvmtool "kvm-vcpu-0".
func isVCPU(name []byte) bool {
	if bytes.HasPrefix(name, []byte("ALL CPUs/")) {
		return true
	}
	for _, prefix := range [...]string{"CPU ", "vcpu", "crosvm_vcpu", "fc_vcpu ", "kvm-vcpu-"} {
		if len(name) > len(prefix) && string(name[:len(prefix)]) == prefix {
			c := name[len(prefix)]
			return c >= '0' && c <= '9'
		}
	}
	return false
}

// names lists at most so many entries of an open folder.
func names(fd, most int) []string {
	var buf [4096]byte
	var out []string
	for len(out) < most {
		n, err := unix.ReadDirent(fd, buf[:])
		if err != nil || n <= 0 {
			break
		}
		_, _, out = unix.ParseDirent(buf[:n], most-len(out), out)
	}
	return out
}
