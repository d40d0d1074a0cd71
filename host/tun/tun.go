// Package tun opens taps. One is not made by netlink, as other links are: the
// kernel lets nobody; it is made by attaching a descriptor to a name.
//
//	Attach ─ a tap of that name is there: held, by one at a time where it has one queue
//	       └ none is: made, and gone with its descriptor unless Persist
//
// The name is one of the network namespace of the process.
package tun

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Device makes taps.
const Device = "/dev/net/tun"

// Flags of the taps that we make: frames have no header of the tun driver's own,
// but virtio's, so a guest may leave checksums and segmentation to the host.
const Flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR

// Anew beside other flags makes Attach fail by EBUSY where the name is taken.
const Anew = unix.IFF_TUN_EXCL

// Tap is a descriptor that holds a tap. It doesn't block and is not inherited.
type Tap int

// Attach holds the tap of that name, and makes it where there is none: EBUSY
// while another holds it. A name that is too long is refused; the kernel would cut it.
func Attach(name string, flags uint16) (Tap, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return -1, fmt.Errorf("name %q: %w", name, err)
	}
	fd, err := unix.Open(Device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", Device, err)
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return -1, errors.Join(fmt.Errorf("attach: %w", err), unix.Close(fd))
	}
	return Tap(fd), nil
}

// Own gives the tap to that user and group, who alone may open it besides root.
// Both are always set: the kernel wants an opener to match each that is.
func (t Tap) Own(uid, gid int) error {
	if err := unix.IoctlSetInt(int(t), unix.TUNSETOWNER, uid); err != nil {
		return fmt.Errorf("set its owner to %d: %w", uid, err)
	}
	if err := unix.IoctlSetInt(int(t), unix.TUNSETGROUP, gid); err != nil {
		return fmt.Errorf("set its group to %d: %w", gid, err)
	}
	return nil
}

// Persist lets the tap outlive its descriptors, or not any more.
func (t Tap) Persist(stays bool) error {
	arg := 0
	if stays {
		arg = 1
	}
	if err := unix.IoctlSetInt(int(t), unix.TUNSETPERSIST, arg); err != nil {
		return fmt.Errorf("make it persistent (%v): %w", stays, err)
	}
	return nil
}

// Persistent says whether the tap outlives its descriptors.
func (t Tap) Persistent() (bool, error) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return false, err
	}
	if err := unix.IoctlIfreq(int(t), unix.TUNGETIFF, request); err != nil {
		return false, fmt.Errorf("ask what was attached: %w", err)
	}
	return request.Uint16()&unix.IFF_PERSIST != 0, nil
}

// Close lets go of the tap.
func (t Tap) Close() error { return unix.Close(int(t)) }
