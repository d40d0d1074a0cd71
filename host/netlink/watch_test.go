package netlink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/tun"
	"github.com/blixard/blixard/vm"
)

// running is a VM whose tap is held and watched.
func running(t *testing.T, l *Links) (*notices, tun.Tap) {
	t.Helper()
	ensure(t, l, ref, onBr0)
	held := holdTap(t, tap0)
	return watchTaps(t, l, ref, onBr0), held
}

// TestADeletedTapIsLostAtOnce, and told once.
func TestADeletedTapIsLostAtOnce(t *testing.T) {
	l := links(t, makesBr0)
	n, _ := running(t, l)
	began := time.Now()
	must(t, rtnl.LinkDel(get(t, tap0)))
	got := n.await(t, true, "tap blx3n0 was taken away")
	t.Logf("lost %v after the deletion began", time.Since(began).Round(time.Microsecond))
	if got.Link != tap0 {
		t.Errorf("told of %q", got.Link)
	}
	addBridge(t, "later")
	settled(t, l)
	if all := n.told(); len(all) != 1 {
		t.Errorf("told %+v", all)
	}
}

// TestOneOfSeveralTapsIsLost and the others are watched on.
func TestOneOfSeveralTapsIsLost(t *testing.T) {
	l := links(t, makesBr0)
	nics := append(onBr0, onBr0[0])
	ensure(t, l, ref, nics)
	n := watchTaps(t, l, ref, nics)
	must(t, rtnl.LinkDel(get(t, tap1)))
	n.await(t, true, tap1)
	must(t, rtnl.LinkSetDown(get(t, tap0)))
	n.await(t, false, "tap blx3n0 was down and is up again")
}

// TestDamageUnderARunningGuestIsRepairedInPlace: the guest's descriptor stays good.
func TestDamageUnderARunningGuestIsRepairedInPlace(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, tap rtnl.Link)
		told   string
		cut    string // empty: the guest isn't cut off by it
	}{
		"down":         {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetDown(tap)) }, "was down and is up again", "tap blx3n0 is down"},
		"no bridge":    {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetNoMaster(tap)) }, "was in no bridge and is in bridge br0 again", "is in no bridge: it belongs into bridge br0"},
		"other bridge": {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetMaster(tap, addBridge(t, "br9"))) }, "is in bridge br0 again", "it belongs into bridge br0"},
		"MTU":          {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetMTU(tap, 576)) }, "had an MTU of 576 and has 1500 again", ""},
		"renamed":      {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetName(tap, "oops")) }, `had been renamed to "oops" and has its name again`, ""},
		"mark lost":    {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetAlias(tap, "mine now")) }, "had lost its mark and has it again", ""},
		"bridge deleted": {
			func(t *testing.T, _ rtnl.Link) { must(t, rtnl.LinkDel(get(t, "br0"))) }, "is in bridge br0 again", "it belongs into bridge br0",
		},
		"bridge down": {func(t *testing.T, _ rtnl.Link) { must(t, rtnl.LinkSetDown(get(t, "br0"))) }, "bridge br0 was down and is up again", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := links(t, makesBr0)
			n, _ := running(t, l)
			index := get(t, tap0).Attrs().Index
			began := time.Now()
			c.damage(t, get(t, tap0))
			n.await(t, false, c.told)
			t.Logf("repaired and told after %v", time.Since(began).Round(time.Microsecond))
			whole(t, tap0, ref, "br0", 1500)
			if got := get(t, tap0).Attrs().Index; got != index || !held(get(t, tap0)) {
				t.Errorf("it is another tap, or the guest lost it (index %d, was %d)", got, index)
			}
			for _, one := range n.told() {
				if one.Lost || one.Broken && c.cut == "" {
					t.Errorf("told as lost, or as cut off: %+v", one)
				}
			}
			if c.cut != "" {
				n.breaks(t, c.cut)
			}
		})
	}
}

// TestABridgeOfOthersVanishes and comes back: its taps wait for it.
func TestABridgeOfOthersVanishes(t *testing.T) {
	l := links(t, nil)
	br := addBridge(t, "br0")
	n, _ := running(t, l)
	must(t, rtnl.LinkDel(br))
	n.await(t, false, "bridge br0 was taken away: tap blx3n0 is put into it when it is there again")
	addBridge(t, "br0")
	n.await(t, false, "was in no bridge and is in bridge br0 again")
	whole(t, tap0, ref, "br0", 1500)
	if all := n.told(); len(all) != 2 {
		t.Errorf("told %+v", all)
	}
	n.breaks(t, "bridge br0 was taken away")
}

