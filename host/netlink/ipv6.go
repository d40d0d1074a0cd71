package netlink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// voice is how much IPv6 the host speaks on a link.
type voice bool

const (
	noIPv6   voice = false // none: not even an address of the link
	ownIPv6  voice = true  // with our own addresses; what a guest advertises is not believed
	noneMade       = 1     // IN6_ADDR_GEN_MODE_NONE
)

// quieten keeps guests from giving the host addresses and routes. It has to
// come before the link is up. Where /proc/sys is shut to us (a hardened unit)
// the link still gets no address by itself, which netlink can see to.
func quieten(link rtnl.Link, v voice) error {
	name := link.Attrs().Name
	settings := map[string]string{"disable_ipv6": "1"}
	if v == ownIPv6 {
		settings = map[string]string{"accept_ra": "0", "autoconf": "0", "accept_redirects": "0"}
	}
	for key, value := range settings {
		err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name, key), []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("write %s: %w", key, err)
		}
	}
	if v == ownIPv6 {
		return nil
	}
	err := rtnl.LinkSetIP6AddrGenMode(link, noneMade)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // a kernel without IPv6 has none to keep away
	}
	return err
}

// quietenAgain is for a tap whose MTU was changed: one that rises above 1280,
// IPv6's least, begins with IPv6 anew, and has an address at once where it is up.
func quietenAgain(link rtnl.Link) error {
	if err := quieten(link, noIPv6); err != nil {
		return err
	}
	addresses, err := rtnl.AddrList(link, rtnl.FAMILY_V6)
	if err != nil && !errors.Is(err, rtnl.ErrDumpInterrupted) {
		return err
	}
	for _, a := range addresses {
		if err := rtnl.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
	}
	return nil
}
