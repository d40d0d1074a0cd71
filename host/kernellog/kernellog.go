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
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

const (
	device = "/dev/kmsg"
	// maxRecords bounds one look: the largest buffers of kernels hold some ten thousand records.
	maxRecords = 50_000
	// maxRecord is the most that the kernel gives at once.
	maxRecord = 8 << 10
	// slack is by how much the log's clock may differ from ours: it stands still while the machine sleeps.
	slack = 5 * time.Second
)

// initialPIDs is the number by which the kernel knows its first namespace of
// processes (PROC_PID_INIT_INO): the log speaks of no other's.
const initialPIDs = "pid:[4026531836]"

// Log is the kernel's log.
type Log struct{ device string }

var _ host.KernelLog = Log{}

// Open returns the kernel's log; Denied where this process may not read it, or
// would not understand of which processes it speaks.
func Open() (Log, error) {
	const doing = "read the kernel's log"
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || space != initialPIDs {
		return Log{}, host.Fail(host.Denied, doing, fmt.Errorf("this is a container, which numbers its processes by itself (%s)", space))
	}
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return Log{}, host.Fail(host.Denied, doing, err)
	}
	_ = unix.Close(fd)
	return Log{device}, nil
}

// Killed finds the last line by which the process was killed; see host.KernelLog.
func (l Log) Killed(ctx context.Context, pid int, since time.Time) (string, error) {
	const doing = "read the kernel's log"
	fd, err := unix.Open(l.device, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", host.Fail(host.Denied, doing, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
		return "", host.Fail(host.Transient, doing, err)
	}
	from := time.Duration(up.Nano()) - time.Since(since) - slack
	line, record := "", make([]byte, maxRecord)
	for range maxRecords {
		n, err := unix.Read(fd, record)
		switch {
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR): // what was next is overwritten
		case errors.Is(err, unix.EAGAIN), err == nil && n == 0:
			return line, nil
		case err != nil:
			return "", host.Fail(host.Transient, doing, err)
		default:
			if said, ok := killed(record[:n], pid, from); ok {
				line = said
			}
		}
		if err := ctx.Err(); err != nil {
			return line, host.Fail(host.Transient, doing, err)
		}
	}
	return line, nil
}

// killed parses a record. A process chooses its own name, which the kernel puts
// behind the pid, so that nothing before the pid is anybody's but the kernel's.
func killed(record []byte, pid int, from time.Duration) (string, bool) {
	head, text, ok := bytes.Cut(record, []byte(";"))
	if !ok {
		return "", false
	}
	fields := strings.SplitN(string(head), ",", 4)
	if len(fields) < 3 {
		return "", false
	}
	priority, errPriority := strconv.ParseUint(fields[0], 10, 32)
	micros, errMicros := strconv.ParseInt(fields[2], 10, 64)
	if errPriority != nil || errMicros != nil || priority >= 8 || time.Duration(micros)*time.Microsecond < from {
		return "", false
	}
	text, _, _ = bytes.Cut(text, []byte("\n")) // lines of its own are the kernel's notes on the record
	line := string(text)
	for _, reason := range []string{"Out of memory", "Memory cgroup out of memory", "Out of memory (oom_kill_allocating_task)"} {
		if rest, ok := strings.CutPrefix(line, reason+": Killed process "); ok {
			number, _, _ := strings.Cut(rest, " ")
			return line, number == strconv.Itoa(pid)
		}
	}
	return "", false
}