// TestWhatOthersMendIsToldAsWhole: somebody puts the tap back before we do.
func TestWhatOthersMendIsToldAsWhole(t *testing.T) {
	l := links(t, nil)
	br := addBridge(t, "br0")
	n, _ := running(t, l)
	must(t, rtnl.LinkDel(br))
	n.await(t, false, "bridge br0 was taken away")
	l.follower.mu.Lock() // it looks away, until the tap is whole
	must(t, rtnl.LinkSetMaster(get(t, tap0), addBridge(t, "br0")))
	l.follower.mu.Unlock()
	n.await(t, false, "is in bridge br0")
	whole(t, tap0, ref, "br0", 1500)
	n.breaks(t, "bridge br0 was taken away")
}

// TestWhatWeDoOurselvesIsNoNews: a release, the next incarnation, a watch that ended.
func TestWhatWeDoOurselvesIsNoNews(t *testing.T) {
	l := links(t, makesBr0)
	n, vmm := running(t, l)
	_ = vmm.Close()
	ensure(t, l, next(ref), onBr0)
	must(t, rtnl.LinkDel(get(t, tap0)))
	ensure(t, l, next(ref), onBr0)
	second := watchTaps(t, l, next(ref), onBr0)
	must(t, l.Release(t.Context(), next(ref), onBr0))

	third := vm.Ref{VM: otherD, Name: "db", Slot: 4, Incarnation: 1, BootID: "b"}
	ensure(t, l, third, onBr0)
	ended := &notices{more: make(chan struct{}, 1)}
	l.Watch(third, onBr0, ended.tell)()
	must(t, rtnl.LinkDel(get(t, host.LinkName(4, 0))))

	// A fourth that is told of something proves that all before has been heard.
	fourth := vm.Ref{VM: "aaaaaaaaaaaaaaaa", Name: "last", Slot: 5, Incarnation: 1, BootID: "b"}
	ensure(t, l, fourth, onBr0)
	last := watchTaps(t, l, fourth, onBr0)
	must(t, rtnl.LinkDel(get(t, host.LinkName(5, 0))))
	last.await(t, true, "was taken away")
	for _, n := range []*notices{n, second, ended} {
		if all := n.told(); len(all) != 0 {
			t.Errorf("told of our own doing: %+v", all)
		}
	}
}

// TestWhatHappenedBeforeTheWatchIsTold: a daemon that comes back finds it so.
func TestWhatHappenedBeforeTheWatchIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, tap rtnl.Link)
		lost   bool
		told   string
	}{
		"deleted": {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkDel(tap)) }, true, "was taken away"},
		"replaced": {func(t *testing.T, tap rtnl.Link) {
			must(t, rtnl.LinkDel(tap))
			addTap(t, tap0, rtnl.TUNTAP_DEFAULTS)
		}, true, "was taken away: another tap has its name"},
		"taken over by a later incarnation": {
			func(t *testing.T, tap rtnl.Link) {
				must(t, rtnl.LinkSetAlias(tap, alias{node, vmID, 8}.String()))
			}, true, "was taken away",
		},
		"down": {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetDown(tap)) }, false, "was down and is up again"},
		"moved": {
			func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetNoMaster(tap)) }, false, "is in bridge br0 again",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := links(t, makesBr0)
			ensure(t, l, ref, onBr0)
			c.damage(t, get(t, tap0))
			n := &notices{more: make(chan struct{}, 1)}
			t.Cleanup(l.Watch(ref, onBr0, n.tell))
			n.await(t, c.lost, c.told)
		})
	}
}

// TestALostNoticeIsFoundByLooking: the subscription's buffer overflows while a
// tap is deleted and a thousand other things happen.
func TestALostNoticeIsFoundByLooking(t *testing.T) {
	l := links(t, func(c *Config) { makesBr0(c); c.buffer = 1 }) // the kernel makes it its least: two or three notices
	n, _ := running(t, l)
	other := addTap(t, "other", rtnl.TUNTAP_DEFAULTS)
	before := l.follower.opened.Load()
	for i := range 500 {
		must(t, rtnl.LinkSetMTU(other, 1000+i%2))
		if i == 250 {
			must(t, rtnl.LinkDel(get(t, tap0)))
		}
	}
	n.await(t, true, "was taken away")
	for i := 0; l.follower.opened.Load() == before; i++ { // however quick the follower is, it is overrun at last
		must(t, rtnl.LinkSetMTU(other, 1000+i%2))
	}
	ensure(t, l, next(ref), onBr0)
	second := watchTaps(t, l, next(ref), onBr0)
	must(t, rtnl.LinkSetDown(get(t, tap0)))
	second.await(t, false, "was down and is up again")
}

