package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// oomScore lets the kernel choose a VM before the daemon and the node's own services.
const oomScore = "200"

// bounds are what a VMM may write; see host.Command.
type bounds struct{ file, core vm.Bytes }

// limit bounds what the VMM may write while no daemon looks, and its core. The
// process runs already, for some microseconds: enough for a shell to have a child
// without limits, but no guest writes before its VMM has set up.
func limit(pid, uid, gid int, most bounds) error {
	err := setLimits(pid, most)
	if errors.Is(err, unix.EPERM) {
		err = limitAs(pid, uid, gid, most)
	}
	// Wished for only: some containers forbid it.
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(oomScore), 0)
	return err
}

func setLimits(pid int, most bounds) error {
	if err := limitCore(pid, host.CoreLimit(most.core)); err != nil {
		return fmt.Errorf("limit the core: %w", err)
	}
	if most.file <= 0 {
		return nil
	}
	file := unix.Rlimit{Cur: uint64(most.file), Max: uint64(most.file)}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &file, nil); err != nil {
		return fmt.Errorf("limit file sizes to %d: %w", most.file, err)
	}
	return nil
}

// limitCore lowers the limit as far as it was asked to, and raises it where it may.
func limitCore(pid int, most uint64) error {
	err := unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{Cur: most, Max: most}, nil)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	var has unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &has) != nil || has.Max >= most {
		return err
	}
	return unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{Cur: has.Max, Max: has.Max}, nil)
}

// limitAs is for a root without CAP_SYS_RESOURCE, as in many containers: it may
// limit only processes of its own real user. So one thread takes the VMM's, and
// ends with its goroutine.
func limitAs(pid, uid, gid int, most bounds) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		const keep = ^uintptr(0)
		_, _, e := syscall.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), keep, keep)
		if e == 0 {
			_, _, e = syscall.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), keep, keep)
		}
		if e != 0 {
			done <- fmt.Errorf("become user %d to limit its process: %w", uid, e)
			return
		}
		done <- setLimits(pid, most)
	}()
	return <-done
}

// ownerOf is whose process it is.
func ownerOf(pid int) (uid, gid int, err error) {
	var s unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(pid), &s); err != nil {
		return 0, 0, err
	}
	return int(s.Uid), int(s.Gid), nil
}
