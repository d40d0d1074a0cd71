package netlink

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/tun"
	"github.com/blixard/blixard/vm"
)

// TestTapsAreMadeAsTheSpecWantsThem has a NIC of each kind.
func TestTapsAreMadeAsTheSpecWantsThem(t *testing.T) {
	l := links(t, makesBr0)
	lan := addBridge(t, "lan.7")
	must(t, rtnl.LinkSetMTU(lan, 1420))
	nics := []vm.Network{
		{Mode: vm.NetworkBridge, Bridge: "br0"},
		{Mode: vm.NetworkUser},
		{Mode: vm.NetworkBridge, Bridge: "lan.7"},
		{Mode: vm.NetworkBridge, Bridge: "br0", MTU: 9000},
	}
	if told := ensure(t, l, ref, nics); len(told) != 1 || told[0] != "bridge br0 was made" {
		t.Errorf("told %q", told)
	}
	whole(t, tap0, ref, "br0", 1500)
	gone(t, tap1)
	whole(t, host.LinkName(3, 2), ref, "lan.7", 1420)
	whole(t, host.LinkName(3, 3), ref, "br0", 9000)
	if got := get(t, "br0").Attrs().MTU; got != 1500 {
		t.Errorf("a port changed the bridge's MTU to %d", got)
	}
	if told := ensure(t, l, ref, nics); len(told) != 0 {
		t.Errorf("told of repairs the second time: %q", told)
	}
}

// TestOnlyItsOwnUserOpensATap starts VMMs of both users.
func TestOnlyItsOwnUserOpensATap(t *testing.T) {
	l := links(t, makesBr0)
	ensure(t, l, ref, onBr0)
	for _, who := range []struct {
		uid, gid int
		want     string
	}{{uid, gid, "open"}, {uid + 1, gid + 1, "operation not permitted"}, {uid, gid + 1, "operation not permitted"}} {
		out, err := as(t, "opener", who.uid, who.gid, tap0).Output()
		if strings.TrimSpace(string(out)) != who.want {
			t.Errorf("user %d:%d: %q, %v; want %q", who.uid, who.gid, out, err, who.want)
		}
	}
}

// TestATapIsKeptOverARestart: bridges and firewalls go on knowing it.
func TestATapIsKeptOverARestart(t *testing.T) {
	l := links(t, makesBr0)
	ensure(t, l, ref, onBr0)
	index := get(t, tap0).Attrs().Index
	if told := ensure(t, l, next(ref), onBr0); len(told) != 0 {
		t.Errorf("told %q", told)
	}
	whole(t, tap0, next(ref), "br0", 1500)
	if got := get(t, tap0).Attrs().Index; got != index {
		t.Errorf("index %d became %d", index, got)
	}
}

// TestWhatIsWrongIsRepairedAndTold damages a tap in each way.
func TestWhatIsWrongIsRepairedAndTold(t *testing.T) {
	const kept, anew = true, false
	for name, c := range map[string]struct {
		damage func(t *testing.T, tap rtnl.Link)
		told   string
		kept   bool
	}{
		"down":      {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetDown(tap)) }, "was down and is up again", kept},
		"no bridge": {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetNoMaster(tap)) }, "was in no bridge and is in bridge br0 again", kept},
		"other bridge": {
			func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetMaster(tap, addBridge(t, "br9"))) },
			"was in bridge br9 and is in bridge br0 again", kept,
		},
		"MTU": {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkSetMTU(tap, 576)) }, "had an MTU of 576 and has 1500 again", kept},
		"owner": {func(t *testing.T, _ rtnl.Link) {
			h := holdTap(t, tap0)
			must(t, h.Own(1, 2))
			_ = h.Close()
		}, "belonged to 1:2 and belongs to 2010000003:2010000003 again", kept},
		"no virtio header": {func(t *testing.T, _ rtnl.Link) {
			h, err := tun.Attach(tap0, unix.IFF_TAP|unix.IFF_NO_PI)
			must(t, err)
			_ = h.Close()
		}, "", kept},
		"gone": {func(t *testing.T, tap rtnl.Link) { must(t, rtnl.LinkDel(tap)) }, "", anew},
		"left by a VM that is no more": {
			func(t *testing.T, tap rtnl.Link) {
				must(t, rtnl.LinkSetAlias(tap, alias{node, otherD, 9}.String()))
			},
			"was made anew: it was left by VM fedcba9876543210", anew,
		},
		"several queues": {func(t *testing.T, tap rtnl.Link) {
			must(t, rtnl.LinkDel(tap))
			q := addTap(t, tap0, rtnl.TUNTAP_MULTI_QUEUE_DEFAULTS)
			must(t, rtnl.LinkSetAlias(q, alias{node, vmID, 7}.String()))
		}, "was made anew: it had several queues", anew},
		"bridge gone": {func(t *testing.T, _ rtnl.Link) { must(t, rtnl.LinkDel(get(t, "br0"))) }, "bridge br0 was made", kept},
		"bridge down": {func(t *testing.T, _ rtnl.Link) { must(t, rtnl.LinkSetDown(get(t, "br0"))) }, "bridge br0 was down and is up again", kept},
		"bridge without its address": {func(t *testing.T, _ rtnl.Link) {
			addresses, err := rtnl.AddrList(get(t, "br0"), rtnl.FAMILY_V4)
			must(t, err)
			must(t, rtnl.AddrDel(get(t, "br0"), &addresses[0]))
		}, "bridge br0 had lost its address 10.77.0.1/24 and has it again", kept},
	} {
		t.Run(name, func(t *testing.T) {
			l := links(t, makesBr0)
			ensure(t, l, ref, onBr0)
			index := get(t, tap0).Attrs().Index
			c.damage(t, get(t, tap0))
			told := strings.Join(ensure(t, l, next(ref), onBr0), "; ")
			if !strings.Contains(told, c.told) || c.told == "" && told != "" {
				t.Errorf("told %q, want %q", told, c.told)
			}
			whole(t, tap0, next(ref), "br0", 1500)
			if got := get(t, tap0).Attrs().Index == index; got != c.kept {
				t.Errorf("the tap was kept: %v, want %v", got, c.kept)
			}
		})
	}
}

