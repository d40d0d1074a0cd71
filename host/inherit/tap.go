package inherit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/tun"
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
	tap, err := tun.Attach(link, tun.Flags) // EBUSY where another process has it open
	if err != nil {
		return -1, err
	}
	stays, err := tap.Persistent()
	if err == nil && !stays { // it was deleted in between, and we made a new one
		err = errNoLink
	}
	if err != nil {
		return -1, errors.Join(err, tap.Close())
	}
	return int(tap), nil
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
