// Package unlinked connects to a listening unix socket whose name somebody
// deleted. The kernel keeps the inode that a socket is bound to for as long as
// the socket lives; all that is missing is a path to it:
//
//	/proc/PID/fd ─ pidfd_getfd ─▶ the socket ─ SIOCUNIXFILE ─▶ its inode, O_PATH ─▶ connect(/proc/self/fd/N)
//
// It takes Linux 5.6, CAP_SYS_PTRACE over the process and CAP_NET_ADMIN. A name
// can't be had again: link(2) refuses an inode that has none.
package unlinked

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// siocUnixFile opens what a unix socket is bound to: linux/un.h, since 4.15.
const siocUnixFile = unix.SIOCPROTOPRIVATE

// Dial connects to the socket that the process has bound to path and listens on,
// whether or not a file of that name is still there. It is Gone where the
// process, or that socket of it, is not; Denied where this daemon may not look.
func Dial(ctx context.Context, p vm.Process, path string) (net.Conn, error) {
	doing := "connect to " + path + " without its name"
	inode, err := find(p, path)
	if err != nil {
		return nil, host.Fail(kindOf(err), doing, err)
	}
	defer func() { _ = unix.Close(inode) }()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(inode))
	if err != nil {
		return nil, host.Fail(kindOf(err), doing, err)
	}
	return conn, nil
}

var errNone = errors.New("its process listens on no such socket")

// find opens the inode of the socket. The pidfd is opened before anything is
// read, so that what is taken is of the process which is meant (P8). A record of
// an earlier boot means none that lives, whoever has its pid and start time now.
func find(p vm.Process, path string) (inode int, err error) {
	pidfd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(pidfd) }()
	boot, err := procfs.Default.BootID()
	if err != nil {
		// Not wrapped: that it can't be read doesn't say that the process is gone.
		return -1, fmt.Errorf("read which boot this is: %v", err)
	}
	stat, err := procfs.Default.Stat(p.PID)
	if err != nil {
		return -1, err
	}
	if p.BootID != boot || stat.StartTime != p.StartTime {
		return -1, unix.ESRCH
	}
	folder := filepath.Join("/proc", strconv.Itoa(p.PID), "fd")
	all, err := os.ReadDir(folder)
	if err != nil {
		return -1, err
	}
	for _, one := range all {
		to, err := os.Readlink(filepath.Join(folder, one.Name()))
		if err != nil || !strings.HasPrefix(to, "socket:") {
			continue
		}
		n, err := strconv.Atoi(one.Name())
		if err != nil {
			continue
		}
		if inode, err = open(pidfd, n, path); !errors.Is(err, errNone) {
			return inode, err
		}
	}
	return -1, errNone
}

// open opens the inode of one socket of the process, if it is the one.
func open(pidfd, n int, path string) (inode int, err error) {
	fd, err := unix.PidfdGetfd(pidfd, n, 0)
	if errors.Is(err, unix.EBADF) {
		return -1, errNone // closed since it was listed
	}
	if err != nil {
		return -1, fmt.Errorf("take descriptor %d of process: %w", n, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
		return -1, errNone
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return -1, errNone
	}
	if at, ok := bound.(*unix.SockaddrUnix); !ok || at.Name != path {
		return -1, errNone
	}
	inode, err = unix.IoctlRetInt(fd, siocUnixFile)
	if err != nil {
		return -1, fmt.Errorf("open what the socket is bound to: %w", err)
	}
	return inode, nil
}