// TestWhatIsNotOursIsNeverTouched (P8) puts others' links in our place.
func TestWhatIsNotOursIsNeverTouched(t *testing.T) {
	mark := func(t *testing.T, link rtnl.Link, alias string) { must(t, rtnl.LinkSetAlias(link, alias)) }
	for name, c := range map[string]struct {
		occupy func(t *testing.T)
		told   string
	}{
		"a tap without a mark": {func(t *testing.T) { addTap(t, tap0, rtnl.TUNTAP_DEFAULTS) }, "it is a tap without a mark of ours"},
		"a tap of a person": {
			func(t *testing.T) { mark(t, addTap(t, tap0, rtnl.TUNTAP_DEFAULTS), "my vpn") }, `it is a tap with the alias "my vpn"`,
		},
		"a tap of another node": {
			func(t *testing.T) {
				mark(t, addTap(t, tap0, rtnl.TUNTAP_DEFAULTS), alias{"77aa", vmID, 7}.String())
			},
			"it is a tap of VM 0123456789abcdef of another node, 77aa",
		},
		"a mark that isn't whole": {
			func(t *testing.T) { mark(t, addTap(t, tap0, rtnl.TUNTAP_DEFAULTS), "blixard 4f2a 0123456789abcdef 07") }, "with the alias",
		},
		"an ifb": {func(t *testing.T) { add(t, &rtnl.Ifb{LinkAttrs: attrs(tap0)}) }, "it is a ifb without a mark of ours"},
		"an ifb with our alias": {
			func(t *testing.T) {
				mark(t, add(t, &rtnl.Ifb{LinkAttrs: attrs(tap0)}), alias{node, vmID, 7}.String())
			},
			"it is a ifb with our alias, which we give to taps alone",
		},
		"a tun with our alias": {func(t *testing.T) {
			must(t, rtnl.LinkAdd(&rtnl.Tuntap{LinkAttrs: attrs(tap0), Mode: rtnl.TUNTAP_MODE_TUN}))
			mark(t, get(t, tap0), alias{node, vmID, 7}.String())
		}, "it is a tun with our alias"},
	} {
		t.Run(name, func(t *testing.T) {
			l := links(t, makesBr0)
			c.occupy(t)
			before := fmt.Sprintf("%+v", get(t, tap0))
			_, err := l.Ensure(t.Context(), ref, onBr0, uid, gid)
			if host.KindOf(err) != host.Broken || err == nil || !strings.Contains(err.Error(), c.told) {
				t.Errorf("ensure: %v; want Broken with %q", err, c.told)
			}
			must(t, l.Release(t.Context(), ref, onBr0))
			found, err := l.List(t.Context())
			must(t, err)
			if len(found) != 0 {
				t.Errorf("listed as ours: %v", found)
			}
			a := get(t, tap0).Attrs()
			must(t, l.Remove(t.Context(), vm.FoundLink{Name: tap0, Index: a.Index, VM: vmID, Number: 7}))
			after := get(t, tap0)
			after.Attrs().Statistics, before = nil, strings.ReplaceAll(before, "", "")
			if a.Index != after.Attrs().Index || a.Alias != after.Attrs().Alias || a.RawFlags != after.Attrs().RawFlags || a.MasterIndex != 0 {
				t.Errorf("it was touched:\n%s\n%+v", before, after)
			}
		})
	}
}

