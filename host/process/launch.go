package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Launch starts the command, unless its incarnation lives already. Another
// incarnation of the VM that still lives is a refusal (P1).
func (l *Launcher) Launch(ctx context.Context, c host.Command) (vm.Process, error) {
	doing := "launch " + unitName(c.Ref)
	if err := l.check(c); err != nil {
		return vm.Process{}, host.Fail(host.Broken, doing, err)
	}
	s, err := l.enter(ctx, c.Ref.VM)
	if err != nil {
		return vm.Process{}, err
	}
	defer l.leave(c.Ref.VM, s)
	if err := l.scanOnce(ctx); err != nil {
		return vm.Process{}, host.Fail(host.Transient, doing, err)
	}
	if l.isFinal(s, c.Ref) {
		return vm.Process{}, host.Fail(host.Gone, doing, errFinal)
	}
	if v := l.living(s); v != nil { // P1
		if v.ref.Incarnation == c.Ref.Incarnation {
			return v.process, nil
		}
		return vm.Process{}, host.Fail(host.Transient, doing,
			fmt.Errorf("incarnation %d lives as process %d", v.ref.Incarnation, v.process.PID))
	}
	if err := ctx.Err(); err != nil {
		return vm.Process{}, host.Fail(host.Transient, doing, err)
	}
	v, err := l.spawn(c, doing)
	if err != nil {
		return vm.Process{}, err
	}
	if l.isFinal(s, c.Ref) { // killed while it was being made
		if err := v.kill(ctx, doing); err != nil {
			return vm.Process{}, err
		}
		return vm.Process{}, host.Fail(host.Gone, doing, errFinal)
	}
	return v.process, nil
}

var errFinal = errors.New("this incarnation was killed")

func (l *Launcher) isFinal(s *seat, ref vm.Ref) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ref.Incarnation <= s.final
}

// check refuses what would make a VMM that can't be found again, or one with
// more rights than it needs.
func (l *Launcher) check(c host.Command) error {
	switch {
	case c.Ref.BootID != l.config.BootID:
		return fmt.Errorf("it was begun in boot %q, this is %q", c.Ref.BootID, l.config.BootID)
	case c.Ref.VM == "" || c.Ref.Incarnation == 0:
		return errors.New("a launch needs a VM and an incarnation")
	case len(c.Argv) == 0 || !filepath.IsAbs(c.Argv[0]):
		return fmt.Errorf("%q names no program by an absolute path", c.Argv)
	case os.Geteuid() == 0 && (c.UID <= 0 || c.GID <= 0):
		return fmt.Errorf("it would run as %d:%d; a VMM gets an unprivileged user", c.UID, c.GID)
	}
	known := map[string]int{}
	for _, s := range c.Sockets {
		known[s.Name] = 0
	}
	for _, a := range withNumbers(c.Argv, known) {
		if strings.Contains(a, "{fd:") {
			return fmt.Errorf("argument %q names a socket that isn't made", a)
		}
	}
	_, err := vm.ParseName(string(c.Ref.Name))
	return err
}

// spawn makes sockets, process and limits; what it began it takes back.
func (l *Launcher) spawn(c host.Command, doing string) (*vmm, error) {
	files, numbers, err := open(c)
	defer closeAll(files)
	if err != nil {
		return nil, host.Fail(kindOf(err), doing, err)
	}
	pidfd := -1
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if os.Geteuid() == 0 {
		sys.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
		for _, g := range c.Groups { // and no other group
			sys.Credential.Groups = append(sys.Credential.Groups, uint32(g))
		}
	}
	fds := []uintptr{uintptr(files[0]), uintptr(files[1]), uintptr(files[1])}
	for _, fd := range files[2:] {
		fds = append(fds, uintptr(fd))
	}
	pid, _, err := syscall.StartProcess(c.Argv[0], withNumbers(c.Argv, numbers), &syscall.ProcAttr{
		Dir: c.Dir, Env: l.tagged(c.Ref, c.Env), Files: fds, Sys: sys,
	})
	if err != nil {
		return nil, host.Fail(kindOf(err), doing, fmt.Errorf("start %s in %s: %w", c.Argv[0], c.Dir, err))
	}
	stat, err := l.config.Proc.Stat(pid) // a child that has ended stays readable until we reap it
	if err == nil {
		err = limit(pid, c)
	}
	v, made := newVMM(c.Ref, l.identify(c.Ref, pid, stat.StartTime), pidfd)
	if err = errors.Join(err, made); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL) // ours until it is reaped
		_, _ = unix.Wait4(pid, nil, 0, nil)
		if v != nil {
			v.letGo()
		}
		return nil, host.Fail(host.Transient, doing, err)
	}
	if v = l.take(v); v == nil {
		return nil, host.Fail(host.Transient, doing, errors.New("the launcher was closed; the VMM lives"))
	}
	return v, nil
}

// open makes what the process inherits: standard input, output, error, then the
// listening sockets, whose numbers it returns by name.
func open(c host.Command) (files []int, numbers map[string]int, err error) {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	files = append(files, null)
	path, flags := c.Stderr, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC
	if path == "" {
		path, flags = os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC
	}
	log, err := unix.Open(path, flags, 0o640)
	if err != nil {
		return files, nil, fmt.Errorf("open %s: %w", path, err)
	}
	files = append(files, log)
	numbers = map[string]int{}
	for _, s := range c.Sockets {
		fd, err := listen(s.Path)
		if err != nil {
			return files, nil, fmt.Errorf("listen on %s: %w", s.Path, err)
		}
		files = append(files, fd)
		numbers[s.Name] = len(files) // one more than its place, as the log is both 1 and 2
	}
	return files, numbers, nil
}

func closeAll(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}

// backlog of connections that wait while the VMM starts.
const backlog = 8

var errInTheWay = errors.New("something else than a socket is in its place")

// listen replaces a socket that a dead VMM left. Only our own user may connect:
// the mode is set before the name exists, so there is no moment without it.
func listen(path string) (int, error) {
	var addr unix.RawSockaddrUnix
	if len(path) >= len(addr.Path) {
		return -1, fmt.Errorf("the path has %d bytes, a socket's has at most %d: %w", len(path), len(addr.Path)-1, unix.ENAMETOOLONG)
	}
	at, err := os.Lstat(path)
	switch {
	case err == nil && at.Mode().Type() != fs.ModeSocket:
		return -1, errInTheWay
	case err == nil:
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.Fchmod(fd, 0o600)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func withNumbers(argv []string, numbers map[string]int) []string {
	var pairs []string
	for name, n := range numbers {
		pairs = append(pairs, "{fd:"+name+"}", strconv.Itoa(n))
	}
	put := strings.NewReplacer(pairs...)
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = put.Replace(a)
	}
	return out
}

// kindOf tells what may heal by itself from what somebody has to change.
func kindOf(err error) host.Kind {
	for _, e := range []error{
		unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.EDQUOT, unix.EINTR, unix.EIO, unix.ETXTBSY, unix.ENOBUFS,
	} {
		if errors.Is(err, e) {
			return host.Transient
		}
	}
	if errors.Is(err, unix.EPERM) {
		return host.Denied
	}
	return host.Broken
}
