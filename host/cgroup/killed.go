package cgroup

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// OutOfMemory is the kernel's kill of a process of the group at that path, nil
// where there was none. m is what the group said last; the zero value, as of a
// group that is gone already, leaves it to the kernel's log, which also knows
// best who was killed and at whose limit. victim is who ended, for where the log
// can't be read.
func OutOfMemory(m Memory, path, victim string) *vm.OutOfMemory {
	return outOfMemory(m, path, victim, kernelLog)
}

func outOfMemory(m Memory, path, victim string, log func() []string) *vm.OutOfMemory {
	if m.Kills == 0 && m != (Memory{}) || path == "" {
		return nil
	}
	out := &vm.OutOfMemory{Victim: victim, Limit: m.Limit, Usage: max(m.Peak, m.Current), Host: m.Full == 0}
	k, told := lastKill(log(), path)
	switch {
	case told:
		out.Victim, out.Host = k.victim, k.host
		if out.Limit == 0 && !k.host {
			out.Limit, out.Usage = k.limit, k.usage
		}
	case m.Kills == 0:
		return nil
	}
	return out
}

// Memory of the group; of a nil one nothing is known.
func (g *Group) Memory() Memory {
	if g == nil || g.bytes == "" {
		return Memory{}
	}
	return Read(g.bytes)
}

// OutOfMemory is of the group, which Memory was read of.
func (g *Group) OutOfMemory(m Memory, victim string) *vm.OutOfMemory {
	if g == nil || g.bytes == "" {
		return nil
	}
	return OutOfMemory(m, filepath.Join("/", top, g.tree.node, g.name), victim)
}

// kill is what the kernel's log tells of one.
type kill struct {
	victim       string
	host         bool // it was not the group's own limit
	usage, limit vm.Bytes
}

// lastKill finds the last kill in a group in the kernel's log. The kernel writes
// paths from its own root on, so ours is the end of it. Names of processes are
// theirs to choose: they stand behind the paths, and only the first match counts.
func lastKill(log []string, path string) (kill, bool) {
	var out kill
	var usage, limit vm.Bytes
	found := false
	for _, record := range log {
		_, text, _ := strings.Cut(record, ";")
		text, _, _ = strings.Cut(text, "\n")
		if rest, ok := strings.CutPrefix(text, "memory: usage "); ok {
			usage, limit = kilobytes(rest), 0
			if _, after, ok := strings.Cut(rest, "limit "); ok {
				limit = kilobytes(after)
			}
			continue
		}
		rest, ok := strings.CutPrefix(text, "oom-kill:")
		if !ok {
			continue
		}
		by := word(rest, "oom_memcg=")
		if in := word(rest, "task_memcg="); in == "" || !strings.HasSuffix(in, path) {
			continue
		}
		_, told, _ := strings.Cut(rest, "task_memcg=")
		out = kill{
			victim: word(told, "task=") + ", process " + word(told, "pid="),
			host:   !strings.HasPrefix(rest, "constraint=CONSTRAINT_MEMCG,") || !strings.HasSuffix(by, path), usage: usage, limit: limit,
		}
		found = true
	}
	return out, found
}

// word is what follows a key, up to a comma.
func word(s, key string) string {
	_, after, ok := strings.Cut(s, key)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(after, ",")
	return value
}

func kilobytes(s string) vm.Bytes {
	number, _, _ := strings.Cut(s, "kB")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return vm.Bytes(n) * vm.KiB
}

// recent is how old a record of the kernel's log may be: the end that it is
// asked for has just happened.
const recent = 10 * time.Second

// maxRecord is the kernel's own bound.
const maxRecord = 8 << 10

// kernelLog are the records of the last seconds; none where it isn't ours to
// read, or in a container, where something else stands in its place.
func kernelLog() []string {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	var about unix.Stat_t
	var now unix.Timespec
	const number = 1<<8 | 11 // major and minor of the real one
	if unix.Fstat(fd, &about) != nil || about.Mode&unix.S_IFMT != unix.S_IFCHR || about.Rdev != number || unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return nil
	}
	since := time.Duration(now.Nano()) - recent
	var out []string
	record := make([]byte, maxRecord)
	for {
		n, err := unix.Read(fd, record)
		if err == unix.EPIPE || err == unix.EINTR { //nolint:errorlint // a bare errno; EPIPE: overwritten while we read
			continue
		}
		if err != nil || n <= 0 {
			return out
		}
		if text := string(record[:n]); at(text) >= since {
			out = append(out, text)
		}
	}
}

// at is the time of a record since the start of the kernel: "6,1234,24105644363,-;…".
func at(record string) time.Duration {
	fields := strings.SplitN(record, ",", 4)
	if len(fields) < 4 {
		return 0
	}
	n, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}
