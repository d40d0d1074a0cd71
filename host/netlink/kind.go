package netlink

import rtnl "github.com/vishvananda/netlink"

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
