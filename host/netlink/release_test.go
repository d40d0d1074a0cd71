package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	rtnl "github.com/vishvananda/netlink"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// TestReleaseLeavesNothing of the VM (P7), whatever its spec says now, and is repeated safely.
func TestReleaseLeavesNothing(t *testing.T) {
	l := links(t, makesBr0)
	ensure(t, l, ref, append(onBr0, onBr0[0], onBr0[0]))
	other := vm.Ref{VM: otherD, Name: "db", Slot: 4, Incarnation: 1, BootID: "b"}
	ensure(t, l, other, onBr0)
	for range 2 {
		must(t, l.Release(t.Context(), ref, []vm.Network{{Mode: vm.NetworkUser}}))
		for i := range 3 {
			gone(t, host.LinkName(3, i))
		}
	}
	whole(t, host.LinkName(4, 0), other, "br0", 1500)
	get(t, "br0")
}

// BenchmarkReleaseOfNothing is what every stop of a VM costs that has no tap.
func BenchmarkReleaseOfNothing(b *testing.B) {
	l, err := New(Config{Node: node})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := l.Release(b.Context(), ref, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// TestALateReleaseLeavesTheNextIncarnation.
func TestALateReleaseLeavesTheNextIncarnation(t *testing.T) {
	l := links(t, makesBr0)
	ensure(t, l, next(ref), onBr0)
	must(t, l.Release(t.Context(), ref, onBr0))
	whole(t, tap0, next(ref), "br0", 1500)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Release(ended, next(ref), onBr0); !errors.Is(err, context.Canceled) || host.KindOf(err) != host.Transient {
		t.Errorf("release with an ended context: %v", err)
	}
	must(t, l.Release(t.Context(), next(ref), onBr0))
	gone(t, tap0)
}

// TestTapsOfRunnersAreFoundAndRemoved by the VM that their alias names, and
// nothing that only looks like one.
func TestTapsOfRunnersAreFoundAndRemoved(t *testing.T) {
	l := links(t, nil)
	mine := host.RunnerMark(node, vmID)
	for name, mark := range map[string]string{
		"vm-web": mine, "vm-db": host.RunnerMark("another", vmID), "vm-a": mine + " 7", "vm-b": mine + " ", "vm-c": "blixard-runner " + node + " ",
		"vm-d": "blixard " + node + " " + string(vmID) + " 0",
	} {
		must(t, rtnl.LinkSetAlias(addTap(t, name, rtnl.TUNTAP_DEFAULTS), mark))
	}
	dummy := &rtnl.Ifb{LinkAttrs: attrs("vm-ifb")}
	must(t, rtnl.LinkAdd(dummy))
	must(t, rtnl.LinkSetAlias(dummy, mine))
	found, err := l.List(t.Context())
	if err != nil || len(found) != 1 || found[0] != (vm.FoundLink{Name: "vm-web", Index: get(t, "vm-web").Attrs().Index, VM: vmID}) {
		t.Fatalf("found %+v, %v", found, err)
	}
	for _, bend := range []func(*vm.FoundLink){
		func(f *vm.FoundLink) { f.VM = otherD }, func(f *vm.FoundLink) { f.Number = 7 },
		func(f *vm.FoundLink) { f.Name = "vm-db"; f.Index = get(t, "vm-db").Attrs().Index },
	} {
		other := found[0]
		bend(&other)
		must(t, l.Remove(t.Context(), other))
	}
	get(t, "vm-db")
	get(t, "vm-web")
	for range 2 {
		must(t, l.Remove(t.Context(), found[0]))
		gone(t, "vm-web")
	}
}

// TestRemoveIsOfWhatWasFound: a tap that is another one by now stays.
func TestRemoveIsOfWhatWasFound(t *testing.T) {
	l := links(t, makesBr0)
	ensure(t, l, ref, onBr0)
	found, err := l.List(t.Context())
	want := vm.FoundLink{Name: tap0, Index: get(t, tap0).Attrs().Index, VM: vmID, Number: 7}
	if err != nil || len(found) != 1 || found[0] != want {
		t.Fatalf("listed %v, %v; want %v", found, err, want)
	}
	ensure(t, l, next(ref), onBr0) // the same link, another incarnation's by now
	must(t, l.Remove(t.Context(), found[0]))
	get(t, tap0)
	must(t, l.Release(t.Context(), next(ref), onBr0))
	ensure(t, l, ref, onBr0) // the same name, another link
	must(t, l.Remove(t.Context(), found[0]))
	get(t, tap0)
	found, err = l.List(t.Context())
	must(t, err)
	for range 2 {
		must(t, l.Remove(t.Context(), found[0]))
		gone(t, tap0)
	}
}

// TestWithoutPrivilege is told as Denied, and doesn't concern user mode.
func TestWithoutPrivilege(t *testing.T) {
	l := links(t, makesBr0)
	ensure(t, l, ref, onBr0)
	addBridge(t, "lan")
	out, err := as(t, "denied", 65534, 65534).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%s (%v)", out, err)
	}
	whole(t, tap0, ref, "br0", 1500)
}

// denied is a daemon without privilege beside the test's node.
func denied() int {
	l, err := New(Config{Node: node, Bridges: []Bridge{{Name: "br5"}}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx, bad := context.Background(), 0
	expect := func(what string, err error, words string) {
		if host.KindOf(err) != host.Denied || err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") || !strings.Contains(err.Error(), words) {
			fmt.Printf("%s: %v; want Denied\n", what, err)
			bad = 1
		}
	}
	fresh := vm.Ref{VM: otherD, Name: "db", Slot: 9, Incarnation: 1}
	nics := []vm.Network{{Mode: vm.NetworkBridge, Bridge: "lan"}}
	_, err = l.Ensure(ctx, fresh, nics, os.Getuid(), os.Getgid())
	expect("make a tap", err, host.LinkName(9, 0))
	_, err = l.Ensure(ctx, fresh, []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br5"}}, os.Getuid(), os.Getgid())
	expect("make a bridge", err, "br5")
	expect("release", l.Release(ctx, ref, onBr0), tap0)
	found, err := l.List(ctx)
	if err != nil || len(found) != 1 {
		fmt.Println("list:", found, err)
		bad = 1
	}
	for _, f := range found {
		expect("remove", l.Remove(ctx, f), tap0)
	}
	user := []vm.Network{{Mode: vm.NetworkUser}}
	_, err = l.Ensure(ctx, fresh, user, os.Getuid(), os.Getgid())
	if err = errors.Join(err, l.Release(ctx, fresh, user)); err != nil {
		fmt.Println("user mode:", err)
		bad = 1
	}
	if bad == 0 {
		fmt.Println("ok")
	}
	return bad
}

// TestConfigurationsThatAreRefused.
func TestConfigurationsThatAreRefused(t *testing.T) {
	for name, c := range map[string]Config{
		"no node":          {},
		"spaces":           {Node: "a b"},
		"endless":          {Node: strings.Repeat("a", 65)},
		"bridge cut":       {Node: node, Bridges: []Bridge{{Name: "a-bridge-of-16-b"}}},
		"bridge of a path": {Node: node, Bridges: []Bridge{{Name: "../x"}}},
		"option":           {Node: node, Bridges: []Bridge{{Name: "-x"}}},
		"twice":            {Node: node, Bridges: []Bridge{{Name: "br0"}, {Name: "br0"}}},
		"unspecified":      {Node: node, Bridges: []Bridge{{Name: "br0", Address: netip.MustParsePrefix("0.0.0.0/0")}}},
		"multicast":        {Node: node, Bridges: []Bridge{{Name: "br0", Address: netip.MustParsePrefix("224.0.0.1/24")}}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzAlias: what isn't written by us is never read as ours.
func FuzzAlias(f *testing.F) {
	for _, s := range []string{
		"", "blixard", "blixard 4f2a", "blixard 4f2a 0123456789abcdef 7", "blixard 4f2a 0123456789abcdef 07", "blixard 4f2a 0123456789abcdef +7",
		"blixard  0123456789abcdef 7", "blixard 4f2a  7", "blixard 4f2a 0123456789abcdef 18446744073709551616", "Blixard 4f2a", "blixard 4f2a ",
		"blixard 4f2a 0123456789abcdef 7 ", "blixard 4f2a\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, ok := parseAlias(s); ok && a.String() != s {
			t.Errorf("%q was read as %+v, which is written %q", s, a, a)
		}
	})
}
