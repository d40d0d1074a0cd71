package netlink

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// A bridge follows the MTU of its smallest port until its own is changed by
// somebody. So ours is made with another one, and then changed to Ethernet's.
const (
	firstMTU   = 1499
	defaultMTU = 1500
)

// bridge is one that was found, or made.
type bridge struct{ index, mtu int }

// errNoBridge: a bridge that isn't ours to make isn't there.
var errNoBridge = errors.New("no such bridge")

// bridge finds the bridge of that name. One that the node makes is made and
// restored, and again if it is deleted under our hands; any other has to be there.
func (l *Links) bridge(name string) (b bridge, told []string, err error) {
	if _, ours := l.bridges[name]; ours {
		l.making.Lock()
		defer l.making.Unlock()
	}
	for range tries {
		var more []string
		b, more, err = l.bridgeOnce(name)
		told = append(told, more...)
		if !errors.Is(err, errAbsent) {
			break
		}
	}
	return b, told, err
}

// tries is how often one thing is tried that others change meanwhile.
const tries = 5

func (l *Links) bridgeOnce(name string) (b bridge, told []string, err error) {
	own, ours := l.bridges[name]
	doing := "look for bridge " + name
	link, err := byName(name)
	switch {
	case errors.Is(err, errAbsent) && !ours:
		return b, nil, host.Fail(host.Transient, doing,
			fmt.Errorf("%w: bridge %s isn't there: make it (ip link add %s up type bridge), or name it among the bridges that the node makes", errNoBridge, name, name))
	case errors.Is(err, errAbsent):
		link, err = l.makeBridge(own)
		if err != nil {
			return b, nil, failure("make bridge "+name, err)
		}
		told = append(told, fmt.Sprintf("bridge %s was made", name))
	case err != nil:
		return b, nil, failure(doing, err)
	}
	if _, is := link.(*rtnl.Bridge); !is {
		return b, told, host.Fail(host.Broken, doing, fmt.Errorf("%s is a %s, not a bridge: name another bridge", name, kind(link)))
	}
	if ours && l.mayRestore(link) {
		more, err := l.restore(own, link)
		told = append(told, more...)
		if err != nil {
			return b, told, failure("restore bridge "+name, absent(err))
		}
	}
	return bridge{index: link.Attrs().Index, mtu: link.Attrs().MTU}, told, nil
}

func (l *Links) bridgeMark() string { return alias{node: l.config.Node}.String() }

// bridgeAddress is the bridge's own: else it takes a port's, and gateways change
// theirs as VMs come and go.
func (l *Links) bridgeAddress(name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte("blixard bridge " + l.config.Node + " " + name))
	return net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

// makeBridge makes it down and without a mark; restore does the rest, after a
// crash in between too.
func (l *Links) makeBridge(b Bridge) (rtnl.Link, error) {
	made := &rtnl.Bridge{LinkAttrs: rtnl.NewLinkAttrs()}
	made.Name, made.MTU, made.HardwareAddr = b.Name, firstMTU, l.bridgeAddress(b.Name)
	if err := rtnl.LinkAdd(made); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return byName(b.Name)
}

// mayRestore says that the bridge is ours to change: by its mark, or, where a
// crash came before that, by the address that it was made with, which nobody
// else derives from our node's id. Anybody else's bridge of that name is used as it is.
func (l *Links) mayRestore(link rtnl.Link) bool {
	a := link.Attrs()
	return a.Alias == l.bridgeMark() || a.Alias == "" && bytes.Equal(a.HardwareAddr, l.bridgeAddress(a.Name))
}

func (l *Links) restore(b Bridge, link rtnl.Link) (told []string, err error) {
	a := link.Attrs()
	whole := a.Alias != "" // else it is in the making, and there is nothing to tell
	if !whole {
		if err := rtnl.LinkSetMTU(link, defaultMTU); err != nil {
			return nil, err
		}
		a.MTU = defaultMTU
		if err := rtnl.LinkSetAlias(link, l.bridgeMark()); err != nil {
			return nil, err
		}
	}
	if a.RawFlags&unix.IFF_UP == 0 {
		v := noIPv6
		if b.Address.IsValid() && b.Address.Addr().Is6() {
			v = ownIPv6
		}
		if err := quieten(link, v); err != nil {
			return nil, err
		}
		if err := rtnl.LinkSetUp(link); err != nil {
			return nil, err
		}
		if whole {
			told = append(told, fmt.Sprintf("bridge %s was down and is up again", b.Name))
		}
	}
	if !b.Address.IsValid() {
		return told, nil
	}
	err = rtnl.AddrAdd(link, &rtnl.Addr{IPNet: ipNet(b.Address)})
	switch {
	case errors.Is(err, unix.EEXIST):
		return told, nil
	case err != nil:
		return told, fmt.Errorf("give it %s: %w", b.Address, err)
	case whole:
		told = append(told, fmt.Sprintf("bridge %s had lost its address %s and has it again", b.Name, b.Address))
	}
	return told, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
