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
// theirs to choose, but too short for such a line.
func lastKill(log []string, path string) (kill, bool) {
	var out kill
	var usage, limit vm.Bytes
	found := false
	for _, line := range log {
		if rest, ok := strings.CutPrefix(line, "memory: usage "); ok {
			_, after, _ := strings.Cut(rest, "limit ")
			usage, limit = kilobytes(rest), kilobytes(after)
		}
		rest, ok := strings.CutPrefix(line, "oom-kill:")
		_, told, of := strings.Cut(rest, ",task_memcg=")
		if in, _, _ := strings.Cut(told, ","); !ok || !of || !strings.HasSuffix(in, path) {
			continue
		}
		own := strings.HasPrefix(rest, "constraint=CONSTRAINT_MEMCG,") && strings.HasSuffix(word(rest, "oom_memcg="), path)
		found = true
		out = kill{victim: word(told, "task=") + ", process " + word(told, "pid="), host: !own, usage: usage, limit: limit}
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

// recent is how old a line of the kernel's log may be: the end that it is asked
// for has just happened.
const recent = 10 * time.Second

// logTail is how much of the log is read: the kernel tells of a kill in a few
// kilobytes, where the group has few processes.
const logTail = 128 << 10

// kernelLog are the lines of the last seconds, without their times; none where
// it isn't ours to read, or has no times.
func kernelLog() []string {
	var now unix.Timespec
	text := make([]byte, logTail)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, text)
	if err != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return nil
	}
	return linesSince(string(text[:n]), time.Duration(now.Nano())-recent)
}

// linesSince understands "<6>[24105.644363] text", and the same with who wrote
// it: "<6>[24105.644363][  T123] text".
func linesSince(log string, since time.Duration) []string {
	var out []string
	for line := range strings.Lines(log) {
		_, after, ok := strings.Cut(line, "[")
		stamp, text, closed := strings.Cut(after, "]")
		seconds, err := strconv.ParseFloat(strings.TrimSpace(stamp), 64)
		if !ok || !closed || err != nil || time.Duration(seconds*float64(time.Second)) < since {
			continue
		}
		if _, behind, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(text, "[") {
			text = behind
		}
		out = append(out, strings.TrimSpace(text))
	}
	return out
}
