package netlink

import (
	"fmt"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tunDevice makes taps. A tap is not made by netlink: the kernel lets nobody.
const tunDevice = "/dev/net/tun"

// The frames of a tap have no header of the tun driver's own, but virtio's: a
// guest may leave checksums and segmentation to the host.
const tapFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR

// tun is a descriptor that holds a tap. A tap with one queue has one holder.
type tun int

// attach holds an existing tap: EBUSY while another does.
func attach(name string) (tun, error) { return hold(name, tapFlags) }

// create makes a tap and holds it: it goes with its descriptor until persist.
// EBUSY where the name is taken: without IFF_TUN_EXCL we would get what is there.
func create(name string) (tun, error) { return hold(name, tapFlags|unix.IFF_TUN_EXCL) }

func hold(name string, flags uint16) (tun, error) {
	request, err := unix.NewIfreq(name) // refuses what is too long, which the kernel would cut
	if err != nil {
		return -1, fmt.Errorf("name %q: %w", name, err)
	}
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", tunDevice, err)
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return tun(fd), nil
}

// own gives the tap to the VMM's user. Both are always set: the kernel wants an
// opener to match each that is.
func (t tun) own(uid, gid int) error {
	if err := unix.IoctlSetInt(int(t), unix.TUNSETOWNER, uid); err != nil {
		return fmt.Errorf("set its owner to %d: %w", uid, err)
	}
	if err := unix.IoctlSetInt(int(t), unix.TUNSETGROUP, gid); err != nil {
		return fmt.Errorf("set its group to %d: %w", gid, err)
	}
	return nil
}

// persist lets the tap outlive its descriptor.
func (t tun) persist() error {
	if err := unix.IoctlSetInt(int(t), unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("make it persistent: %w", err)
	}
	return nil
}

func (t tun) close() { _ = unix.Close(int(t)) }

// asTap is the link as a tap, if it is one.
func asTap(link rtnl.Link) (*rtnl.Tuntap, bool) {
	t, ok := link.(*rtnl.Tuntap)
	return t, ok && t.Mode == rtnl.TUNTAP_MODE_TAP
}

// kind is what a link is, for people.
func kind(link rtnl.Link) string {
	if t, ok := link.(*rtnl.Tuntap); ok && t.Mode != rtnl.TUNTAP_MODE_TAP {
		return "tun"
	} else if ok {
		return "tap"
	}
	return link.Type()
}
