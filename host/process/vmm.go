package process

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// vmm is a process that was proved ours when it lived.
type vmm struct {
	ref     vm.Ref
	process vm.Process
	pidfd   *os.File
	conn    syscall.RawConn
	gone    chan struct{} // closed when exit is known

	mu       sync.Mutex
	exit     vm.Exit
	watchers map[*watcher]struct{}
}

type watcher struct {
	mu    sync.Mutex
	ended func(vm.Exit) // nil once called or cancelled
}

// newVMM takes over the pidfd.
func newVMM(ref vm.Ref, p vm.Process, fd int) (*vmm, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "pidfd") // not blocking, so the runtime's poller watches it
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &vmm{ref: ref, process: p, pidfd: file, conn: conn, gone: make(chan struct{})}, nil
}

// letGo ends the minder and leaves the process alone (P6).
func (v *vmm) letGo() { _ = v.pidfd.Close() }

func (v *vmm) isGone() bool {
	select {
	case <-v.gone:
		return true
	default:
		return false
	}
}

// lives asks the kernel: a pidfd is readable from the end of the last thread on.
func (v *vmm) lives() bool {
	if v.isGone() {
		return false
	}
	ended := false
	if err := v.conn.Control(func(fd uintptr) { ended = readable(int(fd)) }); err != nil {
		return false
	}
	return !ended
}

func readable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// mind waits for the end, reaps, and tells. It returns early when let go.
func (v *vmm) mind(bury func(*vmm)) {
	if err := v.conn.Read(func(fd uintptr) bool { return readable(int(fd)) }); err != nil {
		return
	}
	exit := v.reap()
	_ = v.pidfd.Close()
	v.mu.Lock()
	v.exit = exit
	told := v.watchers
	v.watchers = nil
	close(v.gone)
	v.mu.Unlock()
	for w := range told {
		go w.tell(exit)
	}
	bury(v)
}

// watch tells of the end once, later or at once.
func (v *vmm) watch(ended func(vm.Exit)) *watcher {
	w := &watcher{ended: ended}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.isGone() {
		go w.tell(v.exit)
		return w
	}
	if v.watchers == nil {
		v.watchers = map[*watcher]struct{}{}
	}
	v.watchers[w] = struct{}{}
	return w
}

func (v *vmm) forget(w *watcher) {
	v.mu.Lock()
	delete(v.watchers, w)
	v.mu.Unlock()
	w.mu.Lock()
	w.ended = nil
	w.mu.Unlock()
}

func (w *watcher) tell(e vm.Exit) {
	w.mu.Lock()
	ended := w.ended
	w.ended = nil
	w.mu.Unlock()
	if ended != nil {
		ended(e)
	}
}

// reap collects the end of a child, or what the kernel remembers of the end of
// a process that was another daemon's child.
func (v *vmm) reap() vm.Exit {
	exit := vm.Exit{At: time.Now()}
	var status unix.WaitStatus
	_ = v.conn.Control(func(fd uintptr) {
		// First by pidfd without taking it, which proves that the pid is still
		// this child's; then by pid, which gives the status in a form that Go reads.
		if unix.Waitid(unix.P_PIDFD, int(fd), nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) != nil {
			return
		}
		pid, err := unix.Wait4(v.process.PID, &status, unix.WNOHANG, nil)
		exit.Known = err == nil && pid == v.process.PID
	})
	if !exit.Known {
		status, exit.Known = v.remembered()
	}
	switch {
	case exit.Known && status.Signaled():
		exit.Signal = int(status.Signal())
	case exit.Known:
		exit.Code = status.ExitStatus()
	}
	return exit
}

// reapWait is how long another process (PID 1) may take to reap what was
// orphaned; the kernel tells of the end only after that. Here it takes 0.1 ms.
const reapWait = 20 * time.Millisecond

// remembered asks for the exit status of a process that isn't our child, which
// Linux 6.15 and later keep as long as a pidfd is open.
func (v *vmm) remembered() (status unix.WaitStatus, known bool) {
	if err := v.pidfd.SetReadDeadline(time.Now().Add(reapWait)); err != nil {
		return 0, false
	}
	_ = v.conn.Read(func(fd uintptr) bool {
		told := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		if unix.IoctlPidfdInfo(int(fd), &told) != nil {
			return true
		}
		known = told.Mask&unix.PIDFD_INFO_EXIT != 0
		status = unix.WaitStatus(told.Exit_code)
		return known
	})
	return status, known
}
