// Package kernellog looks up in the kernel's log whether a process was killed
// for want of memory. It is asked where no cgroup says so.
//
//	/dev/kmsg:  3,1187,81234567,-;Out of memory: Killed process 4711 (qemu) total-vm:…
//	            │      │          └ what the kernel says; a process may have any name
//	            │      └ microseconds since the boot
//	            └ facility × 8 + priority: what programs write there has another facility than 0
package kernellog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

const (
	device = "/dev/kmsg"
	doing  = "read the kernel's log"
	// maxRecords bounds one look: the largest buffers of kernels hold some ten thousand records.
	maxRecords = 50_000
	// maxRecord is the most that the kernel gives at once.
	maxRecord = 8 << 10
	// maxKills is how many kills are kept: only those of the last minute are asked for.
	maxKills = 1000
	// slack is by how much the log's clock may differ from ours: it stands still while the machine sleeps.
	slack = 5 * time.Second
)

// initialPIDs is the number by which the kernel knows its first namespace of
// processes (PROC_PID_INIT_INO): the log speaks of no other's.
const initialPIDs = "pid:[4026531836]"

// Log is the kernel's log, read once: each look goes on where the last one
// ended, and what it found of kills is kept. A whole log takes milliseconds,
// which is too long for each of many deaths.
type Log struct {
	fd    int
	mu    sync.Mutex
	kills []kill // oldest first, maxKills at most
}

var _ host.KernelLog = (*Log)(nil)

// kill is the kernel's kill of one process.
type kill struct {
	pid  int
	at   time.Duration // since the boot, by the log's clock
	line string
}

// Open returns the kernel's log; Denied where this process may not read it, or
// would not understand of which processes it speaks.
func Open() (*Log, error) {
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || space != initialPIDs {
		return nil, host.Fail(host.Denied, doing, fmt.Errorf("this is a container, which numbers its processes by itself (%s)", space))
	}
	return open(device)
}

func open(path string) (*Log, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, host.Fail(host.Denied, doing, err)
	}
	return &Log{fd: fd}, nil
}

// Killed finds the last line by which the process was killed; see host.KernelLog.
func (l *Log) Killed(ctx context.Context, pid int, since time.Time) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	readErr := l.readOn(ctx)
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
		return "", host.Fail(host.Transient, doing, err)
	}
	from := time.Duration(up.Nano()) - time.Since(since) - slack
	for _, k := range slices.Backward(l.kills) {
		if k.pid == pid && k.at >= from {
			return k.line, readErr
		}
	}
	return "", readErr
}

// readOn takes in what the kernel has told since the last look.
func (l *Log) readOn(ctx context.Context) error {
	record := make([]byte, maxRecord)
	for range maxRecords {
		n, err := unix.Read(l.fd, record)
		switch {
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR): // what was next is overwritten
		case errors.Is(err, unix.EAGAIN), err == nil && n == 0:
			return nil
		case err != nil:
			return host.Fail(host.Transient, doing, err)
		default:
			if k, ok := killed(record[:n]); ok {
				l.kills = append(l.kills[max(0, len(l.kills)+1-maxKills):], k)
			}
		}
		if err := ctx.Err(); err != nil {
			return host.Fail(host.Transient, doing, err)
		}
	}
	return nil
}

// killed parses a record. A process chooses its own name, which the kernel puts
// behind the pid, so that nothing before the pid is anybody's but the kernel's.
func killed(record []byte) (kill, bool) {
	head, text, ok := bytes.Cut(record, []byte(";"))
	if !ok {
		return kill{}, false
	}
	fields := strings.SplitN(string(head), ",", 4)
	if len(fields) < 3 {
		return kill{}, false
	}
	priority, errPriority := strconv.ParseUint(fields[0], 10, 32)
	micros, errMicros := strconv.ParseInt(fields[2], 10, 64)
	if errPriority != nil || errMicros != nil || priority >= 8 {
		return kill{}, false
	}
	text, _, _ = bytes.Cut(text, []byte("\n")) // lines of its own are the kernel's notes on the record
	line := string(text)
	for _, reason := range []string{"Out of memory", "Memory cgroup out of memory", "Out of memory (oom_kill_allocating_task)"} {
		if rest, ok := strings.CutPrefix(line, reason+": Killed process "); ok {
			number, _, _ := strings.Cut(rest, " ")
			pid, err := strconv.Atoi(number)
			return kill{pid, time.Duration(micros) * time.Microsecond, line}, err == nil && pid > 0
		}
	}
	return kill{}, false
}
