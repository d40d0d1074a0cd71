// Package procfs reads what little we need of /proc. Every reader takes its
// root, so that recorded files and forged processes stand in for the kernel in
// tests; nothing is cached and nothing is written.
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/blixard/blixard/vm"
)

// FS is a mounted /proc, or a folder that looks like one.
type FS struct{ Root string }

// Default is the kernel's.
var Default = FS{Root: "/proc"}

// maxEnviron bounds what is read of a foreign process: execve allows megabytes,
// our tags come first and take a few hundred bytes.
const maxEnviron = 64 << 10

// Stat is what /proc/PID/stat tells of a process.
type Stat struct {
	PID       int
	Comm      string // as the process calls itself: any bytes, blanks and parentheses too
	State     byte   // R, S, D, Z, …
	Parent    int
	Session   int
	StartTime uint64 // in clock ticks since boot: with the pid and the boot, a name that is never used twice
	Kernel    bool   // a thread of the kernel
	Environ   Range  // where its environment lies; zero: see Unsettled, or we may not know it
	Exit      int    // wait status of one that has ended; 0 where we may not know it
}

// Range of addresses in a process's memory.
type Range struct{ Start, End uint64 }

// Ended says whether the process is only an entry that waits to be reaped.
func (s Stat) Ended() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// Unsettled says that the process has no environment yet: its exec has dropped
// the old memory, closed what is to be closed on exec, and has not laid out the
// new memory, or it has begun to end. Either passes within moments. A process
// that was given no environment at all is settled.
func (s Stat) Unsettled() bool { return s.Environ.End == 0 && !s.Kernel && !s.Ended() }

// Stat reads /proc/PID/stat. The error of a process that is gone is fs.ErrNotExist.
func (f FS) Stat(pid int) (Stat, error) {
	b, err := f.read(pid, "stat", 4096)
	if err != nil {
		return Stat{}, err
	}
	s, err := ParseStat(b)
	if err == nil && s.PID != pid {
		err = fmt.Errorf("stat of process %d speaks of %d", pid, s.PID)
	}
	return s, err
}

// ParseStat reads the line of /proc/PID/stat. The name in it is the process's
// own choice, "a) R 1 (" for instance, so the last parenthesis ends it.
func ParseStat(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return Stat{}, fmt.Errorf("stat without a name: %.40q", b)
	}
	const flags, startTime, envStart, envEnd, exit = 6, 19, 47, 48, 49 // fields 9, 22, 50, 51, 52 of proc(5); those after the name begin with the third
	const kernelThread = 0x200000                                      // PF_KTHREAD of the kernel's sched.h
	fields := bytes.Fields(b[end+1:])
	if len(fields) <= exit || len(fields[0]) != 1 {
		return Stat{}, fmt.Errorf("stat with %d fields after the name", len(fields))
	}
	s := Stat{Comm: string(b[open+1 : end]), State: fields[0][0]}
	var errs [8]error
	var flag uint64
	s.PID, errs[0] = strconv.Atoi(string(bytes.TrimSpace(b[:open])))
	s.Parent, errs[1] = strconv.Atoi(string(fields[1]))
	s.Session, errs[2] = strconv.Atoi(string(fields[3]))
	s.StartTime, errs[3] = strconv.ParseUint(string(fields[startTime]), 10, 64)
	s.Exit, errs[4] = strconv.Atoi(string(fields[exit]))
	flag, errs[5] = strconv.ParseUint(string(fields[flags]), 10, 64)
	s.Kernel = flag&kernelThread != 0
	s.Environ.Start, errs[6] = strconv.ParseUint(string(fields[envStart]), 10, 64)
	s.Environ.End, errs[7] = strconv.ParseUint(string(fields[envEnd]), 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return Stat{}, fmt.Errorf("stat: %w", err)
	}
	return s, nil
}

// ErrNoEnviron is of a process whose environment is empty now: it was given
// none, it is a thread of the kernel, or Stat.Unsettled.
var ErrNoEnviron = errors.New("it has no environment")

// Environ returns the variables of /proc/PID/environ that begin with prefix,
// without it. The first of two with one name wins, as getenv has it.
func (f FS) Environ(pid int, prefix string) (map[string]string, error) {
	b, err := f.read(pid, "environ", maxEnviron)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, ErrNoEnviron
	}
	out := map[string]string{}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		rest, ok := bytes.CutPrefix(entry, []byte(prefix))
		if !ok {
			continue
		}
		name, value, ok := bytes.Cut(rest, []byte{'='})
		if _, twice := out[string(name)]; ok && !twice {
			out[string(name)] = string(value)
		}
	}
	return out, nil
}

// Cgroup is the path of the cgroup in which systemd, if it is systemd, has the
// process, as seen from our own.
func (f FS) Cgroup(pid int) (string, error) {
	b, err := f.read(pid, "cgroup", 16<<10)
	if err != nil {
		return "", err
	}
	found := ""
	for line := range bytes.Lines(b) {
		parts := bytes.SplitN(bytes.TrimSuffix(line, []byte{'\n'}), []byte{':'}, 3)
		switch {
		case len(parts) < 3:
			return "", fmt.Errorf("cgroup %.80q", line)
		case string(parts[1]) == "name=systemd": // v1, where v2 may be mounted beside and unused
			return string(parts[2]), nil
		case string(parts[0]) == "0":
			found = string(parts[2])
		}
	}
	if found == "" {
		return "", errors.New("no cgroup that systemd would use")
	}
	return found, nil
}

// PIDs lists the processes that have an entry now, in no order.
func (f FS) PIDs() ([]int, error) {
	d, err := os.Open(f.Root)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			out = append(out, pid)
		}
	}
	return out, nil
}

// BootID is the kernel's name of this boot.
func (f FS) BootID() (vm.BootID, error) {
	b, err := readFile(filepath.Join(f.Root, "sys/kernel/random/boot_id"), 256)
	if err != nil {
		return "", err
	}
	id := string(bytes.TrimSpace(b))
	if len(id) != 36 { // a uuid with its dashes
		return "", fmt.Errorf("boot id %.60q is no uuid", id)
	}
	return vm.BootID(id), nil
}

func (f FS) read(pid int, name string, limit int64) ([]byte, error) {
	return readFile(filepath.Join(f.Root, strconv.Itoa(pid), name), limit)
}

func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit))
}