// TestAnAlternativeNameIsTakenToo: the kernel finds a link by it as by its own.
func TestAnAlternativeNameIsTakenToo(t *testing.T) {
	l := links(t, makesBr0)
	ifb := add(t, &rtnl.Ifb{LinkAttrs: attrs("d0")})
	must(t, rtnl.LinkAddAltName(ifb, tap0))
	_, err := l.Ensure(t.Context(), ref, onBr0, uid, gid)
	if host.KindOf(err) != host.Broken || !strings.Contains(fmt.Sprint(err), "alternative one of d0") {
		t.Errorf("ensure: %v", err)
	}
	must(t, l.Release(t.Context(), ref, onBr0))
	get(t, "d0")
}

// TestAHeldTapIsWaitedFor: a VMM that lives is told of with its pid, one that
// just died is waited for.
func TestAHeldTapIsWaitedFor(t *testing.T) {
	l := links(t, makesBr0)
	ensure(t, l, ref, onBr0)
	vmm := as(t, "opener", uid, gid, tap0)
	in, err := vmm.StdinPipe()
	must(t, err)
	out, err := vmm.StdoutPipe()
	must(t, err)
	must(t, vmm.Start())
	must(t, vmm.ExtraFiles[0].Close()) // as long as we have it too, we hold the tap
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("the VMM opened nothing: %q, %v", line, err)
	}
	_, err = l.Ensure(t.Context(), next(ref), onBr0, uid, gid)
	want := fmt.Sprintf("it is held by process %d (exe)", vmm.Process.Pid)
	if host.KindOf(err) != host.Transient || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("ensure: %v; want Transient with %q", err, want)
	}
	whole(t, tap0, ref, "br0", 1500) // left as it was

	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Ensure(short, next(ref), onBr0, uid, gid); !errors.Is(err, context.Canceled) {
		t.Errorf("ensure with an ended context: %v", err)
	}

	patient := links(t, func(c *Config) { makesBr0(c); c.patience = 0 })
	patient.config.patience *= 10
	done := make(chan error, 1)
	go func() {
		_, err := patient.Ensure(t.Context(), next(ref), onBr0, uid, gid)
		done <- err
	}()
	must(t, in.Close()) // the VMM ends meanwhile
	if err := <-done; err != nil {
		t.Errorf("the dead VMM's tap was not taken: %v", err)
	}
	_ = vmm.Wait()
	whole(t, tap0, next(ref), "br0", 1500)
}

// TestHoldingATapFindsItsHolder also for one with several queues.
func TestATapWithQueuesIsWaitedForToo(t *testing.T) {
	l := links(t, makesBr0)
	link := &rtnl.Tuntap{LinkAttrs: attrs(tap0), Mode: rtnl.TUNTAP_MODE_TAP, Flags: rtnl.TUNTAP_MULTI_QUEUE_DEFAULTS, Queues: 1}
	must(t, rtnl.LinkAdd(link))
	must(t, rtnl.LinkSetAlias(get(t, tap0), alias{node, vmID, 7}.String()))
	_, err := l.Ensure(t.Context(), ref, onBr0, uid, gid)
	if want := fmt.Sprintf("process %d ", os.Getpid()); host.KindOf(err) != host.Transient || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("ensure: %v; want Transient with %q", err, want)
	}
	must(t, link.Fds[0].Close())
	ensure(t, l, ref, onBr0)
	whole(t, tap0, ref, "br0", 1500)
}

// TestNothingHalfMadeIsLeft ends the making of a tap at each of its steps: what
// has no mark yet goes with its descriptor, as it would with our process.
func TestNothingHalfMadeIsLeft(t *testing.T) {
	links(t, nil)
	bridge := addBridge(t, "br0")
	good := want{name: tap0, mark: alias{node, vmID, 7}, uid: uid, gid: gid, mtu: 1500, bridge: "br0", master: bridge.Attrs().Index}
	bad := map[string]func(*want){
		"owner": func(w *want) { w.uid = -1 },
		"alias": func(w *want) { w.mark.node = strings.Repeat("x", 300) },
		"MTU":   func(w *want) { w.mtu = 70000 },
		"bridge": func(w *want) {
			w.master = 999
		},
	}
	for name, bend := range bad {
		t.Run(name, func(t *testing.T) {
			w := good
			bend(&w)
			made, err := tun.Attach(tap0, tun.Flags|tun.Anew)
			must(t, err)
			if _, err := finish(made, w); err == nil {
				t.Fatal("it was finished")
			}
			_ = made.Close()
			gone(t, tap0)
		})
	}
	if _, err := tun.Attach("blx1234567890123n0", tun.Flags|tun.Anew); err == nil {
		t.Error("a name of 18 bytes was taken")
	}
	if n := len(host.LinkName(vm.MaxSlot, vm.MaxNetworks-1)); n > 15 {
		t.Errorf("the longest name has %d bytes", n)
	}
}

