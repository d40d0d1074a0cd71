// Package control is the daemon's unix socket: one daemon owns its path, the
// kernel says who calls, and a stop ends within seconds however many streams are
// open.
//
//	Listen ──▶ lock beside the socket ──▶ stale socket replaced ──▶ mode and group
//	Take   ──▶ lock beside the socket ──▶ the service manager's socket, as it is
//	Server ──▶ HTTP/1.1 and HTTP/2 without TLS; SO_PEERCRED of each connection
package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// maxPath is what sockaddr_un holds beside its terminating zero (unix(7)).
const maxPath = 107

// Listen makes the socket with mode and group (empty: the daemon's own), and
// its folder where that is missing. A socket that a live daemon holds is refused
// with a *vm.Refusal; one that a dead daemon left is replaced. A lock file beside
// it decides between the two, so two daemons that start at once can't both win.
// Closing the listener removes the socket and lets go of the lock.
func Listen(path string, mode os.FileMode, group string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, &vm.Refusal{
			Code: vm.Invalid,
			Why:  fmt.Sprintf("the socket's path has %d bytes, a unix socket's has at most %d: %s", len(path), maxPath, path),
			Try:  "name a shorter one with --socket",
		}
	}
	gid, err := groupID(group)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fail("make the socket's folder", err)
	}
	return succeed(path, func() (*net.UnixListener, error) { return bind(path, mode, gid) })
}

// Take is Listen for a socket at path that a service manager made and keeps
// open: mode, group and file are its affair. Closing the listener lets go of the
// lock and leaves the file, so callers wait for the next daemon and are never
// refused.
func Take(given *net.UnixListener, path string) (net.Listener, error) {
	given.SetUnlinkOnClose(false)
	l, err := succeed(path, func() (*net.UnixListener, error) { return given, nil })
	if err != nil {
		_ = given.Close()
	}
	return l, err
}

// succeed claims the path, and waits a moment for a daemon that is dying.
func succeed(path string, open func() (*net.UnixListener, error)) (net.Listener, error) {
	for deadline := time.Now().Add(succession); ; <-time.After(5 * time.Millisecond) {
		l, err := claim(path, open)
		if no, _ := errors.AsType[*vm.Refusal](err); no == nil || no.Code != vm.Exists || time.Now().After(deadline) {
			return l, err
		}
	}
}

// succession is how long a child that a killed daemon had forked may take to
// its exec: until then it holds the daemon's lock and socket, and looks like it.
const succession = time.Second

// claim is one try to own the path.
func claim(path string, open func() (*net.UnixListener, error)) (net.Listener, error) {
	lock, err := hold(path)
	if err != nil {
		return nil, err
	}
	l, err := open()
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &listener{UnixListener: l, lock: lock, perUser: map[int]int{}}, nil
}

// hold takes the lock. The kernel gives it back when its holder dies, however
// that happens. The file stays: removing it would let a third daemon lock a new
// file of the same name while a second one waits for the old.
func hold(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fail("open the socket's lock", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock, nil
	}
	_ = lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, inUse(path)
	}
	return nil, fail("lock the socket", err)
}

func inUse(path string) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.Exists, Why: "the socket " + path + " belongs to a daemon that lives",
		Try: "stop that daemon, or name another socket with --socket and another folder with --state-dir",
	}
}

// bind replaces what a dead daemon left. Linux makes the file with the mode of
// the socket's own inode, so it is born without any permission: nobody can
// connect before mode and group are set, and no umask is touched.
func bind(path string, mode os.FileMode, gid int) (*net.UnixListener, error) {
	if err := clearWay(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0) })
		return errors.Join(err, failed)
	}}
	socket, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fail("listen", err)
	}
	l := socket.(*net.UnixListener)
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		_ = l.Close()
		return nil, fail("set the socket's mode and group", err)
	}
	return l, nil
}

// clearWay removes a dead daemon's socket; anything else at its path is not ours to remove (P8).
func clearWay(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail("look at the socket's path", err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return &vm.Refusal{
			Code: vm.Invalid, Why: path + " exists and is no socket", Try: "move it away, or name another socket with --socket",
		}
	}
	// Our lock is held, but a daemon whose lock file was deleted may still listen.
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return inUse(path)
	}
	if err := os.Remove(path); err != nil {
		return fail("remove the socket of a daemon that died", err)
	}
	return nil
}

func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if n, err := strconv.Atoi(group); err == nil && n >= 0 {
		return n, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("the socket's group %q does not exist on this machine", group),
			Try: "groupadd --system " + group + ", or name another group in the configuration",
		}
	}
	return strconv.Atoi(g.Gid)
}

func fail(doing string, cause error) error {
	kind := host.Broken
	if errors.Is(cause, fs.ErrPermission) {
		kind = host.Denied
	}
	return host.Fail(kind, doing, cause)
}

// How many connections the socket holds. Each costs a descriptor and some 10 KiB;
// one user must not take them all from the others.
const (
	maxConns        = 4096
	maxConnsPerUser = 512
)

// listener counts connections by user, and closes what is over the limit.
type listener struct {
	*net.UnixListener
	lock *os.File

	mu      sync.Mutex
	all     int
	perUser map[int]int
	closed  sync.Once
}

// Accept returns the next connection that is within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := PeerOf(c)
		if err != nil || !l.admit(p.Caller.UID) {
			_ = c.Close()
			continue
		}
		return &conn{UnixConn: c, peer: p, gone: l.leave}, nil
	}
}

func (l *listener) admit(uid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := uid == 0 || uid == os.Geteuid()
	if l.all >= maxConns || !mine && l.perUser[uid] >= maxConnsPerUser {
		return false
	}
	l.all++
	l.perUser[uid]++
	return true
}

func (l *listener) leave(uid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.perUser[uid]--; l.perUser[uid] == 0 {
		delete(l.perUser, uid)
	}
}

// Close removes the socket, if we made it, and gives the lock back. Doing it twice is harmless.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	l.closed.Do(func() { _ = l.lock.Close() })
	return err
}
