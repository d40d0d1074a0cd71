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
)

// oomScore lets the kernel choose a VM before the daemon and the node's own services.
const oomScore = "200"

// limit bounds what the VMM may write while no daemon looks, and its core,
// which would be an image of the guest's memory. The process runs already, for
// some microseconds: enough for a shell to have a child without limits, but no
// guest writes before its VMM has set up.
func limit(pid int, c host.Command) error {
	err := setLimits(pid, c)
	if errors.Is(err, unix.EPERM) {
		err = limitAs(pid, c)
	}
	// Wished for only: some containers forbid it.
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(oomScore), 0)
	return err
}

func setLimits(pid int, c host.Command) error {
	none := unix.Rlimit{}
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &none, nil); err != nil {
		return fmt.Errorf("limit the core: %w", err)
	}
	if c.MaxFile <= 0 {
		return nil
	}
	most := unix.Rlimit{Cur: uint64(c.MaxFile), Max: uint64(c.MaxFile)}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &most, nil); err != nil {
		return fmt.Errorf("limit file sizes to %d: %w", c.MaxFile, err)
	}
	return nil
}

// limitAs is for a root without CAP_SYS_RESOURCE, as in many containers: it may
// limit only processes of its own real user. So one thread takes the VMM's, and
// ends with its goroutine.
func limitAs(pid int, c host.Command) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		const keep = ^uintptr(0)
		_, _, e := syscall.RawSyscall(unix.SYS_SETRESGID, uintptr(c.GID), keep, keep)
		if e == 0 {
			_, _, e = syscall.RawSyscall(unix.SYS_SETRESUID, uintptr(c.UID), keep, keep)
		}
		if e != 0 {
			done <- fmt.Errorf("become user %d to limit its process: %w", c.UID, e)
			return
		}
		done <- setLimits(pid, c)
	}()
	return <-done
}
