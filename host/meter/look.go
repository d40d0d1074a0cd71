package meter

import (
	"errors"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// maxLooked bounds the threads that one look reads: the vCPUs come first, and
// no VM has more than vm.MaxCPUs.
const maxLooked = 512

// Look glances at one VMM, beside all others and beside Read: it shares nothing
// with them. A kernel that doesn't count waits (CONFIG_SCHED_INFO) leaves them zero.
func (m *Meter) Look(p vm.Process) (vm.Glance, error) {
	const doing = "look at the VMM's process"
	var buf [2048]byte // a stat of the longest name and numbers has less than 1 KiB
	dir, s, err := m.proved(p, doing, buf[:])
	if err != nil {
		return vm.Glance{}, err
	}
	defer func() { _ = unix.Close(dir) }()
	g := vm.Glance{State: stateWord(s.state), Threads: s.threads, Ran: s.used}
	lookAtThreads(dir, &g, buf[:])
	return g, nil
}

// proved opens the folder of a process that is the one told of, and reads its
// stat into buf. The folder stays that process's: once it is gone, nothing below
// it can be read, whoever has the pid by then (P8).
func (m *Meter) proved(p vm.Process, doing string, buf []byte) (dir int, s stat, err error) {
	if p.PID <= 0 || p.BootID != m.conf.BootID {
		return -1, s, host.Fail(host.Gone, doing, errNotThere)
	}
	dir, err = unix.Open(filepath.Join(m.conf.Proc, strconv.Itoa(p.PID)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, s, host.Fail(lookFailed(err), doing, err)
	}
	b, err := small(dir, "stat", buf)
	if err == nil {
		var ok bool
		if s, ok = parseStat(b); ok && s.start == p.StartTime {
			return dir, s, nil
		}
		err = errNotThere
	}
	_ = unix.Close(dir)
	return -1, s, host.Fail(lookFailed(err), doing, err)
}

var errNotThere = errors.New("that process is gone")

func lookFailed(err error) host.Kind {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH), errors.Is(err, errNotThere):
		return host.Gone
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return host.Denied
	}
	return host.Transient
}

// lookAtThreads adds what the scheduler counts of each thread.
func lookAtThreads(dir int, g *vm.Glance, buf []byte) {
	fd, err := open(dir, "task", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	var ran time.Duration
	for _, name := range names(fd, maxLooked) {
		tid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if b, err := small(fd, filepath.Join(name, "stat"), buf); err == nil {
			if s, ok := parseStat(b); ok && stateWord(s.state) == vm.ProcessUninterruptible {
				g.Blocked++
			}
		}
		b, err := small(fd, filepath.Join(name, "schedstat"), buf)
		if err != nil {
			continue
		}
		on, waited, ok := parseSchedstat(b)
		if !ok {
			continue
		}
		if g.Waits == nil {
			g.Waits = make(map[int]time.Duration, 8)
		}
		g.Waits[tid] = waited
		ran = nanoseconds(plus(uint64(ran), uint64(on)))
		g.Waited = max(g.Waited, waited)
	}
	g.Ran = max(g.Ran, ran) // stat's has ticks only, but knows threads that ended
}

// small reads a file of the kernel's that fits into buf.
func small(dir int, path string, buf []byte) ([]byte, error) {
	fd, err := open(dir, path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := read(fd, buf)
	return buf[:n], err
}

// stateWord is the word for the letter in /proc/PID/stat, as proc(5) has it.
func stateWord(letter byte) string {
	switch letter {
	case 'R':
		return vm.ProcessRunning
	case 'D':
		return vm.ProcessUninterruptible
	case 'T':
		return vm.ProcessStopped
	case 't':
		return vm.ProcessTraced
	case 'Z', 'X', 'x':
		return vm.ProcessZombie
	}
	return vm.ProcessSleeping // S, and whatever a later kernel calls a kind of it
}
