package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// Attach opens the control session: QMP, where the runner's QEMU has a socket
// for it. Every other VMM is known by its life alone. The runner itself may be
// gone by then.
func (d *Driver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	at, err := started(f.Folder)
	if err != nil {
		return nil, err
	}
	uid, gid, err := owner(f.Folder)
	if err != nil {
		return nil, err
	}
	work := filepath.Join(f.Folder, workName)
	if at.QMP == "" {
		return &session{
			shutdown: filepath.Join(at.Runner, "bin/microvm-shutdown"), work: work, stderr: f.Stderr, uid: uid, gid: gid,
			limit: max(spec.Stop.Timeout, time.Second),
		}, nil
	}
	conn, err := knock(ctx, work, at.QMP, uid, f.VMM)
	if err != nil {
		return nil, err
	}
	return qemu.Join(ctx, conn, notice)
}

// session is with a VMM that we have no words for. What it can't do is refused
// as Broken.
type session struct {
	shutdown, work, stderr string
	uid, gid               int
	limit                  time.Duration // of bin/microvm-shutdown, which waits for the guest's end

	pressing sync.Mutex // held while bin/microvm-shutdown runs
}

var _ host.Session = (*session)(nil)

// State is running while the VMM lives: its guest may be anything. Where the
// VMM can't be proved, its launcher tells of its end.
func (s *session) State(context.Context) (host.GuestState, error) {
	fd, _, err := s.find()
	if err != nil {
		if host.KindOf(err) == host.Gone {
			return "", err
		}
		return host.GuestRuns, nil
	}
	_ = unix.Close(fd)
	return host.GuestRuns, nil
}

// VCPUs are nobody's: this VMM has no way to tell.
func (s *session) VCPUs(context.Context) ([]int, error) { return nil, nil }

// PowerDown runs bin/microvm-shutdown as the VM's user, with its words in the
// VMM's log. It presses the button and then waits for the guest's end: that the
// wait is cut off is success. A press while another one waits is the same press.
func (s *session) PowerDown(ctx context.Context) error {
	const doing = "run bin/microvm-shutdown"
	if _, err := os.Stat(s.shutdown); err != nil {
		return host.Fail(host.Broken, doing, errors.New("this runner has none (it was built without a control socket): only a kill ends the VM"))
	}
	if !s.pressing.TryLock() {
		return nil
	}
	defer s.pressing.Unlock()
	out, err := os.OpenFile(s.stderr, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return fail(doing, err)
	}
	defer out.Close()
	c := call{argv: []string{s.shutdown}, dir: s.work, env: environment(s.work), uid: s.uid, gid: s.gid, limit: s.limit, errors: out}
	if fd, pid, err := s.find(); err == nil {
		_ = unix.Close(fd)
		c.env = append(c.env, "MAINPID="+strconv.Itoa(pid))
	}
	err = c.run(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return host.Fail(host.Transient, doing, fmt.Errorf("%w; its output is in the VMM's log", err))
	}
	return nil
}

// Pause is refused.
func (s *session) Pause(context.Context) error { return refused("pause") }

// Resume is refused.
func (s *session) Resume(context.Context) error { return refused("resume") }

// Reset is refused.
func (s *session) Reset(context.Context) error { return refused("reset") }

func refused(doing string) error {
	return host.Fail(host.Broken, doing, errors.New("only a runner of QEMU's with a control socket can be paused, resumed and reset"))
}

// Kind is nobody's: what it would save has no name to be loaded by.
func (s *session) Kind(context.Context) (string, error) { return "", notSaved("save the guest") }

// Save is refused: nobody could launch the runner with what it wrote.
func (s *session) Save(context.Context, io.Writer) error { return notSaved("save the guest") }

// Loaded is refused.
func (s *session) Loaded(context.Context) error { return notSaved("load a saved guest") }

// Dump is refused.
func (s *session) Dump(context.Context, vm.DumpFormat, io.Writer) error {
	return host.Fail(host.Broken, "dump the guest's memory", errors.New("only a runner of QEMU's with a control socket can be dumped"))
}

// Loads refuses every saved guest.
func (d *Driver) Loads(vm.Spec, vm.SavedState) error { return notSaved("load a saved guest") }

func notSaved(doing string) error {
	return host.Fail(host.Broken, doing, errors.New("the command line of a runner is its own: only a VMM that Blixard launches itself can be saved and loaded"))
}

// Quit asks the VMM to end by SIGTERM, where it can be proved which one that is (P8).
func (s *session) Quit(context.Context) error {
	fd, _, err := s.find()
	if host.KindOf(err) == host.Gone {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fail("end the VMM", err)
	}
	return nil
}

// Close lets go: nothing is held.
func (s *session) Close() {}

// find opens the VMM by the pid that it noted. The note is the VM's own and
// proves nothing: the process has to be the VM's user's, in the VM's folder.
func (s *session) find() (pidfd, pid int, err error) {
	const doing = "find the VMM"
	pid, err = s.notedPID()
	if err != nil {
		return -1, 0, host.Fail(host.Broken, doing, err)
	}
	pidfd, err = unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, 0, host.Fail(host.Gone, doing, err)
	}
	if err != nil {
		return -1, 0, fail(doing, err)
	}
	switch err := s.prove(pid); {
	case ended(pidfd): // also whatever was read of another process of that pid
		err = host.Fail(host.Gone, doing, unix.ESRCH)
		return -1, 0, errors.Join(err, unix.Close(pidfd))
	case err != nil:
		return -1, 0, errors.Join(host.Fail(host.Broken, doing, err), unix.Close(pidfd))
	}
	return pidfd, pid, nil
}

func (s *session) notedPID() (int, error) {
	file, err := os.OpenFile(filepath.Join(s.work, pidName), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, 32))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%q is no pid", vm.Visible(b))
	}
	return pid, nil
}

func (s *session) prove(pid int) error {
	proc := "/proc/" + strconv.Itoa(pid)
	at, err := os.Stat(proc)
	if err != nil {
		return err
	}
	if o, ok := at.Sys().(*syscall.Stat_t); !ok || int(o.Uid) != s.uid {
		return fmt.Errorf("process %d isn't the VM's user's", pid)
	}
	dir, err := os.Readlink(proc + "/cwd")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if dir != s.work {
		return fmt.Errorf("process %d doesn't work in the VM's folder", pid)
	}
	return nil
}

// ended: a pidfd is readable from its process's end on.
func ended(pidfd int) bool {
	polled := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(polled, 0)
	return err == nil && n == 1
}
