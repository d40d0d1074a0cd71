package proof

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// VMM is a process that was proved ours when it lived.
type VMM struct {
	Ref     vm.Ref
	Process vm.Process
	MaxFile vm.Bytes // see host.Command, by its tags
	MaxCore vm.Bytes // the same
	Cgroup  string   // its path in systemd's tree, where a unit holds it
	Floor   vm.Bytes // below this the kernel can't tell its peak; see Reap
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

// NewVMM takes over the pidfd.
func NewVMM(ref vm.Ref, p vm.Process, fd int) (*VMM, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "pidfd") // not blocking, so the runtime's poller watches it
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &VMM{Ref: ref, Process: p, pidfd: file, conn: conn, gone: make(chan struct{})}, nil
}

// Gone is a VMM that ended before it could be looked at.
func Gone(ref vm.Ref, p vm.Process, e vm.Exit) *VMM {
	v := &VMM{Ref: ref, Process: p, exit: e, gone: make(chan struct{})}
	close(v.gone)
	return v
}

// LetGo ends the minder and leaves the process alone (P6).
func (v *VMM) LetGo() { _ = v.pidfd.Close() }

func (v *VMM) isGone() bool {
	select {
	case <-v.gone:
		return true
	default:
		return false
	}
}

// lives asks the kernel: a pidfd is readable from the end of the last thread on.
func (v *VMM) lives() bool {
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

// mind waits for the end, reaps, remembers, and tells, in that order: who was
// told may ask for the verdict at once. It is false where it was let go first.
func (v *VMM) mind(end func(*VMM) vm.Exit, bury func(*VMM)) bool {
	if err := v.conn.Read(func(fd uintptr) bool { return readable(int(fd)) }); err != nil {
		return false
	}
	v.tellEnd(time.Now(), end, bury)
	return true
}

// tellEnd is what follows the wait, for which a small stack is enough.
func (v *VMM) tellEnd(at time.Time, end func(*VMM) vm.Exit, bury func(*VMM)) {
	exit := end(v)
	if exit.At.IsZero() || exit.At.After(at) {
		exit.At = at // all that is read after it takes its time
	}
	_ = v.pidfd.Close()
	v.mu.Lock()
	v.exit = exit
	v.mu.Unlock()
	bury(v)
	v.mu.Lock()
	told := v.watchers
	v.watchers = nil
	close(v.gone)
	v.mu.Unlock()
	for w := range told {
		go w.tell(exit)
	}
}

// watch tells of the end once, later or at once.
func (v *VMM) watch(ended func(vm.Exit)) *watcher {
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

func (v *VMM) forget(w *watcher) {
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

// Reap collects the end of a child, or what the kernel remembers of the end of
// a process that was another daemon's child. It is for Hands.End.
func (v *VMM) Reap(proc procfs.FS) vm.Exit {
	exit := vm.Exit{At: time.Now()}
	var status unix.WaitStatus
	var used unix.Rusage
	for _, ask := range []func(fd int) (unix.WaitStatus, bool){
		func(fd int) (unix.WaitStatus, bool) { return v.waited(fd, &used) }, remembered, v.unburied(proc), remembered, // it may be reaped by PID 1 between two of these
	} {
		if err := v.conn.Control(func(fd uintptr) { status, exit.Known = ask(int(fd)) }); err != nil || exit.Known {
			break
		}
	}
	switch {
	case exit.Known && status.Signaled():
		exit.Signal, exit.Core = int(status.Signal()), status.CoreDump()
	case exit.Known:
		exit.Code = status.ExitStatus()
	}
	exit.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	exit.MemoryPeak = v.peak(used)
	return exit
}

// waited reaps our own child. The pidfd proves, without taking it, that the pid
// is still this child's; the call by pid gives a status that Go can read.
func (v *VMM) waited(fd int, used *unix.Rusage) (status unix.WaitStatus, known bool) {
	if unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) != nil {
		return 0, false
	}
	pid, err := unix.Wait4(v.Process.PID, &status, unix.WNOHANG, used)
	return status, err == nil && pid == v.Process.PID
}

// peak is the most memory that a child of ours had at once. The kernel counts
// its life before the exec too, when it shared the daemon's memory: a peak that
// isn't clearly above ours may be ours, and is not known. Children that it has
// waited for itself are none of QEMU's.
func (v *VMM) peak(used unix.Rusage) vm.Bytes {
	if p := vm.Bytes(used.Maxrss) * vm.KiB; v.Floor > 0 && p > v.Floor+v.Floor/8 { // the kernel's counters are a little behind
		return p
	}
	return 0
}

// remembered is the exit status of a process that its parent has reaped: Linux
// 6.15 and later keep it as long as a pidfd is open.
func remembered(fd int) (unix.WaitStatus, bool) {
	told := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if unix.IoctlPidfdInfo(fd, &told) != nil {
		return 0, false
	}
	return unix.WaitStatus(told.Exit_code), told.Mask&unix.PIDFD_INFO_EXIT != 0
}

// unburied is the exit status of a process that its parent has not reaped yet.
func (v *VMM) unburied(proc procfs.FS) func(int) (unix.WaitStatus, bool) {
	return func(int) (unix.WaitStatus, bool) {
		s, err := proc.Stat(v.Process.PID)
		return unix.WaitStatus(s.Exit), err == nil && s.Ended() && s.StartTime == v.Process.StartTime
	}
}
