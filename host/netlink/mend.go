package netlink

import (
	"errors"
	"fmt"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// Somebody who takes a tap out of its bridge again and again is not fought: so
// many repairs of one tap in this time, then one after each pause.
const (
	mendings = 10
	mendSpan = time.Minute
)

// mend looks at a watched tap and puts right what is wrong with it.
func (f *follower) mend(t *watched) {
	var err error
	for range tries {
		if err = f.mendOnce(t); !errors.Is(err, errAbsent) {
			break // else tap or bridge went between our look and our hands
		}
	}
	switch {
	case errors.Is(err, errFought):
		f.again(t)
	case err != nil:
		f.failed(t, err)
	default:
		t.ill = ""
	}
}

var errFought = errors.New("it was repaired too often")

func (f *follower) mendOnce(t *watched) error {
	tap, why, err := f.find(t)
	switch {
	case err != nil:
		return err
	case why != "":
		f.tell(t, host.LinkNotice{Lost: true, Why: why})
		return nil
	}
	b, told, err := f.links.bridge(t.nic.Bridge)
	if errors.Is(err, errNoBridge) { // told once; the notice of its coming puts the tap back
		f.breaks(t, fmt.Sprintf("bridge %s was taken away: tap %s is put into it when it is there again", t.nic.Bridge, t.name))
		t.alone, t.want.master = true, 0
		return nil
	}
	if err == nil {
		t.alone, t.want.master = false, b.index
	}
	if why := t.cut(tap); why != "" {
		f.breaks(t, why)
	}
	if err == nil && !t.sound(tap) {
		var more []string
		more, err = f.settle(t, tap)
		told = append(told, more...)
	}
	f.repaired(t, told, err == nil)
	return err
}

// settle repairs the tap, unless it was repaired too often.
func (f *follower) settle(t *watched, tap *rtnl.Tuntap) (told []string, err error) {
	if t.tooOften(time.Now()) {
		return nil, errFought
	}
	return settle(t.want, tap)
}

// cut says why no frame gets through the tap, beside what is said of its bridge.
func (t *watched) cut(tap *rtnl.Tuntap) string {
	a := tap.Attrs()
	switch {
	case a.MasterIndex == 0 || a.MasterIndex != t.want.master:
		return fmt.Sprintf("tap %s is in %s: it belongs into bridge %s", t.name, nameOfMaster(a.MasterIndex), t.nic.Bridge)
	case a.RawFlags&unix.IFF_UP == 0:
		return fmt.Sprintf("tap %s is down", t.name)
	}
	return ""
}

// breaks tells once that the guest is cut off.
func (f *follower) breaks(t *watched, why string) {
	if !t.broken {
		t.broken = true
		f.tell(t, host.LinkNotice{Broken: true, Why: why})
	}
}

// repaired tells what was, and of one that was told as broken that it is whole.
func (f *follower) repaired(t *watched, told []string, whole bool) {
	if whole && t.broken && len(told) == 0 {
		told = []string{fmt.Sprintf("tap %s is in bridge %s and up again", t.name, t.nic.Bridge)} // by somebody else's hand
	}
	t.broken = t.broken && !whole
	for _, s := range told {
		f.tell(t, host.LinkNotice{Broken: t.broken, Why: s})
	}
}

// find reads the tap anew. why is a sentence if it is lost.
func (f *follower) find(t *watched) (tap *rtnl.Tuntap, why string, err error) {
	var link rtnl.Link
	if t.index != 0 {
		link, err = byIndex(t.index)
	} else {
		link, err = byName(t.name)
	}
	switch {
	case errors.Is(err, errAbsent):
		return nil, fmt.Sprintf("tap %s was taken away", t.name), nil
	case err != nil:
		return nil, "", err
	}
	tap, is := asTap(link)
	if t.index != 0 && is {
		return tap, "", nil // the index proves it: the kernel gives none twice
	}
	mark, _ := parseAlias(link.Attrs().Alias)
	if ref := t.watch.ref; !is || mark.node != f.links.config.Node || mark.vm != ref.VM || mark.number > ref.Incarnation {
		return nil, fmt.Sprintf("tap %s was taken away: another %s has its name", t.name, kind(link)), nil
	}
	f.known(t, tap)
	return tap, "", nil
}

// known is the first look at a tap: what it is now, its spec apart, is how it stays.
func (f *follower) known(t *watched, tap *rtnl.Tuntap) {
	a := tap.Attrs()
	mark := alias{f.links.config.Node, t.watch.ref.VM, t.watch.ref.Incarnation}
	t.want = want{name: t.name, mark: mark, mtu: orElse(t.nic.MTU, a.MTU), bridge: t.nic.Bridge, master: a.MasterIndex}
	f.mu.Lock()
	defer f.mu.Unlock()
	t.index = a.Index
	if f.taps[t.name] == t {
		f.indexes[t.index] = t
	}
}

// failed tells once what can't be mended, and looks again after a pause.
func (f *follower) failed(t *watched, err error) {
	f.again(t)
	why := fmt.Sprintf("tap %s could not be put right: %v", t.name, failure("mend it", err))
	if t.ill == "" {
		f.tell(t, host.LinkNotice{Broken: t.broken, Why: why})
	}
	t.ill = why
}

func (t *watched) tooOften(now time.Time) bool {
	for len(t.mended) > 0 && now.Sub(t.mended[0]) > mendSpan {
		t.mended = t.mended[1:]
	}
	if len(t.mended) >= mendings {
		return true
	}
	t.mended = append(t.mended, now)
	return false
}
