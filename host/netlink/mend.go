package netlink

import (
	"errors"
	"fmt"
	"time"

	rtnl "github.com/vishvananda/netlink"
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
		f.tell(t, true, why)
		return nil
	}
	b, told, err := f.links.bridge(t.nic.Bridge)
	for _, s := range told {
		f.tell(t, false, s)
	}
	if errors.Is(err, errNoBridge) { // told once; the notice of its coming puts the tap back
		if !t.alone {
			f.tell(t, false, fmt.Sprintf("bridge %s was taken away: tap %s is put into it when it is there again", t.nic.Bridge, t.name))
		}
		t.alone, t.want.master = true, 0
		return nil
	}
	if err != nil {
		return err
	}
	t.alone, t.want.master = false, b.index
	if t.sound(tap) {
		return nil
	}
	if t.tooOften(time.Now()) {
		return errFought
	}
	told, err = settle(t.want, tap)
	for _, s := range told {
		f.tell(t, false, s)
	}
	return err
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
		f.tell(t, false, why)
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
