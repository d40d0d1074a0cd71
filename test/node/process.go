package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one that a test may signal, held by a pidfd while it does.
type Process struct {
	PID    int // as this machine counts
	Inside int // as the machine counts in which it runs; the same where that is this one
	Argv   []string
	mark   string // what in its command line proves that it is ours
}

// marked returns every process whose command line names the mark, but ourselves.
func marked(mark string) []Process {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well formed
	var out []Process
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(b, []byte(mark)) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(name, "/")[2])
		if err != nil || pid == os.Getpid() {
			continue
		}
		argv := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		out = append(out, Process{PID: pid, Inside: pid, Argv: argv, mark: mark})
	}
	return out
}

// VMMs returns every process whose command line names the scratch folder, but
// the daemon and the CLI themselves.
func (n *Node) VMMs() []Process {
	var out []Process
	for _, p := range marked(n.Root + "/") {
		if p.PID != n.PID() && p.Argv[0] != n.options.Binary {
			out = append(out, p)
		}
	}
	return out
}

// VMM is the process of that pid, proved to belong to this node.
func (n *Node) VMM(pid int) (Process, error) {
	for _, p := range n.VMMs() {
		if p.PID == pid {
			return p, nil
		}
	}
	return Process{}, fmt.Errorf("pid %d is no VMM of this node", pid)
}

// Kill sends SIGKILL through a pidfd, after another look at whose process it
// is, and returns when it is gone. A process that is gone already is fine.
func (p Process) Kill() error {
	fd, err := p.Signal(unix.SIGKILL)
	if err != nil || fd < 0 {
		return err
	}
	defer unix.Close(fd)
	return gone(fd, 20*time.Second)
}

// Signal sends a signal and returns the pidfd, or -1 where the process is gone.
func (p Process) Signal(signal unix.Signal) (int, error) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("opening pid %d: %w", p.PID, err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Contains(b, []byte(p.mark)) {
		return -1, unix.Close(fd) // gone, and the pid may be somebody else's by now
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return -1, errors.Join(fmt.Errorf("signalling pid %d: %w", p.PID, err), unix.Close(fd))
	}
	return fd, nil
}

// gone waits until the process of the pidfd has ended.
func gone(fd int, within time.Duration) error {
	deadline := time.Now().Add(within)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("still alive after %v", within)
		}
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polled, int(left.Milliseconds())+1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n > 0:
			return nil
		}
	}
}

// Resident is the resident memory of a process in bytes, or 0 where it is gone.
func Resident(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// CPUTime is what a process has used, in user and kernel mode, or 0 where it is gone.
func CPUTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, ok := strings.Cut(string(b), ") ") // the name may hold spaces
	fields := strings.Fields(after)
	if err != nil || !ok || len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on Linux
}

// Descriptors is how many files a process has open.
func Descriptors(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(entries)
}
