package netlink

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/tun"
	"github.com/blixard/blixard/vm"
)

// want is how one tap has to be.
type want struct {
	name     string
	mark     alias
	uid, gid int
	mtu      int // 0: its bridge's
	bridge   string
	master   int // index of bridge, once it was found
}

// Ensure makes and repairs the taps before a launch; see host.Links. A tap that
// another process holds is Transient: a VMM that just died may take a moment to
// let go, which is waited for.
func (l *Links) Ensure(ctx context.Context, ref vm.Ref, nics []vm.Network, uid, gid int) ([]string, error) {
	l.follower.forget(func(t *watched) bool { return t.watch.ref.VM == ref.VM && t.watch.ref.Incarnation != ref.Incarnation })
	var repaired []string
	for i, nic := range nics {
		if nic.Mode != vm.NetworkBridge {
			continue
		}
		w := want{
			name: host.LinkName(ref.Slot, i), mark: alias{l.config.Node, ref.VM, ref.Incarnation},
			uid: uid, gid: gid, mtu: nic.MTU, bridge: nic.Bridge,
		}
		told, err := l.ensure(ctx, w)
		repaired = append(repaired, told...)
		if err != nil {
			return repaired, failure("make tap "+w.name, err)
		}
	}
	return repaired, nil
}

// ensure makes one tap right. It is tried again where somebody else made or
// removed tap or bridge between our look and our hands.
func (l *Links) ensure(ctx context.Context, w want) (told []string, err error) {
	if w.mark.vm == "" || !w.mark.fits() {
		return nil, host.Fail(host.Broken, "mark tap "+w.name, fmt.Errorf("%q is no alias that could be read back", w.mark))
	}
	for range tries {
		if err = ctx.Err(); err != nil {
			return told, err
		}
		var more []string
		more, err = l.ensureOnce(ctx, w)
		told = append(told, more...)
		if !errors.Is(err, errAgain) && !errors.Is(err, errAbsent) {
			return told, err
		}
	}
	return told, err
}

var errAgain = errors.New("it was changed by somebody else meanwhile")

func (l *Links) ensureOnce(ctx context.Context, w want) ([]string, error) {
	b, told, err := l.bridge(w.bridge)
	if err != nil {
		return told, err
	}
	w.master = b.index
	w.mtu = orElse(w.mtu, min(b.mtu, vm.MaxMTU)) // a bridge's may be higher than a tap can have
	link, err := byName(w.name)
	if errors.Is(err, errAbsent) {
		return told, l.make(ctx, w)
	}
	if err != nil {
		return told, err
	}
	tap, mark, err := l.proveOurs(link)
	if err != nil {
		return told, err
	}
	more, err := l.keep(ctx, w, tap, mark)
	return append(told, more...), err
}

// proveOurs says whose link stands in our place (P8).
func (l *Links) proveOurs(link rtnl.Link) (*rtnl.Tuntap, alias, error) {
	a := link.Attrs()
	mark, marked := parseAlias(a.Alias)
	tap, isTap := asTap(link)
	why := ""
	switch {
	case !marked && a.Alias == "":
		why = "without a mark of ours"
	case !marked || mark.vm == "":
		why = fmt.Sprintf("with the alias %.100q", a.Alias)
	case mark.node != l.config.Node:
		why = fmt.Sprintf("of VM %s of another node, %s", mark.vm, mark.node)
	case !isTap:
		why = "with our alias, which we give to taps alone"
	default:
		return tap, mark, nil
	}
	return nil, alias{}, host.Fail(host.Broken, "look at link "+a.Name,
		fmt.Errorf("it is a %s %s: it is left alone; give it another name or remove it (ip link del %s)", kind(link), why, a.Name))
}

// make makes a tap. Until it is persistent it goes with our descriptor, so a
// crash leaves a marked tap or none.
func (l *Links) make(ctx context.Context, w want) error {
	t, err := tun.Attach(w.name, tun.Flags|tun.Anew)
	if errors.Is(err, unix.EBUSY) {
		return errAgain // the name was taken since
	}
	if err != nil {
		return err
	}
	index, err := finish(t, w)
	_ = t.Close()
	if err != nil {
		return err
	}
	link, err := byIndex(index)
	if err == nil {
		err = rtnl.LinkSetUp(link)
	}
	if err != nil {
		return err
	}
	return l.released(ctx, w.name, index)
}

func finish(t tun.Tap, w want) (index int, err error) {
	link, err := byName(w.name)
	if err != nil {
		return 0, err
	}
	if err := t.Own(w.uid, w.gid); err != nil {
		return 0, err
	}
	steps := []struct {
		doing string
		do    func() error
	}{
		{"mark it", func() error { return rtnl.LinkSetAlias(link, w.mark.String()) }},
		{"set its address", func() error { return rtnl.LinkSetHardwareAddr(link, address(w)) }},
		{"keep IPv6 off it", func() error { return quieten(link, noIPv6) }},
		{"set its MTU", func() error { return rtnl.LinkSetMTU(link, w.mtu) }},
		{"put it into bridge " + w.bridge, func() error { return rtnl.LinkSetMasterByIndex(link, w.master) }},
		{"keep it", func() error { return t.Persist(true) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return 0, fmt.Errorf("%s: %w", s.doing, absent(err))
		}
	}
	return link.Attrs().Index, nil
}

// address is the host's own end of the wire, not the guest's. Beginning with fe
// it is the highest of a bridge's ports, so that a bridge which takes the
// lowest for its own doesn't change it as taps come and go.
func address(w want) net.HardwareAddr {
	sum := sha256.Sum256([]byte("blixard tap " + w.mark.node + " " + w.name))
	return net.HardwareAddr{0xfe, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

// keep takes over a tap of ours that stands already, and says what was wrong with it.
func (l *Links) keep(ctx context.Context, w want, tap *rtnl.Tuntap, mark alias) ([]string, error) {
	index := tap.Attrs().Index
	t, err := l.take(ctx, w.name, index, tap.Flags&rtnl.TUNTAP_MULTI_QUEUE != 0)
	if err != nil {
		return nil, err
	}
	wrong := ""
	switch {
	case mark.vm != w.mark.vm:
		wrong = fmt.Sprintf("it was left by VM %s", mark.vm)
	case tap.Flags&rtnl.TUNTAP_MULTI_QUEUE != 0:
		wrong = "it had several queues"
	}
	if wrong != "" {
		if t >= 0 {
			_ = t.Close()
		}
		if err := remove(tap); err != nil {
			return nil, err
		}
		return []string{fmt.Sprintf("tap %s was made anew: %s", w.name, wrong)}, l.make(ctx, w)
	}
	told, err := l.settleHeld(t, w, tap)
	_ = t.Close()
	if err != nil {
		return told, err
	}
	return told, l.released(ctx, w.name, index)
}