// TestAFightIsNotFought: who takes a tap out of its bridge again and again is
// left alone for a while, and the journal with him.
func TestAFightIsNotFought(t *testing.T) {
	l := links(t, makesBr0)
	n, _ := running(t, l)
	for i := range mendings {
		must(t, rtnl.LinkSetDown(get(t, tap0)))
		eventually(t, "it is up again", func() bool { return len(n.told()) == 2*(i+1) })
	}
	must(t, rtnl.LinkSetDown(get(t, tap0)))
	eventually(t, "it is left for later", func() bool {
		l.follower.mu.Lock()
		defer l.follower.mu.Unlock()
		return len(l.follower.later) == 1
	})
	if all := n.told(); len(all) != 2*mendings+1 || !all[2*mendings].Broken {
		t.Errorf("told %d times, at last %+v", len(all), all[len(all)-1])
	}
	if get(t, tap0).Attrs().RawFlags&unix.IFF_UP != 0 {
		t.Error("it was set up all the same")
	}
}

// TestWhatCannotBeMendedIsToldOnce, and mended as soon as it can be.
func TestWhatCannotBeMendedIsToldOnce(t *testing.T) {
	l := links(t, makesBr0)
	n, _ := running(t, l)
	must(t, rtnl.LinkDel(get(t, "br0")))
	n.await(t, false, "is in bridge br0 again")
	l.making.Lock() // no bridge is made meanwhile
	must(t, rtnl.LinkDel(get(t, "br0")))
	must(t, rtnl.LinkAdd(&rtnl.Ifb{LinkAttrs: attrs("br0")}))
	l.making.Unlock()
	n.await(t, false, "could not be put right: look for bridge br0: br0 is a ifb, not a bridge")
	must(t, rtnl.LinkDel(get(t, "br0")))
	eventually(t, "the tap is in a bridge again", func() bool {
		link, err := byName(tap0)
		return err == nil && link.Attrs().MasterIndex != 0
	})
	failures := 0
	for _, one := range n.told() {
		if strings.Contains(one.Why, "could not") {
			failures++
		}
	}
	if failures != 1 {
		t.Errorf("told of %d failures: %+v", failures, n.told())
	}
}

// TestTwoHundredTaps are made, put back when their bridge is deleted, told of
// when they are deleted, and released.
func TestTwoHundredTaps(t *testing.T) {
	const many = 200
	l := links(t, makesBr0)
	var all []*notices
	refs := make([]vm.Ref, many)
	began := time.Now()
	for i := range refs {
		refs[i] = vm.Ref{VM: vm.ID(fmt.Sprintf("%016x", i+1)), Name: "x", Slot: uint32(i + 1), Incarnation: 1, BootID: "b"}
		ensure(t, l, refs[i], onBr0)
	}
	t.Logf("made: %v each", (time.Since(began) / many).Round(time.Microsecond))
	for _, r := range refs {
		n := &notices{more: make(chan struct{}, 1)}
		t.Cleanup(l.Watch(r, onBr0, n.tell))
		all = append(all, n)
	}
	settled(t, l)
	began = time.Now()
	must(t, rtnl.LinkDel(get(t, "br0")))
	t.Logf("bridge deleted in %v", time.Since(began).Round(time.Microsecond))
	began = time.Now()
	for _, n := range all {
		n.await(t, false, "is in bridge br0 again")
	}
	t.Logf("all back in a new bridge after another %v", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	must(t, rtnl.LinkDel(get(t, host.LinkName(200, 0))))
	all[199].await(t, true, "was taken away")
	t.Logf("one lost: told after %v", time.Since(began).Round(time.Microsecond))
	began = time.Now()
	for _, r := range refs {
		must(t, l.Release(t.Context(), r, onBr0))
	}
	t.Logf("released: %v each", (time.Since(began) / many).Round(time.Microsecond))
	found, err := l.List(t.Context())
	if err != nil || len(found) != 0 {
		t.Errorf("left: %d, %v", len(found), err)
	}
	for i, n := range all[:199] {
		for _, one := range n.told() {
			if one.Lost {
				t.Fatalf("VM %d was told of its own release: %+v", i+1, one)
			}
		}
	}
}

// TestCloseEndsAll: no goroutine is left, nothing more is told, and taps stay (P6).
func TestCloseEndsAll(t *testing.T) {
	l := links(t, makesBr0)
	n, _ := running(t, l)
	l.Close()
	l.Close()
	if len(l.follower.taps) != 0 {
		t.Error("it follows still")
	}
	whole(t, tap0, ref, "br0", 1500)
	must(t, rtnl.LinkDel(get(t, tap0)))
	l.Watch(ref, onBr0, n.tell)()
	if all := n.told(); len(all) != 0 {
		t.Errorf("told %+v", all)
	}
}
