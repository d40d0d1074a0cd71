package policies

import (
	"maps"
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// DefaultBundleQuota is enough for a month of a node where things go wrong: a
// bundle without a guest's memory takes at most about a MiB.
var DefaultBundleQuota = vm.BundleQuota{Node: vm.GiB, VM: 256 * vm.MiB, Count: 20, Age: 30 * 24 * time.Hour}

// DumpAtMost is how large the guest's memory may be that a death's bundle takes
// over; 0: nothing bounds it. A larger one would be dropped at once.
func DumpAtMost(q vm.BundleQuota) vm.Bytes {
	if q.Node > 0 && (q.VM <= 0 || q.Node < q.VM) {
		return q.Node
	}
	return q.VM
}

// maxCore bounds the core of a VMM where no quota does: without the guest's
// memory, which is never in it, QEMU's is a tenth of that.
const maxCore = vm.GiB

// CoreAtMost is how large the VMM's core may be that a death's bundle takes over.
// The kernel cuts a larger one off right there, so there has to be room left for
// the rest of its bundle.
func CoreAtMost(q vm.BundleQuota) vm.Bytes {
	most := DumpAtMost(q)
	if most <= 0 {
		return maxCore
	}
	return min(maxCore, most-most/16)
}

// askedStays is how long the memory that a person asked for is let be, whatever
// it holds: time to look at it, or to copy it.
const askedStays = time.Hour

// shelved is a bundle with what decides on it.
type shelved struct {
	name vm.Name
	vm.KeptBundle
	newest bool // of its VM
}

// Beyond says which bundles of which VM are to go: those that are too old or too
// many, then the oldest of all. The newest of a VM stays unless it is too old, or
// alone more than its VM, or the node, may hold. What a person asked for counts,
// once it has had its time, and then goes before any evidence of a death does.
func Beyond(q vm.BundleQuota, now time.Time, shelves vm.Shelves) vm.Shelves {
	out := vm.Shelves{}
	var left []shelved
	var node vm.Bytes
	for _, name := range slices.Sorted(maps.Keys(shelves)) {
		drop, stay := beyondOne(q, now, name, shelves[name])
		if len(drop) > 0 {
			out[name] = drop
		}
		for _, k := range stay {
			left, node = append(left, k), node+k.Bytes
		}
	}
	slices.SortStableFunc(left, soonest)
	for _, k := range left {
		if q.Node <= 0 || node <= q.Node {
			break
		}
		out[k.name] = append(out[k.name], k.KeptBundle)
		node -= k.Bytes
	}
	return out
}

// soonest sorts what a person asked for before all others and the newest of each
// VM behind them, the oldest first.
func soonest(a, b shelved) int {
	switch {
	case a.rank() == b.rank():
		return a.At.Compare(b.At)
	case a.rank() < b.rank():
		return -1
	}
	return 1
}

func (s shelved) rank() int {
	switch {
	case s.Asked():
		return 0
	case s.newest:
		return 2
	}
	return 1
}

// beyondOne parts what is kept of one VM, oldest first, by what it may hold itself.
func beyondOne(q vm.BundleQuota, now time.Time, name vm.Name, kept []vm.KeptBundle) (drop []vm.KeptBundle, stay []shelved) {
	kept = slices.DeleteFunc(slices.Clone(kept), func(k vm.KeptBundle) bool { return k.Asked() && now.Sub(k.At) <= askedStays })
	var sum vm.Bytes
	bundles := 0
	for _, k := range kept {
		sum += k.Bytes
		if !k.Asked() {
			bundles++
		}
	}
	for i, k := range kept { // what was asked for comes first, by its number
		old, many, much := q.Age > 0 && now.Sub(k.At) > q.Age, q.Count > 0 && !k.Asked() && bundles > q.Count, q.VM > 0 && sum > q.VM
		if !k.Asked() {
			bundles--
		}
		if old || many || much {
			drop = append(drop, k)
			sum -= k.Bytes
			continue
		}
		stay = append(stay, shelved{name, k, i == len(kept)-1 && !k.Asked()})
	}
	return drop, stay
}
