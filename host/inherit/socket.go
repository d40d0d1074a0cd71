package inherit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

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
