package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func TestADumpFitsIntoWhatItsBundleMayHold(t *testing.T) {
	for _, one := range []struct{ node, each, want vm.Bytes }{
		{0, 0, 0},
		{vm.GiB, 0, vm.GiB},
		{0, vm.MiB, vm.MiB},
		{vm.GiB, vm.MiB, vm.MiB},
		{vm.MiB, vm.GiB, vm.MiB},
	} {
		if got := DumpAtMost(vm.BundleQuota{Node: one.node, VM: one.each}); got != one.want {
			t.Errorf("node %s, each %s: %s, want %s", one.node, one.each, got, one.want)
		}
	}
}

func TestACoreLeavesRoomForTheRestOfItsBundle(t *testing.T) {
	for _, one := range []struct{ node, each, want vm.Bytes }{
		{0, 0, vm.GiB},
		{100 * vm.GiB, 0, vm.GiB},
		{vm.GiB, 256 * vm.MiB, 240 * vm.MiB},
		{32 * vm.MiB, vm.GiB, 30 * vm.MiB},
	} {
		if got := CoreAtMost(vm.BundleQuota{Node: one.node, VM: one.each}); got != one.want {
			t.Errorf("node %s, each %s: %s, want %s", one.node, one.each, got, one.want)
		}
	}
}

// onShelf are bundles of those sizes in MiB, one a minute, the last one a minute ago.
func onShelf(now time.Time, sizes ...int) (out []vm.KeptBundle) {
	for i, n := range sizes {
		out = append(out, vm.KeptBundle{
			Number: uint64(i + 1), At: now.Add(time.Duration(i-len(sizes)) * time.Minute), Bytes: vm.Bytes(n) * vm.MiB,
		})
	}
	return out
}

func TestTheOldestBundlesAreBeyondTheQuota(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for story, one := range map[string]struct {
		quota   vm.BundleQuota
		shelves vm.Shelves
		want    string
	}{
		"no quota":                  {vm.BundleQuota{}, vm.Shelves{"a": onShelf(now, 1, 1)}, ""},
		"within":                    {vm.BundleQuota{Node: 4 * vm.MiB, VM: 2 * vm.MiB, Count: 2, Age: time.Hour}, vm.Shelves{"a": onShelf(now, 1, 1), "b": onShelf(now, 1, 1)}, ""},
		"too many":                  {vm.BundleQuota{Count: 2}, vm.Shelves{"a": onShelf(now, 1, 1, 1, 1), "b": onShelf(now, 1)}, "a1 a2"},
		"too old":                   {vm.BundleQuota{Age: 90 * time.Second}, vm.Shelves{"a": onShelf(now, 1, 1, 1)}, "a1 a2"},
		"the newest too old":        {vm.BundleQuota{Age: time.Second}, vm.Shelves{"a": onShelf(now, 1)}, "a1"},
		"a VM holds too much":       {vm.BundleQuota{VM: 3 * vm.MiB}, vm.Shelves{"a": onShelf(now, 2, 1, 1), "b": onShelf(now, 3)}, "a1"},
		"the newest alone too much": {vm.BundleQuota{VM: 3 * vm.MiB}, vm.Shelves{"a": onShelf(now, 1, 4)}, "a1 a2"},
		"the node holds too much":   {vm.BundleQuota{Node: 4 * vm.MiB}, vm.Shelves{"a": onShelf(now, 1, 1, 1), "b": onShelf(now, 1, 1)}, "a1"},
		"newest ones go last":       {vm.BundleQuota{Node: 2 * vm.MiB}, vm.Shelves{"a": onShelf(now, 1, 1, 1), "b": onShelf(now.Add(-time.Hour), 1)}, "a1 a2"},
		"even newest ones":          {vm.BundleQuota{Node: vm.MiB}, vm.Shelves{"a": onShelf(now, 1), "b": onShelf(now.Add(-time.Hour), 1)}, "b1"},
	} {
		if s := gone(Beyond(one.quota, now, one.shelves)); s != one.want {
			t.Errorf("%s: %q go, want %q", story, s, one.want)
		}
	}
}

// asked is what a person asked for so long ago, before all bundles.
func asked(now time.Time, ago time.Duration, mib int, kept []vm.KeptBundle) []vm.KeptBundle {
	return append([]vm.KeptBundle{{At: now.Add(-ago), Bytes: vm.Bytes(mib) * vm.MiB, Dump: true}}, kept...)
}

func TestWhatWasAskedForHasItsTimeAndThenGoesFirst(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	two := onShelf(now, 1, 1)
	for story, one := range map[string]struct {
		quota   vm.BundleQuota
		shelves vm.Shelves
		want    string
	}{
		"larger than all, in its time":    {vm.BundleQuota{Node: 3 * vm.MiB, VM: 2 * vm.MiB}, vm.Shelves{"a": asked(now, time.Hour, 100, two)}, ""},
		"its time is over, and it fits":   {vm.BundleQuota{Node: 4 * vm.MiB, VM: 4 * vm.MiB}, vm.Shelves{"a": asked(now, 2*time.Hour, 1, two)}, ""},
		"too much for its VM":             {vm.BundleQuota{VM: 3 * vm.MiB}, vm.Shelves{"a": asked(now, 2*time.Hour, 2, two)}, "a0"},
		"too much for the node":           {vm.BundleQuota{Node: 4 * vm.MiB}, vm.Shelves{"a": asked(now, 2*time.Hour, 2, nil), "b": onShelf(now.Add(-time.Hour), 1, 1, 1)}, "a0"},
		"the older one of two":            {vm.BundleQuota{Node: 4 * vm.MiB}, vm.Shelves{"a": asked(now, 2*time.Hour, 2, two), "b": asked(now, 3*time.Hour, 2, nil)}, "b0"},
		"it is no bundle that is counted": {vm.BundleQuota{Count: 2}, vm.Shelves{"a": asked(now, 2*time.Hour, 2, two)}, ""},
		"too old":                         {vm.BundleQuota{Age: 3 * time.Hour}, vm.Shelves{"a": asked(now, 4*time.Hour, 1, two)}, "a0"},
		"alone, and too much":             {vm.BundleQuota{Node: vm.MiB}, vm.Shelves{"a": asked(now, 2*time.Hour, 2, nil)}, "a0"},
		"too many beside it":              {vm.BundleQuota{Count: 1}, vm.Shelves{"a": asked(now, 2*time.Hour, 2, two)}, "a1"},
		"of tomorrow, as the clock was":   {vm.BundleQuota{Node: vm.MiB}, vm.Shelves{"a": asked(now, -24*time.Hour, 2, nil)}, ""},
	} {
		if s := gone(Beyond(one.quota, now, one.shelves)); s != one.want {
			t.Errorf("%s: %q go, want %q", story, s, one.want)
		}
	}
}

func gone(all vm.Shelves) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, k := range all[name] {
			out = append(out, fmt.Sprintf("%s%d", name, k.Number))
		}
	}
	return strings.Join(out, " ")
}
