package netlink

import (
	"errors"
	"fmt"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/tun"
)

// settleHeld repairs a tap that we hold.
func (l *Links) settleHeld(t tun.Tap, w want, tap *rtnl.Tuntap) (told []string, err error) {
	if now, err := byName(w.name); err != nil || now.Attrs().Index != tap.Attrs().Index {
		return nil, errAgain // what we hold is another one
	}
	if tap.Owner != uint32(w.uid) || tap.Group != uint32(w.gid) {
		if err := t.Own(w.uid, w.gid); err != nil {
			return nil, err
		}
		told = append(told, fmt.Sprintf("tap %s belonged to %d:%d and belongs to %d:%d again", w.name, int32(tap.Owner), int32(tap.Group), w.uid, w.gid))
	}
	if tap.NonPersist {
		told = append(told, fmt.Sprintf("tap %s would have gone with its holder and is persistent again", w.name))
	}
	if err := t.Persist(true); err != nil {
		return told, err
	}
	more, err := settle(w, tap)
	return append(told, more...), err
}

// settle repairs what can be repaired whoever holds the tap.
func settle(w want, tap *rtnl.Tuntap) (told []string, err error) {
	a := tap.Attrs()
	say := func(format string, args ...any) { told = append(told, "tap "+w.name+" "+fmt.Sprintf(format, args...)) }
	if a.Name != w.name {
		if err := rename(tap, w.name); err != nil {
			return told, fmt.Errorf("give %s its name %s: %w", a.Name, w.name, absent(err))
		}
		say("had been renamed to %.40q and has its name again", a.Name)
	}
	if a.Alias != w.mark.String() {
		if err := rtnl.LinkSetAlias(tap, w.mark.String()); err != nil {
			return told, fmt.Errorf("mark it: %w", absent(err))
		}
		if old, marked := parseAlias(a.Alias); !marked || old.vm != w.mark.vm { // another incarnation is no damage
			say("had lost its mark and has it again")
		}
	}
	if a.MTU != w.mtu {
		if err := w.setMTU(tap); err != nil {
			return told, fmt.Errorf("set its MTU to %d: %w", w.mtu, absent(err))
		}
		say("had an MTU of %d and has %d again", a.MTU, w.mtu)
	}
	if a.MasterIndex != w.master {
		if err := w.enslave(tap); err != nil {
			return told, fmt.Errorf("put it into bridge %s: %w", w.bridge, absent(err))
		}
		say("was in %s and is in bridge %s again", nameOfMaster(a.MasterIndex), w.bridge)
	}
	if a.RawFlags&unix.IFF_UP == 0 {
		if err := rtnl.LinkSetUp(tap); err != nil {
			return told, fmt.Errorf("set it up: %w", absent(err))
		}
		say("was down and is up again")
	}
	return told, nil
}

func (w want) setMTU(tap *rtnl.Tuntap) error {
	if err := rtnl.LinkSetMTU(tap, w.mtu); err != nil {
		return err
	}
	return quietenAgain(tap)
}

// enslave puts the tap into its bridge. Out of one the host would have answered on it.
func (w want) enslave(tap *rtnl.Tuntap) error {
	if err := quieten(tap, noIPv6); err != nil {
		return err
	}
	return rtnl.LinkSetMasterByIndex(tap, w.master)
}

// rename needs the link down on kernels before 6.2.
func rename(link rtnl.Link, name string) error {
	err := rtnl.LinkSetName(link, name)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	if err := rtnl.LinkSetDown(link); err != nil {
		return err
	}
	return errors.Join(rtnl.LinkSetName(link, name), rtnl.LinkSetUp(link))
}

func nameOfMaster(index int) string {
	if index == 0 {
		return "no bridge"
	}
	if master, err := byIndex(index); err == nil {
		return kind(master) + " " + master.Attrs().Name
	}
	return "a bridge that is gone"
}
