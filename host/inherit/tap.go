package inherit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var (
	errNoLink = errors.New("no such link") // it may come back: whoever makes the links repairs them
	errNoTap  = errors.New("it is no tap")
)

// openTap attaches to a persistent tap and never makes one: the kernel makes a
// missing one without a word, and a tap that nobody made has no owner, bridge or
// alias. So it is looked for before, and what was made in between vanishes with
// its only descriptor. We are root, or the tap's owner.
func openTap(link string) (int, error) {
	if link == "" || len(link) >= unix.IFNAMSIZ || filepath.Base(link) != link {
		return -1, fmt.Errorf("%q can't be a link's name", link)
	}
	if err := isTap(link); err != nil {
		return -1, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	if err := attach(fd, link); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// attach fails with EBUSY where another process has the tap open.
func attach(fd int, link string) error {
	request, err := unix.NewIfreq(link)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, request); err != nil {
		return fmt.Errorf("ask what was attached: %w", err)
	}
	if request.Uint16()&unix.IFF_PERSIST == 0 { // it was deleted in between, and we made a new one
		return errNoLink
	}
	return nil
}

// isTap asks sysfs, which shows the links of the network namespace that it was
// mounted in: the daemon's own.
func isTap(link string) error {
	dir := filepath.Join("/sys/class/net", link)
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return errNoLink
	}
	if _, err := os.Lstat(filepath.Join(dir, "tun_flags")); errors.Is(err, os.ErrNotExist) {
		return errNoTap
	}
	return nil
}
