package netlink

import (
	"errors"
	"fmt"
	"io/fs"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/tun"
)

// failure gives the kernel's errors their kind and, where a person has to act,
// the remedy. nil stays nil; a failure that has its kind keeps it.
func failure(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*host.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrPermission): // EPERM, EACCES
		return host.Fail(host.Denied, doing,
			fmt.Errorf("%v: the daemon lacks CAP_NET_ADMIN in its network namespace, or its device policy shuts %s; networks in mode user need neither", err, tun.Device))
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.ERANGE):
		return host.Fail(host.Broken, doing, err)
	}
	return host.Fail(host.Transient, doing, err)
}

// errAbsent: the link isn't there, or isn't there any more.
var errAbsent = errors.New("no such link")

// absent turns the several ways of the kernel and the library to say so into errAbsent.
func absent(err error) error {
	_, unfound := errors.AsType[rtnl.LinkNotFoundError](err)
	if unfound || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return errAbsent
	}
	return err
}

// byName finds a link by its own name; an alternative name is a failure, as
// the name is taken and the link is another one.
func byName(name string) (rtnl.Link, error) {
	link, err := rtnl.LinkByName(name)
	if err != nil {
		return nil, absent(err)
	}
	if own := link.Attrs().Name; own != name {
		return nil, host.Fail(host.Broken, "look for link "+name, fmt.Errorf("the name is an alternative one of %s: take it from there (ip link property del dev %s altname %s)", own, own, name))
	}
	return link, nil
}

func byIndex(index int) (rtnl.Link, error) {
	link, err := rtnl.LinkByIndex(index)
	if err != nil {
		return nil, absent(err)
	}
	return link, nil
}

// remove deletes a link and returns when it is gone: 15 to 20 ms, which the
// kernel takes to see the last reader of it off. It goes by index: a name may
// have been given to another.
func remove(link rtnl.Link) error {
	if err := absent(rtnl.LinkDel(link)); err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	return nil
}
