package meter

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// VCPUs looks at threads of one VMM, beside all others and beside Read. They are
// looked for below that process alone: whatever a VMM says, it is told of no
// thread but its own.
func (m *Meter) VCPUs(p vm.Process, threads []int) ([]vm.VCPU, error) {
	var buf [2048]byte
	dir, _, err := m.proved(p, "look at the VMM's vCPUs", buf[:])
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	threads = threads[:min(len(threads), maxVCPUs)]
	out := make([]vm.VCPU, len(threads))
	for i, tid := range threads {
		out[i] = lookAtVCPU(dir, tid, buf[:])
	}
	return out, nil
}

// lookAtVCPU reads what the kernel tells of one thread; its name may be anything.
func lookAtVCPU(dir, tid int, buf []byte) vm.VCPU {
	v := vm.VCPU{Thread: tid}
	if tid <= 0 {
		return v
	}
	task := filepath.Join("task", strconv.Itoa(tid))
	b, err := small(dir, filepath.Join(task, "stat"), buf)
	if err != nil {
		return v
	}
	s, ok := parseStat(b)
	if !ok {
		return v
	}
	v.Began, v.State, v.Ran = s.start, stateWord(s.state), s.used
	if b, err := small(dir, filepath.Join(task, "schedstat"), buf); err == nil {
		if ran, _, ok := parseSchedstat(b); ok {
			v.Ran = ran // stat's has ticks only
		}
	}
	return v
}