// TestATapBelowTheLeastMTUOfIPv6 has none of it to be kept off.
func TestATapBelowTheLeastMTUOfIPv6(t *testing.T) {
	l := links(t, makesBr0)
	nics := []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0", MTU: vm.MinMTU}}
	ensure(t, l, ref, nics)
	must(t, rtnl.LinkSetNoMaster(get(t, tap0)))
	if told := ensure(t, l, next(ref), nics); len(told) != 1 {
		t.Errorf("told %q", told)
	}
	whole(t, tap0, next(ref), "br0", vm.MinMTU)
}

// TestABridgeThatAllowsMoreThanATap: its taps get as much as they can have.
func TestABridgeThatAllowsMoreThanATap(t *testing.T) {
	l := links(t, nil)
	must(t, rtnl.LinkSetMTU(addBridge(t, "br0"), 65535))
	ensure(t, l, ref, onBr0)
	if got := get(t, tap0).Attrs().MTU; got != vm.MaxMTU {
		t.Errorf("its MTU is %d", got)
	}
}

// TestBridges that are missing, are none, or are somebody else's.
func TestBridges(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		_, err := links(t, nil).Ensure(t.Context(), ref, onBr0, uid, gid)
		if host.KindOf(err) != host.Transient || !strings.Contains(fmt.Sprint(err), "bridge br0 isn't there: make it (ip link add br0 up type bridge)") {
			t.Errorf("ensure: %v", err)
		}
		gone(t, tap0)
	})
	t.Run("none", func(t *testing.T) {
		l := links(t, makesBr0)
		add(t, &rtnl.Ifb{LinkAttrs: attrs("br0")})
		_, err := l.Ensure(t.Context(), ref, onBr0, uid, gid)
		if host.KindOf(err) != host.Broken || !strings.Contains(fmt.Sprint(err), "br0 is a ifb, not a bridge") {
			t.Errorf("ensure: %v", err)
		}
	})
	t.Run("ours", func(t *testing.T) {
		l := links(t, makesBr0)
		ensure(t, l, ref, onBr0)
		br := get(t, "br0")
		if a := br.Attrs(); a.Alias != "blixard 4f2a" || a.RawFlags&unix.IFF_UP == 0 || a.HardwareAddr.String() != l.bridgeAddress("br0").String() {
			t.Errorf("the bridge is %+v", a)
		}
		all, err := rtnl.AddrList(br, rtnl.FAMILY_ALL)
		if err != nil || len(all) != 1 || all[0].IPNet.String() != "10.77.0.1/24" {
			t.Errorf("its addresses are %v, %v", all, err)
		}
		must(t, l.Release(t.Context(), ref, onBr0))
		get(t, "br0")
	})
	t.Run("left by a crash", func(t *testing.T) {
		l := links(t, makesBr0)
		_, err := l.makeBridge(l.bridges["br0"])
		must(t, err)
		ensure(t, l, ref, onBr0)
		if a := get(t, "br0").Attrs(); a.Alias != "blixard 4f2a" || a.RawFlags&unix.IFF_UP == 0 {
			t.Errorf("the bridge is %+v", a)
		}
	})
	t.Run("somebody else's of the name of ours", func(t *testing.T) {
		l := links(t, makesBr0)
		br := addBridge(t, "br0")
		must(t, rtnl.LinkSetDown(br))
		ensure(t, l, ref, onBr0)
		if a := get(t, "br0").Attrs(); a.Alias != "" || a.RawFlags&unix.IFF_UP != 0 {
			t.Errorf("it was touched: %+v", a)
		}
	})
}

// TestTwoNodesOnOneMachine share a bridge and never take each other's taps.
func TestTwoNodesOnOneMachine(t *testing.T) {
	one, two := links(t, makesBr0), links(t, func(c *Config) { makesBr0(c); c.Node = "77aa" })
	ensure(t, one, ref, onBr0)
	_, err := two.Ensure(t.Context(), ref, onBr0, uid, gid)
	if host.KindOf(err) != host.Broken || !strings.Contains(fmt.Sprint(err), "of another node, 4f2a") {
		t.Errorf("ensure: %v", err)
	}
	theirs := vm.Ref{VM: otherD, Name: "db", Slot: 4, Incarnation: 1, BootID: "b"}
	if _, err := two.Ensure(t.Context(), theirs, onBr0, uid+1, gid+1); err != nil {
		t.Errorf("ensure in the shared bridge: %v", err)
	}
	must(t, two.Release(t.Context(), ref, onBr0))
	whole(t, tap0, ref, "br0", 1500)
	for l, want := range map[*Links]vm.ID{one: vmID, two: otherD} {
		if found, err := l.List(t.Context()); err != nil || len(found) != 1 || found[0].VM != want {
			t.Errorf("listed %v, %v; want one of %s", found, err, want)
		}
	}
}
