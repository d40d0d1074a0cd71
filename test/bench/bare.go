package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/test/node"
)

// command is the very command of one of our VMMs, to be started by hand: same
// words, same user, same inherited sockets; only its console's file differs.
type command struct {
	argv []string
	log  string // the file in argv that is replaced
	fds  []int  // descriptors that it wants listening
	uid  uint32
	gid  uint32
}

var (
	fdWord  = regexp.MustCompile(`\bfd=(\d+)`)
	logWord = regexp.MustCompile(`\blogfile=([^,]+)`)
)

// commandOf reads the command of a live VMM.
func commandOf(p node.Process) (command, error) {
	c := command{argv: p.Argv}
	for _, word := range p.Argv {
		for _, match := range fdWord.FindAllStringSubmatch(word, -1) {
			fd, err := strconv.Atoi(match[1])
			if err != nil || fd < 3 || fd > 64 {
				return c, fmt.Errorf("descriptor %q in %q", match[1], word)
			}
			c.fds = append(c.fds, fd)
		}
		if match := logWord.FindStringSubmatch(word); match != nil {
			c.log = match[1]
		}
	}
	if c.log == "" {
		return c, errors.New("the VMM has no console log")
	}
	s, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID))
	if err != nil {
		return c, err
	}
	owner, ok := s.Sys().(*syscall.Stat_t)
	if !ok {
		return c, errors.New("no owner of the VMM's process")
	}
	c.uid, c.gid = owner.Uid, owner.Gid
	return c, nil
}

// bare is one VMM that was started by hand.
type bare struct {
	cmd   *exec.Cmd
	pidfd int
	files []*os.File
}

// prepare makes the folder of a VMM by hand, as Prepare makes ours before a launch.
func (c command) prepare(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Chown(folder, int(c.uid), int(c.gid))
}

// start starts the command in the folder, with the console in console-N.log.
func (c command) start(folder string, number int) (*bare, error) {
	b := &bare{pidfd: -1}
	log := filepath.Join(folder, fmt.Sprintf("console-%d.log", number))
	argv := make([]string, len(c.argv))
	for i, word := range c.argv {
		argv[i] = strings.Replace(word, c.log, log, 1)
	}
	b.cmd = exec.Command(argv[0], argv[1:]...)
	for i, fd := range c.fds {
		f, err := listener(filepath.Join(folder, fmt.Sprintf("%d-%d.sock", number, i)))
		if err != nil {
			return nil, err
		}
		b.files = append(b.files, f)
		for len(b.cmd.ExtraFiles) <= fd-3 {
			b.cmd.ExtraFiles = append(b.cmd.ExtraFiles, f)
		}
		b.cmd.ExtraFiles[fd-3] = f
	}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{PidFD: &b.pidfd, Setsid: true}
	if os.Geteuid() == 0 {
		b.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.uid, Gid: c.gid}
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s by hand: %w", argv[0], err)
	}
	for _, f := range b.files {
		f.Close()
	}
	return b, nil
}

// listener returns a listening unix socket as a file.
func listener(path string) (*os.File, error) {
	if err := os.RemoveAll(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}

// kill ends it with SIGKILL and returns when it is reaped.
func (b *bare) kill() error {
	if err := unix.PidfdSendSignal(b.pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return b.reap()
}

func (b *bare) reap() error {
	exit := (&exec.ExitError{})
	if err := b.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return unix.Close(b.pidfd)
}

// awaitEnd returns when the process has ended: the floor of any exit notice.
func awaitEnd(pidfd int) error {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 10_000)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return errors.New("it still runs after 10 s")
		default:
			return nil
		}
	}
}
